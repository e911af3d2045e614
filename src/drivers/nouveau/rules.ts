/** What nouveau itself did otherwise in earlier kernels, told from the rules of the machine's era. */
import type { Era } from '../../core/era.ts';

export interface NouveauRules {
  /**
   * Bind fills holes with cleared VRAM, and maps on the GPU what it moved (v5.8, v5.9). Before, it
   * left holes alone and let the GPU fault afterwards.
   */
  readonly mapsMigrated: boolean;
  /**
   * GPU atomics have rights of their own and take a page of RAM exclusively (v5.14). Before, an
   * atomic access was a write to nouveau, and any writable mapping allowed it.
   */
  readonly atomics: boolean;
  /**
   * A CPU fault names the destination before it copies, and finds no fault in a lack of RAM; removal
   * brings every page home (v6.1). Before, a lack of RAM was SIGBUS, a failed copy left the page
   * where it was, and removal waited until the processes had freed all pages.
   */
  readonly evicts: boolean;
}

export function rulesOf(era: Era): NouveauRules {
  return {
    mapsMigrated: era.migrateEvent,
    atomics: era.deviceExclusive,
    evicts: era.migrateDeviceRange,
  };
}
