// Where time went: by thread, by device, by link; and all of it adds up.

import { describe, expect, it } from 'vitest';
import { Machine } from '../../src/core/machine.ts';
import type { Task } from '../../src/core/sched/task.ts';
import { NO_SECURE_TIME, NO_TIME } from '../../src/core/timing.ts';
import { KiB } from '../../src/core/units.ts';
import { Dmirror } from '../../src/drivers/dmirror/index.ts';
import { KvmUvmem } from '../../src/drivers/kvm-uvmem/index.ts';
import { Nouveau } from '../../src/drivers/nouveau/index.ts';
import { makeTimeReport } from '../../src/trace/time/report.ts';
import type { ThreadTime, TimeReport } from '../../src/trace/time/types.ts';
import { answersOf, spec, timingOf } from './lab.ts';

const PROGRAM = `
device nouveau
device dmirror
program p
mmap 0 64 anon rw
cpu_write 0 0 64 100
gpu_read 0 0 0 64
gpu_bind 0 0 0 32
gpu_write 0 0 0 64 7
cpu_read 0 0 64
migrate_to_dev 0 0 0 64
cpu_read 0 0 64
munmap 0 0 64
end
`;

function reportOf(name: string): { readonly report: TimeReport; readonly machine: Machine } {
  const { machine, answers } = answersOf(PROGRAM, { timing: spec(name), accounts: true });
  expect(answers).toHaveLength(9);
  return { machine, report: makeTimeReport(machine) };
}

describe('a report of time', () => {
  it.each(['pcie3-gtx1080', 'nvlink2-v100', 'c2c-gh200'])('adds up, %s', (name) => {
    const { report, machine } = reportOf(name);
    expect(report.timing).toBe(spec(name).name);
    expect(report.totalNs).toBe(machine.scheduler.nowNs);
    // The program runs from the start to the end, and does nothing but what is accounted.
    const caller = report.threads.find(({ thread }) => thread === 'caller')!;
    expect(caller.totalNs).toBeCloseTo(report.totalNs, 3);
    for (const { totalNs, byReason, spent } of report.threads) {
      const reasons = Object.values(byReason).reduce((sum, ns) => sum + ns, 0);
      expect(reasons).toBeCloseTo(totalNs, 3);
      expect(spent.reduce((sum, { ns }) => sum + ns, 0)).toBeCloseTo(totalNs, 3);
    }
  });

  it('says which device a thread works for, and what a task waited for', () => {
    const { report } = reportOf('pcie3-gtx1080');
    const byThread = new Map(report.threads.map((thread) => [thread.thread, thread]));
    expect(byThread.get('caller')!.device).toBeNull();
    expect(byThread.get('nouveau0 fault worker')!.device).toBe('nouveau0');
    expect(byThread.get('nouveau0 copy engine')!.device).toBe('nouveau0');
    expect(Object.keys(byThread.get('caller')!.byReason)).toEqual(
      expect.arrayContaining(['work', 'link', 'fence', 'fault_batch']),
    );
    expect(report.devices.map(({ device }) => device)).toEqual(['nouveau0']);
  });

  it('counts the bytes of each link and direction, and how busy it was', () => {
    const { report } = reportOf('pcie3-gtx1080');
    const ways = report.links.map(({ link, direction }) => `${link} ${direction}`);
    expect(ways).toEqual([
      'pcie of nouveau0 toDevice',
      'pcie of nouveau0 toHost',
      'pcie of hmm_dmirror0 toDevice',
      'pcie of hmm_dmirror0 toHost',
    ]);
    const [down, , there, back] = report.links;
    // 64 sectors and 32 pages; then the dmirror takes 64 pages, and they come home one by one.
    expect([down!.bytes, down!.transfers]).toEqual([64 * 32 + 32 * 4096, 96]);
    expect([there!.bytes, there!.transfers]).toEqual([64 * 4096, 1]);
    expect([back!.bytes, back!.transfers]).toEqual([64 * 4096, 64]);
    for (const { utilisation, busyNs, bytes, bytesPerSecond, busyBytesPerSecond } of report.links) {
      expect(utilisation).toBeCloseTo(busyNs / report.totalNs, 9);
      expect(utilisation).toBeLessThanOrEqual(1);
      expect(bytesPerSecond).toBeCloseTo((bytes * 1e9) / report.totalNs, 3);
      expect(busyBytesPerSecond).toBeGreaterThan(12e9);
      expect(busyBytesPerSecond).toBeLessThan(15.754e9);
    }
  });

  it('of a machine without time has nothing in it', () => {
    const { machine } = answersOf(PROGRAM, { accounts: true });
    const { timing, totalNs, threads, links } = makeTimeReport(machine);
    expect([timing, totalNs, threads, links]).toEqual([null, 0, [], []]);
  });
});

