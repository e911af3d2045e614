/** Device page faults: a mirror fills its page table through hmm_range_fault. */
import { EBUSY, EFAULT } from '../../core/errno.ts';
import type { IntervalNotifier } from '../../core/hmm/notifier.ts';
import { mmuIntervalReadBegin, mmuIntervalReadRetry } from '../../core/hmm/notifier.ts';
import {
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  HMM_PFN_WRITE,
  hmmPfnPage,
  hmmRangeFault,
} from '../../core/hmm/range-fault.ts';
import type { Task } from '../../core/sched/task.ts';
import type { Va } from '../../core/units.ts';
import type { DmirrorFile } from './file.ts';
import { TAG_READ, TAG_WRITE } from './page-table.ts';

/** Pages that one call of hmm_range_fault or migrate_vma is asked for. */
export const BATCH_PAGES = 64;

/** HMM_RANGE_DEFAULT_TIMEOUT. */
const TIMEOUT_NS = 1_000_000_000;
/** A retry that costs no virtual time counts as this much, so that nobody retries for ever. */
const RETRY_NS = 100_000;

export interface PopulateRequest {
  readonly notifier: IntervalNotifier;
  readonly start: Va;
  readonly end: Va;
  /** HMM_PFN_REQ_* bits wanted of every page. */
  readonly defaultFlags: number;
  readonly pfns: Uint32Array;
}

/**
 * Runs hmm_range_fault until its answer is not overtaken by an invalidation. On success (0) the
 * caller holds the file's mutex, under which the answer stays true; on -errno it does not.
 */
export function* populate(file: DmirrorFile, request: PopulateRequest): Task<number> {
  const { mm, mutex, device } = file;
  const { scheduler } = mm.kernel;
  const { notifier, start, end, defaultFlags, pfns } = request;
  const startNs = scheduler.nowNs;
  for (let retries = 0; ; retries++) {
    if (scheduler.nowNs - startNs + retries * RETRY_NS > TIMEOUT_NS) return -EBUSY;
    const notifierSeq = yield* mmuIntervalReadBegin(notifier);
    if (!mm.mmapLock.tryRead()) yield* mm.mmapLock.read();
    let result: number;
    try {
      result = yield* hmmRangeFault({
        notifier,
        notifierSeq,
        start,
        end,
        hmmPfns: pfns,
        defaultFlags,
        pfnFlagsMask: 0,
        devPrivateOwner: device,
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
}

/** The device missed entries in [start, end): dmirror_fault. */
export function* deviceFault(file: DmirrorFile, start: Va, end: Va, write: boolean): Task<number> {
  const { mm, device } = file;
  const { events } = mm.kernel;
  if (!mm.alive) return -EFAULT;
  const listening = events.listening;
  if (listening) {
    const access = write ? 'write' : 'read';
    events.deviceFaultBegin(mm, start, end, device.name, access);
  }
  const result = yield* faultInBatches(file, start, end, write);
  if (listening) events.deviceFaultEnd(mm, start, end, result);
  return result;
}

function* faultInBatches(file: DmirrorFile, start: Va, end: Va, write: boolean): Task<number> {
  const { notifier, mutex } = file;
  const step = BATCH_PAGES * file.mm.pageSize;
  const pfns = new Uint32Array(BATCH_PAGES);
  const defaultFlags = HMM_PFN_REQ_FAULT | (write ? HMM_PFN_REQ_WRITE : 0);
  for (let from = start; from < end; from += step) {
    const until = Math.min(from + step, end);
    const request = { notifier, start: from, end: until, defaultFlags, pfns };
    const populated = yield* populate(file, request);
    if (populated !== 0) return populated;
    const result = mapPages(file, from, until, pfns, write);
    mutex.unlock();
    if (result !== 0) return result;
  }
  return 0;
}

/** Enters what hmm_range_fault answered into the mirror's page table: dmirror_do_fault. */
function mapPages(
  file: DmirrorFile,
  start: Va,
  end: Va,
  pfns: Uint32Array,
  write: boolean,
): number {
  const { mm, pageTable } = file;
  const first = mm.vpn(start);
  const count = mm.vpn(end) - first;
  for (let i = 0; i < count; i++) {
    const word = pfns[i]!;
    const writable = (word & HMM_PFN_WRITE) !== 0;
    // The device has the page, but read-only: hmm_range_fault does not fault its owner's pages.
    if (write && !writable) return -EFAULT;
    pageTable.set(first + i, hmmPfnPage(word), writable ? TAG_WRITE : TAG_READ);
  }
  return 0;
}
