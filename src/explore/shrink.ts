/**
 * Makes a failing schedule easier to read: fewer operations, then fewer deviations, then earlier
 * ones; the kind of failure stays. What fails only in some order goes on to do so: operations are
 * not left out where the rest would fail in any order, as an expectation does that nobody meets.
 *
 * The result depends on the scenario and the schedule alone. A candidate is judged by running it,
 * and what is kept is always the schedule that a run took, so that it can be replayed.
 */
import { type Chooser, RandomSwitches } from './chooser.ts';
import { ExhaustiveSearch } from './exhaustive.ts';
import { type Follower, Guide } from './guide.ts';
import { Random } from './random.ts';
import { deciderOf, replay, runOnce, scheduleOf } from './run-once.ts';
import { scheduleToken } from './token.ts';
import type {
  Deviation,
  Failure,
  FailureKind,
  RunLimits,
  Scenario,
  Schedule,
  Verdict,
} from './types.ts';

export interface ShrinkOptions extends RunLimits {
  /** At most so many runs; 3,000 unless given. */
  readonly runs?: number;
}

export interface Shrunk {
  readonly schedule: Schedule;
  readonly token: string;
  /** Of the kind that was asked for. */
  readonly failure: Failure;
  /** How many runs it took. */
  readonly runs: number;
}

const MOST_RUNS = 3_000;
/** Without an operation the race may need another order: so many are tried. */
const RANDOM_TRIES = 24;
/** What exhaustive search for a shorter schedule may cost. */
const SEARCH_RUNS = 400;

/**
 * The smallest schedule found that still fails in this way.
 *
 * @returns null if the schedule does not fail so
 * @throws SimError `bad-argument` if it does not fit the scenario
 */
export function shrink(
  scenario: Scenario,
  schedule: Schedule,
  kind: FailureKind,
  options: ShrinkOptions = {},
): Shrunk | null {
  const verdict = replay(scenario, schedule, options);
  const failure = verdict.failures.find((one) => one.kind === kind);
  if (failure === undefined) return null;
  const shrinker = new Shrinker(scenario, kind, options, { schedule, failure });
  shrinker.run();
  const { best, runs } = shrinker;
  return {
    schedule: best.schedule,
    token: scheduleToken(scenario, best.schedule),
    failure: best.failure,
    runs: runs + 1,
  };
}

interface Failing {
  readonly schedule: Schedule;
  readonly failure: Failure;
}

class Shrinker {
  best: Failing;
  runs = 0;
  readonly #scenario: Scenario;
  readonly #kind: FailureKind;
  readonly #options: ShrinkOptions;
  readonly #mostRuns: number;
  /** By the operations that are left out: whether the ordinary run fails in this way, too. */
  readonly #alwaysFails: Map<string, boolean> = new Map();
  /** The failure depends on the order. */
  readonly #isRace: boolean;

  constructor(scenario: Scenario, kind: FailureKind, options: ShrinkOptions, first: Failing) {
    this.#scenario = scenario;
    this.#kind = kind;
    this.#options = options;
    this.#mostRuns = options.runs ?? MOST_RUNS;
    this.best = first;
    this.#isRace = !this.#failsAnyway(first.schedule);
  }

  run(): void {
    for (let before = -1; before !== sizeOf(this.best.schedule) && !this.#isSpent(); ) {
      before = sizeOf(this.best.schedule);
      // What an expectation is about is for its author to say, unless an order tells.
      if (this.#isRace || this.#kind !== 'expectation') this.#dropOperations();
      this.#dropTail();
      this.#dropDeviations();
      this.#searchShorter();
    }
    this.#moveEarlier();
  }

  #isSpent(): boolean {
    return this.runs >= this.#mostRuns;
  }

  // Operations ---------------------------------------------------------------------------------

