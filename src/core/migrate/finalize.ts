/** Last step of a migration. Reference: migrate_device_finalize in mm/migrate_device.c of Linux 6.1. */
import type { Kernel } from '../kernel.ts';
import { removeMigrationPtes } from '../mm/rmap.ts';
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
  const { pages } = kernel;
  const locked = lockedByFault(kernel.era, faultPage);
  for (let i = 0; i < count; i++) {
    const from = migratePfnPage(src[i]!);
    const to = migratePfnPage(dst[i]!);
    if (from === NO_PAGE) {
      // A filled hole keeps the mapping's reference; a page that found no place is freed here.
      if (to !== NO_PAGE) letGo(kernel, to);
      continue;
    }
    let winner = to;
    if ((src[i]! & MIGRATE_PFN_MIGRATE) === 0 || to === NO_PAGE) {
      if (to !== NO_PAGE) letGo(kernel, to);
      winner = from;
    }
    if (!pages.isZoneDevice(winner)) putBackOnLru(pages, winner);
    removeMigrationPtes(kernel, from, winner);
    if (from === locked && locked !== NO_PAGE) pages.put(from);
    else letGo(kernel, from);
    if (winner !== from) letGo(kernel, winner);
  }
}

function letGo(kernel: Kernel, page: Page): void {
  kernel.pages.unlock(page);
  kernel.pages.put(page);
}
