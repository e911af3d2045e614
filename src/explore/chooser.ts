/** How the decisions of one run are made. */
import type { FaultSite } from '../core/fault-plan.ts';
import type { Thread } from '../core/sched/thread.ts';
import { Random } from './random.ts';
import type { Deviation } from './types.ts';

export interface Chooser {
  /**
   * One of `count` (at least 2) alternatives at decision `position`. With `current`, 0 is to let it
   * go on and i is `others[i - 1]`; without, i is `others[i]`.
   */
  choose(
    position: number,
    count: number,
    current: Thread | null,
    others: readonly Thread[],
    point: string,
  ): number;
  /** Whether an attempt fails on purpose at decision `position`. */
  fails(position: number, site: FaultSite, thread: Thread | null): boolean;
}

/** Follows a schedule. */
export class Replay implements Chooser {
  readonly #deviations: readonly Deviation[];
  #next = 0;

  constructor(deviations: readonly Deviation[]) {
    this.#deviations = deviations;
  }

  /** The first deviation that the run has not come to, or null. */
  get pending(): Deviation | null {
    return this.#deviations[this.#next] ?? null;
  }

  choose(position: number): number {
    const deviation = this.#deviations[this.#next];
    if (deviation === undefined || deviation.position !== position) return 0;
    this.#next++;
    return deviation.alternative;
  }

  fails(position: number): boolean {
    return this.choose(position) !== 0;
  }
}

/** The ordinary run the other way round: of the threads that can run the one spawned last goes. */
export class LastFirst implements Chooser {
  choose(
    _position: number,
    _count: number,
    current: Thread | null,
    others: readonly Thread[],
  ): number {
    let last = 0;
    let lastId = current?.id ?? -1;
    for (let i = 0; i < others.length; i++) {
      if (others[i]!.id <= lastId) continue;
      lastId = others[i]!.id;
      last = current === null ? i : i + 1;
    }
    return last;
  }

  fails(): boolean {
    return false;
  }
}

/** Faults on purpose are rarer than switches, lest every run ends in them. */
const FAULT_ONE_IN = 8;

/** Overtakes with a rate of its own: where a bug needs a long stretch, switching often misses it. */
export class RandomSwitches implements Chooser {
  readonly #random: Random;
  readonly #oneIn: number;

  constructor(random: Random, oneIn: number) {
    this.#random = random;
    this.#oneIn = oneIn;
  }

  choose(_position: number, count: number, current: Thread | null): number {
    const random = this.#random;
    if (current === null) return random.below(count);
    return random.oneIn(this.#oneIn) ? 1 + random.below(count - 1) : 0;
  }

  fails(): boolean {
    return this.#random.oneIn(FAULT_ONE_IN);
  }
}

/**
 * Probabilistic concurrency testing: every thread has a priority, the highest runs, and at
 * `depth` - 1 places whoever runs falls below all that did not. In which order those stand who fell
 * is drawn, too: it does not follow from who fell first. A bug that needs `depth` orderings among n
 * threads and k decisions is found with probability of at least 1 / (n k^(depth-1)).
 */
export class Priorities implements Chooser {
  readonly #random: Random;
  /** By decision: the priority that whoever runs gets there, below those that are drawn. */
  readonly #changes: ReadonlyMap<number, number>;
  readonly #priorities: Map<number, number> = new Map();

  /** @param decisions how many decisions a run has at most, about */
  constructor(random: Random, depth: number, decisions: number) {
    this.#random = random;
    const changes: Map<number, number> = new Map();
    for (let i = 1; i < depth; i++) changes.set(random.below(Math.max(1, decisions)), -i);
    this.#changes = changes;
  }

  choose(
    position: number,
    count: number,
    current: Thread | null,
    others: readonly Thread[],
  ): number {
    const first = current === null ? 0 : 1;
    const change = this.#changes.get(position);
    if (current !== null && change !== undefined) this.#priorities.set(current.id, change);
    let best = 0;
    let bestPriority = this.#priorityOf(current ?? others[0]!);
    for (let i = 1; i < count; i++) {
      const priority = this.#priorityOf(others[i - first]!);
      if (priority > bestPriority) {
        best = i;
        bestPriority = priority;
      }
    }
    return best;
  }

  fails(): boolean {
    return this.#random.oneIn(FAULT_ONE_IN);
  }

  /** Drawn when a thread is first seen; two may be equal, then the earlier in the queue goes. */
  #priorityOf(thread: Thread): number {
    let priority = this.#priorities.get(thread.id);
    if (priority === undefined) {
      priority = 1 + this.#random.below(0x3fff_ffff);
      this.#priorities.set(thread.id, priority);
    }
    return priority;
  }
}

/** The way of choosing of schedule `index`, and where its lockstep tail begins. */
export interface DrawnRun {
  readonly chooser: Chooser;
  readonly lockstep: number | null;
}

const RATES: readonly number[] = [2, 3, 6, 12];

/**
 * @param decisions how many decisions a run has at most, about
 * @param depth of PCT
 */
export function drawRun(
  strategy: 'random' | 'pct' | 'mix',
  seed: number,
  index: number,
  depth: number,
  decisions: number,
): DrawnRun {
  // The ordinary run comes first: what fails without a search should be found so.
  if (index === 0) return { chooser: new Replay([]), lockstep: null };
  const random = new Random(seed, index);
  const kind = strategy === 'mix' ? index % 3 : strategy === 'pct' ? 0 : 1;
  if (kind === 0) return { chooser: new Priorities(random, depth, decisions), lockstep: null };
  const chooser = new RandomSwitches(random, RATES[random.below(RATES.length)]!);
  // In the mix, a third of the runs ends in lockstep: retries that wait for each other show there.
  const lockstep = kind === 2 ? 1 + random.below(2 * decisions + 1) : null;
  return { chooser, lockstep };
}
