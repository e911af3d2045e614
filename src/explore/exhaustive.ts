/**
 * Every schedule, depth first.
 *
 * Nothing is stored but the decisions of the current run: to take another turn, the run starts anew
 * and follows them up to there. With pruning a run is broken off at a state that was seen before,
 * for what can follow is known. States are told apart by a hash of 53 bits; a million states have
 * two that are taken for one with a probability of about 1 in 20,000.
 */
import type { Thread } from '../core/sched/thread.ts';
import type { Chooser } from './chooser.ts';
import { type Decider, type Pruner, RETRIES } from './decider.ts';
import { Findings } from './findings.ts';
import { baseOf } from './random-search.ts';
import { deciderOf, runOnce, scheduleOf } from './run-once.ts';
import { selfCheck } from './self-check.ts';
import type {
  FoundFailure,
  Outcome,
  Progress,
  Scenario,
  Schedule,
  Search,
  SearchOptions,
  Verdict,
} from './types.ts';

/** So many times it is tried whether a circle is a livelock. */
const CIRCLES_TRIED = 30;

/** Follows a list of alternatives, then does the ordinary thing. */
class Prefix implements Chooser {
  readonly #taken: readonly number[];

  constructor(taken: readonly number[]) {
    this.#taken = taken;
  }

  choose(position: number): number {
    return this.#taken[position] ?? 0;
  }

  fails(position: number): boolean {
    return this.choose(position) !== 0;
  }
}

/** States seen at decisions, with the most that was left of the bound there. */
class SeenStates implements Pruner {
  readonly #budgets: Map<number, number> = new Map();
  /** Decisions before this one are those of a run before: they are not new. */
  from = 0;
  bound: number = Number.POSITIVE_INFINITY;
  /** The run came back to a state that it had been in itself. */
  circled = false;
  /** Those of the run, by position. */
  readonly #own: number[] = [];

  get size(): number {
    return this.#budgets.size;
  }

  clear(): void {
    this.#budgets.clear();
  }

  /** A run begins that follows so many decisions of one before. */
  begin(from: number, bound: number): void {
    this.from = from;
    this.bound = bound;
    this.circled = false;
  }

  isNew(decider: Decider, position: number, current: Thread | null): boolean {
    if (position < this.from || !decider.canFingerprint) return true;
    const own = this.#own;
    let state = decider.fingerprint();
    let left = this.bound;
    if (left !== Number.POSITIVE_INFINITY) {
      // Who runs may go on for nothing, so it belongs to the state here.
      state += current === null ? 0 : current.id + 1;
      left -= overtakings(decider.taken, decider.overtakes);
    }
    const before = this.#budgets.get(state);
    own.length = Math.min(own.length, position);
    if (before !== undefined && before >= left) {
      this.circled = own.includes(state);
      return false;
    }
    own[position] = state;
    this.#budgets.set(state, left);
    return true;
  }
}

function overtakings(taken: readonly number[], overtakes: readonly number[]): number {
  let count = 0;
  for (let i = 0; i < taken.length; i++) if (taken[i] !== 0) count += overtakes[i]!;
  return count;
}

export class ExhaustiveSearch implements Search {
  readonly scenario: Scenario;
  readonly #options: SearchOptions;
  readonly #base: Schedule;
  readonly #findings: Findings;
  readonly #seen: SeenStates | null;
  readonly #most: number;
  readonly #cannotPrune: string | null;
  #bound: number;
  /** The decisions that the next run follows; null when there is no next run. */
  #prefix: number[] | null = [];
  /** What the run before offered there. */
  #counts: readonly number[] = [];
  /** The bound kept a decision from being taken otherwise. */
  #boundCut = false;
  #complete = false;
  #runs = 0;
  #cut = 0;
  #points = 0;
  #circles = 0;
  #merged = false;

  constructor(scenario: Scenario, options: SearchOptions) {
    const { bound = null, prune = true, schedules, outcomes = false } = options;
    this.scenario = scenario;
    this.#options = options;
    this.#base = baseOf(options);
    this.#findings = new Findings(scenario, outcomes);
    this.#bound = bound === 'iterative' ? 0 : (bound ?? Number.POSITIVE_INFINITY);
    this.#most = schedules ?? Number.POSITIVE_INFINITY;
    const cannot = prune ? scenario.cannotPrune : null;
    this.#seen = prune && cannot === null ? new SeenStates() : null;
    this.#cannotPrune = cannot;
  }

  get findings(): readonly FoundFailure[] {
    return this.#findings.found;
  }

  get outcomes(): readonly Outcome[] {
    return this.#findings.outcomes;
  }

