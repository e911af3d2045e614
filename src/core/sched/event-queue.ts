/**
 * Timers, ordered by (time, sequence number): equal times fire in the order they were set.
 *
 * A binary heap in parallel typed arrays. Sequence numbers grow without end and fit a double for
 * some 285 years of a timer a microsecond.
 */
export class EventQueue<T> {
  #times: Float64Array = new Float64Array(64);
  #seqs: Float64Array = new Float64Array(64);
  #items: (T | undefined)[] = [];
  #length = 0;
  #nextSeq = 0;

  get length(): number {
    return this.#length;
  }

  /** Time of the earliest item, in nanoseconds; Infinity when there is none. */
  get earliestNs(): number {
    return this.#length === 0 ? Number.POSITIVE_INFINITY : this.#times[0]!;
  }

  push(timeNs: number, item: T): void {
    if (this.#length === this.#times.length) this.#grow();
    const times = this.#times;
    const seqs = this.#seqs;
    const items = this.#items;
    const seq = this.#nextSeq++;
    let hole = this.#length++;
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      // A new item has the highest sequence number, so an equal time keeps its place above.
      if (times[parent]! <= timeNs) break;
      times[hole] = times[parent]!;
      seqs[hole] = seqs[parent]!;
      items[hole] = items[parent];
      hole = parent;
    }
    times[hole] = timeNs;
    seqs[hole] = seq;
    items[hole] = item;
  }

  /** Takes out the item with the least (time, sequence number), or undefined when empty. */
  pop(): T | undefined {
    if (this.#length === 0) return undefined;
    const times = this.#times;
    const seqs = this.#seqs;
    const items = this.#items;
    const first = items[0];
    const last = --this.#length;
    const time = times[last]!;
    const seq = seqs[last]!;
    const item = items[last];
    items[last] = undefined;
    let hole = 0;
    while (true) {
      let child = 2 * hole + 1;
      if (child >= last) break;
      const right = child + 1;
      if (
        right < last &&
        (times[right]! < times[child]! ||
          (times[right]! === times[child]! && seqs[right]! < seqs[child]!))
      ) {
        child = right;
      }
      if (times[child]! > time || (times[child]! === time && seqs[child]! > seq)) break;
      times[hole] = times[child]!;
      seqs[hole] = seqs[child]!;
      items[hole] = items[child];
      hole = child;
    }
    if (last > 0) {
      times[hole] = time;
      seqs[hole] = seq;
      items[hole] = item;
    }
    return first;
  }

  #grow(): void {
    const times = new Float64Array(this.#times.length * 2);
    times.set(this.#times);
    this.#times = times;
    const seqs = new Float64Array(this.#seqs.length * 2);
    seqs.set(this.#seqs);
    this.#seqs = seqs;
  }
}
