/**
 * A sparse table from virtual page numbers to numbers: what the page table of a device is made of.
 *
 * Blocks of 512 entries lie under their number, so that neighbours share a look-up and gaps cost
 * nothing. The blocks used last are found without one.
 */
import { WordPool } from '../memory/word-pool.ts';
import type { Vpn } from '../units.ts';

const BLOCK_ENTRIES = 512;
/** Blocks that are found at once, where there is more than one; twice as many when there are more. */
const RECENT_BLOCKS = 64;
const RECENT_BLOCKS_MAX = 65_536;

interface Block {
  readonly number: number;
  /** The value plus 1; 0 where there is none. */
  readonly words: Uint32Array;
  used: number;
}

/** No table has it: it stands where there is no block. */
const NONE: Block = { number: -1, words: new Uint32Array(0), used: 0 };

export class VpnTable {
  readonly #blocks: Map<number, Block> = new Map();
  /** By the lowest bits of their numbers. */
  #recent: Block[] = [NONE];
  #mask = 0;
  #size = 0;
  readonly #pool: WordPool;

  /** @param pool where blocks come from and go to */
  constructor(pool: WordPool = new WordPool()) {
    this.#pool = pool;
  }

  /** Entries that are there. */
  get size(): number {
    return this.#size;
  }

  /** The value at `vpn`, or -1. */
  get(vpn: Vpn): number {
    const number = Math.floor(vpn / BLOCK_ENTRIES);
    let block = this.#recent[number & this.#mask]!;
    if (block.number !== number) {
      block = this.#find(number);
      if (block === NONE) return -1;
    }
    return block.words[vpn - number * BLOCK_ENTRIES]! - 1;
  }

  /** @param value 0 to 2^32 - 2 */
  set(vpn: Vpn, value: number): void {
    const number = Math.floor(vpn / BLOCK_ENTRIES);
    let block = this.#recent[number & this.#mask]!;
    if (block.number !== number) {
      block = this.#find(number);
      if (block === NONE) block = this.#add(number);
    }
    const at = vpn - number * BLOCK_ENTRIES;
    if (block.words[at] === 0) {
      block.used++;
      this.#size++;
    }
    block.words[at] = value + 1;
  }

  delete(vpn: Vpn): void {
    const number = Math.floor(vpn / BLOCK_ENTRIES);
    let block = this.#recent[number & this.#mask]!;
    if (block.number !== number) block = this.#find(number);
    const at = vpn - number * BLOCK_ENTRIES;
    if (block === NONE || block.words[at] === 0) return;
    block.words[at] = 0;
    block.used--;
    this.#size--;
  }

  /** Erases [first, end). Whole address spaces are fine: gaps are not walked. */
  deleteRange(first: Vpn, end: Vpn): void {
    if (this.#size === 0) return;
    const from = Math.floor(first / BLOCK_ENTRIES);
    const to = Math.ceil(end / BLOCK_ENTRIES);
    if (to - from > this.#blocks.size) {
      for (const number of [...this.#blocks.keys()]) {
        if (number >= from && number < to) this.#deleteWithin(number, first, end);
      }
      return;
    }
    for (let number = from; number < to; number++) this.#deleteWithin(number, first, end);
  }

  clear(): void {
    if (this.#blocks.size === 0) return;
    for (const { words } of this.#blocks.values()) this.#pool.give(words);
    this.#blocks.clear();
    this.#recent = [NONE];
    this.#mask = 0;
    this.#size = 0;
  }

  /** The entries of [first, end) by address; of all addresses unless given. */
  *entries(first: Vpn = 0, end: Vpn = Number.MAX_SAFE_INTEGER): Generator<readonly [Vpn, number]> {
    const numbers = [...this.#blocks.keys()].sort((a, b) => a - b);
    for (const number of numbers) {
      const base = number * BLOCK_ENTRIES;
      if (base >= end || base + BLOCK_ENTRIES <= first) continue;
      const { words, used } = this.#blocks.get(number)!;
      let left = used;
      for (let i = 0; left > 0; i++) {
        if (words[i] === 0) continue;
        left--;
        if (base + i >= first && base + i < end) yield [base + i, words[i]! - 1];
      }
    }
  }

  /** The block, or NONE. */
  #find(number: number): Block {
    const block = this.#blocks.get(number) ?? NONE;
    if (block !== NONE) this.#recent[number & this.#mask] = block;
    return block;
  }

  #add(number: number): Block {
    const block: Block = { number, words: this.#pool.take(BLOCK_ENTRIES), used: 0 };
    this.#blocks.set(number, block);
    const known = this.#recent.length;
    if (this.#blocks.size > known && known < RECENT_BLOCKS_MAX) {
      const more = Math.max(RECENT_BLOCKS, known * 2);
      this.#mask = more - 1;
      this.#recent = new Array<Block>(more).fill(NONE);
    }
    this.#recent[number & this.#mask] = block;
    return block;
  }

  #deleteWithin(number: number, first: Vpn, end: Vpn): void {
    const block = this.#blocks.get(number);
    if (block === undefined) return;
    const base = number * BLOCK_ENTRIES;
    const from = Math.max(first, base);
    const to = Math.min(end, base + BLOCK_ENTRIES);
    for (let i = from - base; i < to - base; i++) {
      if (block.words[i] === 0) continue;
      block.words[i] = 0;
      block.used--;
      this.#size--;
    }
    if (block.used > 0) return;
    // Whoever unmaps a range may be done with it; single entries that go come back soon.
    this.#blocks.delete(number);
    this.#pool.give(block.words);
    if (this.#recent[number & this.#mask] === block) this.#recent[number & this.#mask] = NONE;
  }
}
