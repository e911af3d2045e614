/** Destinations for a migration. */
import { chargeCopy } from '../../core/charge.ts';
import type { Kernel } from '../../core/kernel.ts';
import {
  MIGRATE_PFN_LOCKED,
  MIGRATE_PFN_MIGRATE,
  migratePfn,
  migratePfnPage,
} from '../../core/migrate/index.ts';
import { NO_PAGE, type Page } from '../../core/units.ts';
import type { Lab } from './lab.ts';

/** Where pages go: a lab, RAM, or nowhere (no destination is given, so they stay). */
export type Destination = Lab | 'ram' | 'none';

/**
 * Gives a destination to every page that setup chose, but not to those at the positions in `skip`,
 * and copies: lab_give.
 */
export function giveDestinations(
  kernel: Kernel,
  src: Uint32Array,
  dst: Uint32Array,
  count: number,
  to: Destination,
  skip: ReadonlySet<number>,
): void {
  if (to === 'none') return;
  const { pages } = kernel;
  for (let i = 0; i < count; i++) {
    if ((src[i]! & MIGRATE_PFN_MIGRATE) === 0 || skip.has(i)) continue;
    const page: Page = to === 'ram' ? pages.allocate() : to.allocatePage();
    if (page === NO_PAGE) continue;
    if (to === 'ram') pages.tryLock(page);
    const from = migratePfnPage(src[i]!);
    if (from === NO_PAGE) pages.clearContents(page);
    else {
      pages.copyContents(page, from);
      chargeCopy(kernel);
    }
    dst[i] = (migratePfn(page) | MIGRATE_PFN_LOCKED) >>> 0;
  }
}
