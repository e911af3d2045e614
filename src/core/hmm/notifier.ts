/**
 * MMU notifiers: how drivers hear that page-table entries they mirror are about to change.
 *
 * Reference: mm/mmu_notifier.c and include/linux/mmu_notifier.h of Linux 6.1. A driver inserts an
 * interval; whoever changes entries calls start before and end after. The sequence protocol lets a
 * driver read entries without a lock and notice that it was overtaken:
 *   seq = mmuIntervalReadBegin(n)      waits while an invalidation is running
 *   ... hmmRangeFault ...
 *   under the driver's lock: if (mmuIntervalReadRetry(n, seq)) start again
 */
import { chargeNotifier } from '../charge.ts';
import { EAGAIN, EINVAL, EOVERFLOW } from '../errno.ts';
import { invariant } from '../errors.ts';
import type { Kernel } from '../kernel.ts';
import type { Mm } from '../mm/mm.ts';
import type { Owner } from '../pagemap/pagemap.ts';
import { type MaybeTask, PREEMPT, settle, type Task } from '../sched/task.ts';
import { WaitQueue } from '../sched/wait-queue.ts';
import { TASK_SIZE, type Va } from '../units.ts';
import { IntervalList } from './interval-list.ts';
import { MmuNotifiers } from './mmu-notifier.ts';

/** Why entries change: enum mmu_notifier_event. */
export type NotifyEvent =
  | 'unmap'
  | 'clear'
  | 'protection_vma'
  | 'protection_page'
  | 'soft_dirty'
  | 'release'
  | 'migrate'
  | 'exclusive';

/** struct mmu_notifier_range: [start, end) and who is behind it. */
export interface NotifierRange {
  readonly mm: Mm;
  readonly start: Va;
  readonly end: Va;
  readonly event: NotifyEvent;
  /** Of `migrate` and `exclusive`: who migrates, so that a driver may ignore its own. */
  readonly owner: Owner | null;
  /** False where the caller cannot wait: MMU_NOTIFIER_RANGE_BLOCKABLE. True unless given. */
  readonly blockable?: boolean;
}

/** struct mmu_interval_notifier_ops. */
export interface IntervalNotifierOps {
  /** For people, in events and reports. */
  readonly name: string;
  /**
   * Entries in `range` are about to change. Under its own lock the driver calls
   * `mmuIntervalSetSeq(notifier, seq)` and drops what it has mapped there. May return true without
   * that only for a migration by its own owner. May sleep on a mutex.
   */
  invalidate(notifier: IntervalNotifier, range: NotifierRange, seq: number): MaybeTask<boolean>;
  /** Of a notifier that dozes: would `invalidate` let `range` pass without a word? False if absent. */
  ignores?(range: NotifierRange): boolean;
}

/** struct mmu_interval_notifier: watches [start, end) of one address space. */
export class IntervalNotifier {
  readonly mm: Mm;
  readonly start: Va;
  readonly end: Va;
  readonly ops: IntervalNotifierOps;
  /** Always odd. Of one that dozes, that of the last change it was told of. */
  invalidateSeq: number;
  /** It is told of changes: inserted, and not removed. */
  listed: boolean;
  /** See `mmuIntervalDoze`: where its driver has something; null while it is awake. */
  quiet: { readonly from: Va; readonly to: Va } | null;
  /** Its driver lets it doze, and it does; an invalidation that waits wakes it for its own time. */
  dozes: boolean;
  /** Changes that touch [toldFrom, toldTo) are told in any case; the whole interval unless it dozes. */
  toldFrom: Va;
  toldTo: Va;

  constructor(mm: Mm, start: Va, end: Va, ops: IntervalNotifierOps, invalidateSeq: number) {
    this.mm = mm;
    this.start = start;
    this.end = end;
    this.ops = ops;
    this.invalidateSeq = invalidateSeq;
    this.listed = false;
    this.quiet = null;
    this.dozes = false;
    this.toldFrom = start;
    this.toldTo = end;
  }
}

type Deferred = { readonly notifier: IntervalNotifier; readonly insert: boolean };

/** struct mmu_notifier_subscriptions: the notifiers of one address space. */
export class NotifierSubscriptions {
  /** Odd while an invalidation is running that some interval overlaps. */
  invalidateSeq = 2;
  activeInvalidations = 0;
  readonly #kernel: Kernel;
  readonly #intervals: IntervalList = new IntervalList();
  /**
   * Ranges that notifiers may have dozed through since the invalidations that run now began, one of each
   * event and owner.
   */
  readonly #dozedThrough: NotifierRange[] = [];
  /** Who may doze once the invalidations that run now have ended. */
  readonly #sleepy: Set<IntervalNotifier> = new Set();
  readonly #deferred: Deferred[] = [];
  readonly #pid: number;
  /** Most address spaces see nobody wait. */
  #waiters: WaitQueue | null = null;
  /** Notifiers of the whole address space; each hears of a change after every interval. */
  readonly wholeSpace: MmuNotifiers;

