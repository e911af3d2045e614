/** A hash of what a machine's future depends on, to recognise states that were seen before. */

const SEED_A = 0x9e3779b9;
const SEED_B = 0x85ebca6b;

/**
 * Takes numbers and texts in order; equal input gives an equal `value`, other input almost surely
 * another. Two lanes of 32 bits, of which 53 bits are told.
 */
export class StateHash {
  #a = SEED_A;
  #b = SEED_B;

  reset(): void {
    this.#a = SEED_A;
    this.#b = SEED_B;
  }

  /** A whole number, of up to 53 bits. */
  add(value: number): void {
    const low = value | 0;
    let a = Math.imul(this.#a ^ low, 0x85ebca6b);
    a = (a << 13) | (a >>> 19);
    this.#a = (Math.imul(a, 5) + 0x6b64e654) | 0;
    let b = Math.imul(this.#b ^ low, 0xc2b2ae35);
    b = (b << 15) | (b >>> 17);
    this.#b = (Math.imul(b, 9) + 0x27d4eb2f) | 0;
    // Most numbers are small: the upper part of the few that are not follows as a number.
    if (value !== low) this.#addWide(value);
  }

  addText(text: string): void {
    this.add(text.length);
    for (let i = 0; i < text.length; i++) this.add(text.charCodeAt(i));
  }

  /** Pairs of whole numbers, such as the entries of a map, in whatever order. */
  addPairs(pairs: Iterable<readonly [number, number]>): void {
    let sum = 0;
    let count = 0;
    for (const [key, value] of pairs) {
      const low = mixed(key | 0, value | 0);
      const high = mixed(Math.floor(key / 0x1_0000_0000), Math.floor(value / 0x1_0000_0000));
      sum = (sum + Math.imul(low, 0x9e3779b1) + (high ^ (low >>> 7))) | 0;
      count++;
    }
    this.add(count);
    this.add(sum);
  }

  /** A whole number below 2^53. */
  get value(): number {
    return mixed(this.#a, this.#b) * 0x20_0000 + (mixed(this.#b, this.#a) >>> 11);
  }

  #addWide(value: number): void {
    const high = Math.floor(value / 0x1_0000_0000);
    // A word with its top bit set is not wide, but it is not the negative number either.
    this.add(high === 0 ? 0x7fff_fffe : high | 0);
  }
}

/** The last mixing step of MurmurHash3, over both lanes. */
function mixed(lane: number, other: number): number {
  let h = lane ^ Math.imul(other, 0x27d4eb2d);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
