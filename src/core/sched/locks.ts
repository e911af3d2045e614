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
    while (!this.tryLock()) yield this.#waiters;
  }

  unlock(): void {
    if (this.#holder === null)
      throw new SimError('lock-misuse', `mutex ${this.name} is not locked`);
    this.#holder = null;
    this.#waiters.wakeOne();
  }
}

/** struct rw_semaphore, as mmap_lock is one. A waiting writer holds off new readers. */
export class RwSemaphore {
  readonly name: string;
  readonly #scheduler: Scheduler;
  readonly #queue: WaitQueue;
  #writer: Thread | null = null;
  #readers = 0;
  #writersWaiting = 0;

  constructor(scheduler: Scheduler, name: string) {
    this.name = name;
    this.#scheduler = scheduler;
    this.#queue = new WaitQueue(
      scheduler,
      () => `${name} (${this.#writer === null ? `${this.#readers} readers` : 'a writer'})`,
      () => (this.#writer === null ? [] : [this.#writer]),
    );
  }

  /** True while somebody holds it, for reading or writing. */
  get locked(): boolean {
    return this.#writer !== null || this.#readers > 0;
  }

  tryRead(): boolean {
    if (this.#writer !== null || this.#writersWaiting > 0) return false;
    this.#readers++;
    return true;
  }

  *read(): Task<void> {
    while (!this.tryRead()) yield this.#queue;
  }

  unlockRead(): void {
    if (this.#readers === 0) throw new SimError('lock-misuse', `${this.name} is not read-locked`);
    this.#readers--;
    if (this.#readers === 0) this.#queue.wakeAll();
  }

  tryWrite(): boolean {
    if (this.#writer !== null || this.#readers > 0) return false;
    this.#writer = this.#scheduler.current;
    return true;
  }

  *write(): Task<void> {
    while (!this.tryWrite()) {
      this.#writersWaiting++;
      yield this.#queue;
      this.#writersWaiting--;
    }
  }

  unlockWrite(): void {
    if (this.#writer === null)
      throw new SimError('lock-misuse', `${this.name} is not write-locked`);
    this.#writer = null;
    this.#queue.wakeAll();
  }
}