  constructor(kernel: Kernel, pid: number) {
    this.#kernel = kernel;
    this.#pid = pid;
    this.wholeSpace = new MmuNotifiers(kernel);
  }

  /** Intervals that come or go when the invalidation that runs has ended. */
  get deferred(): readonly Deferred[] {
    return this.#deferred;
  }

  get intervals(): readonly IntervalNotifier[] {
    return this.#intervals.all;
  }

  get isInvalidating(): boolean {
    return (this.invalidateSeq & 1) !== 0;
  }

  /** mmu_interval_notifier_insert. */
  insert(mm: Mm, start: Va, end: Va, ops: IntervalNotifierOps): IntervalNotifier | number {
    if (end <= start) return -EOVERFLOW;
    if (!mm.alive) return -EINVAL;
    let seq: number;
    if (this.activeInvalidations === 0) seq = this.invalidateSeq - 1;
    else {
      // An invalidation that nobody heard is running: it must look invalidating to the newcomer.
      const deferred = this.isInvalidating;
      this.invalidateSeq |= 1;
      seq = this.invalidateSeq;
      if (deferred) {
        const notifier = new IntervalNotifier(mm, start, end, ops, seq);
        this.#deferred.push({ notifier, insert: true });
        return notifier;
      }
    }
    const notifier = new IntervalNotifier(mm, start, end, ops, seq);
    this.#intervals.add(notifier);
    return notifier;
  }

  /** mmu_interval_notifier_remove: no callback runs for it once this is over. */
  remove(notifier: IntervalNotifier): MaybeTask<undefined> {
    if (this.isInvalidating) return this.#removeLater(notifier);
    this.#intervals.remove(notifier);
    return undefined;
  }

