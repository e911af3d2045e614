/**
 * A copy engine: moves whole pages for a driver, in order, beside the CPU.
 *
 * Work is queued; a fence tells when everything queued before it is done. With no latency an
 * operation is done at once. With one, a thread of the engine takes that much virtual time for each
 * operation, and memory changes when the operation is done, not when it is queued.
 */
import { EIO } from '../core/errno.ts';
import { SimError } from '../core/errors.ts';
import type { Kernel } from '../core/kernel.ts';
import { Delay, type MaybeTask, type Task } from '../core/sched/task.ts';
import { WaitQueue } from '../core/sched/wait-queue.ts';
import type { Page } from '../core/units.ts';
import type { BusMaster } from './bus.ts';
import { Failures } from './failures.ts';
import { insideSpan } from './inside-span.ts';

export interface CopyEngineOptions {
  /** For people: "nouveau0 copy engine". */
  readonly name: string;
  /** Virtual time an operation takes, in nanoseconds; 0 (done at once) unless given. */
  readonly latencyNs?: number;
}

interface Operation {
  readonly to: Page;
  /** Null to fill `to` with zeros. */
  readonly from: Page | null;
  /** Id of the event span it was queued in. */
  readonly span: number | undefined;
}

export class CopyEngine {
  readonly name: string;
  readonly latencyNs: number;
  readonly #kernel: Kernel;
  readonly #bus: BusMaster;
  readonly #queue: Operation[] = [];
  readonly #waiters: WaitQueue;
  readonly #failures: Failures;
  #queued = 0;
  #done = 0;
  #running = false;

  /** @throws SimError `bad-argument` where the latency is no time */
  constructor(kernel: Kernel, bus: BusMaster, options: CopyEngineOptions) {
    const { name, latencyNs = 0 } = options;
    if (!Number.isFinite(latencyNs) || latencyNs < 0) {
      throw new SimError('bad-argument', `${name}: a latency of ${latencyNs} ns is no time`);
    }
    this.name = name;
    this.latencyNs = latencyNs;
    this.#kernel = kernel;
    this.#bus = bus;
    this.#failures = new Failures(`${name}: no operation`);
    this.#waiters = new WaitQueue(
      kernel.scheduler,
      () => `a fence of ${name} (${this.#done} of ${this.#queued} operations done)`,
    );
  }

  /** Operations done since the engine was made; those that failed are not among them. */
  get done(): number {
    return this.#done;
  }

  /** Copies a page. Returns 0, or -EIO where the engine refuses it: then nothing is written. */
  copy(to: Page, from: Page): number {
    return this.#submit(to, from);
  }

  /** Fills a page with zeros. Returns 0 or -EIO. */
  clear(to: Page): number {
    return this.#submit(to, null);
  }

  /**
   * The `n`-th operation from now (1 is the next) fails, once. May be called for several of them.
   *
   * @throws SimError `bad-argument` unless `n` is a whole number from 1 on
   */
  failAfter(n: number): void {
    this.#failures.after(n);
  }

  /** A fence behind all that was queued so far. */
  fence(): Fence {
    return new Fence(this, this.#queued);
  }

  /** Sleeps until `count` operations are done; used by `Fence`. */
  *waitFor(count: number): Task<undefined> {
    while (this.#done < count) yield this.#waiters;
    return undefined;
  }

  #submit(to: Page, from: Page | null): number {
    if (this.#failures.attempt()) return -EIO;
    this.#queued++;
    if (this.latencyNs === 0) {
      this.#perform(to, from);
      return 0;
    }
    const { scheduler } = this.#kernel;
    this.#queue.push({ to, from, span: scheduler.current.spans.at(-1) });
    if (!this.#running) {
      this.#running = true;
      scheduler.spawn(this.name, this.#work());
    }
    return 0;
  }

  *#work(): Task<void> {
    const delay = new Delay(this.latencyNs);
    try {
      while (this.#queue.length > 0) {
        yield delay;
        const { to, from, span } = this.#queue.shift()!;
        insideSpan(this.#kernel.scheduler, span, () => this.#perform(to, from));
        this.#waiters.wakeAll();
      }
    } finally {
      this.#running = false;
    }
  }

  #perform(to: Page, from: Page | null): void {
    if (from === null) this.#bus.clearPage(to);
    else this.#bus.copyPage(to, from);
    this.#done++;
  }
}

/** A place in the queue of a copy engine. Made by `CopyEngine.fence`. */
export class Fence {
  readonly #engine: CopyEngine;
  readonly #after: number;

  constructor(engine: CopyEngine, after: number) {
    this.#engine = engine;
    this.#after = after;
  }

  /** All that was queued before the fence is done. */
  get done(): boolean {
    return this.#engine.done >= this.#after;
  }

  /** Sleeps until it is done; returns at once where it is. */
  wait(): MaybeTask<undefined> {
    return this.done ? undefined : this.#engine.waitFor(this.#after);
  }
}