  /** Leaves out halves, quarters, and at last one operation at a time, until none can go. */
  #dropOperations(): void {
    const { operations } = this.#scenario;
    const left = (): number[] => {
      const gone = new Set(this.best.schedule.omitted);
      return Array.from({ length: operations }, (_, i) => i).filter((i) => !gone.has(i));
    };
    for (let size = Math.ceil(left().length / 2); size >= 1; size = Math.floor(size / 2)) {
      // From the end, for what comes later depends on what came before.
      for (let end = left().length; end > 0 && !this.#isSpent(); end -= size) {
        this.#leaveOut(left().slice(Math.max(0, end - size), end));
      }
    }
  }

  #leaveOut(indexes: readonly number[]): void {
    const { schedule } = this.best;
    const omitted = [...schedule.omitted, ...indexes].sort((a, b) => a - b);
    const base: Schedule = { ...schedule, omitted };
    const follower = this.#guide(schedule);
    if (this.#tryWith(base, follower, follower)) return;
    if (this.#try({ ...base, deviations: [], lockstep: null })) return;
    if (this.#try(base)) return;
    for (let i = 0; i < RANDOM_TRIES && !this.#isSpent(); i++) {
      const chooser = new RandomSwitches(new Random(indexes[0]!, i), 2 + (i % 4) * 2);
      if (this.#tryWith({ ...base, deviations: [] }, chooser)) return;
    }
  }

  #guide(schedule: Schedule): Follower {
    const guide = new Guide();
    this.runs++;
    runOnce(this.#scenario, deciderOf(schedule, { ...this.#options, listener: guide }));
    return guide.follower();
  }

  // Deviations ---------------------------------------------------------------------------------

  #dropTail(): void {
    const { schedule } = this.best;
    if (schedule.lockstep === null) return;
    if (this.#try({ ...schedule, lockstep: null })) return;
    // Perhaps lockstep alone does it, from the start or after a few of the deviations.
    for (let count = 0; count < schedule.deviations.length && !this.#isSpent(); count++) {
      const deviations = schedule.deviations.slice(0, count);
      const from = count === 0 ? 0 : deviations[count - 1]!.position + 1;
      if (this.#try({ ...schedule, deviations, lockstep: from })) return;
    }
  }

  #dropDeviations(): void {
    for (
      let size = Math.ceil(this.best.schedule.deviations.length / 2);
      size >= 1;
      size = Math.floor(size / 2)
    ) {
      for (let end = this.best.schedule.deviations.length; end > 0; end -= size) {
        if (this.#isSpent()) return;
        const { deviations } = this.best.schedule;
        if (end > deviations.length) continue;
        const kept = deviations.filter((_, i) => i < end - size || i >= end);
        this.#try({ ...this.best.schedule, deviations: kept });
      }
    }
  }

  /**
   * Looks for a schedule that overtakes less often, which dropping alone may not find; and for one
   * without a tail, unless taking turns is what the failure is about.
   */
  #searchShorter(): void {
    const { schedule } = this.best;
    if (this.#kind === 'livelock' || this.#kind === 'starvation') return;
    const overtakes = schedule.lockstep === null ? schedule.deviations.length : 3;
    const scenario = new Without(this.#scenario, schedule.omitted);
    const most = Math.min(SEARCH_RUNS, this.#mostRuns - this.runs);
    for (let bound = 0; bound < overtakes && bound <= 2; bound++) {
      const search = new ExhaustiveSearch(scenario, {
        ...this.#options,
        bound,
        prune: false,
        schedules: most,
        keepGoing: true,
        faults: schedule.faults,
        starvation: schedule.starvation,
      });
      let more = true;
      while (more && search.findings.every(({ failure }) => failure.kind !== this.#kind)) {
        more = search.step();
      }
      this.runs += search.progress.runs;
      const found = search.findings.find(({ failure }) => failure.kind === this.#kind);
      if (found === undefined) continue;
      if (this.#keep({ ...found.schedule, omitted: schedule.omitted }, found.failure)) return;
    }
  }

  /** Each deviation as early as it may be, the first one first. */
  #moveEarlier(): void {
    for (let i = 0; i < this.best.schedule.deviations.length; i++) {
      const { deviations } = this.best.schedule;
      const first = i === 0 ? 0 : deviations[i - 1]!.position + 1;
      for (let position = first; position < deviations[i]!.position; position++) {
        if (this.#isSpent()) return;
        const moved = { position, alternative: deviations[i]!.alternative };
        if (this.#try({ ...this.best.schedule, deviations: replaced(deviations, i, moved) })) break;
      }
    }
  }

  // Candidates ---------------------------------------------------------------------------------

  #try(candidate: Schedule): boolean {
    return this.#tryWith(candidate, new Loose(candidate.deviations));
  }

  /** Runs a candidate. If it fails as wanted and is smaller than the best, it is the best. */
  #tryWith(candidate: Schedule, chooser: Chooser, listener: Follower | null = null): boolean {
    if (this.#isSpent()) return false;
    this.runs++;
    const decider = deciderOf(candidate, { ...this.#options, chooser, listener });
    const verdict: Verdict = runOnce(this.#scenario, decider)!;
    const failure = verdict.failures.find(({ kind }) => kind === this.#kind);
    if (failure === undefined) return false;
    return this.#keep(scheduleOf(decider, candidate), failure);
  }

  #keep(schedule: Schedule, failure: Failure): boolean {
    if (!isSmaller(schedule, this.best.schedule)) return false;
    const isLess = schedule.omitted.length > this.best.schedule.omitted.length;
    if (isLess && this.#isRace && this.#failsAnyway(schedule)) return false;
    this.best = { schedule, failure };
    return true;
  }

  /** The same operations in their ordinary order fail in this way. */
  #failsAnyway(schedule: Schedule): boolean {
    const key = schedule.omitted.join();
    let fails = this.#alwaysFails.get(key);
    if (fails === undefined) {
      this.runs++;
      const ordinary: Schedule = { ...schedule, deviations: [], lockstep: null };
      const verdict = runOnce(this.#scenario, deciderOf(ordinary, this.#options))!;
      fails = verdict.failures.some(({ kind }) => kind === this.#kind);
      this.#alwaysFails.set(key, fails);
    }
    return fails;
  }
}

/** Follows a schedule where it can. */
class Loose implements Chooser {
  readonly #wanted: ReadonlyMap<number, number>;

  constructor(deviations: readonly Deviation[]) {
    this.#wanted = new Map(deviations.map(({ position, alternative }) => [position, alternative]));
  }

  choose(position: number, count: number): number {
    const wanted = this.#wanted.get(position) ?? 0;
    return wanted < count ? wanted : 0;
  }

  fails(position: number): boolean {
    return (this.#wanted.get(position) ?? 0) !== 0;
  }
}

/** A scenario whose runs leave out the same operations. */
class Without implements Scenario {
  readonly name: string;
  readonly identity: string;
  readonly operations: number;
  readonly cannotPrune: string | null;
  readonly execute: Scenario['execute'];

  constructor(scenario: Scenario, omitted: readonly number[]) {
    const gone = new Set(omitted);
    this.name = scenario.name;
    this.identity = scenario.identity;
    this.operations = scenario.operations;
    this.cannotPrune = scenario.cannotPrune;
    this.execute = (run) => scenario.execute(leavingOut(run, gone));
  }
}

type Context = Parameters<Scenario['execute']>[0];

function leavingOut(run: Context, omitted: ReadonlySet<number>): Context {
  return {
    explorer: run.explorer,
    faults: run.faults,
    omitted,
    listening: run.listening,
    fingerprinting: run.fingerprinting,
    get points() {
      return run.points;
    },
    watch: (fingerprint) => run.watch(fingerprint),
    learned: (thread, value) => run.learned(thread, value),
    ended: (thread, result) => run.ended(thread, result),
    tell: (line) => run.tell(line),
  };
}

function replaced(all: readonly Deviation[], at: number, by: Deviation): Deviation[] {
  return all.map((one, i) => (i === at ? by : one));
}

function sizeOf({ omitted, deviations, lockstep }: Schedule): number {
  return deviations.length + (lockstep === null ? 0 : 1) - 1_000_000 * omitted.length;
}

/** Fewer operations; then no tail rather than one; then fewer deviations; then earlier ones. */
function isSmaller(a: Schedule, b: Schedule): boolean {
  if (a.omitted.length !== b.omitted.length) return a.omitted.length > b.omitted.length;
  const tails = (a.lockstep === null ? 0 : 1) - (b.lockstep === null ? 0 : 1);
  if (tails !== 0) return tails < 0;
  if (a.deviations.length !== b.deviations.length) {
    return a.deviations.length < b.deviations.length;
  }
  for (let i = 0; i < a.deviations.length; i++) {
    const difference = a.deviations[i]!.position - b.deviations[i]!.position;
    if (difference !== 0) return difference < 0;
  }
  return (a.lockstep ?? 0) < (b.lockstep ?? 0);
}
