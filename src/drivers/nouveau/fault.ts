/**
 * One GPU fault: what the CPU's page table says of a page goes into the GPU's. Reference:
 * nouveau_range_fault and nouveau_atomic_range_fault in nouveau_svm.c of Linux 6.1.
 */
import { EBUSY, EFAULT, EINVAL } from '../../core/errno.ts';
import { makeDeviceExclusiveRange } from '../../core/hmm/exclusive.ts';
import {
  type IntervalNotifier,
  type IntervalNotifierOps,
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
  type NotifierRange,
} from '../../core/hmm/notifier.ts';
import { hmmPopulate } from '../../core/hmm/populate.ts';
import {
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  hmmPfnPage,
} from '../../core/hmm/range-fault.ts';
import type { Owner } from '../../core/pagemap/pagemap.ts';
import { Delay, type MaybeTask, type Task } from '../../core/sched/task.ts';
import { NO_PAGE, type Page, type Va } from '../../core/units.ts';
import {
  GPU_PTE_ATOMIC,
  GPU_PTE_VALID,
  GPU_PTE_VRAM,
  GPU_PTE_WRITE,
} from '../../hw/gpu-page-table.ts';
import type { Svmm } from './svmm.ts';

/** HMM_RANGE_DEFAULT_TIMEOUT. */
const TIMEOUT_NS = 1_000_000_000;
/** So many tries cost no time; each further one waits, so that time runs out and others get on. */
const TRIES_AT_ONCE = 16;
const RETRY_NS = 1_000_000;

const WRITE_REQUEST: number = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;

/** What became of a fault. */
export interface FaultAnswer {
  /** 0 or -errno. */
  readonly result: number;
  /** GPU_PTE_* bits of the entry that was made; 0 if none was. */
  readonly flags: number;
}

function failed(result: number): FaultAnswer {
  return { result, flags: 0 };
}

/** Makes a page available to the GPU with the HMM_PFN_REQ_* bits it asks for. */
export function rangeFault(svmm: Svmm, start: Va, request: number): Task<FaultAnswer> {
  return watched(svmm, start, function* (notifier) {
    const { device } = svmm;
    let isReadOnly = false;
    let answer = failed(0);
    const enter = (word: number): void => {
      answer = mapPage(svmm, start, word);
    };
    let result = yield* populate(svmm, notifier, request, device, (word) => {
      isReadOnly = device.mended && request === WRITE_REQUEST && (word & HMM_PFN_WRITE) === 0;
      if (!isReadOnly) enter(word);
    });
    // Its own page, but read-only: only in RAM can it become writable.
    if (isReadOnly) result = yield* populate(svmm, notifier, request, null, enter);
    return result === 0 ? answer : failed(result);
  });
}

/**
 * Takes a page of RAM from the CPU, for atomic operations.
 *
 * Where anything but the taking itself changed the page meanwhile (it came home from VRAM, or was
 * copied on write) the answer counts as overtaken, and to try again the page is first given back
 * to the CPU, which overtakes the next answer too. So such a page ends in -EBUSY when the time is
 * up. `mended` devices have the page in RAM and writable before they take it.
 */
export function atomicFault(svmm: Svmm, start: Va): Task<FaultAnswer> {
  return watched(svmm, start, function* (notifier) {
    const retries = new Retries(svmm);
    while (yield* retries.next()) {
      if (svmm.device.mended) {
        const found = yield* populate(svmm, notifier, WRITE_REQUEST, null, () => {});
        if (found !== 0) return failed(found);
      }
      const seq = yield* mmuIntervalReadBegin(notifier);
      const page = yield* takeExclusive(svmm, start);
      if (page === null) return failed(-EINVAL);
      if (!svmm.mutex.tryLock()) yield* svmm.mutex.lock();
      const stale = mmuIntervalReadRetry(notifier, seq);
      const flags = GPU_PTE_VALID | GPU_PTE_WRITE | GPU_PTE_ATOMIC;
      const inForce = stale ? 0 : svmm.pfnMap(start, page, flags);
      svmm.mutex.unlock();
      if (!stale || !svmm.device.defects.has('keeps_lock')) {
        svmm.mm.pages.unlock(page);
        svmm.mm.pages.put(page);
      }
      if (!stale) return { result: 0, flags: inForce };
    }
    return failed(-EBUSY);
  });
}