  get notes(): readonly string[] {
    const notes: string[] = [];
    if (this.#cannotPrune !== null) {
      notes.push(`equal states are not recognised: ${this.#cannotPrune}`);
    }
    if (this.#merged) {
      const { retries = RETRIES } = this.#options;
      notes.push(`retries of one step beyond number ${retries} count as number ${retries}`);
    }
    return notes;
  }

  get complete(): boolean {
    return this.#complete;
  }

  get progress(): Progress {
    return {
      runs: this.#runs,
      cut: this.#cut,
      points: this.#points,
      states: this.#seen?.size ?? 0,
      bound: this.#bound === Number.POSITIVE_INFINITY ? null : this.#bound,
    };
  }

  step(): boolean {
    if (this.#prefix === null || this.#runs >= this.#most || this.#isOver()) return false;
    this.#run(this.#prefix);
    if (this.#prefix === null) this.#nextBound();
    return this.#prefix !== null && this.#runs < this.#most && !this.#isOver();
  }

  #run(prefix: readonly number[]): void {
    const { scenario } = this;
    const seen = this.#seen;
    seen?.begin(prefix.length, this.#bound);
    const options = { ...this.#options, chooser: new Prefix(prefix), pruner: seen };
    const decider = deciderOf(this.#base, options);
    const verdict = runOnce(scenario, decider);
    const index = this.#runs++;
    this.#points += decider.points;
    if (decider.retriesMerged) this.#merged = true;
    if (verdict === null) {
      this.#cut++;
      if (seen?.circled === true) this.#tryLockstep(decider);
    } else this.#add(verdict, index, decider);
    const changed = this.#firstChange(prefix, decider);
    if (changed !== null) this.#notTheSame(changed, index, decider);
    this.#prefix = this.#isOver() ? null : this.#backtrack(decider);
    this.#counts = [...decider.counts];
  }

  #add(verdict: Verdict, index: number, decider: Decider): void {
    const schedule = (): Schedule => scheduleOf(decider, this.#base);
    this.#findings.add(verdict, index, schedule);
    if (this.#options.selfCheck !== true) return;
    const failure = selfCheck(this.scenario, schedule(), this.#options);
    if (failure !== null) this.#findings.add({ ...verdict, failures: [failure] }, index, schedule);
  }

  /**
   * Threads can go round in circles here. If they do so even where each gets its turn, that is a
   * livelock, and no other run would show it, for all of them are cut off.
   */
  #tryLockstep(decider: Decider): void {
    if (this.#circles >= CIRCLES_TRIED) return;
    this.#circles++;
    const { deviations } = scheduleOf(decider, this.#base);
    const schedule = { ...this.#base, deviations, lockstep: decider.taken.length };
    const again = deciderOf(schedule, this.#options);
    const verdict = runOnce(this.scenario, again)!;
    const index = this.#runs++;
    this.#points += again.points;
    this.#add(verdict, index, again);
  }

  /** A decision of the prefix that offers another number of alternatives than it did. */
  #firstChange(prefix: readonly number[], { counts }: Decider): number | null {
    for (let i = 0; i < prefix.length; i++) if (counts[i] !== this.#counts[i]) return i;
    return null;
  }

  #notTheSame(position: number, index: number, decider: Decider): void {
    const was = this.#counts[position];
    const now = decider.counts[position];
    const message =
      now === undefined
        ? `decision ${position} was there before, and is not under the same schedule`
        : `decision ${position} had ${was} alternatives and has ${now} under the same schedule`;
    const failures = [{ kind: 'nondeterminism', message, detail: [] }] as const;
    const verdict = { failures, state: message, points: decider.points };
    this.#findings.add(verdict, index, () => scheduleOf(decider, this.#base));
  }

  /** The decisions of the next run: the last one that has an alternative left takes it. */
  #backtrack({ taken, counts, overtakes }: Decider): number[] | null {
    let spent = overtakings(taken, overtakes);
    for (let i = taken.length - 1; i >= 0; i--) {
      const was = taken[i]!;
      if (was !== 0) spent -= overtakes[i]!;
      if (was + 1 >= counts[i]!) continue;
      if (spent + overtakes[i]! > this.#bound) {
        this.#boundCut = true;
        continue;
      }
      const prefix = taken.slice(0, i + 1);
      prefix[i] = was + 1;
      return prefix;
    }
    this.#complete = true;
    return null;
  }

  /** Iterative: the same again with one more. */
  #nextBound(): void {
    if (this.#options.bound !== 'iterative' || this.#isOver() || !this.#boundCut) return;
    this.#bound++;
    this.#boundCut = false;
    this.#complete = false;
    this.#counts = [];
    this.#seen?.clear();
    this.#prefix = [];
  }

  #isOver(): boolean {
    return this.#findings.found.length > 0 && this.#options.keepGoing !== true;
  }
}
