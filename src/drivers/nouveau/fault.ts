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
import {
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  hmmPfnPage,
  hmmRangeFault,
} from '../../core/hmm/range-fault.ts';
import type { Owner } from '../../core/pagemap/pagemap.ts';
import { Delay, type MaybeTask, type Task } from '../../core/sched/task.ts';
import type { Page, Va } from '../../core/units.ts';
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
    const pfns = new Uint32Array(1);
    const { device } = svmm;
    let result = yield* populate(svmm, notifier, start, request, pfns, device);
    if (result !== 0) return failed(result);
    if (device.mended && request === WRITE_REQUEST && (pfns[0]! & HMM_PFN_WRITE) === 0) {
      // Its own page, but read-only: only in RAM can it become writable.
      svmm.mutex.unlock();
      result = yield* populate(svmm, notifier, start, request, pfns, null);
      if (result !== 0) return failed(result);
    }
    const answer = convertPfn(svmm, pfns[0]!);
    const inForce = answer === null ? 0 : svmm.pfnMap(start, answer.page, answer.flags);
    svmm.mutex.unlock();
    return answer === null ? failed(-EFAULT) : { result: 0, flags: inForce };
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
        const pfns = new Uint32Array(1);
        const found = yield* populate(svmm, notifier, start, WRITE_REQUEST, pfns, null);
        if (found !== 0) return failed(found);
        svmm.mutex.unlock();
      }
      const seq = yield* mmuIntervalReadBegin(notifier);
      const page = yield* takeExclusive(svmm, start);
      if (page === null) return failed(-EINVAL);
      if (!svmm.mutex.tryLock()) yield* svmm.mutex.lock();
      const stale = mmuIntervalReadRetry(notifier, seq);
      const flags = GPU_PTE_VALID | GPU_PTE_WRITE | GPU_PTE_ATOMIC;
      const inForce = stale ? 0 : svmm.pfnMap(start, page, flags);
      svmm.mutex.unlock();
      svmm.mm.pages.unlock(page);
      svmm.mm.pages.put(page);
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
 * hmm_range_fault until its answer is not overtaken. On success (0) the caller holds the mutex;
 * on -errno, -EBUSY when the time is up, it does not.
 */
function* populate(
  svmm: Svmm,
  notifier: IntervalNotifier,
  start: Va,
  request: number,
  pfns: Uint32Array,
  devPrivateOwner: Owner | null,
): Task<number> {
  const { mm, mutex } = svmm;
  const retries = new Retries(svmm);
  while (yield* retries.next()) {
    const notifierSeq = yield* mmuIntervalReadBegin(notifier);
    if (!mm.mmapLock.tryRead()) yield* mm.mmapLock.read();
    let result: number;
    try {
      result = yield* hmmRangeFault({
        notifier,
        notifierSeq,
        start,
        end: start + mm.pageSize,
        hmmPfns: pfns,
        defaultFlags: request,
        pfnFlagsMask: 0,
        devPrivateOwner,
      });
    } finally {
      mm.mmapLock.unlockRead();
    }
    if (result === -EBUSY) continue;
    if (result !== 0) return result;
    if (!mutex.tryLock()) yield* mutex.lock();
    if (!mmuIntervalReadRetry(notifier, notifierSeq)) return 0;
    mutex.unlock();
  }
  return -EBUSY;
}

interface Converted {
  readonly page: Page;
  readonly flags: number;
}

/**
 * nouveau_hmm_convert_pfn. Null for memory of another device, which hmm_range_fault reports until
 * v5.6: nouveau_dmem_convert_pfn of that time knows its own, and the fault is cancelled.
 */
function convertPfn(svmm: Svmm, word: number): Converted | null {
  if ((word & HMM_PFN_VALID) === 0) return { page: 0, flags: 0 };
  const { device } = svmm;
  const { pages } = svmm.mm;
  const page = hmmPfnPage(word);
  const inVram = pages.isDevicePrivate(page);
  if (inVram && pages.homeOf(page) !== device) return null;
  const vram = inVram ? GPU_PTE_VRAM : 0;
  const write = (word & HMM_PFN_WRITE) !== 0 ? device.writeFlags : 0;
  return { page, flags: GPU_PTE_VALID | vram | write };
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
