/**
 * A page table: leaves of 512 entries, by regions of 1 GiB of addresses.
 *
 * Where a region fills up, the entries of neighbouring leaves move together into *blocks*, of which the
 * leaves are then windows. A CPU that loads and stores finds an entry there with a few whole numbers:
 * the region it is in, the block, the place. Wherever a block is missing, the leaf tells.
 */
import { PAGE_SIZE, type Va, type Vpn } from '../units.ts';
import { Leaf, PTRS_PER_PTE } from './pte.ts';

const REGION_SHIFT = 30;
/** Bytes of addresses of a region: offsets in it are whole numbers of 31 bits. */
export const REGION_BYTES: number = 1 << REGION_SHIFT;
/** Leaves of a block; every region has a multiple of them. */
const BLOCK_LEAVES = 16;
/** Entries of a block. */
export const BLOCK_PAGES: number = BLOCK_LEAVES * PTRS_PER_PTE;
/** A block is made for so many leaves: a small address space does without. */
const BLOCK_LEAVES_MIN = 4;

/** The entries of neighbouring leaves, one after the other. */
export interface Block {
  readonly page: Uint32Array<ArrayBuffer>;
  readonly bits: Uint8Array<ArrayBuffer>;
}

interface Region {
  readonly number: number;
  readonly leaves: (Leaf | null)[];
  /** Where there is none, one without entries. */
  readonly blocks: Block[];
  /** Leaves of each block, moved together or not. */
  readonly counts: Uint8Array<ArrayBuffer>;
  count: number;
}

const NO_BLOCKS: readonly Block[] = [];

/** Stands where a block is missing, in all page tables: its entries are none and stay so. */
const MISSING: Block = { page: new Uint32Array(BLOCK_PAGES), bits: new Uint8Array(BLOCK_PAGES) };

export class PageTable {
  /**
   * First address of the region that a CPU is in; NaN where it is in none. Pages of 4 KiB only: who uses it
   * counts on that.
   */
  windowVa: Va = Number.NaN;
  /** The blocks of that region, of BLOCK_PAGES entries each. */
  window: readonly Block[] = NO_BLOCKS;
  readonly #regionPages: number;
  readonly #hasWindow: boolean;
  readonly #regions: Map<number, Region> = new Map();
  /** Numbers of the regions, in order. */
  readonly #order: number[] = [];
  #lastNumber = -1;
  #lastLeaf: Leaf | null = null;
  #leaves = 0;

  /** @param pageSize bytes of a page, a power of two */
  constructor(pageSize: number) {
    this.#regionPages = REGION_BYTES / pageSize;
    this.#hasWindow = pageSize === PAGE_SIZE;
  }

  /** How many leaves exist. */
  get leafCount(): number {
    return this.#leaves;
  }