  *#removeLater(notifier: IntervalNotifier): Task<undefined> {
    const pending = this.#deferred.findIndex(
      (entry) => entry.insert && entry.notifier === notifier,
    );
    if (pending >= 0) {
      this.#deferred.splice(pending, 1);
      return undefined;
    }
    this.#deferred.push({ notifier, insert: false });
    const seq = this.invalidateSeq;
    while (this.invalidateSeq === seq) yield this.#waitersOf();
    return undefined;
  }

  /** See `mmuIntervalDoze`. */
  doze(notifier: IntervalNotifier, from: Va, to: Va): void {
    const isWhole = notifier.start === 0 && notifier.end === TASK_SIZE;
    invariant(isWhole, 'only a notifier of the whole address space dozes');
    notifier.quiet = { from, to };
    // Its lock may have been handed to an invalidation that waited for it, or it is not in the list yet.
    if (this.activeInvalidations > 0) this.#sleepy.add(notifier);
    else this.#intervals.doze(notifier, notifier.quiet);
  }

  /** See `mmuIntervalWake`. */
  wake(notifier: IntervalNotifier): void {
    notifier.quiet = null;
    this.#wakeAfter(notifier, this.#dozedThrough);
  }

  #fallAsleep(): void {
    for (const notifier of this.#sleepy) {
      if (notifier.quiet !== null) this.#intervals.doze(notifier, notifier.quiet);
    }
    this.#sleepy.clear();
  }

  /** Once awake, it has been told of what it dozed through: of `ranges`, which are not over yet. */
  #wakeAfter(notifier: IntervalNotifier, ranges: readonly NotifierRange[]): void {
    if (!notifier.dozes) return;
    this.#intervals.wake(notifier);
    const { ops } = notifier;
    if (ranges.some((range) => ops.ignores?.(range) !== true)) {
      notifier.invalidateSeq = this.invalidateSeq;
    }
  }

  /**
   * Entries of `range` are about to change: mmu_notifier_invalidate_range_start. Returns undefined,
   * or a task to finish where a driver has to sleep.
   */
  start(range: NotifierRange): Task<undefined> | undefined {
    if (this.#kernel.events.listening) this.#kernel.events.invalidateBegin(range);
    this.activeInvalidations++;
    if (!this.#intervals.someDoze) return this.#callFrom(0, range);
    if (this.#someoneCanTell()) {
      this.#wakeAll(0, range);
      return this.#callFrom(0, range);
    }
    this.invalidateSeq |= 1;
    this.#passOver(range);
    return this.#callAwakeFrom(0, range);
  }

  /** Remembers that some may doze through `range`; of two that the same drivers ignore, one will do. */
  #passOver(range: NotifierRange): void {
    const { event, owner } = range;
    const dozed = this.#dozedThrough;
    if (!dozed.some((one) => one.event === event && one.owner === owner)) dozed.push(range);
  }

  /** Can anybody tell whether a notifier was called: by events, time, or the locks that it takes? */
  #someoneCanTell(): boolean {
    const { events, timing, scheduler } = this.#kernel;
    return events.listening || timing !== null || scheduler.slowLocks;
  }

  /**
   * The same for a `range` that is not blockable: mmu_notifier_invalidate_range_start_nonblock.
   * Returns 0, or -EAGAIN where a driver would have to sleep; `end` must not be called then.
   */
  startNonblock(range: NotifierRange): number {
    invariant(range.blockable === false, 'a range that may not wait has blockable false');
    if (this.#kernel.events.listening) this.#kernel.events.invalidateBegin(range);
    this.activeInvalidations++;
    if (this.#callNonblock(range) && this.wholeSpace.startNonblock(range)) return 0;
    this.end(range);
    return -EAGAIN;
  }

  /** mmu_notifier_invalidate_range_end. */
  end(range: NotifierRange): void {
    this.activeInvalidations--;
    if (this.activeInvalidations === 0 && this.isInvalidating) {
      this.invalidateSeq++;
      this.#dozedThrough.length = 0;
      this.#applyDeferred();
      this.#waiters?.wakeAll();
    }
    if (this.activeInvalidations === 0 && this.#sleepy.size > 0) this.#fallAsleep();
    if (this.#kernel.events.listening) this.#kernel.events.invalidateEnd(range);
  }

  /** The sequence at once where nothing makes it wait. */
  readBegin(notifier: IntervalNotifier): MaybeTask<number> {
    const seq = notifier.invalidateSeq;
    if (this.#kernel.scheduler.preempts || seq === this.invalidateSeq) {
      return this.#readBeginTask(notifier);
    }
    return seq;
  }

  *#readBeginTask(notifier: IntervalNotifier): Task<number> {
    const { scheduler } = this.#kernel;
    if (scheduler.preempts && scheduler.overtaken('read begin', 0)) yield PREEMPT;
    const seq = notifier.invalidateSeq;
    while (seq === this.invalidateSeq) yield this.#waitersOf();
    return seq;
  }

  #waitersOf(): WaitQueue {
    this.#waiters ??= new WaitQueue(
      this.#kernel.scheduler,
      () => `the end of an invalidation in process ${this.#pid}`,
      undefined,
      'notifier',
      `invalidation in process ${this.#pid}`,
    );
    return this.#waiters;
  }

  /** `#callFrom`, past notifiers that doze and have nothing in `range`. */
  #callAwakeFrom(first: number, range: NotifierRange): Task<undefined> | undefined {
    const list = this.#intervals;
    for (let i = list.next(first, range); i >= 0; i = list.next(i + 1, range)) {
      const notifier = list.all[i]!;
      const seqBefore = notifier.invalidateSeq;
      const result = notifier.ops.invalidate(notifier, range, this.invalidateSeq);
      if (typeof result === 'object') {
        this.#wakeAll(i, range);
        return this.#finishFrom(i, result, range, seqBefore);
      }
      if (this.#kernel.events.listening) {
        // Since just now: whoever comes after is told as everybody is.
        this.#wakeAll(i, range);
        this.#tell(notifier, range, seqBefore);
        return this.#callFrom(i + 1, range);
      }
    }
    return this.wholeSpace.start(range);
  }

  /**
   * Nobody dozes through `range` any more, of which those before place `at` have been told and those
   * after it will be: somebody listens, or a notifier makes the call wait and anything may happen
   * meanwhile.
   */
  #wakeAll(at: number, range: NotifierRange): void {
    const dozed = this.#dozedThrough.splice(0);
    const others = dozed.filter((one) => one !== range);
    for (const [i, notifier] of this.intervals.entries()) {
      if (!notifier.dozes) continue;
      this.#wakeAfter(notifier, i < at ? dozed : others);
      this.#sleepy.add(notifier);
    }
  }

  #callFrom(first: number, range: NotifierRange): Task<undefined> | undefined {
    const intervals = this.#intervals.all;
    for (let i = first; i < intervals.length; i++) {
      const notifier = intervals[i]!;
      if (notifier.start >= range.end || notifier.end <= range.start) continue;
      this.invalidateSeq |= 1;
      chargeNotifier(this.#kernel);
      const seqBefore = notifier.invalidateSeq;
      const result = notifier.ops.invalidate(notifier, range, this.invalidateSeq);
      if (typeof result === 'object') return this.#finishFrom(i, result, range, seqBefore);
      if (this.#kernel.events.listening) this.#tell(notifier, range, seqBefore);
    }
    return this.wholeSpace.start(range);
  }

  /** False: a driver would have to sleep. */
  #callNonblock(range: NotifierRange): boolean {
    for (const notifier of this.#intervals.all) {
      if (notifier.start >= range.end || notifier.end <= range.start) continue;
      this.invalidateSeq |= 1;
      const seqBefore = notifier.invalidateSeq;
      const result = notifier.ops.invalidate(notifier, range, this.invalidateSeq);
      // A task that was not begun: the driver wants to sleep.
      if (typeof result === 'object') result.return(false);
      if (result !== true) return false;
      if (this.#kernel.events.listening) this.#tell(notifier, range, seqBefore);
    }
    return true;
  }

  *#finishFrom(
    index: number,
    running: Task<boolean>,
    range: NotifierRange,
    seqBefore: number,
  ): Task<undefined> {
    const notifier = this.#intervals.all[index]!;
    yield* running;
    if (this.#kernel.events.listening) this.#tell(notifier, range, seqBefore);
    const rest = this.#callFrom(index + 1, range);
    if (rest !== undefined) yield* rest;
    return undefined;
  }

  #tell(notifier: IntervalNotifier, range: NotifierRange, seqBefore: number): void {
    const ignored = notifier.invalidateSeq === seqBefore && seqBefore !== this.invalidateSeq;
    this.#kernel.events.notified(range, notifier.ops.name, ignored);
  }

  #applyDeferred(): void {
    if (this.#deferred.length === 0) return;
    for (const { notifier, insert } of this.#deferred.splice(0)) {
      if (insert) this.#intervals.add(notifier);
      else this.#intervals.remove(notifier);
    }
  }
}

