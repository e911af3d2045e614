/** The page that a CPU fault brought a driver here for. */
import type { Era } from '../era.ts';
import { NO_PAGE, type Page } from '../units.ts';

/**
 * The fault page, where the fault has locked it: then a migration neither locks nor unlocks it.
 * NO_PAGE in eras whose faults take no lock, and where there is no fault page.
 */
export function lockedByFault(era: Era, faultPage: Page): Page {
  return era.dpFaultLock === 'none' ? NO_PAGE : faultPage;
}
