// Faults that a dmirror can be given, each with it and without.

import { describe, expect, test } from 'vitest';
import { eraNamed } from '../../src/core/era.ts';
import { EFAULT } from '../../src/core/errno.ts';
import { SimError } from '../../src/core/errors.ts';
import { Machine } from '../../src/core/machine.ts';
import type { MemoryWatch } from '../../src/core/memory-watch.ts';
import type { Process } from '../../src/core/process.ts';
import type { Explorer } from '../../src/core/sched/explorer.ts';
import { Delay, type Task } from '../../src/core/sched/task.ts';
import { MiB, type Va } from '../../src/core/units.ts';
import { Dmirror, type DmirrorFile, type DmirrorOptions } from '../../src/drivers/dmirror/index.ts';
import { LANGUAGE } from '../../src/drivers/index.ts';
import { BusMaster, MASTER_ABORT } from '../../src/hw/bus.ts';
import { buildMachine, parsePrograms, runProgram } from '../../src/program/index.ts';

class Lab {
  readonly machine: Machine = new Machine({ ramBytes: 4 * MiB });
  readonly device: Dmirror;
  readonly proc: Process;
  readonly file: DmirrorFile;
  readonly va: Va;

  constructor(options: DmirrorOptions = {}) {
    this.device = this.machine.attach(new Dmirror({ chunkBytes: MiB, ...options }));
    this.proc = this.machine.createProcess();
    this.file = this.device.open(this.proc);
    this.va = this.proc.mmap({ pages: 1 });
  }

  /** Holds the lock of the mirror's page table for a while. */
  *hold(): Task<void> {
    yield* this.file.mutex.lock();
    yield new Delay(100);
    this.file.mutex.unlock();
  }

  /** Runs a task while others run, and answers what it came to. */
  startOf<T>(name: string, task: Task<T>): () => T | undefined {
    let result: T | undefined;
    function* kept(): Task<void> {
      result = yield* task;
    }
    this.machine.spawn(name, kept());
    return () => result;
  }
}

/** The code of the SimError that `act` ends in; null where it ends well. */
function codeOf(act: () => unknown): string | null {
  try {
    act();
  } catch (error) {
    if (error instanceof SimError) return error.code;
    throw error;
  }
  return null;
}

describe('a file is closed while others use the pages it migrated', () => {
  /** The child moves what it shares with its parent, and ends. */
  function closedByChild(options: DmirrorOptions): Lab {
    const lab = new Lab(options);
    lab.proc.store32(lab.va, 100);
    const child = lab.proc.fork();
    const file = lab.device.open(child);
    expect(file.migrateToDev(lab.va, 1).ret).toBe(0);
    child.exit();
    return lab;
  }

  test('the pages go home first, and the parent finds them', () => {
    const { device, machine, proc, va } = closedByChild({});
    expect(device.pagesInUse).toBe(0);
    expect(proc.load32(va)).toBe(100);
    expect(machine.verify()).toEqual([]);
  });

  test('close_keeps_pages: the CPU fault uses the file after it was freed', () => {
    const { device, proc, va } = closedByChild({ defects: ['close_keeps_pages'] });
    expect(device.pagesInUse).toBe(1);
    expect(() => proc.load32(va)).toThrow(/page \d+ of hmm_dmirror0 .* file 2, which was closed/);
    expect(codeOf(() => proc.load32(va))).toBe('use-after-free');
  });

  test('close_keeps_pages: a file that is open does no harm', () => {
    const { file, proc, va } = new Lab({ defects: ['close_keeps_pages'] });
    proc.store32(va, 7);
    expect(file.migrateToDev(va, 1).ret).toBe(0);
    expect(proc.load32(va)).toBe(7);
  });
});

describe('a device reads while its process ends', () => {
  function readDuringExit(options: DmirrorOptions): () => number | undefined {
    const lab = new Lab(options);
    lab.machine.spawn('holder', lab.hold());
    const read = lab.startOf('read', lab.file.readTask(lab.va, 1));
    lab.machine.spawn('exit', lab.proc.exitTask());
    lab.machine.runAll();
    return () => read()?.ret;
  }

  test('the read fails', () => {
    expect(readDuringExit({})()).toBe(-EFAULT);
  });

  test('gone_mm_loops: the read never ends', () => {
    expect(codeOf(() => readDuringExit({ defects: ['gone_mm_loops'] }))).toBe('livelock');
  });
});