/**
 * Watches [start, end) of `mm`; without bounds, all of it. Returns the notifier, or -EOVERFLOW for
 * an empty range, -EINVAL where the process is gone.
 */
export function mmuIntervalNotifierInsert(
  mm: Mm,
  ops: IntervalNotifierOps,
  start: Va = 0,
  end: Va = TASK_SIZE,
): IntervalNotifier | number {
  return mm.notifiers.insert(mm, start, end, ops);
}

export function mmuIntervalNotifierRemove(notifier: IntervalNotifier): Task<undefined> {
  return settle(notifier.mm.notifiers.remove(notifier));
}

/** The same for paths where speed counts: done at once where no invalidation is running. */
export function mmuIntervalNotifierRemoveStep(notifier: IntervalNotifier): MaybeTask<undefined> {
  return notifier.mm.notifiers.remove(notifier);
}

/**
 * Lets a notifier of the whole address space doze: no lock that its `invalidate` takes is held, nobody is
 * between read begin and read retry, and the driver has nothing outside of [from, to). Until
 * `mmuIntervalWake`, changes elsewhere may pass without a call, unless somebody can tell: by events, by
 * the time it takes, or by the locks it takes. While an invalidation is running nobody falls
 * asleep.
 */
export function mmuIntervalDoze(notifier: IntervalNotifier, from: Va, to: Va): void {
  notifier.mm.notifiers.doze(notifier, from, to);
}

/** To be called before the driver takes its lock, begins to read, or maps anything. */
export function mmuIntervalWake(notifier: IntervalNotifier): void {
  notifier.mm.notifiers.wake(notifier);
}

/** Called by `invalidate`, under the driver's lock. */
export function mmuIntervalSetSeq(notifier: IntervalNotifier, seq: number): void {
  notifier.invalidateSeq = seq;
}

/** Waits while an invalidation of the interval is running; returns the sequence to check later. */
export function mmuIntervalReadBegin(notifier: IntervalNotifier): Task<number> {
  return settle(notifier.mm.notifiers.readBegin(notifier));
}

/** The same for paths where speed counts: the sequence at once where nothing makes it wait. */
export function mmuIntervalReadBeginStep(notifier: IntervalNotifier): MaybeTask<number> {
  return notifier.mm.notifiers.readBegin(notifier);
}

/** True if what was read since `mmuIntervalReadBegin` may be stale. Call under the driver's lock. */
export function mmuIntervalReadRetry(notifier: IntervalNotifier, seq: number): boolean {
  if (notifier.mm.kernel.faults?.fails('read_retry') === true) return true;
  return notifier.invalidateSeq !== seq;
}
