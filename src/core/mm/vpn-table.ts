/**
 * A sparse table from virtual page numbers to numbers: what the page table of a device is made of.
 *
 * Blocks of 512 entries lie under their number, so that neighbours share a look-up and gaps cost
 * nothing. The blocks used last are found without one. A full block whose values follow each other,
 * as those of pages that were allocated one after the other do, is two numbers.
 */
import { WordPool } from '../memory/word-pool.ts';
import type { Vpn } from '../units.ts';

const BLOCK_ENTRIES = 512;
/** Blocks that are found at once, where there is more than one; twice as many when there are more. */
const RECENT_BLOCKS = 64;
const RECENT_BLOCKS_MAX = 65_536;

interface Block {
  readonly number: number;
  /** The value plus 1; 0 where there is none. Empty where the block is a run. */
  words: Uint32Array;
  used: number;
  /** Of a run: the first word, and what each is more than the one before; 0 where it is none. */
  first: number;
  step: number;
  /** Was a run, and some of it went: not made one again before all of it went. */
  broken: boolean;
}

const NO_WORDS: Uint32Array = new Uint32Array(0);
/** No table has it: it stands where there is no block. */
const NONE: Block = { number: -1, words: NO_WORDS, used: 0, first: 0, step: 0, broken: false };

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
    return wordAt(block, vpn - number * BLOCK_ENTRIES) - 1;
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
    if (block.step !== 0) {
      if (wordAt(block, at) === value + 1) return;
      this.#unfold(block);
    }
    const isNew = block.words[at] === 0;
    block.words[at] = value + 1;
    if (!isNew) return;
    this.#size++;
    if (++block.used === BLOCK_ENTRIES && !block.broken) this.#fold(block);
  }

  delete(vpn: Vpn): void {
    const number = Math.floor(vpn / BLOCK_ENTRIES);
    let block = this.#recent[number & this.#mask]!;
    if (block.number !== number) block = this.#find(number);
    const at = vpn - number * BLOCK_ENTRIES;
    if (block === NONE) return;
    if (block.step !== 0) this.#unfold(block);
    if (block.words[at] === 0) return;
    block.words[at] = 0;
    this.#size--;
    // Single entries that go come back soon, so the block stays.
    if (--block.used === 0) block.broken = false;
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
    for (const { words, step } of this.#blocks.values()) if (step === 0) this.#pool.give(words);
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
      const block = this.#blocks.get(number)!;
      let left = block.used;
      for (let i = 0; left > 0; i++) {
        const word = wordAt(block, i);
        if (word === 0) continue;
        left--;
        if (base + i >= first && base + i < end) yield [base + i, word - 1];
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
    const words = this.#pool.take(BLOCK_ENTRIES);
    const block: Block = { number, words, used: 0, first: 0, step: 0, broken: false };
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
    if (block.step !== 0) {
      if (to - from === BLOCK_ENTRIES) {
        this.#size -= block.used;
        this.#drop(block);
        return;
      }
      this.#unfold(block);
    }
    for (let i = from - base; i < to - base; i++) {
      if (block.words[i] === 0) continue;
      block.words[i] = 0;
      block.used--;
      this.#size--;
    }
    if (block.used > 0) return;
    // Whoever unmaps a range may be done with it; single entries that go come back soon.
    this.#drop(block);
  }

  #drop(block: Block): void {
    const { number, words, step } = block;
    this.#blocks.delete(number);
    if (step === 0) this.#pool.give(words);
    if (this.#recent[number & this.#mask] === block) this.#recent[number & this.#mask] = NONE;
  }

  /** Makes a run of a full block, if it is one. */
  #fold(block: Block): void {
    const { words } = block;
    const first = words[0]!;
    const step = words[1]! - first;
    if (step === 0) return;
    for (let i = 2; i < BLOCK_ENTRIES; i++) if (words[i] !== first + step * i) return;
    block.first = first;
    block.step = step;
    block.words = NO_WORDS;
    this.#pool.give(words);
  }

  /** Gives a run its words again. */
  #unfold(block: Block): void {
    const words = this.#pool.take(BLOCK_ENTRIES);
    for (let i = 0; i < BLOCK_ENTRIES; i++) words[i] = wordAt(block, i);
    block.words = words;
    block.step = 0;
    block.broken = true;
  }
}

/** A word of a block: the value plus 1, or 0. */
function wordAt({ words, first, step }: Block, at: number): number {
  return step === 0 ? words[at]! : first + step * at;
}