describe('tasks at one time', () => {
  it('each account for all of their time, waiting for locks and for the link in it', () => {
    const machine = new Machine({ timing: timingOf({ copySetupNs: 10 }), accounts: true });
    const device = machine.attach(new Dmirror());
    const gpu = machine.attach(new Nouveau());
    const proc = machine.createProcess();
    const file = device.open(proc);
    const gpuFile = gpu.open(proc);
    const buffers = Array.from({ length: 4 }, () => proc.mmap({ pages: 32 }));
    for (const buffer of buffers) {
      for (let i = 0; i < 32; i++) proc.store32(buffer + i * 4096, i);
    }
    const ends: Map<string, number> = new Map();
    const startNs = machine.scheduler.nowNs;
    function* noting(name: string, task: Task<unknown>): Task<void> {
      yield* task;
      // What it owes passes before it is through.
      const { scheduler } = machine;
      if (scheduler.owing) yield* scheduler.pay();
      ends.set(name, scheduler.nowNs - startNs);
    }
    const tasks: [string, Task<unknown>][] = [
      ['mirror', file.migrateToDevTask(buffers[0]!, 32)],
      ['bind', gpuFile.svmBindTask(buffers[1]!, 32 * 4096)],
      ['mremap', proc.munmapTask(buffers[2]!, 32 * 4096)],
      ['job', gpuFile.executeTask([{ kind: 'read', va: buffers[3]!, bytes: 4096 }])],
    ];
    for (const [name, task] of tasks) machine.spawn(name, noting(name, task));
    machine.runAll();
    const { threads } = makeTimeReport(machine);
    for (const [name] of tasks) {
      const spent = threads.find(({ thread }) => thread === name)?.totalNs ?? 0;
      expect(spent, name).toBeCloseTo(ends.get(name)!, 3);
    }
    expect(threads.some(({ byReason }) => (byReason.lock ?? 0) > 0)).toBe(true);
  });
});

describe('a task that ends owing time', () => {
  it('is done when that has passed', () => {
    const machine = new Machine({ accounts: true });
    const { scheduler } = machine;
    // biome-ignore lint/correctness/useYield: it never waits, which is the point
    function* busy(): Task<number> {
      scheduler.charge(500);
      return 7;
    }
    const thread = machine.spawn('busy', busy());
    machine.runAll();
    expect([thread.result, thread.state, scheduler.nowNs]).toEqual([7, 'done', 500]);
    expect(makeTimeReport(machine).threads).toMatchObject([{ thread: 'busy', totalNs: 500 }]);
  });
});

describe('many CPU threads behind one mutex', () => {
  /** Each of `count` threads of the process touches secure pages of its own; all of their times. */
  function storm(count: number): { readonly lockNs: number; readonly totalNs: number } {
    const timing = {
      ...NO_TIME,
      secure: { ...NO_SECURE_TIME, encryptBytesPerSecond: 65_536e9 / 1000 },
    };
    const pageSize = 64 * KiB;
    const machine = new Machine({ timing, accounts: true, pageSize });
    const kvm = machine.attach(new KvmUvmem());
    const proc = machine.createProcess();
    const vm = kvm.open(proc);
    const pages = 4 * count;
    const buffer = proc.mmap({ pages });
    for (let i = 0; i < pages; i++) proc.store32(buffer + i * pageSize, i);
    expect(vm.setMemoryRegion({ slot: 0, gfn: 0, pages, address: buffer })).toBe(0);
    expect(vm.esm()).toBe(0);
    function* touch(first: number): Task<void> {
      for (let i = 0; i < 4; i++) yield* proc.loadTask(buffer + (first + i) * pageSize);
    }
    for (let i = 0; i < count; i++) machine.spawn(`cpu ${i}`, touch(4 * i));
    machine.runAll();
    const { threads } = makeTimeReport(machine);
    const cpus = threads.filter(({ thread }) => thread.startsWith('cpu '));
    expect(cpus).toHaveLength(count);
    const sum = (each: (thread: ThreadTime) => number): number =>
      cpus.reduce((total, thread) => total + each(thread), 0);
    const behind = ({ spent }: ThreadTime): number =>
      spent.find(({ label }) => label.startsWith('uvmem_lock'))?.ns ?? 0;
    return { lockNs: sum(behind), totalNs: sum(({ totalNs }) => totalNs) };
  }

  it('wait for it more and more', () => {
    const shares = [1, 2, 4, 8].map((count) => {
      const { lockNs, totalNs } = storm(count);
      return lockNs / totalNs;
    });
    expect(shares[0]).toBe(0);
    expect(shares).toEqual([...shares].sort((a, b) => a - b));
    expect(shares.at(-1)).toBeGreaterThan(0.8);
  });
});
