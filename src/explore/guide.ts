/** Leads a run the way another one went, where the two are alike. */
import type { FaultSite } from '../core/fault-plan.ts';
import type { Thread } from '../core/sched/thread.ts';
import type { Chooser } from './chooser.ts';
import type { Listener, PointInfo } from './decider.ts';

/**
 * Remembers the deviations of a run by what people would call them: at which point, in which
 * operation, which thread went on. When operations are left out the numbers of decisions change;
 * this does not.
 */
export class Guide implements Listener {
  readonly #switches: Map<string, string> = new Map();
  readonly #faults: Set<string> = new Set();
  readonly #counter: Counter = new Counter();
  #last = '';

  point({ current, chosen, point, position, count }: PointInfo): void {
    const place = placeOf(current, this.#last, point);
    const key = this.#counter.key(place);
    // Where there was no choice the way goes on by itself.
    if (position !== null && count > 1 && chosen !== current) this.#switches.set(key, chosen.name);
    this.#last = chosen.name;
  }

  fault(site: FaultSite, thread: Thread | null, _position: number, fails: boolean): void {
    const key = this.#counter.key(faultPlace(site, thread));
    if (fails) this.#faults.add(key);
  }

  ended(): void {}

  tell(): void {}

  /** For one further run. */
  follower(): Follower {
    return new Follower(this.#switches, this.#faults);
  }
}

/** Is told of every point, and chooses at the decisions among them. */
export class Follower implements Chooser, Listener {
  readonly #switches: ReadonlyMap<string, string>;
  readonly #faults: ReadonlySet<string>;
  readonly #counter: Counter = new Counter();
  #last = '';

  constructor(switches: ReadonlyMap<string, string>, faults: ReadonlySet<string>) {
    this.#switches = switches;
    this.#faults = faults;
  }

  choose(
    _position: number,
    _count: number,
    current: Thread | null,
    others: readonly Thread[],
    point: string,
  ): number {
    const key = this.#counter.peek(placeOf(current, this.#last, point));
    const wanted = this.#switches.get(key);
    if (wanted === undefined) return 0;
    const at = others.findIndex(({ name }) => name === wanted);
    return current === null ? Math.max(0, at) : at + 1;
  }

  fails(_position: number, site: FaultSite, thread: Thread | null): boolean {
    return this.#faults.has(this.#counter.peek(faultPlace(site, thread)));
  }

  point({ current, chosen, point }: PointInfo): void {
    this.#counter.key(placeOf(current, this.#last, point));
    this.#last = chosen.name;
  }

  fault(site: FaultSite, thread: Thread | null): void {
    this.#counter.key(faultPlace(site, thread));
  }

  ended(): void {}

  tell(): void {}
}

/** The n-th time at a place. */
class Counter {
  readonly #times: Map<string, number> = new Map();

  key(place: string): string {
    const time = this.#times.get(place) ?? 0;
    this.#times.set(place, time + 1);
    return `${place} #${time}`;
  }

  peek(place: string): string {
    return `${place} #${this.#times.get(place) ?? 0}`;
  }
}

function placeOf(current: Thread | null, last: string, point: string): string {
  return current === null ? `after ${last}` : `${current.name} ${current.doing} ${point}`;
}

function faultPlace(site: FaultSite, thread: Thread | null): string {
  return `${site} ${thread?.name ?? ''} ${thread?.doing ?? ''}`;
}
