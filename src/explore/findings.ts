/** What the runs of a search led to. */
import { scheduleToken } from './token.ts';
import type { FoundFailure, Outcome, Scenario, Schedule, Verdict } from './types.ts';

export class Findings {
  readonly found: FoundFailure[] = [];
  readonly #scenario: Scenario;
  readonly #known: Set<string> = new Set();
  readonly #outcomes: Map<string, { count: number; token: string; failed: boolean }> | null;

  constructor(scenario: Scenario, outcomes: boolean) {
    this.#scenario = scenario;
    this.#outcomes = outcomes ? new Map() : null;
  }

  /** A run ended. `schedule` is asked for only where something is new. */
  add(verdict: Verdict, index: number, schedule: () => Schedule): void {
    for (const failure of verdict.failures) {
      const key = `${failure.kind} ${failure.message}`;
      if (this.#known.has(key)) continue;
      this.#known.add(key);
      const own = schedule();
      const token = scheduleToken(this.#scenario, own);
      this.found.push({ failure, schedule: own, token, index });
    }
    if (this.#outcomes !== null) this.#count(this.#outcomes, verdict, schedule);
  }

  get outcomes(): readonly Outcome[] {
    const all = [...(this.#outcomes ?? [])].map(
      ([state, { count, token, failed }]): Outcome => ({ state, count, token, failed }),
    );
    return all.sort((a, b) => b.count - a.count);
  }

  #count(
    outcomes: Map<string, { count: number; token: string; failed: boolean }>,
    { state, failures }: Verdict,
    schedule: () => Schedule,
  ): void {
    const known = outcomes.get(state);
    if (known !== undefined) {
      known.count++;
      return;
    }
    const token = scheduleToken(this.#scenario, schedule());
    outcomes.set(state, { count: 1, token, failed: failures.length > 0 });
  }
}
