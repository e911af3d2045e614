// What nouveau did before v6.1: selection, events, atomics and removal, era by era.

import { describe, expect, it } from 'vitest';
import type { EraName } from '../../src/core/era.ts';
import { ACCESS_SIGBUS } from '../../src/core/process.ts';
import { Delay, type Task } from '../../src/core/sched/task.ts';
import { KiB, PAGE_SIZE, type Va } from '../../src/core/units.ts';
import { errorOf } from '../core/tasks.ts';
import { GpuLab } from './nouveau-lab.ts';

const ALL: readonly EraName[] = ['v5.6', 'v5.7', 'v5.10', 'v6.1', 'v6.12'];
const BEFORE_V6_1: readonly EraName[] = ['v5.6', 'v5.7', 'v5.10'];

function twoGpus(era: EraName): { lab: GpuLab; va: Va } {
  const lab = new GpuLab({ era, gpus: 2 });
  const va = lab.buffer(2, 5);
  lab.bind(va, 1, lab.files[1]);
  expect(lab.owners(va, 2)).toEqual(['nouveau1', 'system']);
  return { lab, va };
}

describe.each(ALL)('in %s', (era) => {
  it('pages go to VRAM and come home with what they hold', () => {
    const lab = new GpuLab({ era });
    const va = lab.buffer(3, 5);
    lab.bind(va, 3);
    expect(lab.owners(va, 3)).toEqual(new Array(3).fill('nouveau0'));
    expect(lab.read(va, 3)).toEqual([5, 6, 7]);
    lab.write(va, 2, 20);
    expect(lab.owners(va, 3)).toEqual(new Array(3).fill('nouveau0'));
    expect(lab.proc.load32(lab.at(va, 1))).toBe(21);
    lab.proc.store32(lab.at(va, 1), 30);
    expect(lab.read(va, 3)).toEqual([20, 30, 7]);
    lab.verify();
  });

  it('a process that ends leaves nothing on the GPU', () => {
    const lab = new GpuLab({ era });
    const va = lab.buffer(3, 5);
    lab.bind(va, 3);
    lab.read(va, 3);
    lab.proc.exit();
    expect(lab.gpu.pagesInUse).toBe(0);
    lab.verify();
  });
});

describe('v5.6: no owner is asked', () => {
  it("a bind takes another GPU's page, and reads what its bus does not answer", () => {
    const { lab, va } = twoGpus('v5.6');
    const events = lab.eventsOf(() => expect(lab.file.svmBind(va, 2 * PAGE_SIZE)).toBe(0));
    expect(lab.owners(va, 2)).toEqual(['nouveau0', 'nouveau0']);
    expect(lab.gpus[1]!.pagesInUse).toBe(0);
    expect(lab.proc.load32(va)).toBe(0xffffffff);
    expect(lab.proc.load32(lab.at(va, 1))).toBe(6);
    const trespasses = events.filter(({ kind }) => kind === 'trespass');
    expect(trespasses).toMatchObject([
      { by: 'nouveau0', what: 'migrate', owner: lab.gpus[1] },
      { by: 'nouveau0', what: 'read', owner: lab.gpus[1] },
    ]);
    expect(lab.machine.kernel.trespasses).toBe(2);
    lab.verify();
  });

  it.each(ALL.filter((era) => era !== 'v5.6'))('in %s the page stays whose it is', (era) => {
    const { lab, va } = twoGpus(era);
    lab.bind(va, 2);
    expect(lab.owners(va, 2)).toEqual(['nouveau1', 'nouveau0']);
    expect(lab.proc.load32(va)).toBe(5);
    expect(lab.machine.kernel.trespasses).toBe(0);
    lab.verify();
  });
});

describe('v5.6 and v5.7: migrations are not told apart', () => {
  it.each(['v5.6', 'v5.7'] as const)('in %s its own makes the GPU forget', (era) => {
    const lab = new GpuLab({ era });
    const va = lab.buffer(2, 5);
    lab.read(va, 2);
    expect(lab.mappings(va, 2)).toEqual(['rw', 'rw']);
    const events = lab.eventsOf(() => lab.bind(va, 1));
    expect(events.find(({ kind }) => kind === 'invalidate_call')).toMatchObject({
      event: 'clear',
      owner: null,
      ignored: false,
    });
    // What moved is not mapped until the GPU asks for it.
    expect(lab.mappings(va, 2)).toEqual([null, 'rw']);
    expect(lab.read(va, 2)).toEqual([5, 6]);
    expect(lab.mappings(va, 2)).toEqual(['rw', 'rw']);
  });

  it('since v5.9 they are, and what moved is mapped at once', () => {
    const lab = new GpuLab({ era: 'v5.10' });
    const va = lab.buffer(2, 5);
    lab.read(va, 2);
    const events = lab.eventsOf(() => lab.bind(va, 1));
    expect(events.find(({ kind }) => kind === 'invalidate_call')).toMatchObject({
      event: 'migrate',
      owner: lab.gpu,
      ignored: true,
    });
    expect(lab.mappings(va, 2)).toEqual(['rw', 'rw']);
  });

  it.each(['v5.6', 'v5.7'] as const)('in %s a bind leaves holes alone', (era) => {
    const lab = new GpuLab({ era });
    const va = lab.buffer(2);
    lab.proc.store32(lab.at(va, 1), 5);
    lab.bind(va, 2);
    expect(lab.owners(va, 2)).toEqual([null, 'nouveau0']);
    expect(lab.gpu.engine.done).toBe(1);
  });
});

