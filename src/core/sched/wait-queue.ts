import type { Scheduler } from './scheduler.ts';
import type { WaitReason } from './task.ts';
import type { Thread } from './thread.ts';

/**
 * Threads that sleep until somebody wakes them, first come first served.
 *
 * Yield the queue to sleep on it. As in the kernel, waking is a hint: the sleeper checks its
 * condition again.
 */
export class WaitQueue {
  /** What one waits for here, for people: "page lock of pfn 12". */
  readonly what: () => string;
  /** Who holds the thing waited for, where that is known; for deadlock reports. */
  readonly holders: () => readonly Thread[];
  /** What time spent here counts as. */
  readonly reason: WaitReason;
  /** What one waits for, the same words each time: "mmap_lock of process 1". */
  readonly label: string;
  readonly #scheduler: Scheduler;
  readonly #sleepers: Thread[] = [];

  constructor(
    scheduler: Scheduler,
    what: () => string,
    holders: () => readonly Thread[] = () => [],
    reason: WaitReason = 'other',
    label: string = '',
  ) {
    this.#scheduler = scheduler;
    this.what = what;
    this.holders = holders;
    this.reason = reason;
    this.label = label;
  }

  /** Who sleeps here, the longest first. */
  get sleepers(): readonly Thread[] {
    return this.#sleepers;
  }

  get length(): number {
    return this.#sleepers.length;
  }

  /** Used by the scheduler when a thread yields this queue. */
  add(thread: Thread): void {
    this.#sleepers.push(thread);
  }

  /** Makes the longest sleeper runnable and returns it, or null if there is none. */
  wakeOne(): Thread | null {
    while (true) {
      const thread = this.#sleepers.shift();
      if (thread === undefined) return null;
      if (this.#scheduler.wake(thread)) return thread;
    }
  }

  /** Makes every sleeper runnable, in the order in which they went to sleep. */
  wakeAll(): void {
    if (this.#sleepers.length === 0) return;
    for (const thread of this.#sleepers.splice(0)) this.#scheduler.wake(thread);
  }
}
