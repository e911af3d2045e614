/** Last step of a migration. Reference: migrate_device_finalize in mm/migrate_device.c of Linux 6.1. */
import type { Kernel } from '../kernel.ts';
import { removeMigrationPtes } from '../mm/rmap.ts';
import { PREEMPT, type Task } from '../sched/task.ts';
import { NO_PAGE, type Page } from '../units.ts';
import { lockedByFault } from './fault-page.ts';
import { putBackOnLru } from './unmap.ts';
import { MIGRATE_PFN_MIGRATE, migratePfnPage } from './words.ts';

export function finalizePages(
  kernel: Kernel,
  src: Uint32Array,
  dst: Uint32Array,
  count: number,
  faultPage: Page = NO_PAGE,
): void {
  const locked = lockedByFault(kernel.era, faultPage);
  for (let i = 0; i < count; i++) {
    const winner = mapAgain(kernel, src[i]!, dst[i]!);
    if (winner !== NO_PAGE) letGoOfBoth(kernel, migratePfnPage(src[i]!), winner, locked);
  }
}

/**
 * The same as other CPUs see it, for a search for races: page after page comes back, and each is
 * mapped for a moment while it is still locked.
 */
export function* finalizeSlowly(
  kernel: Kernel,
  src: Uint32Array,
  dst: Uint32Array,
  count: number,
  faultPage: Page,
): Task<undefined> {
  const { scheduler } = kernel;
  const locked = lockedByFault(kernel.era, faultPage);
  let others = false;
  for (let i = 0; i < count; i++) {
    const from = migratePfnPage(src[i]!);
    if (others && from !== NO_PAGE && scheduler.overtaken('migrate: next page', i)) yield PREEMPT;
    const winner = mapAgain(kernel, src[i]!, dst[i]!);
    if (winner === NO_PAGE) continue;
    if (scheduler.overtaken('migrate: mapped', i)) yield PREEMPT;
    letGoOfBoth(kernel, from, winner, locked);
    others = true;
  }
  return undefined;
}

/** Puts the page that won where the migration entries are; NO_PAGE where no page was taken. */
function mapAgain(kernel: Kernel, src: number, dst: number): Page {
  const { pages } = kernel;
  const from = migratePfnPage(src);
  const to = migratePfnPage(dst);
  if (from === NO_PAGE) {
    // A filled hole keeps the mapping's reference; a page that found no place is freed here.
    if (to !== NO_PAGE) letGo(kernel, to);
    return NO_PAGE;
  }
  let winner = to;
  if ((src & MIGRATE_PFN_MIGRATE) === 0 || to === NO_PAGE) {
    if (to !== NO_PAGE) letGo(kernel, to);
    winner = from;
  }
  if (!pages.isZoneDevice(winner)) putBackOnLru(pages, winner);
  removeMigrationPtes(kernel, from, winner);
  return winner;
}

function letGoOfBoth(kernel: Kernel, from: Page, winner: Page, locked: Page): void {
  if (from === locked && locked !== NO_PAGE) kernel.pages.put(from);
  else letGo(kernel, from);
  if (winner !== from) letGo(kernel, winner);
}

function letGo(kernel: Kernel, page: Page): void {
  kernel.pages.unlock(page);
  kernel.pages.put(page);
}
