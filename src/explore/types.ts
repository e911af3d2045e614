/**
 * What a search for races is made of.
 *
 * A run of a machine is a stream of decisions: which thread goes on, and whether an attempt fails
 * on purpose. Decision 0 is always the ordinary thing: whoever runs goes on; nobody running, the
 * first in the queue; nothing fails. A schedule is the list of decisions that were not ordinary, so
 * the empty schedule is the run that happens without a search.
 */

import type { SimEvent } from '../core/events/types.ts';
import type { FaultPlan, FaultSite } from '../core/fault-plan.ts';
import type { Explorer } from '../core/sched/explorer.ts';
import type { Thread } from '../core/sched/thread.ts';
import type { StateHash } from '../core/state-hash.ts';

export type FailureKind =
  /** A count or link of the kernel is wrong when everything is at rest. */
  | 'verify'
  /** Memory does not have what was stored last. */
  | 'lost_write'
  /** A rule was broken on which a kernel would crash. */
  | 'crash'
  /** Nobody can ever run again. */
  | 'deadlock'
  /** Everybody gets their turn and nobody gets anywhere. */
  | 'livelock'
  /** Somebody never gets anywhere, because others always overtake. */
  | 'starvation'
  /** Memory that never came back after every process ended. */
  | 'leak'
  /** What the scenario itself expects does not hold. */
  | 'expectation'
  /** Two classes of locks are taken in both orders. */
  | 'lock_order'
  /** The same schedule did not give the same run twice. */
  | 'nondeterminism';

export interface Failure {
  readonly kind: FailureKind;
  /** One sentence. */
  readonly message: string;
  /** More lines for people: who waits for what, who repeats what. */
  readonly detail: readonly string[];
}

/** How one run ended. */
export interface Verdict {
  readonly failures: readonly Failure[];
  /** The end in canonical text: equal texts are equal outcomes. */
  readonly state: string;
  /** Places at which the run asked who goes on. */
  readonly points: number;
}

/**
 * Adds the state of a scenario to a hash. `exactSequences`: a thread may compare the sequence of a
 * notifier with one that it has seen, so their values matter and not only which of them are equal.
 */
export type Fingerprint = (hash: StateHash, exactSequences: boolean) => void;

/** What a run hands to its scenario; of no use after the run. */
export interface RunContext {
  /** For the machine: `new Machine({ explorer })`. */
  readonly explorer: Explorer;
  /** Decides faults on purpose; null where none are asked for. For `machine.kernel.faults`. */
  readonly faults: FaultPlan | null;
  /** Points so far, for the verdict. */
  readonly points: number;
  /** Operations to leave out, by number. */
  readonly omitted: ReadonlySet<number>;
  /** True where somebody reads what `tell` is told; telling costs nothing otherwise. */
  readonly listening: boolean;
  /** Whether a fingerprint of the state is wanted; if so call `watch`. */
  readonly fingerprinting: boolean;
  /**
   * How to take the fingerprint of everything that the rest of the run depends on, but for the
   * threads themselves. A scenario that never calls it cannot be pruned.
   */
  watch(fingerprint: Fingerprint): void;
  /** `thread` has loaded or stored `value`; that is part of where it stands. */
  learned(thread: Thread, value: number): void;
  /** An operation of `thread` ended; `result` is what it gave, in words. */
  ended(thread: Thread, result: string): void;
  /** The machine told of an event, for the narration and the check against nondeterminism. */
  tell(event: SimEvent): void;
}

/** Something to search: it builds a fresh machine for each run. */
export interface Scenario {
  /** For people. */
  readonly name: string;
  /** Text that says what is run; tokens hold for scenarios with equal ones only. */
  readonly identity: string;
  /** How many operations there are, for leaving some out; 0 where none can be. */
  readonly operations: number;
  /** Null, or why equal states cannot be recognised: a driver without a fingerprint. */
  readonly cannotPrune: string | null;
  /** Runs it once. Errors that the context throws must pass through. */
  execute(run: RunContext): Verdict;
}

/** A decision that was not the ordinary one: 0 < alternative. */
export interface Deviation {
  /** Number of the decision in the stream, from 0; those with one alternative are not counted. */
  readonly position: number;
  readonly alternative: number;
}

