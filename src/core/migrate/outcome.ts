/** What became of a migration: counts for drivers, places for events. */
import type { MigrateInfo, PageHome } from '../events/types.ts';
import type { Kernel } from '../kernel.ts';
import { NO_PAGE } from '../units.ts';
import { MIGRATE_PFN_MIGRATE, MIGRATE_PFN_VALID, migratePfnPage } from './words.ts';

/** Pages that moved, holes that were filled included; call after `migrateVmaPages`. */
export function countMigrated(src: Uint32Array, count: number): number {
  let migrated = 0;
  for (let i = 0; i < count; i++) if ((src[i]! & MIGRATE_PFN_MIGRATE) !== 0) migrated++;
  return migrated;
}

/** The same for events: a driver may finalize without `migrateVmaPages`, and then nothing moved. */
export function countArrived(src: Uint32Array, dst: Uint32Array, count: number): number {
  let arrived = 0;
  for (let i = 0; i < count; i++) if (arrives(src[i]!, dst[i]!)) arrived++;
  return arrived;
}

function arrives(src: number, dst: number): boolean {
  return (src & MIGRATE_PFN_MIGRATE) !== 0 && migratePfnPage(dst) !== NO_PAGE;
}

/** Pages (not holes) that moved: what drivers call successful. */
export function countMovedPages(src: Uint32Array, count: number): number {
  const both = MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE;
  let moved = 0;
  for (let i = 0; i < count; i++) if ((src[i]! & both) === both) moved++;
  return moved;
}

/** Notes in `info` where the pages that move were and where they go, if it is one place for all. */
export function tellHomes(
  kernel: Kernel,
  info: MigrateInfo,
  src: Uint32Array,
  dst: Uint32Array,
  count: number,
): void {
  const { pages } = kernel;
  const from = new Set<PageHome>();
  const to = new Set<PageHome>();
  for (let i = 0; i < count; i++) {
    if (!arrives(src[i]!, dst[i]!)) continue;
    from.add(pages.homeOf(migratePfnPage(src[i]!)));
    to.add(pages.homeOf(migratePfnPage(dst[i]!)));
  }
  info.from = from.size === 1 ? [...from][0] : undefined;
  info.to = to.size === 1 ? [...to][0] : undefined;
}
