/** Which pages there were: a bit each, so that traces of any length can be counted. */
import type { Vpn } from '../core/units.ts';

/** Pages that share an array. */
const BLOCK_PAGES = 32_768;

export class PageSet {
  readonly #blocks: Map<number, Uint32Array> = new Map();
  #last: Uint32Array = new Uint32Array(0);
  #lastNumber = -1;
  #size = 0;

  /** How many there are. */
  get size(): number {
    return this.#size;
  }

  add(vpn: Vpn): void {
    const number = Math.floor(vpn / BLOCK_PAGES);
    if (number !== this.#lastNumber) this.#turnTo(number);
    const at = vpn - number * BLOCK_PAGES;
    const bit = 1 << (at & 31);
    const word = this.#last[at >>> 5]!;
    if ((word & bit) !== 0) return;
    this.#last[at >>> 5] = word | bit;
    this.#size++;
  }

  #turnTo(number: number): void {
    let block = this.#blocks.get(number);
    if (block === undefined) {
      block = new Uint32Array(BLOCK_PAGES / 32);
      this.#blocks.set(number, block);
    }
    this.#last = block;
    this.#lastNumber = number;
  }
}
