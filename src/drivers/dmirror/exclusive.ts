/** HMM_DMIRROR_EXCLUSIVE: pages that only the device may use until the CPU touches them. */
import { EBUSY, EINVAL } from '../../core/errno.ts';
import { makeDeviceExclusiveRange } from '../../core/hmm/exclusive.ts';
import type { Task } from '../../core/sched/task.ts';
import type { Page, Va } from '../../core/units.ts';
import { BATCH_PAGES } from './fault.ts';
import type { DmirrorFile } from './file.ts';
import { TAG_ATOMIC } from './page-table.ts';

/**
 * dmirror_exclusive without its copying out. The range is taken in the name of nobody, so the
 * device's own notifier drops what was mapped there before. -EBUSY unless every page could be taken.
 */
export function* exclusivePages(file: DmirrorFile, start: Va, end: Va): Task<number> {
  const { mm } = file;
  const { pages } = mm;
  if (!mm.alive) return -EINVAL;
  if (!mm.mmapLock.tryRead()) yield* mm.mmapLock.read();
  try {
    let next = start;
    for (let from = start; from < end; from = next) {
      next = Math.min(end, from + BATCH_PAGES * mm.pageSize);
      const count = mm.vpn(next - from);
      const taken = yield* makeDeviceExclusiveRange(mm, from, next, null);
      if (typeof taken === 'number') return -EBUSY;
      const mapped = taken.count === count ? yield* mapExclusive(file, from, taken.pages) : 0;
      for (const page of taken.pages) {
        if (page === null) continue;
        pages.unlock(page);
        pages.put(page);
      }
      if (mapped < count) return -EBUSY;
    }
    return 0;
  } finally {
    mm.mmapLock.unlockRead();
  }
}

/** dmirror_atomic_map: how many pages it mapped. */
function* mapExclusive(
  file: DmirrorFile,
  start: Va,
  taken: readonly (Page | null)[],
): Task<number> {
  const { mm, mutex, pageTable } = file;
  if (!mutex.tryLock()) yield* mutex.lock();
  const first = mm.vpn(start);
  let mapped = 0;
  taken.forEach((page, i) => {
    if (page === null) return;
    pageTable.set(first + i, page, TAG_ATOMIC);
    mapped++;
  });
  mutex.unlock();
  return mapped;
}
