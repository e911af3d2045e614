/** Schedules drawn at random: schedule i depends on the seed and on i alone. */
import { type Chooser, drawRun, LastFirst, Replay } from './chooser.ts';
import { Findings } from './findings.ts';
import { deciderOf, runOnce, scheduleOf } from './run-once.ts';
import { selfCheck } from './self-check.ts';
import { ORDINARY } from './token.ts';
import type {
  FoundFailure,
  Outcome,
  Progress,
  Scenario,
  Schedule,
  Search,
  SearchOptions,
} from './types.ts';

export const RANDOM_SCHEDULES = 10_000;
const DEPTH = 3;
const SEED = 1;

export class RandomSearch implements Search {
  readonly scenario: Scenario;
  readonly complete = false;
  readonly notes: readonly string[] = [];
  readonly #options: SearchOptions;
  readonly #strategy: 'random' | 'pct' | 'mix';
  readonly #base: Schedule;
  readonly #findings: Findings;
  readonly #end: number;
  /** How many a run has at most, about; -1 until that was looked at. */
  #decisions = -1;
  #next: number;
  #runs = 0;
  #points = 0;

  constructor(scenario: Scenario, options: SearchOptions, strategy: 'random' | 'pct' | 'mix') {
    this.scenario = scenario;
    this.#options = options;
    this.#strategy = strategy;
    this.#base = baseOf(options);
    this.#findings = new Findings(scenario, options.outcomes === true);
    this.#next = options.first ?? 0;
    this.#end = this.#next + (options.schedules ?? RANDOM_SCHEDULES);
  }

  get findings(): readonly FoundFailure[] {
    return this.#findings.found;
  }

  get outcomes(): readonly Outcome[] {
    return this.#findings.outcomes;
  }

  get progress(): Progress {
    return { runs: this.#runs, cut: 0, points: this.#points, states: 0, bound: null };
  }

  step(): boolean {
    if (this.#next >= this.#end || this.#isOver()) return false;
    const index = this.#next++;
    this.#run(index);
    return this.#next < this.#end && !this.#isOver();
  }

  #run(index: number): void {
    const { scenario } = this;
    const { seed = SEED, depth = DEPTH, selfCheck: checks = false } = this.#options;
    if (this.#decisions < 0 && index > 0) this.#decisions = this.#countDecisions();
    const drawn = drawRun(this.#strategy, seed, index, depth, this.#decisions);
    const base: Schedule = { ...this.#base, lockstep: drawn.lockstep };
    const decider = deciderOf(base, { ...this.#options, chooser: drawn.chooser });
    const verdict = runOnce(scenario, decider)!;
    this.#runs++;
    this.#points += verdict.points;
    this.#findings.add(verdict, index, () => scheduleOf(decider, base));
    if (!checks) return;
    const schedule = scheduleOf(decider, base);
    const failure = selfCheck(scenario, schedule, this.#options);
    if (failure !== null) {
      this.#findings.add({ ...verdict, failures: [failure] }, index, () => schedule);
    }
  }

  /**
   * Of one thread running alone nothing is decided. In the ordinary run that is the last one, so
   * its steps are counted in a run in which it goes first.
   */
  #countDecisions(): number {
    return this.#decisionsOf(new Replay([])) + this.#decisionsOf(new LastFirst());
  }

  #decisionsOf(chooser: Chooser): number {
    const decider = deciderOf(this.#base, { ...this.#options, chooser });
    runOnce(this.scenario, decider);
    return decider.taken.length;
  }

  #isOver(): boolean {
    return this.#findings.found.length > 0 && this.#options.keepGoing !== true;
  }
}

/** The schedule without deviations of a search. */
export function baseOf({ faults = null, starvation = false }: SearchOptions): Schedule {
  return { ...ORDINARY, faults, starvation };
}
