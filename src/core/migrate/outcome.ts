/** What became of a migration: counts for drivers, places for events. */
import type { MigrateInfo, PageHome } from '../events/types.ts';
import type { Kernel } from '../kernel.ts';
import { NO_PAGE } from '../units.ts';
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  migratePfnPage,
} from './words.ts';

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

/**
 * Notes in `info` what the words say, and where the pages that move were and where they go, if it
 * is one place for all.
 */
export function tellWords(
  kernel: Kernel,
  info: MigrateInfo,
  src: Uint32Array,
  dst: Uint32Array,
  count: number,
): void {
  const { pages } = kernel;
  let from: PageHome | undefined;
  let to: PageHome | undefined;
  let moves = 0;
  let oneFrom = true;
  let oneTo = true;
  let valid = 0;
  let writable = 0;
  let given = 0;
  for (let i = 0; i < count; i++) {
    const word = src[i]!;
    const target = dst[i]!;
    if ((word & MIGRATE_PFN_VALID) !== 0) valid++;
    if ((word & MIGRATE_PFN_WRITE) !== 0) writable++;
    if ((target & MIGRATE_PFN_VALID) !== 0) given++;
    if (!arrives(word, target)) continue;
    const left = pages.homeOf(migratePfnPage(word));
    const reached = pages.homeOf(migratePfnPage(target));
    if (moves > 0 && left !== from) oneFrom = false;
    if (moves > 0 && reached !== to) oneTo = false;
    from = left;
    to = reached;
    moves++;
  }
  info.valid = valid;
  info.writable = writable;
  info.given = given;
  info.from = oneFrom ? from : undefined;
  info.to = oneTo ? to : undefined;
}
