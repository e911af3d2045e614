// GPUs at work: several on one buffer, a fault buffer that is too small, jobs side by side.

import { describe, expect, it } from 'vitest';
import { Machine } from '../../src/core/machine.ts';
import type { Task } from '../../src/core/sched/task.ts';
import type { Thread } from '../../src/core/sched/thread.ts';
import { MiB, PAGE_SIZE, type Va } from '../../src/core/units.ts';
import { Dmirror } from '../../src/drivers/dmirror/index.ts';
import { Nouveau } from '../../src/drivers/nouveau/index.ts';
import type { GpuAccess } from '../../src/hw/gpu.ts';
import { GpuLab } from './nouveau-lab.ts';

describe('two GPUs on one buffer', () => {
  it('pull it back and forth through RAM, and every read gives the last write', () => {
    const lab = new GpuLab({ gpus: 2 });
    const [one, two] = lab.files;
    const va = lab.buffer(8, 100);
    lab.bind(va, 8, one);
    expect(lab.read(va, 8, two)).toEqual([100, 101, 102, 103, 104, 105, 106, 107]);
    expect(lab.owners(va, 8)).toEqual(new Array(8).fill('system'));
    lab.write(va, 8, 200, two);
    lab.bind(va, 4, one);
    lab.bind(lab.at(va, 4), 4, two);
    expect(lab.read(va, 8, one)).toEqual([200, 201, 202, 203, 204, 205, 206, 207]);
    expect(lab.owners(va, 8)).toEqual([
      ...new Array(4).fill('nouveau0'),
      ...new Array(4).fill('system'),
    ]);
    expect(lab.proc.load32(lab.at(va, 3))).toBe(203);
    lab.verify();
  });

  it('never take what the other one has', () => {
    const lab = new GpuLab({ gpus: 2 });
    const va = lab.buffer(4, 100);
    lab.bind(va, 4, lab.files[0]);
    lab.bind(va, 4, lab.files[1]);
    expect(lab.owners(va, 4)).toEqual(new Array(4).fill('nouveau0'));
    expect(lab.gpus[1]!.pagesInUse).toBe(0);
    lab.gpus[1]!.remove();
    expect(lab.owners(va, 4)).toEqual(new Array(4).fill('nouveau0'));
    lab.gpus[0]!.remove();
    expect(lab.proc.load32(lab.at(va, 2))).toBe(102);
    expect(lab.machine.kernel.trespasses).toBe(0);
    lab.verify();
  });

  it('share it with a dmirror', () => {
    const lab = new GpuLab();
    const mirror = lab.machine.attach(new Dmirror()).open(lab.proc);
    const va = lab.buffer(4, 100);
    lab.bind(va, 2);
    expect(mirror.migrateToDev(lab.at(va, 2), 2).ret).toBe(0);
    expect(lab.read(va, 4)).toEqual([100, 101, 102, 103]);
    expect(mirror.read(va, 4).data).toEqual(Uint32Array.of(100, 101, 102, 103));
    expect(mirror.write(va, [1, 2, 3, 4]).ret).toBe(0);
    lab.verify();
    expect(lab.read(va, 4)).toEqual([1, 2, 3, 4]);
  });

  it('add to one counter with atomics, in turn', () => {
    const lab = new GpuLab({ gpus: 3, mended: true });
    const va = lab.buffer(1);
    for (let round = 0; round < 6; round++) {
      const file = lab.files[round % 3]!;
      expect(lab.execute([{ kind: 'atomic', va, value: 7 }], file)).toEqual([round * 7]);
    }
    expect(lab.proc.load32(va)).toBe(42);
  });

  it('cannot take a page for atomics that another one has taken, unless they are mended', () => {
    const lab = new GpuLab({ gpus: 2 });
    const va = lab.buffer(1);
    expect(lab.execute([{ kind: 'atomic', va, value: 7 }], lab.files[0])).toEqual([0]);
    expect(lab.files[1]!.execute([{ kind: 'atomic', va, value: 7 }]).ret).toBe(-16);
    expect(lab.proc.load32(va)).toBe(7);
    lab.verify();
  });
});

