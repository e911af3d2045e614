/**
 * The loop that every driver with a page table of its own runs round hmm_range_fault, as the
 * kernel's documentation of HMM gives it: begin, ask under mmap_lock, and use the answer only if no
 * invalidation overtook it.
 */
import { EBUSY } from '../errno.ts';
import type { Owner } from '../pagemap/pagemap.ts';
import type { Mutex } from '../sched/locks.ts';
import type { Task } from '../sched/task.ts';
import type { Va } from '../units.ts';
import {
  type IntervalNotifier,
  mmuIntervalReadBeginStep,
  mmuIntervalReadRetry,
} from './notifier.ts';
import { hmmRangeFaultStep } from './range-fault.ts';

/** HMM_RANGE_DEFAULT_TIMEOUT. */
const TIMEOUT_NS = 1_000_000_000;
/** A retry that costs no virtual time counts as this much: nothing changes meanwhile, so few are enough. */
const RETRY_NS = 10_000_000;

export interface PopulateOptions {
  readonly notifier: IntervalNotifier;
  /** First byte, a multiple of the page size. */
  readonly start: Va;
  /** First byte after the range. */
  readonly end: Va;
  /** HMM_PFN_REQ_* bits wanted of every page. */
  readonly request: number;
  /** Whose private memory is reported rather than brought home. */
  readonly owner: Owner | null;
  /** The driver's lock, where it has one: taken for the check, and held while `commit` runs. */
  readonly lock?: Mutex;
  /** For the answer, one word a page; made anew where none is given. */
  readonly hmmPfns?: Uint32Array;
  /**
   * Asked before each try, the first included, in place of the second of retries; it may sleep.
   * False: -EBUSY.
   */
  readonly mayTry?: () => Task<boolean>;
}

/**
 * Asks hmm_range_fault for a range until its answer is not overtaken, and hands the words to
 * `commit`, which enters them into the device's page table at once: it cannot sleep, so nothing
 * comes between the check and the entries. Returns 0, or the -errno of hmm_range_fault; -EBUSY after
 * a second of retries, or when `mayTry` says so. The caller must not hold mmap_lock.
 */
export function* hmmPopulate(
  options: PopulateOptions,
  commit: (hmmPfns: Uint32Array) => void,
): Task<number> {
  const { notifier, start, end, request, owner, lock, mayTry } = options;
  const { mm } = notifier;
  const { scheduler } = mm.kernel;
  const hmmPfns = options.hmmPfns ?? new Uint32Array(Math.ceil((end - start) / mm.pageSize));
  const startNs = scheduler.nowNs;
  for (let retries = 0; ; retries++) {
    const spentNs = scheduler.nowNs - startNs + retries * RETRY_NS;
    const goesOn = mayTry === undefined ? spentNs <= TIMEOUT_NS : yield* mayTry();
    if (!goesOn) return -EBUSY;
    const begun = mmuIntervalReadBeginStep(notifier);
    const notifierSeq = typeof begun === 'object' ? yield* begun : begun;
    if (!mm.mmapLock.tryRead()) yield* mm.mmapLock.read();
    let result: number;
    try {
      // Written out: spread from a common part, it cost a tenth of a replay.
      const step = hmmRangeFaultStep({
        notifier,
        notifierSeq,
        start,
        end,
        hmmPfns,
        defaultFlags: request,
        pfnFlagsMask: 0,
        devPrivateOwner: owner,
      });
      result = typeof step === 'object' ? yield* step : step;
    } finally {
      mm.mmapLock.unlockRead();
    }
    if (result === -EBUSY) continue;
    if (result !== 0) return result;
    if (lock !== undefined && !lock.tryLock()) yield* lock.lock();
    const isOvertaken = mmuIntervalReadRetry(notifier, notifierSeq);
    if (!isOvertaken) commit(hmmPfns);
    lock?.unlock();
    if (!isOvertaken) return 0;
  }
}
