/**
 * Second step of setup: unmap the chosen pages everywhere else, and give up those somebody holds.
 * Reference: migrate_device_unmap in mm/migrate_device.c (6.1); migrate_vma_prepare and
 * migrate_vma_unmap in mm/migrate.c (before 5.16).
 */
import type { Kernel } from '../kernel.ts';
import { type Pages, PG_LRU } from '../memory/pages.ts';
import { isAnon, removeMigrationPtes, tryToMigrate } from '../mm/rmap.ts';
import { PREEMPT, type Task } from '../sched/task.ts';
import { NO_PAGE, type Page } from '../units.ts';
import { lockedByFault } from './fault-page.ts';
import { MIGRATE_PFN_LOCKED, MIGRATE_PFN_MIGRATE, migratePfnPage } from './words.ts';

/** Returns how many entries still have MIGRATE set, holes included. */
export function* unmapPages(
  kernel: Kernel,
  src: Uint32Array,
  count: number,
  faultPage: Page,
): Task<number> {
  const { pages, era, scheduler } = kernel;
  if (!era.dropsLockedInCollect) lockTheRest(pages, src, count);
  let unmapped = 0;
  let restore = 0;
  for (let i = 0; i < count; i++) {
    const page = migratePfnPage(src[i]!);
    if (page === NO_PAGE) {
      if ((src[i]! & MIGRATE_PFN_MIGRATE) !== 0) unmapped++;
      continue;
    }
    const device = pages.isZoneDevice(page);
    if (!device) {
      if (!isolateFromLru(pages, page)) {
        src[i] = src[i]! & ~MIGRATE_PFN_MIGRATE;
        restore++;
        continue;
      }
      // The reference of the isolation takes the place of the one from collect.
      pages.put(page);
    }
    // Until v5.15 a page that somebody holds is not even taken from those who map it.
    const refused = !era.dropsLockedInCollect && isHeld(kernel, page, device, faultPage);
    if (!refused && pages.mapcount[page] !== 0) {
      yield* tryToMigrate(kernel, page);
      if (scheduler.preempts && scheduler.overtaken('migrate: unmapped', i)) yield PREEMPT;
    }
    if (refused || pages.mapcount[page] !== 0 || isHeld(kernel, page, device, faultPage)) {
      if (!device) putBackOnLru(pages, page);
      src[i] = src[i]! & ~MIGRATE_PFN_MIGRATE;
      restore++;
      continue;
    }
    unmapped++;
  }
  for (let i = 0; i < count && restore > 0; i++) {
    const page = migratePfnPage(src[i]!);
    if (page === NO_PAGE || (src[i]! & MIGRATE_PFN_MIGRATE) !== 0) continue;
    removeMigrationPtes(kernel, page, page);
    src[i] = 0;
    if (page !== lockedByFault(era, faultPage)) pages.unlock(page);
    pages.put(page);
    restore--;
  }
  return unmapped;
}

/** Before 5.16: pages whose lock collect did not get have one more chance, then they are dropped. */
function lockTheRest(pages: Pages, src: Uint32Array, count: number): void {
  for (let i = 0; i < count; i++) {
    const page = migratePfnPage(src[i]!);
    if (page === NO_PAGE || (src[i]! & MIGRATE_PFN_LOCKED) !== 0) continue;
    if (pages.tryLock(page)) {
      src[i] = (src[i]! | MIGRATE_PFN_LOCKED) >>> 0;
      continue;
    }
    src[i] = 0;
    pages.put(page);
  }
}

/** isolate_lru_page: takes the page off its list, with a reference. */
function isolateFromLru(pages: Pages, page: Page): boolean {
  if ((pages.flags[page]! & PG_LRU) === 0) return false;
  pages.flags[page] = pages.flags[page]! & ~PG_LRU;
  pages.get(page);
  return true;
}

export function putBackOnLru(pages: Pages, page: Page): void {
  pages.flags[page] = pages.flags[page]! | PG_LRU;
}

/**
 * Whether somebody holds a reference on a page beside those who map it: migrate_vma_check_page. A device
 * page is allowed one too many, left over from when free ones had a reference.
 */
function isHeld(kernel: Kernel, page: Page, device: boolean, faultPage: Page): boolean {
  const { pages, era } = kernel;
  if (device && !era.dropsLockedInCollect) return false;
  let expected = 1;
  if (page === faultPage) expected++;
  if (device) expected++;
  else if (!isAnon(pages, page) && pages.mapping[page] !== 0) expected++;
  return pages.refcount[page]! - expected > pages.mapcount[page]!;
}
