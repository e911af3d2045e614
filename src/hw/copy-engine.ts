/**
 * A copy engine: moves whole pages for a driver, in order, beside the CPU.
 *
 * Work is queued; a fence tells when everything queued before it is done. Where an operation takes no
 * time it is done at once. Otherwise memory changes when the operation is done, not when it is
 * queued. With a `DeviceTime` an operation is set up, waits for its turn on the link, and is done when
 * its last byte has arrived; the engine sets up the next one as soon as that byte has left. Several
 * engines may work on one queue; operations are done in its order all the same.
 */
import { EIO } from '../core/errno.ts';
import { SimError } from '../core/errors.ts';
import type { Kernel } from '../core/kernel.ts';
import { Delay, type MaybeTask, type Task } from '../core/sched/task.ts';
import { WaitQueue } from '../core/sched/wait-queue.ts';
import type { StateHash } from '../core/state-hash.ts';
import type { Page } from '../core/units.ts';
import type { BusMaster } from './bus.ts';
import type { DeviceTime } from './device-time.ts';
import { Failures } from './failures.ts';
import { insideSpan } from './inside-span.ts';

export interface CopyEngineOptions {
  /** For people: "nouveau0 copy engine". */
  readonly name: string;
  /** Virtual time to begin an operation, in nanoseconds; 0 unless given. */
  readonly latencyNs?: number;
  /** What else takes time; nothing unless given. */
  readonly time?: DeviceTime | null;
}

interface Operation {
  readonly to: Page;
  /** Null to fill `to` with zeros. */
  readonly from: Page | null;
  /** Id of the event span it was queued in. */
  readonly span: number | undefined;
  /** When its last byte arrives; known once it is under way. */
  doneNs: number;
  /** Its last byte is no longer the engine's, and only latency is to come. */
  left: boolean;
}

export class CopyEngine {
  readonly name: string;
  readonly latencyNs: number;
  readonly #kernel: Kernel;
  readonly #bus: BusMaster;
  readonly #time: DeviceTime | null;
  /** Operations that no engine has begun. */
  readonly #queue: Operation[] = [];
  /** Those whose data is on its way, in the order of the queue. */
  readonly #underWay: Operation[] = [];
  readonly #setUp: Delay;
  readonly #takesTime: boolean;
  readonly #waiters: WaitQueue;
  readonly #failures: Failures;
  #queued = 0;
  #done = 0;
  #enginesBusy = 0;
  #arriving = false;

