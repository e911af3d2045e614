/**
 * The interval notifiers of one address space, and which of them doze: those whose drivers hold
 * nothing outside of some addresses need not be asked about changes elsewhere.
 */
import type { Va } from '../units.ts';
import type { IntervalNotifier, NotifierRange } from './notifier.ts';

/** Notifiers that are passed over together where none of them has anything in a range. */
const GROUP = 8;

export class IntervalList {
  /** In the order in which they are told. */
  readonly all: IntervalNotifier[] = [];
  #dozing = 0;
  /** For `next`: where each notifier wants to hear of changes, and where any of a group does. */
  #lows: Float64Array = new Float64Array(0);
  #highs: Float64Array = new Float64Array(0);
  #groupLows: Float64Array = new Float64Array(0);
  #groupHighs: Float64Array = new Float64Array(0);
  #isBuilt = false;

  /** Does any of them doze? */
  get someDoze(): boolean {
    return this.#dozing > 0;
  }

  add(notifier: IntervalNotifier): void {
    notifier.listed = true;
    this.all.push(notifier);
    this.#isBuilt = false;
  }

  remove(notifier: IntervalNotifier): void {
    // Mostly the last one that came: a snapshot's.
    const at = this.all.lastIndexOf(notifier);
    if (at < 0) return;
    this.wake(notifier);
    notifier.listed = false;
    this.all.splice(at, 1);
    this.#isBuilt = false;
  }

  /** From now on, `notifier` needs to hear only of changes that touch [from, to). Not if it is not here. */
  doze(notifier: IntervalNotifier, { from, to }: { readonly from: Va; readonly to: Va }): void {
    if (!notifier.listed) return;
    if (!notifier.dozes) this.#dozing++;
    notifier.dozes = true;
    notifier.toldFrom = from;
    notifier.toldTo = to;
    this.#isBuilt = false;
  }

  wake(notifier: IntervalNotifier): void {
    if (!notifier.dozes) return;
    this.#dozing--;
    notifier.dozes = false;
    notifier.toldFrom = notifier.start;
    notifier.toldTo = notifier.end;
    this.#isBuilt = false;
  }

  /** The place of the first notifier from place `first` on that must hear of `range`, or -1. */
  next(first: number, { start, end }: NotifierRange): number {
    const { length } = this.all;
    if (length <= GROUP) {
      for (let at = first; at < length; at++) {
        const { toldFrom, toldTo } = this.all[at]!;
        if (toldFrom < end && toldTo > start) return at;
      }
      return -1;
    }
    if (!this.#isBuilt) this.#build();
    for (let at = first; at < length; ) {
      const group = Math.floor(at / GROUP);
      const groupEnd = Math.min((group + 1) * GROUP, length);
      if (this.#groupLows[group]! < end && this.#groupHighs[group]! > start) {
        for (; at < groupEnd; at++) {
          if (this.#lows[at]! < end && this.#highs[at]! > start) return at;
        }
      }
      at = groupEnd;
    }
    return -1;
  }

  #build(): void {
    const { length } = this.all;
    if (this.#lows.length < length) {
      this.#lows = new Float64Array(length * 2);
      this.#highs = new Float64Array(length * 2);
      this.#groupLows = new Float64Array(Math.ceil((length * 2) / GROUP));
      this.#groupHighs = new Float64Array(Math.ceil((length * 2) / GROUP));
    }
    this.#groupLows.fill(Number.POSITIVE_INFINITY);
    this.#groupHighs.fill(0);
    for (let at = 0; at < length; at++) {
      const { toldFrom, toldTo } = this.all[at]!;
      const group = Math.floor(at / GROUP);
      this.#lows[at] = toldFrom;
      this.#highs[at] = toldTo;
      this.#groupLows[group] = Math.min(this.#groupLows[group]!, toldFrom);
      this.#groupHighs[group] = Math.max(this.#groupHighs[group]!, toldTo);
    }
    this.#isBuilt = true;
  }
}
