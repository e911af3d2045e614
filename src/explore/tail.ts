/** The part of a run in which every thread goes one point in turn, and what it shows: livelock. */
import type { Thread } from '../core/sched/thread.ts';
import { hex } from '../core/units.ts';
import type { Failure } from './types.ts';

/** So many of the last points are told when nobody gets anywhere. */
const REMEMBERED = 400;
/** However much seems new, so many times the points of a long run are enough. */
const PATIENCE = 10;

interface Passed {
  readonly thread: Thread;
  readonly point: string;
}

export class Tail {
  readonly #most: number;
  readonly #hardLimit: number;
  readonly #recent: Passed[] = [];
  /** Points as thread, place and what it carried: one that never occurred before is progress. */
  readonly #seen: Set<string> = new Set();
  #sinceProgress = 0;
  #points = 0;

  constructor(livelockPoints: number, mostPoints: number) {
    this.#most = livelockPoints;
    this.#hardLimit = PATIENCE * mostPoints;
  }

  /** An operation or a thread ended. */
  progress(): void {
    this.#sinceProgress = 0;
    this.#recent.length = 0;
    this.#seen.clear();
  }

  /** `thread` stands at a point. Answers the livelock if this is one by now. */
  pass(thread: Thread, point: string, local: number): Failure | null {
    this.#points++;
    const key = `${thread.id} ${point} ${local}`;
    if (!this.#seen.has(key)) {
      this.#seen.add(key);
      this.#sinceProgress = 0;
    }
    this.#sinceProgress++;
    this.#recent.push({ thread, point: placeOf(point, local) });
    if (this.#recent.length > 2 * REMEMBERED) this.#recent.splice(0, REMEMBERED);
    const over = this.#sinceProgress > this.#most || this.#points > this.#hardLimit;
    return over ? this.#livelock() : null;
  }

  /** Who goes next after `last`: the next by number among those that can run, then from the start. */
  turn(last: Thread | null, current: Thread | null, others: readonly Thread[]): Thread {
    if (others.length === 0) return current!;
    const from = last?.id ?? -1;
    let next: Thread | null = null;
    let lowest = others[0]!;
    for (const thread of others) {
      if (thread.id < lowest.id) lowest = thread;
      if (thread.id > from && (next === null || thread.id < next.id)) next = thread;
    }
    if (next !== null) return next;
    return current !== null && current.id < lowest.id ? current : lowest;
  }

  #livelock(): Failure {
    const recent = this.#recent.slice(-REMEMBERED);
    const threads = [...new Set(recent.map(({ thread }) => thread))].sort((a, b) => a.id - b.id);
    const names = threads.map((thread) => described(thread));
    const verb = threads.length === 1 ? 'repeats' : 'repeat';
    return {
      kind: 'livelock',
      message: `nobody gets anywhere: ${names.join(' and ')} ${verb} the same`,
      detail: [
        `no operation ended for ${this.#sinceProgress} points, at which everybody had a turn`,
        ...threads.map((thread) => {
          const own = recent.filter((passed) => passed.thread === thread);
          return `${described(thread)} repeats ${cycleOf(own.map(({ point }) => point))}`;
        }),
      ],
    };
  }
}

/** A CPU's access carries its word: the page that it is about is worth telling. */
function placeOf(point: string, local: number): string {
  return point === 'load' || point === 'store' ? `${point} at ${hex(local * 4)}` : point;
}

function described(thread: Thread): string {
  return thread.doing === '' ? thread.name : `${thread.name} (${thread.doing})`;
}

/** The shortest run of points at the end that explains what comes before it. */
function cycleOf(points: readonly string[]): string {
  for (let length = 1; length <= points.length / 2; length++) {
    const repeats = points.every((point, i) => i < length || point === points[i - length]);
    if (!repeats) continue;
    const times = Math.floor(points.length / length);
    return `${points.slice(0, length).join(', ')} (${times} times)`;
  }
  const counts: Map<string, number> = new Map();
  for (const point of points) counts.set(point, (counts.get(point) ?? 0) + 1);
  return [...counts].map(([point, times]) => `${point} (${times} times)`).join(', ');
}