test('no_fault_page: the CPU faults for ever', () => {
  const lab = (options: DmirrorOptions): Lab => {
    const made = new Lab(options);
    made.proc.store32(made.va, 5);
    expect(made.file.migrateToDev(made.va, 1).ret).toBe(0);
    return made;
  };
  const good = lab({});
  expect(good.proc.load32(good.va)).toBe(5);
  const bad = lab({ defects: ['no_fault_page'] });
  expect(codeOf(() => bad.proc.load32(bad.va))).toBe('refault-livelock');
});

describe('a device writes while its page moves', () => {
  /** The device stores 9 after the page was copied and before its new place is mapped. */
  function writtenInBetween(options: DmirrorOptions): number {
    const lab = new Lab(options);
    expect(lab.file.write(lab.va, [1]).ret).toBe(0);
    lab.machine.spawn('holder', lab.hold());
    const write = lab.startOf('write', lab.file.writeTask(lab.va, [9]));
    const move = lab.startOf('move', lab.file.migrateToDevTask(lab.va, 1));
    lab.machine.runAll();
    expect([write()?.ret, move()?.ret]).toEqual([0, 0]);
    expect(lab.machine.verify()).toEqual([]);
    return lab.proc.load32(lab.va);
  }

  test('as the kernel has it, the store goes to the old page and is lost', () => {
    expect(writtenInBetween({})).toBe(1);
  });

  test('mended, it is not', () => {
    expect(writtenInBetween({ mended: true })).toBe(9);
  });
});

describe('a store through a mapping that nobody took away', () => {
  interface Told {
    readonly access: string;
    readonly value: number;
  }

  /** Two files of one process and one device: what one moves the other does not hear of. */
  function stale(options: DmirrorOptions): { told: readonly Told[]; found: number } {
    const { machine, device, proc, file, va } = new Lab(options);
    expect(file.write(va, [1]).ret).toBe(0);
    expect(device.open(proc).migrateToDev(va, 1).ret).toBe(0);
    const told: Told[] = [];
    const nothing = (): void => {};
    const watch: MemoryWatch = {
      stored: (pid, at, value) => told.push({ access: `stored ${pid} ${at - va}`, value }),
      loaded: (pid, at, value) => told.push({ access: `loaded ${pid} ${at - va}`, value }),
      zapped: nothing,
      moved: nothing,
      overlapped: nothing,
      forked: nothing,
    };
    machine.kernel.watch = watch;
    expect(file.write(va, [9]).ret).toBe(0);
    machine.kernel.watch = null;
    return { told, found: proc.load32(va) };
  }

  test('goes nowhere, and who watches is told that it was stored', () => {
    expect(stale({})).toEqual({ told: [{ access: 'stored 1 0', value: 9 }], found: 1 });
  });

  test('does not happen to a mended device', () => {
    expect(stale({ mended: true })).toEqual({
      told: [{ access: 'stored 1 0', value: 9 }],
      found: 9,
    });
  });
});

test('a mended device has no mapping of a page that it could not take', () => {
  for (const [mended, readable] of [
    [false, true],
    [true, false],
  ] as const) {
    const { file, proc, va, machine } = new Lab({ mended });
    proc.store32(va, 3);
    expect(file.read(va, 1).ret).toBe(0);
    // Somebody holds it, so it stays.
    const page = machine.pageAt(proc, va)!;
    machine.kernel.pages.get(page);
    expect(file.migrateToDev(va, 1).ret === 0).toBe(readable);
    machine.kernel.pages.put(page);
    expect(machine.verify()).toEqual([]);
  }
});

test('what the device reads is told, too', () => {
  const { machine, proc, file, va } = new Lab();
  proc.store32(va, 4);
  const loads: number[] = [];
  machine.kernel.watch = {
    stored: () => {},
    loaded: (pid, at, value) => loads.push(pid, at - va, value),
    zapped: () => {},
    moved: () => {},
    overlapped: () => {},
    forked: () => {},
  };
  file.read(va, 1);
  expect(loads).toEqual([1, 0, 4]);
});

