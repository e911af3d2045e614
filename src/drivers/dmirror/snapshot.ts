/** HMM_DMIRROR_SNAPSHOT: what an address space looks like from a device. */
import { EINVAL } from '../../core/errno.ts';
import {
  type IntervalNotifier,
  type IntervalNotifierOps,
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemoveStep,
  mmuIntervalSetSeq,
  type NotifierRange,
} from '../../core/hmm/notifier.ts';
import { hmmPopulate } from '../../core/hmm/populate.ts';
import {
  HMM_PFN_ERROR,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  hmmPfnPage,
} from '../../core/hmm/range-fault.ts';
import type { MaybeTask, Task } from '../../core/sched/task.ts';
import { NO_PAGE, type Va } from '../../core/units.ts';
import { BATCH_PAGES } from './fault.ts';
import type { DmirrorFile } from './file.ts';

// enum of lib/test_hmm_uapi.h: a kind, and READ or WRITE added to it.
export const HMM_DMIRROR_PROT_ERROR = 0xff;
export const HMM_DMIRROR_PROT_NONE = 0x00;
export const HMM_DMIRROR_PROT_READ = 0x01;
export const HMM_DMIRROR_PROT_WRITE = 0x02;
export const HMM_DMIRROR_PROT_ZERO = 0x10;
export const HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL = 0x20;
export const HMM_DMIRROR_PROT_DEV_PRIVATE_REMOTE = 0x30;
export const HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL = 0x40;
export const HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE = 0x50;

/** dmirror_snapshot: fills `perms` batch by batch. */
export function* snapshotPages(
  file: DmirrorFile,
  va: Va,
  npages: number,
  perms: Uint8Array,
): Task<number> {
  const { mm } = file;
  if (!mm.alive) return -EINVAL;
  for (let done = 0; done < npages; done += BATCH_PAGES) {
    const count = Math.min(BATCH_PAGES, npages - done);
    const result = yield* snapshotBatch(file, va + done * mm.pageSize, count, perms, done);
    if (result !== 0) return result;
  }
  return 0;
}

/** dmirror_range_snapshot, with a notifier of its own that watches just this batch. */
function* snapshotBatch(
  file: DmirrorFile,
  start: Va,
  count: number,
  perms: Uint8Array,
  done: number,
): Task<number> {
  const { mm, device: owner, mutex: lock } = file;
  const end = start + count * mm.pageSize;
  const notifier = mmuIntervalNotifierInsert(mm, watcherOf(file), start, end);
  if (typeof notifier === 'number') return notifier;
  const { words } = mm.kernel;
  const hmmPfns = words.take(count);
  try {
    const range = { notifier, start, end, request: 0, owner, lock, hmmPfns };
    return yield* hmmPopulate(range, () => {
      for (let i = 0; i < count; i++) perms[done + i] = permOf(file, hmmPfns[i]!);
    });
  } finally {
    words.give(hmmPfns);
    const removing = mmuIntervalNotifierRemoveStep(notifier);
    if (removing !== undefined) yield* removing;
  }
}

/** dmirror_snapshot_invalidate: any change in the batch makes the whole batch stale. */
function watcherOf(file: DmirrorFile): IntervalNotifierOps {
  const { mutex } = file;
  function* later(notifier: IntervalNotifier, seq: number): Task<boolean> {
    yield* mutex.lock();
    mmuIntervalSetSeq(notifier, seq);
    mutex.unlock();
    return true;
  }
  return {
    name: `${file.device.name} snapshot`,
    invalidate(notifier: IntervalNotifier, _: NotifierRange, seq: number): MaybeTask<boolean> {
      if (!mutex.tryLock()) return later(notifier, seq);
      mmuIntervalSetSeq(notifier, seq);
      mutex.unlock();
      return true;
    },
  };
}

/** dmirror_mkentry. */
function permOf(file: DmirrorFile, word: number): number {
  if ((word & HMM_PFN_ERROR) !== 0) return HMM_DMIRROR_PROT_ERROR;
  if ((word & HMM_PFN_VALID) === 0) return HMM_DMIRROR_PROT_NONE;
  const access = (word & HMM_PFN_WRITE) !== 0 ? HMM_DMIRROR_PROT_WRITE : HMM_DMIRROR_PROT_READ;
  const page = hmmPfnPage(word);
  if (page === NO_PAGE) return HMM_DMIRROR_PROT_ZERO | access;
  const pagemap = file.mm.pages.pagemapOf(page);
  if (pagemap === null) return access;
  const isLocal = pagemap.owner === file.device;
  if (pagemap.type === 'private') {
    const kind = isLocal ? HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL : HMM_DMIRROR_PROT_DEV_PRIVATE_REMOTE;
    return kind | access;
  }
  const kind = isLocal ? HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL : HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE;
  return kind | access;
}