describe('a fault buffer that is too small', () => {
  it.each([2, 3, 5, 8])('with %i entries loses nothing', (faultEntries) => {
    const lab = new GpuLab({ faultEntries });
    const va = lab.buffer(50, 100);
    expect(lab.read(va, 50)).toEqual(Array.from({ length: 50 }, (_, i) => 100 + i));
    expect(lab.gpu.gpu.faultBuffer.overflows).toBeGreaterThan(0);
    lab.write(va, 50, 300);
    expect(lab.proc.load32(lab.at(va, 49))).toBe(349);
    expect(lab.gpu.gpu.stalled).toBe(0);
    lab.verify();
  });

  it('copes with duplicates of every kind', () => {
    const lab = new GpuLab({ faultEntries: 4 });
    const va = lab.buffer(3);
    const job: GpuAccess[] = [];
    for (let i = 0; i < 30; i++) {
      const at = lab.at(va, i % 3);
      job.push({ kind: 'read', va: at }, { kind: 'write', va: at + 4, value: i });
    }
    const results = lab.execute(job);
    expect(results).toEqual(new Array(60).fill(0));
    expect([0, 1, 2].map((i) => lab.proc.load32(lab.at(va, i) + 4))).toEqual([27, 28, 29]);
    lab.verify();
  });

  it('lets other channels go on when one of them is cancelled', () => {
    const lab = new GpuLab({ faultEntries: 3 });
    const va = lab.buffer(20, 100);
    const other = lab.machine.createProcess();
    const file = lab.gpu.open(other);
    const bad: GpuAccess[] = lab.each(0x1000_0000, 20).map((at) => ({ kind: 'read', va: at }));
    const good: GpuAccess[] = lab.each(va, 20).map((at) => ({ kind: 'read', va: at }));
    const done: Map<string, unknown> = new Map();
    const spawn = (name: string, task: Task<unknown>): void => {
      lab.machine.spawn(
        name,
        (function* (): Task<void> {
          done.set(name, yield* task);
        })(),
      );
    };
    spawn('bad', file.executeTask(bad));
    spawn('good', lab.file.executeTask(good));
    lab.machine.runAll();
    expect(done.get('bad')).toEqual({ ret: -14, results: new Array(20).fill(-1) });
    const results = Array.from({ length: 20 }, (_, i) => 100 + i);
    expect(done.get('good')).toEqual({ ret: 0, results });
    lab.verify();
  });

  it('leaves nobody waiting when the only faults in it are cancelled', () => {
    const lab = new GpuLab({ faultEntries: 2 });
    const other = lab.machine.createProcess();
    const file = lab.gpu.open(other);
    const va = lab.buffer(1, 5);
    let read: unknown;
    lab.machine.spawn('bad', file.executeTask([{ kind: 'read', va: 0x1000 }]));
    lab.machine.spawn(
      'good',
      (function* (): Task<void> {
        read = (yield* lab.file.executeTask([{ kind: 'read', va }])).results;
      })(),
    );
    lab.machine.runAll();
    expect(read).toEqual([5]);
  });
});

describe('jobs side by side', () => {
  /** Chooses among runnable threads by a fixed sequence of pseudo-random numbers. */
  function shuffled(seed: number): (runnable: readonly Thread[]) => number {
    let state = seed;
    return (runnable) => {
      state = (state * 48_271) % 2_147_483_647;
      return state % runnable.length;
    };
  }

  /** Two GPUs and the CPU each work on their own word of every page, and the pages move about. */
  function race(seed: number, mended: boolean): void {
    const strategy = shuffled(seed);
    const machine = new Machine({ ramBytes: 16 * MiB, strategy });
    const options = { vramBytes: 2 * MiB, faultEntries: 4, copyLatencyNs: 50, mended };
    const gpus = [machine.attach(new Nouveau(options)), machine.attach(new Nouveau(options))];
    const proc = machine.createProcess();
    const files = gpus.map((gpu) => gpu.open(proc));
    const pages = 5;
    const va = proc.mmap({ pages });
    const at = (i: number, word: number): Va => va + i * PAGE_SIZE + word * 4;
    const rounds = 6;
    files.forEach((file, gpu) => {
      machine.spawn(
        `job ${gpu}`,
        (function* (): Task<void> {
          for (let round = 1; round <= rounds; round++) {
            const job = Array.from({ length: pages }, (_, i): GpuAccess[] => [
              { kind: 'read', va: at(i, gpu) },
              { kind: 'write', va: at(i, gpu), value: round },
            ]).flat();
            const { ret, results } = yield* file.executeTask(job);
            expect(ret).toBe(0);
            const reads = results.filter((_, index) => index % 2 === 0);
            for (const value of reads) expect([round - 1, round]).toContain(value);
            if (round % 2 === 0) yield* file.svmBindTask(va, pages * PAGE_SIZE);
          }
        })(),
      );
    });
    machine.spawn(
      'cpu',
      (function* (): Task<void> {
        for (let round = 1; round <= rounds; round++) {
          for (let i = 0; i < pages; i++) {
            expect(yield* proc.loadTask(at(i, 2))).toBe(round - 1);
            expect(yield* proc.storeTask(at(i, 2), round)).toBe(0);
          }
        }
      })(),
    );
    machine.runAll();
    expect(machine.verify({ full: true })).toEqual([]);
    for (let i = 0; i < pages; i++) {
      expect([0, 1, 2].map((word) => proc.load32(at(i, word)))).toEqual([rounds, rounds, rounds]);
    }
    expect(machine.kernel.trespasses).toBe(0);
    for (const gpu of gpus) expect(gpu.staleMappings()).toEqual([]);
  }

  it.each(Array.from({ length: 40 }, (_, i) => i + 1))('in order %i on mended GPUs', (seed) => {
    race(seed * 7919, true);
  });
});