describe('a page goes home by one fault while another is on its way to the driver', () => {
  /** Whoever comes to `point` first waits until the others are through. */
  function firstWaitsAt(point: string): Explorer {
    let waiting: unknown = null;
    return {
      next(current, others, at) {
        if (at === point && waiting === null) waiting = current;
        const free = [current, ...others].find((one) => one !== null && one !== waiting);
        return free ?? current ?? others[0]!;
      },
    };
  }

  function bothTouch(faultPage: boolean): number[] {
    const era = { ...eraNamed('v6.1'), faultPage };
    const explorer = firstWaitsAt('CPU fault: migrate_to_ram');
    const machine = new Machine({ ramBytes: 4 * MiB, era, explorer });
    const device = machine.attach(new Dmirror({ chunkBytes: MiB }));
    const parent = machine.createProcess();
    const va = parent.mmap({ pages: 1 });
    parent.store32(va, 100);
    expect(device.open(parent).migrateToDev(va, 1).ret).toBe(0);
    const child = parent.fork();
    const values: number[] = [];
    for (const [i, proc] of [parent, child].entries()) {
      const load = function* (): Task<void> {
        values[i] = yield* proc.loadTask(va);
      };
      machine.spawn(`cpu ${i}`, load());
    }
    machine.runAll();
    return values;
  }

  test('until v6.0 the page is gone by then', () => {
    expect(() => bothTouch(false)).toThrow(/brought hmm_dmirror0 page \d+, which was freed/);
  });

  test('since v6.1 the fault holds it', () => {
    expect(bothTouch(true)).toEqual([100, 100]);
  });
});

test('who watches is told of a store that memory of another owner does not take', () => {
  const { machine, proc, file, va } = new Lab();
  proc.store32(va, 4);
  expect(file.migrateToDev(va, 1).ret).toBe(0);
  const stranger = new BusMaster(machine.kernel, { name: 'stranger' });
  const told: string[] = [];
  machine.kernel.watch = {
    stored: (_, at, value) => told.push(`${at - va} := ${value}`),
    loaded: (_, at, value) => told.push(`${at - va} = ${value}`),
    zapped: () => {},
    moved: () => {},
    overlapped: () => {},
    forked: () => {},
  };
  const page = machine.pageAt(proc, va)!;
  stranger.write32(page, 0, 9, proc.pid, va);
  stranger.read32(page, 0, proc.pid, va);
  stranger.read32(page, 0);
  machine.kernel.watch = null;
  expect(told).toEqual(['0 := 9', `0 = ${MASTER_ABORT}`]);
  expect(proc.load32(va)).toBe(4);
});

describe('in programs', () => {
  function run(device: string, ...steps: readonly string[]): readonly unknown[] {
    const lines = ['machine ram 4MiB', `device ${device}`, 'program a', ...steps, 'end'];
    const { machine, programs } = parsePrograms(lines.join('\n'), {
      file: 'prog',
      language: LANGUAGE,
    });
    const made = buildMachine(machine, LANGUAGE);
    return [...runProgram(made, programs[0]!)].map(({ result }) => result);
  }

  test('a device has the defects that its line names', () => {
    const steps = ['mmap 0 1 anon rw', 'cpu_write 0 0 1 5', 'migrate_to_dev 0 0 0 1'];
    const read = 'cpu_read 0 0 1';
    expect(run('dmirror', ...steps, read).at(-1)).toEqual({ data: [5] });
    const defects = 'dmirror private mended defects close_keeps_pages,no_fault_page';
    expect(codeOf(() => run(defects, ...steps, read))).toBe('refault-livelock');
  });

  test('a device is read through what another process opened', () => {
    const steps = ['mmap 0 1 anon rw', 'cpu_write 0 0 1 5', 'fork 1', '@1 cpu_write 0 0 1 6'];
    expect(run('dmirror', ...steps, 'dev_read 0 0 0 1 1').at(-1)).toEqual({
      ret: '0',
      cpages: 1,
      faults: 1,
      data: [6],
    });
    const gone = ['@1 exit', 'dev_read 0 0 0 1 1'];
    expect(run('dmirror', ...steps, ...gone).at(-1)).toEqual({
      ret: 'EINVAL',
      cpages: 0,
      faults: 0,
    });
    expect(() => run('dmirror', 'mmap 0 1 anon rw', 'dev_read 0 0 0 1 1')).toThrow(
      'prog:5: expected of: a process, whose open device is read through',
    );
  });
});
