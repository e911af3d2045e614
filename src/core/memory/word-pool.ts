/** Arrays of words that live as long as one call: the words of a migration, of hmm_range_fault. */

/** The smallest array has 2 to the power of so many words. */
const SMALLEST_SHIFT = 6;
/** The largest that is kept, and how many of each length. */
const LARGEST_SHIFT = 13;
const KEPT_MAX = 64;

/**
 * Keeps arrays from call to call. An array of more than a few words costs as much to make as a small
 * migration, and what it costs the garbage collector is not seen until later.
 */
export class WordPool {
  /** By the power of two that is their length. */
  readonly #free: Uint32Array[][] = [];

  /** `count` words or more, of which the first `count` are 0. */
  take(count: number): Uint32Array {
    const shift = shiftOf(count);
    const words = this.#free[shift - SMALLEST_SHIFT]?.pop();
    if (words === undefined) return new Uint32Array(shift <= LARGEST_SHIFT ? 1 << shift : count);
    // A few words are zero sooner than `fill` is called.
    if (count > 1 << SMALLEST_SHIFT) words.fill(0, 0, count);
    else for (let i = 0; i < count; i++) words[i] = 0;
    return words;
  }

  /** Nobody uses them any more. Where a call fails, they may as well be left to the collector. */
  give(words: Uint32Array): void {
    const shift = shiftOf(words.length);
    if (shift > LARGEST_SHIFT || words.length !== 1 << shift) return;
    while (this.#free.length <= shift - SMALLEST_SHIFT) this.#free.push([]);
    const free = this.#free[shift - SMALLEST_SHIFT]!;
    if (free.length < KEPT_MAX) free.push(words);
  }
}

function shiftOf(count: number): number {
  return count <= 1 << SMALLEST_SHIFT ? SMALLEST_SHIFT : 32 - Math.clz32(count - 1);
}
