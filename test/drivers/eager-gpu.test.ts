// examples/museum/drivers/eager-gpu.ts: a GPU that takes every page it touches.
import { describe, expect, test } from 'vitest';
import { EagerGpu, type EagerOptions, spec } from '../../examples/museum/drivers/eager-gpu.ts';
import { SimError } from '../../src/core/errors.ts';
import { Machine } from '../../src/core/machine.ts';
import type { Process } from '../../src/core/process.ts';
import type { Task } from '../../src/core/sched/task.ts';
import { MiB, type Va } from '../../src/core/units.ts';
import { driverSuite } from '../../src/testing/index.ts';

describe('the suite for drivers', () => {
  for (const one of driverSuite(spec)) test.skipIf(one.skip !== undefined)(one.name, one.run);
});

class Lab {
  readonly machine: Machine = new Machine({ ramBytes: 4 * MiB });
  readonly gpus: readonly EagerGpu[];
  readonly proc: Process;
  readonly va: Va;

  constructor(gpus: number, options: EagerOptions = {}) {
    this.gpus = Array.from({ length: gpus }, () => this.machine.attach(new EagerGpu(options)));
    this.proc = this.machine.createProcess();
    this.va = this.proc.mmap({ pages: 2 });
    this.proc.store32(this.va, 7);
    for (const gpu of this.gpus) gpu.open(this.proc);
  }

  /** Each GPU adds 1 to the page at once; how often each had to take it. */
  addAtOnce(): number[] {
    const { va } = this;
    const faults: number[] = [];
    this.gpus.forEach((gpu, i) => {
      const file = [...gpu.files][0]!;
      const add = function* (): Task<void> {
        const done = yield* file.access('atomic', va, 1);
        expect(done.ret).toBe(0);
        faults[i] = done.faults;
      };
      this.machine.spawn(`gpu ${i}`, add());
    });
    this.machine.runAll();
    return faults;
  }
}

test('an access is done in its own memory', () => {
  const { machine, gpus, proc, va } = new Lab(1);
  const [gpu] = gpus;
  const [file] = [...gpu!.files];
  expect(machine.run(file!.access('read', va))).toEqual({ ret: 0, data: 7, faults: 1 });
  expect(machine.ownerOf(proc, va)).toBe(gpu);
  expect(machine.run(file!.access('write', va, 8))).toEqual({ ret: 0, data: 0, faults: 0 });
  expect(machine.run(file!.access('atomic', va, 2))).toEqual({ ret: 0, data: 8, faults: 0 });
  expect(gpu!.mappingOf(proc, va)).toBe('rw');
  expect(proc.load32(va)).toBe(10);
  expect(gpu!.mappingOf(proc, va)).toBe(null);
  expect(machine.verify()).toEqual([]);
});

test('a page that both sides of a fork have is taken for writing by way of RAM', () => {
  const { machine, gpus, proc, va } = new Lab(1);
  const [file] = [...gpus[0]!.files];
  expect(machine.run(file!.toDevice(va, 1))).toBe(1);
  const child = proc.fork();
  expect(machine.run(file!.access('atomic', va, 1)).ret).toBe(0);
  expect([proc.load32(va), child.load32(va)]).toEqual([8, 7]);
  expect(machine.verify()).toEqual([]);
});

test('a page that cannot move is used where it is, but not for atomics', () => {
  const { machine, gpus, proc } = new Lab(1);
  const [file] = [...gpus[0]!.files];
  const va = proc.mmap({ pages: 1, shared: true });
  proc.store32(va, 5);
  expect(machine.run(file!.access('read', va))).toEqual({ ret: 0, data: 5, faults: 1 });
  expect(machine.ownerOf(proc, va)).toBe('system');
  expect(machine.run(file!.access('atomic', va, 1)).ret).toBeLessThan(0);
  expect(proc.load32(va)).toBe(5);
});

describe('two GPUs want one page', () => {
  test('each takes it before the other has used it, for ever', () => {
    const lab = new Lab(2);
    let code: string | null = null;
    try {
      lab.addAtOnce();
    } catch (error) {
      if (!(error instanceof SimError)) throw error;
      code = error.code;
    }
    expect(code).toBe('livelock');
    expect(lab.machine.verify()).toEqual([]);
  });

  test('each keeps it for longer than a replay takes: the other waits', () => {
    const lab = new Lab(2, { keepNs: 5000 });
    expect(lab.addAtOnce()).toEqual([1, 1]);
    expect(lab.proc.load32(lab.va)).toBe(9);
    expect(lab.machine.verify()).toEqual([]);
  });

  test('a time that is shorter does not help', () => {
    expect(() => new Lab(2, { keepNs: 400, replayNs: 1000 }).addAtOnce()).toThrow(/took the page/);
  });
});

test('the CPU waits, too, and then has the page', () => {
  const { machine, gpus, proc, va } = new Lab(1, { keepNs: 5000 });
  const [file] = [...gpus[0]!.files];
  machine.run(file!.access('atomic', va, 1));
  const takenNs = machine.scheduler.nowNs - 1000;
  expect(proc.load32(va)).toBe(8);
  expect(machine.scheduler.nowNs).toBe(takenNs + 5000);
  expect(machine.ownerOf(proc, va)).toBe('system');
});
