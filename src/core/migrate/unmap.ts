/**
 * Second step of setup: unmap the chosen pages everywhere else, and give up those somebody holds.
 * Reference: migrate_device_unmap in mm/migrate_device.c (6.1); migrate_vma_prepare and
 * migrate_vma_unmap in mm/migrate.c (before 5.16).
 */
import type { Kernel } from '../kernel.ts';
import { type Pages, PG_LRU } from '../memory/pages.ts';
import { isAnon, removeMigrationPtes, tryToMigrate } from '../mm/rmap.ts';
import { type MaybeTask, PREEMPT, type Task } from '../sched/task.ts';
import { NO_PAGE, type Page } from '../units.ts';
import { lockedByFault } from './fault-page.ts';
import { countMigrated } from './outcome.ts';
import { MIGRATE_PFN_LOCKED, MIGRATE_PFN_MIGRATE, migratePfnPage } from './words.ts';

/** Returns how many entries still have MIGRATE set, holes included. */
export function unmapPages(
  kernel: Kernel,
  src: Uint32Array,
  count: number,
  faultPage: Page,
): MaybeTask<number> {
  const { pages, era } = kernel;
  if (!era.dropsLockedInCollect) lockTheRest(pages, src, count);
  const stop = unmapFrom(kernel, src, count, faultPage, 0);
  return stop === null
    ? endUnmap(kernel, src, count, faultPage)
    : unmapLater(kernel, src, count, faultPage, stop);
}

/** An entry that is being unmapped, and what to finish first. */
interface Stop {
  readonly at: number;
  readonly waiting: Task<undefined> | undefined;
}

/** Goes on at entry `first`, as far as nobody has to wait; null at the end. */
function unmapFrom(
  kernel: Kernel,
  src: Uint32Array,
  count: number,
  faultPage: Page,
  first: number,
): Stop | null {
  const { pages, era, scheduler } = kernel;
  for (let at = first; at < count; at++) {
    const page = migratePfnPage(src[at]!);
    if (page === NO_PAGE) continue;
    if (!isolate(pages, page)) {
      src[at] = src[at]! & ~MIGRATE_PFN_MIGRATE;
      continue;
    }
    // Until v5.15 a page that somebody holds is not even taken from those who map it.
    const isRefused = !era.dropsLockedInCollect && isHeld(kernel, page, faultPage);
    if (!isRefused && pages.mapcount[page] !== 0) {
      const waiting = tryToMigrate(kernel, page);
      if (waiting !== undefined || scheduler.preempts) return { at, waiting };
    }
    if (isRefused || isStillUsed(kernel, page, faultPage)) giveUp(pages, src, at, page);
  }
  return null;
}

function* unmapLater(
  kernel: Kernel,
  src: Uint32Array,
  count: number,
  faultPage: Page,
  first: Stop,
): Task<number> {
  const { pages, scheduler } = kernel;
  let stop: Stop | null = first;
  while (stop !== null) {
    const { at, waiting }: Stop = stop;
    if (waiting !== undefined) yield* waiting;
    if (scheduler.preempts && scheduler.overtaken('migrate: unmapped', at)) yield PREEMPT;
    const page = migratePfnPage(src[at]!);
    if (isStillUsed(kernel, page, faultPage)) giveUp(pages, src, at, page);
    stop = unmapFrom(kernel, src, count, faultPage, at + 1);
  }
  return endUnmap(kernel, src, count, faultPage);
}

function endUnmap(kernel: Kernel, src: Uint32Array, count: number, faultPage: Page): number {
  restore(kernel, src, count, faultPage);
  return countMigrated(src, count);
}

function isStillUsed(kernel: Kernel, page: Page, faultPage: Page): boolean {
  return kernel.pages.mapcount[page] !== 0 || isHeld(kernel, page, faultPage);
}

/** Takes a page of RAM off the LRU. False: it is not there, and so it cannot move. */
function isolate(pages: Pages, page: Page): boolean {
  if (pages.isZoneDevice(page)) return true;
  const flags = pages.flags[page]!;
  if ((flags & PG_LRU) === 0) return false;
  pages.flags[page] = flags & ~PG_LRU;
  // Isolating takes a reference, and the one from collect is dropped: the count stays.
  return true;
}

function giveUp(pages: Pages, src: Uint32Array, i: number, page: Page): void {
  if (!pages.isZoneDevice(page)) putBackOnLru(pages, page);
  src[i] = src[i]! & ~MIGRATE_PFN_MIGRATE;
}

/** Maps those pages again that were given up, and lets go of them. */
function restore(kernel: Kernel, src: Uint32Array, count: number, faultPage: Page): void {
  const { pages, era } = kernel;
  for (let i = 0; i < count; i++) {
    const page = migratePfnPage(src[i]!);
    if (page === NO_PAGE || (src[i]! & MIGRATE_PFN_MIGRATE) !== 0) continue;
    removeMigrationPtes(kernel, page, page);
    src[i] = 0;
    if (page !== lockedByFault(era, faultPage)) pages.unlock(page);
    pages.put(page);
  }
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

export function putBackOnLru(pages: Pages, page: Page): void {
  pages.flags[page] = pages.flags[page]! | PG_LRU;
}

/**
 * Whether somebody holds a reference on a page beside those who map it: migrate_vma_check_page. A device
 * page is allowed one too many, left over from when free ones had a reference.
 */
function isHeld(kernel: Kernel, page: Page, faultPage: Page): boolean {
  const { pages, era } = kernel;
  const device = pages.isZoneDevice(page);
  if (device && !era.dropsLockedInCollect) return false;
  let expected = 1;
  if (page === faultPage) expected++;
  if (device) expected++;
  else if (!isAnon(pages, page) && pages.mapping[page] !== 0) expected++;
  return pages.refcount[page]! - expected > pages.mapcount[page]!;
}
