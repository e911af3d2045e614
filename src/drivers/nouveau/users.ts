/** Who needs a GPU awake and present: sleep and removal wait for them. */

import type { Scheduler } from '../../core/sched/scheduler.ts';
import type { MaybeTask, Task } from '../../core/sched/task.ts';
import { WaitQueue } from '../../core/sched/wait-queue.ts';

export class Users {
  #count = 0;
  readonly #gone: WaitQueue;

  /** @param name of the GPU, for people */
  constructor(scheduler: Scheduler, name: string) {
    this.#gone = new WaitQueue(scheduler, () => `whoever uses ${name}`);
  }

  get count(): number {
    return this.#count;
  }

  /** Runs a use to its end. */
  during(begin: () => MaybeTask<number>): MaybeTask<number> {
    this.#count++;
    let result: MaybeTask<number>;
    try {
      result = begin();
    } catch (error) {
      this.#end();
      throw error;
    }
    if (typeof result === 'object') return this.#finish(result);
    this.#end();
    return result;
  }

  /** Sleeps until there are none. */
  *wait(): Task<void> {
    while (this.#count > 0) yield this.#gone;
  }

  *#finish(task: Task<number>): Task<number> {
    try {
      return yield* task;
    } finally {
      this.#end();
    }
  }

  #end(): void {
    this.#count--;
    if (this.#count === 0) this.#gone.wakeAll();
  }
}
