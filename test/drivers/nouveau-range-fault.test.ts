// What one fault of the GPU comes to: facts 8.7, the range fault and the atomic fault.

import { describe, expect, it } from 'vitest';
import { ENOMEM } from '../../src/core/errno.ts';
import {
  type IntervalNotifier,
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  type NotifierRange,
  type NotifyEvent,
} from '../../src/core/hmm/notifier.ts';
import {
  HMM_PFN_REQ_FAULT,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  hmmPfnPage,
  hmmRangeFault,
} from '../../src/core/hmm/range-fault.ts';
import { PTE_DEVICE_EXCLUSIVE, PTE_PRESENT, PTE_WRITE } from '../../src/core/mm/pte.ts';
import { Delay, settle, type Task } from '../../src/core/sched/task.ts';
import { MiB, PAGE_SIZE } from '../../src/core/units.ts';
import { GPU_PTE_VRAM } from '../../src/hw/gpu-page-table.ts';
import { access } from './nouveau-faults.ts';
import { GpuLab } from './nouveau-lab.ts';

describe('8.7 what an access asks for', () => {
  it('a read takes the zero page, and no more', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1);
    expect(lab.read(va)).toEqual([0]);
    expect(lab.mappings(va, 1)).toEqual(['r']);
    expect(lab.entryAt(va)).toBe(PTE_PRESENT);
    expect(lab.pageAt(va)).toBe(0);
  });

  it('a write takes a page that may be written', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1);
    lab.write(va, 1, 9);
    expect(lab.mappings(va, 1)).toEqual(['rw']);
    expect(lab.proc.load32(va)).toBe(9);
  });

  it('a prefetch takes what is there', () => {
    const lab = new GpuLab();
    const va = lab.buffer(2);
    lab.proc.store32(va, 5);
    lab.execute([access('prefetch', va), access('prefetch', lab.at(va, 1))]);
    expect(lab.mappings(va, 2)).toEqual(['rw', null]);
    expect(lab.entryAt(lab.at(va, 1))).toBe(0);
  });

  it('a prefetch of nothing does no harm, where a read kills the channel', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1);
    lab.proc.munmap(va, PAGE_SIZE);
    lab.execute([access('prefetch', va)]);
    expect(lab.file.execute([access('read', va)])).toEqual({ ret: -14, results: [-1] });
    expect(lab.file.channel!.instance.dead).toBe(true);
    lab.verify();
  });

  it('-EPERM for a write where the process may only read', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    lab.proc.mprotect(va, PAGE_SIZE, 'r');
    expect(lab.read(va)).toEqual([5]);
    expect(lab.file.execute([access('write', va, 6)]).ret).toBe(-1);
    expect(lab.proc.load32(va)).toBe(5);
  });
});

describe('8.7 order', () => {
  it('is 0 always: there are no huge pages here, a word names one page and nothing else', () => {
    const lab = new GpuLab();
    const hugeBytes = 2 * MiB;
    const first = lab.buffer(1024);
    const va = Math.ceil(first / hugeBytes) * hugeBytes;
    for (const at of lab.each(va, 512)) lab.proc.store32(at, 7);
    const { mm } = lab.proc;
    const ops = { name: 'test', invalidate: () => true };
    const notifier = mmuIntervalNotifierInsert(mm, ops, va, va + hugeBytes) as IntervalNotifier;
    const hmmPfns = new Uint32Array(512);
    lab.machine.run(
      (function* (): Task<void> {
        yield* mm.mmapLock.read();
        const notifierSeq = yield* mmuIntervalReadBegin(notifier);
        const range = { notifier, notifierSeq, start: va, end: va + hugeBytes, hmmPfns };
        const wanted = { defaultFlags: HMM_PFN_REQ_FAULT, pfnFlagsMask: 0, devPrivateOwner: null };
        expect(yield* hmmRangeFault({ ...range, ...wanted })).toBe(0);
        mm.mmapLock.unlockRead();
        yield* mmuIntervalNotifierRemove(notifier);
      })(),
    );
    const pages = lab.each(va, 512).map((at) => lab.pageAt(at));
    expect([...hmmPfns].map(hmmPfnPage)).toEqual(pages);
    // Below the page number stand VALID and WRITE, and no bit of an order.
    expect(new Set([...hmmPfns].map((word, i) => word - pages[i]! * 64))).toEqual(
      new Set([HMM_PFN_VALID | HMM_PFN_WRITE]),
    );
    // So a fault maps the page that was touched, and none beside it.
    lab.read(lab.at(va, 1));
    expect(lab.mappings(va, 4)).toEqual([null, 'rw', null, null]);
  });
});

