/** One shared behaviour, before it is bound to a driver. */
import type { Era } from '../../core/era.ts';
import type { OptionalCall } from '../spec.ts';
import type { Stage } from '../stage.ts';

export interface CaseDef {
  readonly name: string;
  readonly needs?: readonly OptionalCall[];
  /** Why it does not hold in an era; null where it does. */
  readonly unfit?: (era: Era) => string | null;
  readonly run: (stage: Stage) => void;
}

export interface Section {
  readonly name: string;
  readonly cases: readonly CaseDef[];
}

/** Before v5.7 nobody looked whose a page is. */
export function needsOwners(era: Era): string | null {
  return era.selection === 'any-owner' ? 'migrate_vma looks at owners since v5.7' : null;
}