  /** @throws SimError `bad-argument` where the latency is no time */
  constructor(kernel: Kernel, bus: BusMaster, options: CopyEngineOptions) {
    const { name, latencyNs = 0, time = null } = options;
    if (!Number.isFinite(latencyNs) || latencyNs < 0) {
      throw new SimError('bad-argument', `${name}: a latency of ${latencyNs} ns is no time`);
    }
    this.name = name;
    this.latencyNs = latencyNs;
    this.#kernel = kernel;
    this.#bus = bus;
    this.#time = time;
    const setUpNs = latencyNs + (time?.timing.copySetupNs ?? 0);
    this.#setUp = new Delay(setUpNs, 'work', `${name}: setting up`);
    this.#takesTime = setUpNs > 0 || (time?.movesTakeTime ?? false);
    this.#failures = new Failures(`${name}: no operation`);
    this.#waiters = new WaitQueue(
      kernel.scheduler,
      () => `a fence of ${name} (${this.#done} of ${this.#queued} operations done)`,
      () => [],
      'fence',
      name,
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

  fingerprint(hash: StateHash): void {
    hash.add(this.#queued - this.#done);
    hash.add(this.#enginesBusy);
    for (const { to, from, doneNs } of [...this.#underWay, ...this.#queue]) {
      hash.add(to);
      hash.add(from ?? -1);
      hash.add(Math.max(0, Math.floor(doneNs - this.#kernel.scheduler.nowNs)));
    }
    this.#failures.fingerprint(hash);
  }

  #submit(to: Page, from: Page | null): number {
    const { faults } = this.#kernel;
    if (this.#failures.attempt()) return -EIO;
    if (faults?.fails('copy') === true) return -EIO;
    this.#queued++;
    if (!this.#takesTime) {
      if (this.#time !== null) this.#send(to, from);
      this.#perform(to, from);
      return 0;
    }
    const { scheduler } = this.#kernel;
    this.#queue.push({ to, from, span: scheduler.current.spans.at(-1), doneNs: 0, left: false });
    if (this.#enginesBusy < Math.max(1, this.#time?.timing.copyEngines ?? 1)) {
      this.#enginesBusy++;
      scheduler.spawn(this.name, this.#work());
    }
    return 0;
  }

  /** One engine. */
  *#work(): Task<void> {
    const { scheduler } = this.#kernel;
    try {
      while (this.#queue.length > 0) {
        const operation = this.#queue.shift()!;
        if (this.#setUp.ns > 0) yield this.#setUp;
        const leavesNs = this.#send(operation.to, operation.from);
        operation.doneNs = leavesNs + this.#latencyOf(operation);
        this.#underWay.push(operation);
        if (operation.doneNs === scheduler.nowNs && this.#underWay.length === 1) {
          this.#complete();
          continue;
        }
        const busyNs = leavesNs - scheduler.nowNs;
        if (busyNs > 0) yield new Delay(busyNs, 'link', this.name);
        this.#expect(operation);
      }
    } finally {
      this.#enginesBusy--;
    }
  }

  /** All of an operation has left. */
  #expect(operation: Operation): void {
    operation.left = true;
    if (this.#arriving || this.#underWay[0]?.left !== true) return;
    this.#arriving = true;
    this.#kernel.scheduler.spawn(`${this.name}: arrivals`, this.#arrive());
  }

  /** Completes what has left, one after the other. Until then time is an engine's. */
  *#arrive(): Task<void> {
    const { scheduler } = this.#kernel;
    try {
      while (this.#underWay[0]?.left === true) {
        const latencyNs = this.#underWay[0].doneNs - scheduler.nowNs;
        if (latencyNs > 0) yield new Delay(latencyNs, 'link', this.name);
        this.#complete();
      }
    } finally {
      this.#arriving = false;
    }
  }

  #complete(): void {
    const { to, from, span } = this.#underWay.shift()!;
    insideSpan(this.#kernel.scheduler, span, () => this.#perform(to, from));
    this.#waiters.wakeAll();
  }

  /** Puts an operation's data on its way; returns when the last of it leaves. */
  #send(to: Page, from: Page | null): number {
    const { scheduler, pages, pageSize } = this.#kernel;
    const time = this.#time;
    const { nowNs } = scheduler;
    if (time === null) return nowNs;
    let leavesNs = nowNs;
    const toOwn = pages.isZoneDevice(to);
    const fromOwn = from === null || pages.isZoneDevice(from);
    // Within the device a page is read and written.
    const ownBytes = (toOwn && from !== null && fromOwn ? 2 : 1) * pageSize;
    if (toOwn || fromOwn) leavesNs = time.memory.send(nowNs, ownBytes);
    const { link } = time;
    if (link === null) return leavesNs;
    if (!fromOwn) leavesNs = Math.max(leavesNs, link.toDevice.send(nowNs, pageSize));
    if (!toOwn) leavesNs = Math.max(leavesNs, link.toHost.send(nowNs, pageSize));
    return leavesNs;
  }

  /** From the last byte's leaving to its arrival. */
  #latencyOf({ to, from }: Operation): number {
    const link = this.#time?.link ?? null;
    if (link === null) return 0;
    const { pages } = this.#kernel;
    const down = from === null || pages.isZoneDevice(from) ? 0 : link.toDevice.latencyNs;
    return Math.max(down, pages.isZoneDevice(to) ? 0 : link.toHost.latencyNs);
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
