/**
 * Locks that sleep. All of them are fair: first come, first served.
 *
 * The fast path is to try first and yield only when one must:
 * `if (!mutex.tryLock()) yield* mutex.lock();`. Where schedules are explored the fast path is
 * closed, so that taking a lock is a choice point; who wants to try, and else do without, has no
 * use for these.
 */
import { SimError } from '../errors.ts';
import type { Scheduler } from './scheduler.ts';
import { PREEMPT, type Task } from './task.ts';
import type { Thread } from './thread.ts';
import { WaitQueue } from './wait-queue.ts';

/** struct mutex. */
export class Mutex {
  readonly name: string;
  readonly #scheduler: Scheduler;
  /** Most mutexes are never waited for. */
  #waiters: WaitQueue | null = null;
  #holder: Thread | null = null;

  constructor(scheduler: Scheduler, name: string) {
    this.name = name;
    this.#scheduler = scheduler;
    scheduler.locks?.push(this);
  }

  get locked(): boolean {
    return this.#holder !== null;
  }

  get holder(): Thread | null {
    return this.#holder;
  }

  /** Who waits for it, the longest first. */
  get waiting(): readonly Thread[] {
    return this.#waiters?.sleepers ?? [];
  }

  tryLock(): boolean {
    const scheduler = this.#scheduler;
    if (this.#holder !== null || scheduler.slowLocks) return false;
    this.#holder = scheduler.current;
    return true;
  }

  *lock(): Task<undefined> {
    const scheduler = this.#scheduler;
    if (scheduler.slowLocks) {
      if (scheduler.preempts && scheduler.overtaken(this.name, 0)) yield PREEMPT;
      scheduler.lockOrder?.wanted(scheduler.current, this.name);
    }
    // Who is woken holds the mutex already: see `unlock`.
    if (!this.#take()) yield this.#waitersOf();
    scheduler.lockOrder?.taken(scheduler.current, this.name);
    return undefined;
  }

  /** Hands the mutex to whoever waits longest, lest a newcomer takes it first. */
  unlock(): void {
    if (this.#holder === null)
      throw new SimError('lock-misuse', `mutex ${this.name} is not locked`);
    this.#scheduler.lockOrder?.released(this.#holder, this.name);
    this.#holder = this.#waiters === null ? null : this.#waiters.wakeOne();
  }

  #waitersOf(): WaitQueue {
    this.#waiters ??= new WaitQueue(
      this.#scheduler,
      () => `mutex ${this.name}`,
      () => (this.#holder === null ? [] : [this.#holder]),
      'lock',
      this.name,
    );
    return this.#waiters;
  }

  #take(): boolean {
    if (this.#holder !== null) return false;
    this.#holder = this.#scheduler.current;
    return true;
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
    scheduler.locks?.push(this);
  }

  /** True while somebody holds it, for reading or writing. */
  get locked(): boolean {
    return this.#writer !== null || this.#readers > 0;
  }

  get readers(): number {
    return this.#readers;
  }

  get writer(): Thread | null {
    return this.#writer;
  }

  /** Who waits for it, the longest first. */
  get waiting(): readonly Thread[] {
    return this.#line.flatMap(({ queue }) => queue.sleepers);
  }

  tryRead(): boolean {
    if (this.#writer !== null || this.#line.length > 0 || this.#scheduler.slowLocks) return false;
    this.#readers++;
    return true;
  }

  *read(): Task<void> {
    const scheduler = this.#scheduler;
    if (scheduler.slowLocks) {
      if (scheduler.preempts && scheduler.overtaken(this.name, 0)) yield PREEMPT;
      scheduler.lockOrder?.wanted(scheduler.current, this.name);
    }
    if (!this.#takeRead()) yield this.#join(false);
    scheduler.lockOrder?.taken(scheduler.current, this.name);
  }

  unlockRead(): void {
    if (this.#readers === 0) throw new SimError('lock-misuse', `${this.name} is not read-locked`);
    this.#scheduler.lockOrder?.released(this.#scheduler.current, this.name);
    this.#readers--;
    if (this.#line.length > 0) this.#serve();
  }

  tryWrite(): boolean {
    const scheduler = this.#scheduler;
    if (this.#writer !== null || this.#readers > 0 || scheduler.slowLocks) return false;
    this.#writer = scheduler.current;
    return true;
  }

  *write(): Task<void> {
    const scheduler = this.#scheduler;
    if (scheduler.slowLocks) {
      if (scheduler.preempts && scheduler.overtaken(this.name, 1)) yield PREEMPT;
      scheduler.lockOrder?.wanted(scheduler.current, this.name);
    }
    if (!this.#takeWrite()) yield this.#join(true);
    scheduler.lockOrder?.taken(scheduler.current, this.name);
  }

  unlockWrite(): void {
    if (this.#writer === null)
      throw new SimError('lock-misuse', `${this.name} is not write-locked`);
    this.#scheduler.lockOrder?.released(this.#writer, this.name);
    this.#writer = null;
    if (this.#line.length > 0) this.#serve();
  }

  #takeRead(): boolean {
    if (this.#writer !== null || this.#line.length > 0) return false;
    this.#readers++;
    return true;
  }

  #takeWrite(): boolean {
    if (this.#writer !== null || this.#readers > 0) return false;
    this.#writer = this.#scheduler.current;
    return true;
  }

  #join(write: boolean): WaitQueue {
    const queue = new WaitQueue(
      this.#scheduler,
      () => `${this.name} (${this.#writer === null ? `${this.#readers} readers` : 'a writer'})`,
      () => (this.#writer === null ? [] : [this.#writer]),
      'lock',
      this.name,
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
