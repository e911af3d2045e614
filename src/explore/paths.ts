/**
 * Where threads stand: the part of a state that is not in the machine's memory.
 *
 * A task's local variables cannot be looked at. They follow from the operation it is in, the points
 * it passed there with what it carried, and what it loaded on its way; a digest of these is its
 * path, and operations that are over leave their results only.
 */
import type { Thread } from '../core/sched/thread.ts';
import type { WaitQueue } from '../core/sched/wait-queue.ts';
import { StateHash } from '../core/state-hash.ts';

/** What a path starts from. */
const PATH_SEED = 0x51ed270b;
/** Where `mmuIntervalReadBegin` asks; from there on a thread has the number of a sequence in hand. */
const READ_BEGIN = 'read begin';
const STATES = { runnable: 1, sleeping: 2, delayed: 3, done: 4 } as const;

export class Paths {
  /** Some thread came to the same point too often to be told apart. */
  merged = false;
  readonly #retries: number;
  /** Those that were seen, by number. */
  readonly #threads: Thread[] = [];
  /** Since a thread made progress last: its path after each step from point to point. */
  readonly #visits: Map<Thread, Map<number, number[]>> = new Map();
  /** The point that a thread came from, with what it carried there. */
  readonly #from: Map<Thread, number> = new Map();
  /** What threads sleep on, as far as that is in their paths. */
  readonly #asleep: Map<Thread, WaitQueue> = new Map();
  /** Those that may have the number of a notifier's sequence in hand. */
  readonly #sequenced: Set<Thread> = new Set();
  readonly #digests: Map<string, number> = new Map();
  readonly #hash = new StateHash();
  #resultsLow = 0;
  #resultsHigh = 0;

  /** @param retries so many times at one point without progress are told apart */
  constructor(retries: number) {
    this.#retries = retries;
  }

  /** `current` stands at a point, or is null and somebody has gone to sleep or has ended. */
  walk(current: Thread | null, others: readonly Thread[], point: string, local: number): void {
    for (const other of others) this.#note(other);
    for (const thread of this.#threads) this.#noteSleep(thread);
    if (current === null) return;
    this.#note(current);
    if (point === READ_BEGIN) this.#sequenced.add(current);
    this.#pass(current, this.#digest(point), local);
  }

  /**
   * Does anybody compare sequences of notifiers with one he has seen? If not their numbers, which
   * grow for ever, are of no matter.
   */
  get sequencesInHand(): boolean {
    for (const thread of this.#sequenced) if (thread.state !== 'done') return true;
    return false;
  }

  /** A thread got to know or stored something: what it tries now is not what it tried before. */
  learned(thread: Thread, value: number): void {
    this.#note(thread);
    thread.path = this.#mixed(thread.path, value, 0);
    this.#visits.get(thread)!.clear();
  }

  /** An operation ended: only its result is left of it. */
  ended(thread: Thread, result: string): void {
    this.#note(thread);
    this.#visits.get(thread)!.clear();
    this.#sequenced.delete(thread);
    const hash = this.#hash;
    hash.reset();
    hash.addText(thread.doing);
    hash.addText(result);
    const { value } = hash;
    // Sums: in which order operations ended is in nobody's memory.
    this.#resultsLow = (this.#resultsLow + value) | 0;
    this.#resultsHigh = (this.#resultsHigh + value / 0x20_0000) | 0;
    hash.add(1);
    thread.path = hash.value;
  }

  fingerprint(hash: StateHash): void {
    hash.add(this.#resultsLow);
    hash.add(this.#resultsHigh);
    for (const thread of this.#threads) {
      if (thread.state === 'done') continue;
      hash.add(thread.id);
      hash.add(thread.path);
      hash.add(STATES[thread.state]);
    }
  }

  /** That it went to sleep, and on what, is part of where a thread stands, also when it is awake again. */
  #noteSleep(thread: Thread): void {
    const queue = thread.state === 'sleeping' ? thread.waitingFor : null;
    if (queue === (this.#asleep.get(thread) ?? null)) return;
    if (queue === null) this.#asleep.delete(thread);
    else {
      this.#asleep.set(thread, queue);
      this.#pass(thread, this.#digest(queue.what()), 1);
    }
  }

  #pass(thread: Thread, digest: number, local: number): void {
    const visits = this.#visits.get(thread)!;
    // By where it came from: one round may pass a lock several times.
    const at = this.#mixed(0, digest, local);
    const key = this.#mixed(this.#from.get(thread) ?? 0, at, 0);
    this.#from.set(thread, at);
    let paths = visits.get(key);
    if (paths === undefined) {
      paths = [];
      visits.set(key, paths);
    }
    if (paths.length >= this.#retries) {
      // It goes round in circles: this time is like the last one that was told apart.
      thread.path = paths.at(-1)!;
      this.merged = true;
      return;
    }
    thread.path = this.#mixed(thread.path, digest, local);
    paths.push(thread.path);
  }

  #note(thread: Thread): void {
    if (this.#visits.has(thread)) return;
    if (thread.path === 0) thread.path = PATH_SEED;
    this.#visits.set(thread, new Map());
    this.#threads.push(thread);
    this.#threads.sort((a, b) => a.id - b.id);
  }

  #mixed(path: number, digest: number, local: number): number {
    const hash = this.#hash;
    hash.reset();
    hash.add(path);
    hash.add(digest);
    hash.add(local);
    return hash.value;
  }

  #digest(text: string): number {
    let digest = this.#digests.get(text);
    if (digest === undefined) {
      this.#hash.reset();
      this.#hash.addText(text);
      digest = this.#hash.value;
      this.#digests.set(text, digest);
    }
    return digest;
  }
}