describe('8.7 the range fault', () => {
  it('finds pages of its own GPU in VRAM, all others on the host', () => {
    const lab = new GpuLab({ gpus: 2 });
    const va = lab.buffer(2, 5);
    lab.bind(va, 1);
    lab.file.svmm!.vmm!.unmap(0, 2 ** 40);
    lab.read(va, 2);
    const flags = lab.each(va, 2).map((at) => lab.gpu.entryAt(lab.proc, at)!.flags & GPU_PTE_VRAM);
    expect(flags).toEqual([GPU_PTE_VRAM, 0]);
    expect(lab.owners(va, 2)).toEqual(['nouveau0', 'system']);
  });

  it("brings another GPU's page home first", () => {
    const lab = new GpuLab({ gpus: 2 });
    const va = lab.buffer(1, 5);
    lab.bind(va, 1, lab.files[1]);
    expect(lab.read(va)).toEqual([5]);
    expect(lab.owners(va, 1)).toEqual(['system']);
    expect(lab.gpus[1]!.mappingOf(lab.proc, va)).toBeNull();
    expect(lab.machine.kernel.trespasses).toBe(0);
  });

  it('gives up after 1000 ms: -EBUSY', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    const { notifiers } = lab.proc.mm;
    const readBegin = notifiers.readBegin.bind(notifiers);
    // Each time the answer is overtaken before it comes.
    notifiers.readBegin = function* (notifier) {
      const seq = yield* settle(readBegin(notifier));
      notifier.invalidateSeq += 2;
      return seq;
    };
    expect(lab.file.execute([access('read', va)])).toEqual({ ret: -16, results: [-1] });
    const ms = lab.machine.scheduler.nowNs / 1_000_000;
    expect(ms).toBeGreaterThanOrEqual(1000);
    expect(ms).toBeLessThan(1010);
  });

  it('asks again while its answers are overtaken', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    const { notifiers } = lab.proc.mm;
    const readBegin = notifiers.readBegin.bind(notifiers);
    let rounds = 0;
    notifiers.readBegin = function* (notifier) {
      const seq = yield* settle(readBegin(notifier));
      if (++rounds < 5) notifier.invalidateSeq += 2;
      return seq;
    };
    expect(lab.read(va)).toEqual([5]);
    expect(rounds).toBe(5);
  });

  /** How often a fault asks hmm while `event` happens between its answer and its turn to map. */
  function roundsWhile(event: NotifyEvent, by: 'itself' | 'nobody'): number {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    const { mm } = lab.proc;
    const { mutex } = lab.file.svmm!;
    const readBegin = mm.notifiers.readBegin.bind(mm.notifiers);
    let rounds = 0;
    mm.notifiers.readBegin = (notifier) => {
      rounds++;
      return readBegin(notifier);
    };
    const owner = by === 'itself' ? lab.gpu : null;
    const range: NotifierRange = { mm, start: va, end: lab.at(va, 1), event, owner };
    // Without mmap_lock the fault cannot ask, without the mutex nobody can go on.
    lab.machine.run(mm.mmapLock.write());
    lab.machine.run(mutex.lock());
    let done: unknown;
    lab.machine.spawn(
      'job',
      (function* (): Task<void> {
        done = yield* lab.file.executeTask([access('read', va)]);
      })(),
    );
    lab.machine.spawn(
      'change',
      (function* (): Task<void> {
        yield new Delay(10);
        const waiting = mm.notifiers.start(range);
        if (waiting !== undefined) yield* waiting;
        mm.notifiers.end(range);
      })(),
    );
    lab.machine.spawn(
      'holder',
      (function* (): Task<void> {
        yield new Delay(20);
        mm.mmapLock.unlockWrite();
        yield new Delay(20);
        mutex.unlock();
      })(),
    );
    lab.machine.runAll();
    expect(done).toEqual({ ret: 0, results: [5] });
    expect(lab.mappings(va, 1)).toEqual(['rw']);
    return rounds;
  }

  it('drops an answer that was overtaken before it could be mapped', () => {
    expect(roundsWhile('clear', 'nobody')).toBe(2);
    expect(roundsWhile('migrate', 'itself')).toBe(2);
    expect(roundsWhile('exclusive', 'itself')).toBe(1);
  });

  it.each(['read', 'atomic'] as const)('of a %s answers what its notifier answers', (kind) => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    const { notifiers } = lab.proc.mm;
    const { insert } = notifiers;
    notifiers.insert = () => -ENOMEM;
    expect(lab.file.execute([access(kind, va)])).toEqual({ ret: -ENOMEM, results: [-1] });
    notifiers.insert = insert;
    expect(lab.mappings(va, 1)).toEqual([null]);
    lab.verify();
  });

  it('removes its notifier, whatever happens', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    lab.read(va);
    lab.file.execute([access('read', 0x1000)]);
    expect(lab.proc.mm.notifiers.intervals).toEqual([]);
  });

  it('faults again where the page goes between the answer and the replay', () => {
    const lab = new GpuLab({ gpus: 2, copyLatencyNs: 100 });
    const va = lab.buffer(2, 5);
    lab.bind(lab.at(va, 1), 1, lab.files[1]);
    // The worker serves page 0, then waits for page 1 to come home; meanwhile page 0 changes.
    lab.machine.spawn(
      'change',
      (function* (): Task<void> {
        yield new Delay(10);
        yield* lab.proc.dontneedTask(va, PAGE_SIZE);
        yield* lab.proc.storeTask(va, 77);
      })(),
    );
    const job = [access('read', va), access('read', lab.at(va, 1))];
    expect(lab.file.execute(job).results).toEqual([77, 6]);
    lab.machine.runAll();
    lab.verify();
  });
});

