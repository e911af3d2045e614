/**
 * Notifiers of a whole address space, the older kind: struct mmu_notifier.
 *
 * Reference: mm/mmu_notifier.c of Linux 6.1. They have no sequence, so who reads entries beside
 * them needs an interval notifier as well. Each change is told to every interval first, and only
 * then to these: a driver with both may count on that order.
 */
import { chargeNotifier } from '../charge.ts';
import { EAGAIN } from '../errno.ts';
import type { Kernel } from '../kernel.ts';
import type { MaybeTask, Task } from '../sched/task.ts';
import type { NotifierRange } from './notifier.ts';

/** What `invalidateRangeStart` returns where the driver let the change pass. */
export const NOTIFIER_IGNORED = 1;

/** struct mmu_notifier_ops. */
export interface MmuNotifier {
  /** For people, in events and reports. */
  readonly name: string;
  /**
   * Entries in `range` are about to change: the driver drops what it has mapped there. May sleep
   * unless `range.blockable` is false. Returns 0, NOTIFIER_IGNORED (which only events tell apart
   * from 0), or -EAGAIN, allowed only where it may not sleep.
   */
  invalidateRangeStart(range: NotifierRange): MaybeTask<number>;
  /** The address space goes, and nothing is told of it any more. */
  release?(): void;
}

/** The notifiers of one address space, the latest first. */
export class MmuNotifiers {
  readonly #kernel: Kernel;
  readonly #list: MmuNotifier[] = [];

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  get size(): number {
    return this.#list.length;
  }

  /** mmu_notifier_register. */
  add(notifier: MmuNotifier): void {
    this.#list.unshift(notifier);
  }

  /** mmu_notifier_put. */
  remove(notifier: MmuNotifier): void {
    const at = this.#list.indexOf(notifier);
    if (at >= 0) this.#list.splice(at, 1);
  }

  /** Tells all of them, or returns a task that goes on where one has to sleep. */
  start(range: NotifierRange): Task<undefined> | undefined {
    if (range.event === 'release') this.#release();
    const list = this.#list;
    if (list.length === 0) return undefined;
    // Who hears of it may come and go meanwhile, unless it is the only one.
    return this.#startFrom(0, list.length === 1 ? list : [...list], range);
  }

  /** Tells all of them, whether or not one refuses. False: one of them would have to sleep. */
  startNonblock(range: NotifierRange): boolean {
    let willing = true;
    for (const notifier of this.#list) {
      const result = notifier.invalidateRangeStart(range);
      // A task that was not begun: the driver wants to sleep.
      if (typeof result === 'object') result.return(-EAGAIN);
      if (typeof result === 'object' || result < 0) willing = false;
      else this.#tell(notifier, range, result);
    }
    return willing;
  }

  /** mn_hlist_release: whoever has no `release` hears nothing of the end. */
  #release(): void {
    for (const notifier of this.#list.splice(0)) notifier.release?.();
  }

  #startFrom(
    first: number,
    list: readonly MmuNotifier[],
    range: NotifierRange,
  ): Task<undefined> | undefined {
    for (let i = first; i < list.length; i++) {
      chargeNotifier(this.#kernel);
      const result = list[i]!.invalidateRangeStart(range);
      if (typeof result === 'object') return this.#finishFrom(i, result, list, range);
      this.#tell(list[i]!, range, result);
    }
    return undefined;
  }

  *#finishFrom(
    index: number,
    running: Task<number>,
    list: readonly MmuNotifier[],
    range: NotifierRange,
  ): Task<undefined> {
    this.#tell(list[index]!, range, yield* running);
    const rest = this.#startFrom(index + 1, list, range);
    if (rest !== undefined) yield* rest;
    return undefined;
  }

  #tell(notifier: MmuNotifier, range: NotifierRange, result: number): void {
    const { events } = this.#kernel;
    if (events.listening) events.notified(range, notifier.name, result === NOTIFIER_IGNORED);
  }
}