  /** The leaf that holds the entry of `vpn`, or null where the table has a hole: pmd_none. */
  leaf(vpn: Vpn): Leaf | null {
    const number = Math.floor(vpn / PTRS_PER_PTE);
    if (number === this.#lastNumber) return this.#lastLeaf;
    const region = this.#regions.get(Math.floor(vpn / this.#regionPages));
    if (region === undefined) return null;
    const leaf = region.leaves[number - region.number * region.leaves.length]!;
    if (leaf !== null) {
      this.#lastNumber = number;
      this.#lastLeaf = leaf;
    }
    return leaf;
  }

  /** The leaf of `vpn`, made if need be: pte_alloc. */
  leafFor(vpn: Vpn): Leaf {
    const found = this.leaf(vpn);
    if (found !== null) return found;
    const region = this.#regionFor(Math.floor(vpn / this.#regionPages));
    const number = Math.floor(vpn / PTRS_PER_PTE);
    const at = number - region.number * region.leaves.length;
    const block = Math.floor(at / BLOCK_LEAVES);
    const flat = region.blocks[block]!;
    const isMissing = flat === MISSING;
    const leaf = isMissing ? new Leaf() : window(flat, at % BLOCK_LEAVES);
    region.leaves[at] = leaf;
    region.count++;
    region.counts[block]!++;
    this.#leaves++;
    if (isMissing && region.counts[block]! >= BLOCK_LEAVES_MIN) this.#join(region, block);
    this.#lastNumber = number;
    this.#lastLeaf = leaf;
    return leaf;
  }

  /** Frees the leaf of `vpn`, whose entries are all none: free_pgtables. */
  removeLeaf(vpn: Vpn): void {
    const region = this.#regions.get(Math.floor(vpn / this.#regionPages));
    if (region === undefined) return;
    const at = Math.floor(vpn / PTRS_PER_PTE) - region.number * region.leaves.length;
    if (region.leaves[at] === null) return;
    region.leaves[at] = null;
    const block = Math.floor(at / BLOCK_LEAVES);
    region.count--;
    region.counts[block]!--;
    this.#leaves--;
    this.#lastNumber = -1;
    this.#lastLeaf = null;
    if (region.counts[block] === 0) region.blocks[block] = MISSING;
    if (region.count > 0) return;
    this.#regions.delete(region.number);
    this.#order.splice(this.#order.indexOf(region.number), 1);
    if (this.window === region.blocks) this.turnAway();
  }

  /** The first page of [vpn, end) that lies in a leaf; `end` where there is none. Gaps cost nothing. */
  nextMapped(vpn: Vpn, end: Vpn): Vpn {
    for (let at = vpn; at < end; ) {
      const number = Math.floor(at / this.#regionPages);
      const region = this.#regions.get(number);
      if (region === undefined) {
        const next = this.#order.find((one) => one > number);
        if (next === undefined) return end;
        at = next * this.#regionPages;
        continue;
      }
      const { leaves } = region;
      const base = number * leaves.length;
      for (let i = Math.floor(at / PTRS_PER_PTE) - base; i < leaves.length; i++) {
        if (leaves[i] !== null) return Math.min(end, Math.max(at, (base + i) * PTRS_PER_PTE));
      }
      at = (number + 1) * this.#regionPages;
    }
    return end;
  }

  /** Calls `visit` for each leaf with the first vpn it holds, in order of addresses. */
  forEachLeaf(visit: (leaf: Leaf, firstVpn: Vpn) => void): void {
    for (const number of [...this.#order]) {
      const region = this.#regions.get(number)!;
      const { leaves } = region;
      leaves.forEach((leaf, i) => {
        if (leaf !== null) visit(leaf, (number * leaves.length + i) * PTRS_PER_PTE);
      });
    }
  }

  /** A CPU is in the region of `va` now, if that has entries. */
  turnTo(va: Va): void {
    if (!this.#hasWindow || (va >= this.windowVa && va < this.windowVa + REGION_BYTES)) return;
    const number = Math.floor(va / REGION_BYTES);
    const region = this.#regions.get(number);
    if (region === undefined) return;
    this.window = region.blocks;
    this.windowVa = number * REGION_BYTES;
  }

  /** Every access takes the long way, until the next `turnTo`. */
  turnAway(): void {
    this.window = NO_BLOCKS;
    this.windowVa = Number.NaN;
  }

  #regionFor(number: number): Region {
    const found = this.#regions.get(number);
    if (found !== undefined) return found;
    const leaves = this.#regionPages / PTRS_PER_PTE;
    const blocks = leaves / BLOCK_LEAVES;
    const region: Region = {
      number,
      leaves: new Array<Leaf | null>(leaves).fill(null),
      blocks: new Array<Block>(blocks).fill(MISSING),
      counts: new Uint8Array(blocks),
      count: 0,
    };
    this.#regions.set(number, region);
    const after = this.#order.findIndex((one) => one > number);
    this.#order.splice(after < 0 ? this.#order.length : after, 0, number);
    return region;
  }

  /** Moves the entries of a block together. Leaves stay what they are, with their entries elsewhere. */
  #join(region: Region, block: number): void {
    const flat: Block = {
      page: new Uint32Array(BLOCK_PAGES),
      bits: new Uint8Array(BLOCK_PAGES),
    };
    const first = block * BLOCK_LEAVES;
    for (let i = 0; i < BLOCK_LEAVES; i++) {
      const leaf = region.leaves[first + i]!;
      if (leaf === null) continue;
      const { page, bits } = window(flat, i);
      page.set(leaf.page);
      bits.set(leaf.bits);
      leaf.page = page;
      leaf.bits = bits;
    }
    region.blocks[block] = flat;
  }
}

/** The `i`-th leaf of a block. */
function window({ page, bits }: Block, i: number): Leaf {
  const from = i * PTRS_PER_PTE;
  return new Leaf(
    page.subarray(from, from + PTRS_PER_PTE),
    bits.subarray(from, from + PTRS_PER_PTE),
  );
}

/** Position of `vpn` within its leaf. */
export function leafIndex(vpn: Vpn): number {
  // Not the remainder operator, which is slow beyond 32 bits.
  return vpn - Math.floor(vpn / PTRS_PER_PTE) * PTRS_PER_PTE;
}

/** First page of the leaf that `vpn` lies in. */
export function leafStart(vpn: Vpn): Vpn {
  return Math.floor(vpn / PTRS_PER_PTE) * PTRS_PER_PTE;
}

/** First page after `vpn` that lies in another leaf, or `end` if that comes first. */
export function leafEnd(vpn: Vpn, end: Vpn): Vpn {
  return Math.min(end, (Math.floor(vpn / PTRS_PER_PTE) + 1) * PTRS_PER_PTE);
}