describe('before v5.14: no exclusive access', () => {
  it.each(BEFORE_V6_1)('in %s an atomic access is a write', (era) => {
    const lab = new GpuLab({ era });
    const va = lab.buffer(3, 5);
    lab.bind(va, 1);
    const job = lab.each(va, 3).map((at) => ({ kind: 'atomic', va: at, value: 10 }) as const);
    expect(lab.execute(job)).toEqual([5, 6, 7]);
    expect(lab.mappings(va, 3)).toEqual(['rw', 'rw', 'rw']);
    expect(lab.owners(va, 3)).toEqual(['nouveau0', 'system', 'system']);
    expect(lab.proc.load32(va)).toBe(15);
    lab.verify();
  });

  it.each(BEFORE_V6_1)('in %s a write leads, so that one fault serves all of a page', (era) => {
    const lab = new GpuLab({ era });
    const va = lab.buffer(1);
    const replays: number[] = [];
    lab.machine.events.on('fault_replay', ({ faults }) => replays.push(faults));
    lab.execute([
      { kind: 'read', va },
      { kind: 'write', va, value: 7 },
    ]);
    expect(replays).toEqual([2]);
  });
});

describe("before v5.19: hmm_range_fault knows no other owner's pages", () => {
  it.each(BEFORE_V6_1)('in %s a GPU that reads one dies', (era) => {
    const { lab, va } = twoGpus(era);
    expect(lab.file.execute([{ kind: 'read', va }])).toEqual({ ret: -14, results: [-1] });
    expect(lab.owners(va, 1)).toEqual(['nouveau1']);
    lab.verify();
  });
});

describe('before v6.1: the CPU fault', () => {
  it.each(BEFORE_V6_1)('in %s a failed copy leaves the page where it was', (era) => {
    const lab = new GpuLab({ era });
    const va = lab.buffer(1, 5);
    lab.bind(va, 1);
    lab.gpu.engine.failAfter(1);
    expect(lab.proc.tryLoad32(va)).toBe(ACCESS_SIGBUS);
    expect(lab.owners(va, 1)).toEqual(['nouveau0']);
    lab.verify();
    expect(lab.proc.load32(va)).toBe(5);
  });

  it.each(BEFORE_V6_1)('in %s a lack of RAM is SIGBUS', (era) => {
    const lab = new GpuLab({ era, ramBytes: 64 * KiB });
    const va = lab.buffer(16, 5);
    lab.bind(va, 1);
    lab.buffer(1, 9);
    expect(lab.proc.tryLoad32(va)).toBe(ACCESS_SIGBUS);
    lab.verify();
  });
});

describe('before v6.1: removal', () => {
  it.each(BEFORE_V6_1)('in %s waits until the processes have freed all pages', (era) => {
    const lab = new GpuLab({ era });
    const va = lab.buffer(2, 5);
    lab.bind(va, 2);
    lab.machine.spawn(
      'user',
      (function* (): Task<void> {
        yield new Delay(100);
        yield* lab.proc.loadTask(va);
        yield new Delay(100);
        yield* lab.proc.munmapTask(va, 2 * PAGE_SIZE);
      })(),
    );
    expect(lab.gpu.remove()).toBe(0);
    expect(lab.machine.scheduler.nowNs).toBe(200);
    // The warning of pages still in use came together with the eviction.
    expect(lab.gpu.warnings).toEqual([]);
    lab.verify();
  });

  it.each(BEFORE_V6_1)('in %s hangs where nobody frees them', (era) => {
    const lab = new GpuLab({ era });
    const va = lab.buffer(2, 5);
    lab.bind(va, 2);
    const error = errorOf(() => lab.gpu.remove());
    expect(error.code).toBe('deadlock');
    expect(error.message).toContain('the last of 2 pages of nouveau0 chunk 0');
  });
});
