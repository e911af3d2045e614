/** The faults that a program asks for with `fail`. */
import { CountedFaults, FAULT_SITES, type FaultPlan, type FaultSite } from '../core/fault-plan.ts';
import type { StateHash } from '../core/state-hash.ts';

/** Stands before a plan that the machine may have had already, which is asked as before. */
export class ProgramFaults extends CountedFaults {
  readonly outer: FaultPlan | null;
  readonly #attempts: Map<FaultSite, number> = new Map();

  constructor(outer: FaultPlan | null) {
    super();
    this.outer = outer;
  }

  override fails(site: FaultSite): boolean {
    this.#attempts.set(site, (this.#attempts.get(site) ?? 0) + 1);
    return super.fails(site) || (this.outer?.fails(site) ?? false);
  }

  fingerprint(hash: StateHash): void {
    for (const { site } of FAULT_SITES) hash.add(this.#attempts.get(site) ?? 0);
  }
}
