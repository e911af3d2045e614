// hmmPopulate: the answer is used only if no invalidation overtook it.

import { beforeEach, describe, expect, it } from 'vitest';
import { EBUSY, EFAULT } from '../../src/core/errno.ts';
import {
  type IntervalNotifier,
  mmuIntervalNotifierInsert,
  mmuIntervalSetSeq,
} from '../../src/core/hmm/notifier.ts';
import { hmmPopulate } from '../../src/core/hmm/populate.ts';
import {
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  hmmPfnPage,
} from '../../src/core/hmm/range-fault.ts';
import { Machine } from '../../src/core/machine.ts';
import type { Process } from '../../src/core/process.ts';
import { PAGE_SIZE, type Va } from '../../src/core/units.ts';
import { SmallDevice } from './device.ts';

describe('hmmPopulate', () => {
  let machine: Machine;
  let proc: Process;
  let va: Va;
  let notifier: IntervalNotifier;
  let heard: number;
  /** Comes in while mmap_lock is let go of, as another CPU could. */
  let between: () => void;

  beforeEach(() => {
    machine = new Machine();
    proc = machine.createProcess();
    va = proc.mmap({ pages: 4 });
    heard = 0;
    const made = mmuIntervalNotifierInsert(proc.mm, {
      name: 'test',
      invalidate: (changed, _, seq) => {
        heard++;
        mmuIntervalSetSeq(changed, seq);
        return true;
      },
    });
    notifier = made as IntervalNotifier;
    between = () => {};
    const { mmapLock } = proc.mm;
    const unlockRead = mmapLock.unlockRead.bind(mmapLock);
    mmapLock.unlockRead = () => {
      unlockRead();
      between();
    };
  });

  function populate(start: Va, end: Va, request: number, owner: SmallDevice | null = null) {
    const commits: number[][] = [];
    const options = { notifier, start, end, request, owner };
    const result = machine.run(
      hmmPopulate(options, (hmmPfns) => commits.push([...hmmPfns].map(hmmPfnPage))),
    );
    return { result, commits };
  }

  it('hands out the pages of the whole range, once', () => {
    const request = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
    const { result, commits } = populate(va, va + 4 * PAGE_SIZE, request);
    expect(result).toBe(0);
    const pages = [0, 1, 2, 3].map((i) => machine.pageAt(proc, va + i * PAGE_SIZE));
    expect(commits).toEqual([pages]);
    expect(proc.mm.mmapLock.locked).toBe(false);
  });

  it('asks again where an invalidation overtook the answer', () => {
    proc.store32(va, 1);
    let times = 3;
    between = () => {
      if (times-- <= 0) return;
      proc.dontneed(va, PAGE_SIZE);
      proc.store32(va, times + 10);
    };
    const { result, commits } = populate(va, va + PAGE_SIZE, HMM_PFN_REQ_FAULT);
    expect(result).toBe(0);
    expect(heard).toBeGreaterThanOrEqual(1);
    expect(commits).toEqual([[machine.pageAt(proc, va)]]);
  });

  it('gives up after a second of being overtaken', () => {
    between = () => {
      between = () => {};
      proc.dontneed(va, PAGE_SIZE);
      proc.store32(va, 1);
      between = again;
    };
    const again = between;
    const { result, commits } = populate(va, va + PAGE_SIZE, HMM_PFN_REQ_FAULT);
    expect(result).toBe(-EBUSY);
    expect(commits).toEqual([]);
    expect(proc.mm.mmapLock.locked).toBe(false);
  });

  it('commits nothing where a page cannot be had', () => {
    const { result, commits } = populate(va, va + 8 * PAGE_SIZE, HMM_PFN_REQ_FAULT);
    expect(result).toBe(-EFAULT);
    expect(commits).toEqual([]);
    expect(proc.mm.mmapLock.locked).toBe(false);
  });

  it("reports the owner's pages where they are, and brings those of others home", () => {
    const device = new SmallDevice(machine, 'device');
    proc.store32(va, 1);
    device.take(proc, va, 1);
    const page = machine.pageAt(proc, va);
    expect(populate(va, va + PAGE_SIZE, HMM_PFN_REQ_FAULT, device).commits).toEqual([[page]]);
    expect(populate(va, va + PAGE_SIZE, HMM_PFN_REQ_FAULT).result).toBe(0);
    expect(machine.ownerOf(proc, va)).toBe('system');
  });
});

describe('a page to migrate to', () => {
  it('comes locked, with one reference, from RAM and from a free list', () => {
    const machine = new Machine({ ramBytes: PAGE_SIZE });
    const { pages } = machine.kernel;
    const page = pages.allocateLocked();
    expect([pages.refcount[page], pages.isLocked(page)]).toEqual([1, true]);
    expect(pages.allocateLocked()).toBe(0);
    pages.unlock(page);
    pages.put(page);
    expect(pages.ramUsed).toBe(0);
  });
});
