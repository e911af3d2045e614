/**
 * Locks that sleep. All of them are fair: first come, first served.
 *
 * `tryLock` never sleeps. Hot paths try first and yield only when they must:
 * `if (!mutex.tryLock()) yield* mutex.lock();`
 */
import { SimError } from '../errors.ts';
import type { Scheduler } from './scheduler.ts';
import type { Task } from './task.ts';
import type { Thread } from './thread.ts';
import { WaitQueue } from './wait-queue.ts';

/** struct mutex. */
export class Mutex {
  readonly name: string;
  readonly #scheduler: Scheduler;
  readonly #waiters: WaitQueue;
  #holder: Thread | null = null;

  constructor(scheduler: Scheduler, name: string) {
    this.name = name;
    this.#scheduler = scheduler;
    this.#waiters = new WaitQueue(
      scheduler,
      () => `mutex ${name}`,
      () => (this.#holder === null ? [] : [this.#holder]),
    );
  }

  get locked(): boolean {
    return this.#holder !== null;
  }

  tryLock(): boolean {
    if (this.#holder !== null) return false;
    this.#holder = this.#scheduler.current;
    return true;
  }

  *lock(): Task<void> {
    // Who is woken holds the mutex already: see `unlock`.
    if (!this.tryLock()) yield this.#waiters;
  }

  /** Hands the mutex to whoever waits longest, lest a newcomer takes it first. */
  unlock(): void {
    if (this.#holder === null)
      throw new SimError('lock-misuse', `mutex ${this.name} is not locked`);
    this.#holder = this.#waiters.wakeOne();
  }
}

/** A thread in line for an `RwSemaphore`. Each has a queue of its own, to be woken when served. */
interface Turn {
  readonly write: boolean;
  readonly queue: WaitQueue;
}

/** struct rw_semaphore, as mmap_lock is one. A waiting writer holds off new readers. */
export class RwSemaphore {
  readonly name: string;
  readonly #scheduler: Scheduler;
  readonly #line: Turn[] = [];
  #writer: Thread | null = null;
  #readers = 0;

  constructor(scheduler: Scheduler, name: string) {
    this.name = name;
    this.#scheduler = scheduler;
  }

  /** True while somebody holds it, for reading or writing. */
  get locked(): boolean {
    return this.#writer !== null || this.#readers > 0;
  }

  tryRead(): boolean {
    if (this.#writer !== null || this.#line.length > 0) return false;
    this.#readers++;
    return true;
  }

  *read(): Task<void> {
    if (!this.tryRead()) yield this.#join(false);
  }

  unlockRead(): void {
    if (this.#readers === 0) throw new SimError('lock-misuse', `${this.name} is not read-locked`);
    this.#readers--;
    if (this.#line.length > 0) this.#serve();
  }

  tryWrite(): boolean {
    if (this.#writer !== null || this.#readers > 0) return false;
    this.#writer = this.#scheduler.current;
    return true;
  }

  *write(): Task<void> {
    if (!this.tryWrite()) yield this.#join(true);
  }

  unlockWrite(): void {
    if (this.#writer === null)
      throw new SimError('lock-misuse', `${this.name} is not write-locked`);
    this.#writer = null;
    if (this.#line.length > 0) this.#serve();
  }

  #join(write: boolean): WaitQueue {
    const queue = new WaitQueue(
      this.#scheduler,
      () => `${this.name} (${this.#writer === null ? `${this.#readers} readers` : 'a writer'})`,
      () => (this.#writer === null ? [] : [this.#writer]),
    );
    this.#line.push({ write, queue });
    return queue;
  }

  /** Gives the lock to the head of the line: one writer, or all readers up to the next writer. */
  #serve(): void {
    while (this.#writer === null) {
      const turn = this.#line[0];
      if (turn === undefined || (turn.write && this.#readers > 0)) return;
      this.#line.shift();
      const thread = turn.queue.wakeOne();
      // Null: it was abandoned while it waited.
      if (thread === null) continue;
      if (turn.write) this.#writer = thread;
      else this.#readers++;
    }
  }
}
