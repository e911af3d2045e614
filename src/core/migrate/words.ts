/** Words of the `src` and `dst` arrays of a migration: include/linux/migrate.h. */
import { NO_PAGE, type Page } from '../units.ts';

/** The word names a page. */
export const MIGRATE_PFN_VALID = 1;
/** Of `src`: takes part, or took part. Cleared by every later failure. */
export const MIGRATE_PFN_MIGRATE = 2;
/** Until v5.15: the page's lock is held. */
export const MIGRATE_PFN_LOCKED = 4;
/** The entry was writable. */
export const MIGRATE_PFN_WRITE = 8;
export const MIGRATE_PFN_SHIFT = 6;

/** Collect ordinary pages, holes and the zero page. */
export const MIGRATE_VMA_SELECT_SYSTEM = 1;
/** Collect the owner's device-private pages. */
export const MIGRATE_VMA_SELECT_DEVICE_PRIVATE = 2;
/** Collect the owner's device-coherent pages. */
export const MIGRATE_VMA_SELECT_DEVICE_COHERENT = 4;

/** The word for a page: migrate_pfn. */
export function migratePfn(page: Page): number {
  return ((page << MIGRATE_PFN_SHIFT) | MIGRATE_PFN_VALID) >>> 0;
}

/** The page a word names, or NO_PAGE: migrate_pfn_to_page. */
export function migratePfnPage(word: number): Page {
  return (word & MIGRATE_PFN_VALID) === 0 ? NO_PAGE : word >>> MIGRATE_PFN_SHIFT;
}