/** Which faults on purpose may happen. */
export interface FaultOptions {
  readonly sites: readonly FaultSite[];
  /** At most so many in one run; 1 unless given. */
  readonly most?: number;
}

/** All that a run depends on besides its scenario. */
export interface Schedule {
  /** By position. */
  readonly deviations: readonly Deviation[];
  /** From this decision on every thread goes one point in turn; null for no such tail. */
  readonly lockstep: number | null;
  /** Operations left out, ascending. */
  readonly omitted: readonly number[];
  /** What may fail on purpose, and is part of the stream of decisions therefore. */
  readonly faults: FaultOptions | null;
  /** An unfair run that gets nowhere counts as starvation. */
  readonly starvation: boolean;
}

/** What bounds one run. */
export interface RunLimits {
  /** A run of more points than this goes over to lockstep; 20,000 unless given. */
  readonly mostPoints?: number;
  /** So many points in lockstep without an operation ending are a livelock; 2,000 unless given. */
  readonly livelockPoints?: number;
}

export type StrategyName = 'random' | 'pct' | 'exhaustive' | 'mix';

export interface SearchOptions extends RunLimits {
  /** 'mix' unless given: random, PCT and lockstep tails in turn. */
  readonly strategy?: StrategyName;
  /** A whole number from 0 to 2^53 - 1; 1 unless given. */
  readonly seed?: number;
  /** Number of the first schedule to run; 0 unless given. Not for 'exhaustive'. */
  readonly first?: number;
  /** At most so many schedules; 10,000 unless given, without limit for 'exhaustive'. */
  readonly schedules?: number;
  /** PCT: bugs that need so many orderings are found with a known probability; 3 unless given. */
  readonly depth?: number;
  /**
   * Exhaustive: at most so many times a thread that could go on is overtaken. 'iterative' does 0,
   * then 1, and so on until nothing is cut; null (the default) has no bound.
   */
  readonly bound?: number | 'iterative' | null;
  /** Exhaustive: go no further from a state that was seen before; true unless given. */
  readonly prune?: boolean;
  /**
   * Exhaustive, with pruning: a thread that comes to the same point over and over without loading or
   * storing anything, as in a retry, is told apart so many times; further times count as the last
   * one. Without such a limit a search would never end where retries do not. 3 unless given.
   */
  readonly retries?: number;
  readonly faults?: FaultOptions | null;
  readonly starvation?: boolean;
  /** Keep the histogram of outcomes. */
  readonly outcomes?: boolean;
  /** Run each schedule twice and compare. */
  readonly selfCheck?: boolean;
  /** Go on after the first failure; each kind with its message is kept once. */
  readonly keepGoing?: boolean;
}

/** A run that failed. Plain data. */
export interface FoundFailure {
  readonly failure: Failure;
  readonly schedule: Schedule;
  readonly token: string;
  /** Number of the schedule that found it, from 0. */
  readonly index: number;
}

export interface Outcome {
  readonly state: string;
  /** Runs that ended so. */
  readonly count: number;
  /** One of them: the first. */
  readonly token: string;
  readonly failed: boolean;
}

export interface Progress {
  /** Schedules run, those cut short too. */
  readonly runs: number;
  /** Runs that exhaustive search broke off at a state it had seen. */
  readonly cut: number;
  /** Points of all runs together. */
  readonly points: number;
  /** Different states seen at decisions; 0 without pruning. */
  readonly states: number;
  /** The preemption bound that is being searched; null for none. */
  readonly bound: number | null;
}

/** A search under way. `step` until it answers false, or as long as you like. */
export interface Search {
  readonly scenario: Scenario;
  /** Runs the next schedule. False: there is none, or a failure was found that ends the search. */
  step(): boolean;
  readonly progress: Progress;
  readonly findings: readonly FoundFailure[];
  /** Most frequent first; empty unless asked for. */
  readonly outcomes: readonly Outcome[];
  /** Exhaustive: every schedule within the bound has been run or is known to lead nowhere new. */
  readonly complete: boolean;
  /** What the user ought to know of this search, such as why it cannot prune. */
  readonly notes: readonly string[];
}
