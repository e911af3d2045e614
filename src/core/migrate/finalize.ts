/** Last step of a migration. Reference: migrate_device_finalize in mm/migrate_device.c of Linux 6.1. */
import type { Kernel } from '../kernel.ts';
import { leafIndex } from '../mm/page-table.ts';
import { type Leaf, PTRS_PER_PTE } from '../mm/pte.ts';
import { exclusiveMappingOf, removeMigrationPte, removeMigrationPtes } from '../mm/rmap.ts';
import type { Vma } from '../mm/vma.ts';
import { PREEMPT, type Task } from '../sched/task.ts';
import { NO_PAGE, type Page } from '../units.ts';
import { lockedByFault } from './fault-page.ts';
import type { MigrateVma } from './migrate-vma.ts';
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
 * The same for the pages of `migrate`, most of which nothing but its VMA maps: those are put back
 * without a walk of the reverse map for each.
 */
export function finalizeRange(migrate: MigrateVma, vma: Vma): void {
  const { src, dst, npages, faultPage } = migrate;
  const { mm } = vma;
  const { kernel, pages } = mm;
  const mapping = exclusiveMappingOf(vma);
  if (mapping === 0 || kernel.events.listening) {
    finalizePages(kernel, src, dst, npages, faultPage);
    return;
  }
  const locked = lockedByFault(kernel.era, faultPage);
  const first = mm.vpn(migrate.start);
  const firstIndex = vma.pgoffOf(migrate.start);
  let leaf: Leaf | null = null;
  let at = PTRS_PER_PTE;
  for (let i = 0; i < npages; i++, at++) {
    if (at >= PTRS_PER_PTE || i === 0) {
      leaf = mm.pageTable.leaf(first + i);
      at = leafIndex(first + i);
    }
    const from = migratePfnPage(src[i]!);
    const to = migratePfnPage(dst[i]!);
    const moves = from !== NO_PAGE && to !== NO_PAGE && (src[i]! & MIGRATE_PFN_MIGRATE) !== 0;
    if (
      !moves ||
      leaf === null ||
      !removeMigrationPte(vma, leaf, at, from, to, mapping, firstIndex + i)
    ) {
      const winner = mapAgain(kernel, src[i]!, dst[i]!);
      if (winner !== NO_PAGE) letGoOfBoth(kernel, from, winner, locked);
      continue;
    }
    if (!pages.isZoneDevice(to)) putBackOnLru(pages, to);
    letGoOfBoth(kernel, from, to, locked);
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
    if (to !== NO_PAGE) kernel.pages.unlockAndPut(to);
    return NO_PAGE;
  }
  let winner = to;
  if ((src & MIGRATE_PFN_MIGRATE) === 0 || to === NO_PAGE) {
    if (to !== NO_PAGE) kernel.pages.unlockAndPut(to);
    winner = from;
  }
  if (!pages.isZoneDevice(winner)) putBackOnLru(pages, winner);
  removeMigrationPtes(kernel, from, winner);
  return winner;
}

function letGoOfBoth(kernel: Kernel, from: Page, winner: Page, locked: Page): void {
  if (from === locked && locked !== NO_PAGE) kernel.pages.put(from);
  else kernel.pages.unlockAndPut(from);
  if (winner !== from) kernel.pages.unlockAndPut(winner);
}