describe('8.7 the atomic fault', () => {
  it('takes the page from the CPU, and maps it for atomics', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    expect(lab.execute([access('atomic', va, 10)])).toEqual([5]);
    expect(lab.entryAt(va)).toBe(PTE_DEVICE_EXCLUSIVE | PTE_WRITE);
    expect(lab.mappings(va, 1)).toEqual(['rwa']);
    expect(lab.gpu.entryAt(lab.proc, va)!.flags & GPU_PTE_VRAM).toBe(0);
    expect(lab.execute([access('atomic', va, 1), access('read', va)])).toEqual([15, 16]);
    // A touch takes it back.
    expect(lab.proc.load32(va)).toBe(16);
    expect(lab.mappings(va, 1)).toEqual([null]);
    lab.verify();
  });

  it('works on a page that was never touched', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1);
    expect(lab.execute([access('atomic', va, 3)])).toEqual([0]);
    expect(lab.proc.load32(va)).toBe(3);
  });

  it('-EINVAL where the page cannot be taken', () => {
    const lab = new GpuLab();
    const va = lab.proc.mmap({ pages: 1, shared: true });
    lab.proc.store32(va, 5);
    expect(lab.file.execute([access('atomic', va, 1)])).toEqual({ ret: -22, results: [-1] });
    lab.verify();
    expect(lab.file.revive()).toBe(true);
    expect(lab.file.execute([access('atomic', 0x1000, 1)]).ret).toBe(-22);
  });

  it('-EBUSY for a page of its own VRAM: what it tries again it takes from itself', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    lab.bind(va, 1);
    expect(lab.file.execute([access('atomic', va, 1)])).toEqual({ ret: -16, results: [-1] });
    expect(lab.proc.load32(va)).toBe(5);
    lab.verify();
  });

  it('-EBUSY for the zero page, which is copied first', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1);
    expect(lab.proc.load32(va)).toBe(0);
    expect(lab.file.execute([access('atomic', va, 1)]).ret).toBe(-16);
    lab.verify();
  });

  it('manages all of these if it is mended', () => {
    const lab = new GpuLab({ mended: true, gpus: 2 });
    const va = lab.buffer(4, 5);
    lab.bind(va, 1);
    lab.bind(lab.at(va, 1), 1, lab.files[1]);
    const zero = lab.buffer(1);
    lab.proc.load32(zero);
    const child = lab.proc.fork();
    const job = [...lab.each(va, 4), zero].map((at) => access('atomic', at, 10));
    expect(lab.execute(job)).toEqual([5, 6, 7, 8, 0]);
    expect(lab.proc.load32(lab.at(va, 1))).toBe(16);
    expect(child.load32(va)).toBe(5);
    lab.verify();
  });
});
