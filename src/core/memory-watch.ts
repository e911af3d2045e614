/** Who watches the contents of memory: told of each access at the instant it takes place. */
import type { Mm } from './mm/mm.ts';
import type { Va, Vpn } from './units.ts';

/**
 * Told of every word that CPUs and devices load and store through a machine's address spaces, and
 * of every page that leaves one. Nothing else happens between an access and its call, so the order
 * of calls is the order in which the accesses took effect.
 */
export interface MemoryWatch {
  /** The 32-bit word at `va` of process `pid` was stored by its CPU or by a device. */
  stored(pid: number, va: Va, value: number): void;
  /** The word at `va` was loaded, and this is what was there. */
  loaded(pid: number, va: Va, value: number): void;
  /**
   * The word at `va` was loaded through a translation of an entry that somebody is taking away just
   * now: whether it counts as before or after that is open.
   */
  overlapped(pid: number, va: Va, value: number): void;
  /** The entry of a page is cleared for good: munmap, madvise(MADV_DONTNEED), exit. */
  zapped(mm: Mm, vpn: Vpn): void;
  /** mremap moved a page. */
  moved(mm: Mm, from: Vpn, to: Vpn): void;
  /** `child` starts with what `parent` has. */
  forked(parent: Mm, child: Mm): void;
}