/** Runs `serve` with an interval notifier for the page at `start`. */
function* watched(
  svmm: Svmm,
  start: Va,
  serve: (notifier: IntervalNotifier) => Task<FaultAnswer>,
): Task<FaultAnswer> {
  const { mm } = svmm;
  const notifier = mmuIntervalNotifierInsert(mm, watcherOf(svmm), start, start + mm.pageSize);
  if (typeof notifier === 'number') return failed(notifier);
  try {
    return yield* serve(notifier);
  } finally {
    yield* mmuIntervalNotifierRemove(notifier);
  }
}

/**
 * nouveau_svm_range_invalidate. It only marks the answer as overtaken: the notifier of the whole
 * address space, which comes after it, makes the GPU forget.
 */
function watcherOf(svmm: Svmm): IntervalNotifierOps {
  const { mutex, device } = svmm;
  function* later(notifier: IntervalNotifier, seq: number): Task<boolean> {
    yield* mutex.lock();
    mmuIntervalSetSeq(notifier, seq);
    mutex.unlock();
    return true;
  }
  return {
    name: device.name,
    invalidate(notifier, range: NotifierRange, seq): MaybeTask<boolean> {
      if (range.event === 'exclusive' && range.owner === device) return true;
      if (!mutex.tryLock()) return range.blockable === false ? false : later(notifier, seq);
      mmuIntervalSetSeq(notifier, seq);
      mutex.unlock();
      return true;
    },
  };
}

/** Tries until the time is up. */
class Retries {
  readonly #svmm: Svmm;
  readonly #untilNs: number;
  #tries = 0;

  constructor(svmm: Svmm) {
    this.#svmm = svmm;
    this.#untilNs = svmm.mm.kernel.scheduler.nowNs + TIMEOUT_NS;
  }

  /** False: the time is up. */
  *next(): Task<boolean> {
    if (this.#tries++ >= TRIES_AT_ONCE) yield new Delay(RETRY_NS);
    return this.#svmm.mm.kernel.scheduler.nowNs <= this.#untilNs;
  }
}

/**
 * Asks for the page of `notifier` until the answer is not overtaken, and hands it to `commit`, which
 * runs under the mutex. Returns 0, or -errno; -EBUSY when the time is up.
 */
function populate(
  svmm: Svmm,
  notifier: IntervalNotifier,
  request: number,
  owner: Owner | null,
  commit: (word: number) => void,
): Task<number> {
  const { start, end } = notifier;
  const retries = new Retries(svmm);
  const mayTry = (): Task<boolean> => retries.next();
  const options = { notifier, start, end, request, owner, lock: svmm.mutex, mayTry };
  return hmmPopulate(options, (hmmPfns) => commit(hmmPfns[0]!));
}

/**
 * nouveau_hmm_convert_pfn, and NVIF_VMM_V0_PFNMAP of the page. -EFAULT for memory of another device,
 * which hmm_range_fault reports until v5.6: nouveau_dmem_convert_pfn of that time knows its own, and
 * the fault is cancelled. The caller holds the mutex.
 */
function mapPage(svmm: Svmm, va: Va, word: number): FaultAnswer {
  if ((word & HMM_PFN_VALID) === 0) return { result: 0, flags: svmm.pfnMap(va, NO_PAGE, 0) };
  const { device } = svmm;
  const { pages } = svmm.mm;
  const page = hmmPfnPage(word);
  const inVram = pages.isDevicePrivate(page);
  if (inVram && pages.homeOf(page) !== device) return failed(-EFAULT);
  const vram = inVram ? GPU_PTE_VRAM : 0;
  const write = (word & HMM_PFN_WRITE) !== 0 ? device.writeFlags : 0;
  return { result: 0, flags: svmm.pfnMap(va, page, GPU_PTE_VALID | vram | write) };
}

/** make_device_exclusive_range of one page, under mmap_lock: the page, locked and held, or null. */
function* takeExclusive(svmm: Svmm, start: Va): Task<Page | null> {
  const { mm, device } = svmm;
  if (!mm.mmapLock.tryRead()) yield* mm.mmapLock.read();
  try {
    const taken = yield* makeDeviceExclusiveRange(mm, start, start + mm.pageSize, device);
    return typeof taken === 'number' ? null : (taken.pages[0] ?? null);
  } finally {
    mm.mmapLock.unlockRead();
  }
}
