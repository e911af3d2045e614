/** Answers the choice points of one run, and keeps account of them. */
import type { SimEvent } from '../core/events/types.ts';
import type { FaultPlan, FaultSite } from '../core/fault-plan.ts';
import type { Explorer } from '../core/sched/explorer.ts';
import type { Thread } from '../core/sched/thread.ts';
import { StateHash } from '../core/state-hash.ts';
import type { Chooser } from './chooser.ts';
import { Paths } from './paths.ts';
import { Tail } from './tail.ts';
import type { Failure, FaultOptions, Fingerprint, RunContext, RunLimits } from './types.ts';

export const MOST_POINTS = 20_000;
export const LIVELOCK_POINTS = 2_000;
export const RETRIES = 3;

/** Ends a run from inside a choice point: with a failure, or because it leads nowhere new. */
export class RunEnded extends Error {
  override readonly name = 'RunEnded';
  readonly failure: Failure | null;

  constructor(failure: Failure | null) {
    super(failure?.message ?? 'this state was seen before');
    this.failure = failure;
  }
}

/** Somebody who is told of every point of a run. */
export interface Listener {
  /** `chosen` goes on; `position` is null where there was nothing to decide. */
  point(at: PointInfo): void;
  fault(site: FaultSite, thread: Thread | null, position: number, fails: boolean): void;
  ended(thread: Thread, result: string): void;
  tell(event: SimEvent): void;
}

export interface PointInfo {
  readonly current: Thread | null;
  readonly chosen: Thread;
  readonly point: string;
  readonly local: number;
  readonly count: number;
  readonly position: number | null;
}

/** Decides whether a run is worth going on with; for exhaustive search. */
export interface Pruner {
  /** At a decision with alternatives. False: this state was seen before. */
  isNew(decider: Decider, position: number, current: Thread | null): boolean;
}

export interface DeciderOptions extends RunLimits {
  readonly chooser: Chooser;
  /** From this decision on in lockstep. */
  readonly lockstep?: number | null;
  readonly omitted?: ReadonlySet<number>;
  readonly faults?: FaultOptions | null;
  readonly starvation?: boolean;
  readonly listener?: Listener | null;
  readonly pruner?: Pruner | null;
  /** With a pruner: see `SearchOptions.retries`. */
  readonly retries?: number;
}

const NONE: ReadonlySet<number> = new Set();
export class Decider implements Explorer, FaultPlan, RunContext {
  readonly omitted: ReadonlySet<number>;
  /** Alternatives taken, by position. */
  readonly taken: number[] = [];
  /** How many there were, by position. */
  readonly counts: number[] = [];
  /** By position: 1 where taking another alternative would overtake a thread that can go on. */
  readonly overtakes: number[] = [];
  /** Points so far, those with nothing to decide too. */
  points = 0;
  /** Faults on purpose so far. */
  faultsTaken = 0;
  /** Where the lockstep tail began; null if there was none. */
  lockstepFrom: number | null = null;
  /** A decision did not have the alternative that was wanted. */
  misfit: string | null = null;
  readonly #chooser: Chooser;
  readonly #lockstep: number;
  readonly #sites: ReadonlySet<FaultSite> | null;
  readonly #mostFaults: number;
  readonly #starvation: boolean;
  readonly #mostPoints: number;
  readonly #livelockPoints: number;
  readonly #listener: Listener | null;
  readonly #pruner: Pruner | null;
  /** Where each thread stands; null where nobody compares states. */
  readonly #paths: Paths | null;
  readonly #hash = new StateHash();
  #fingerprint: Fingerprint | null = null;
  #tail: Tail | null = null;
  #last: Thread | null = null;
  #end: RunEnded | null = null;

  constructor(options: DeciderOptions) {
    this.#chooser = options.chooser;
    this.#lockstep = options.lockstep ?? Number.POSITIVE_INFINITY;
    this.omitted = options.omitted ?? NONE;
    this.#sites = options.faults == null ? null : new Set(options.faults.sites);
    this.#mostFaults = options.faults?.most ?? 1;
    this.#starvation = options.starvation === true;
    this.#mostPoints = options.mostPoints ?? MOST_POINTS;
    this.#livelockPoints = options.livelockPoints ?? LIVELOCK_POINTS;
    this.#listener = options.listener ?? null;
    this.#pruner = options.pruner ?? null;
    this.#paths = this.#pruner === null ? null : new Paths(options.retries ?? RETRIES);
  }

  // For the scenario ---------------------------------------------------------------------------

  get explorer(): Explorer {
    return this;
  }

  get faults(): FaultPlan | null {
    return this.#sites === null ? null : this;
  }

  get listening(): boolean {
    return this.#listener !== null;
  }

  get fingerprinting(): boolean {
    return this.#pruner !== null;
  }

  watch(fingerprint: Fingerprint): void {
    this.#fingerprint = fingerprint;
  }

  learned(thread: Thread, value: number): void {
    this.#paths?.learned(thread, value);
  }

  ended(thread: Thread, result: string): void {
    this.#tail?.progress();
    this.#listener?.ended(thread, result);
    this.#paths?.ended(thread, result);
  }

  tell(event: SimEvent): void {
    this.#listener?.tell(event);
  }

  // For the machine ----------------------------------------------------------------------------

  next(current: Thread | null, others: readonly Thread[], point: string, local: number): Thread {
    if (this.#end !== null) throw this.#end;
    this.points++;
    this.#paths?.walk(current, others, point, local);
    if (this.points > this.#mostPoints && this.#tail === null) this.#tooLong(current, others);
    if (this.#tail === null && this.taken.length >= this.#lockstep) this.#enterLockstep();
    const chosen = this.#decide(current, others, point, local);
    this.#last = chosen;
    return chosen;
  }

  fails(site: FaultSite): boolean {
    if (this.#sites === null || !this.#sites.has(site)) return false;
    if (this.#end !== null || this.#tail !== null) return false;
    if (this.faultsTaken >= this.#mostFaults || this.taken.length >= this.#lockstep) return false;
    const position = this.taken.length;
    const fails = this.#chooser.fails(position, site, this.#last);
    this.#record(fails ? 1 : 0, 2, 0);
    if (fails) this.faultsTaken++;
    this.#listener?.fault(site, this.#last, position, fails);
    // Whether it failed is something the thread knows from here on.
    if (this.#last !== null) this.#paths?.learned(this.#last, fails ? -1 : -2);
    return fails;
  }

  // For the search -----------------------------------------------------------------------------

  get canFingerprint(): boolean {
    return this.#fingerprint !== null;
  }

  /** Some thread tried the same over and over, and further tries count as the last one. */
  get retriesMerged(): boolean {
    return this.#paths?.merged ?? false;
  }

  /** The state of everything: machine, threads, results so far. */
  fingerprint(): number {
    const hash = this.#hash;
    hash.reset();
    hash.add(this.faultsTaken);
    this.#paths!.fingerprint(hash);
    this.#fingerprint!(hash, this.#paths!.sequencesInHand);
    return hash.value;
  }

  #decide(current: Thread | null, others: readonly Thread[], point: string, local: number): Thread {
    const count = others.length + (current === null ? 0 : 1);
    let position: number | null = null;
    let chosen: Thread;
    if (this.#tail !== null) chosen = this.#inLockstep(current, others, point, local);
    else if (count === 1) chosen = current ?? others[0]!;
    else {
      position = this.taken.length;
      if (this.#pruner !== null && !this.#pruner.isNew(this, position, current)) {
        throw this.#stop(null);
      }
      const alternative = this.#chooser.choose(position, count, current, others, point);
      const found =
        current === null
          ? others[alternative]
          : alternative === 0
            ? current
            : others[alternative - 1];
      if (found === undefined) throw this.#misfits(position, alternative, count);
      chosen = found;
      this.#record(alternative, count, current === null ? 0 : 1);
    }
    this.#listener?.point({ current, chosen, point, local, count, position });
    return chosen;
  }

  #record(alternative: number, count: number, overtakes: number): void {
    this.taken.push(alternative);
    this.counts.push(count);
    this.overtakes.push(overtakes);
  }

  #enterLockstep(): void {
    this.lockstepFrom = this.taken.length;
    this.#tail = new Tail(this.#livelockPoints, this.#mostPoints);
  }

  #inLockstep(
    current: Thread | null,
    others: readonly Thread[],
    point: string,
    local: number,
  ): Thread {
    const tail = this.#tail!;
    if (this.#last !== null && this.#last.state === 'done') tail.progress();
    // Who only ever lets others go first stands at no point, and gets nowhere all the same.
    const passing = current ?? this.#last;
    if (passing !== null && passing.state !== 'done') {
      const livelock = tail.pass(passing, current === null ? 'waiting' : point, local);
      if (livelock !== null) throw this.#stop(livelock);
    }
    return tail.turn(current ?? this.#last, current, others);
  }

  /** The run is unfair, or does not get anywhere: give everybody their turn and see. */
  #tooLong(current: Thread | null, others: readonly Thread[]): void {
    if (this.#starvation && others.length > 0) {
      throw this.#stop(starvation(this.points, current, others));
    }
    this.#enterLockstep();
  }

  #misfits(position: number, alternative: number, count: number): RunEnded {
    const message =
      `decision ${position} has ${count} alternatives, ` +
      `and the schedule wants number ${alternative}`;
    this.misfit = message;
    return this.#stop({ kind: 'nondeterminism', message, detail: [] });
  }

  #stop(failure: Failure | null): RunEnded {
    this.#end = new RunEnded(failure);
    return this.#end;
  }
}

function starvation(points: number, current: Thread | null, others: readonly Thread[]): Failure {
  const describe = (thread: Thread): string =>
    thread.doing === '' ? thread.name : `${thread.name} (${thread.doing})`;
  const waiting = others.map(describe).join(', ');
  return {
    kind: 'starvation',
    message:
      `after ${points} points ${current === null ? 'nobody' : describe(current)} still runs ` +
      `while others wait for their turn: ${waiting}`,
    detail: [],
  };
}
