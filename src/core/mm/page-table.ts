/**
 * A page table: leaves of 512 entries, by regions of 512 leaves, 1 GiB of addresses with 4 KiB pages.
 */
import type { Vpn } from '../units.ts';
import { Leaf, PTRS_PER_PTE } from './pte.ts';

const LEAF_SHIFT: number = Math.log2(PTRS_PER_PTE);
const REGION_LEAVES = 512;
const REGION_PAGES: number = REGION_LEAVES * PTRS_PER_PTE;

interface Region {
  number: number;
  readonly leaves: (Leaf | null)[];
  /** Leaves there are. */
  count: number;
}

const NO_REGION: Region = { number: -1, leaves: [], count: 0 };

/** Spare leaves, and spare regions, that are kept. */
const SPARE_MAX = 64;

/**
 * Leaves and regions that a page table gave back, for whoever needs one next. Processes that live
 * for a few calls would else make more garbage than anything.
 */
export class SpareTables {
  readonly #leaves: Leaf[] = [];
  readonly #regions: Region[] = [];

  takeLeaf(): Leaf {
    return this.#leaves.pop() ?? new Leaf();
  }

  giveLeaf(leaf: Leaf): void {
    if (this.#leaves.length >= SPARE_MAX) return;
    leaf.page.fill(0);
    leaf.bits.fill(0);
    this.#leaves.push(leaf);
  }

  takeRegion(number: number): Region {
    const spare = this.#regions.pop();
    if (spare === undefined) return newRegion(number);
    spare.number = number;
    return spare;
  }

  /** All of its leaves have gone. */
  giveRegion(region: Region): void {
    if (this.#regions.length < SPARE_MAX) this.#regions.push(region);
  }
}

function newRegion(number: number): Region {
  return { number, leaves: new Array<Leaf | null>(REGION_LEAVES).fill(null), count: 0 };
}

export class PageTable {
  readonly #spare: SpareTables | null;
  readonly #regions: Map<number, Region> = new Map();
  /** Numbers of the regions, in order. */
  readonly #order: number[] = [];
  #last: Region = NO_REGION;
  #leaves = 0;

  /** @param spare where leaves come from and go to; null makes each anew */
  constructor(spare: SpareTables | null = null) {
    this.#spare = spare;
  }

  /** How many leaves exist. */
  get leafCount(): number {
    return this.#leaves;
  }

  /** The leaf that holds the entry of `vpn`, or null where the table has a hole: pmd_none. */
  leaf(vpn: Vpn): Leaf | null {
    const number = Math.floor(vpn / REGION_PAGES);
    let region = this.#last;
    if (region.number !== number) {
      const found = this.#regions.get(number);
      if (found === undefined) return null;
      region = found;
      this.#last = found;
    }
    return region.leaves[leafOfRegion(vpn, number)]!;
  }

  /** The leaf of `vpn`, made if need be: pte_alloc. */
  leafFor(vpn: Vpn): Leaf {
    const found = this.leaf(vpn);
    if (found !== null) return found;
    const number = Math.floor(vpn / REGION_PAGES);
    const region = this.#regionFor(number);
    const leaf = this.#spare?.takeLeaf() ?? new Leaf();
    region.leaves[leafOfRegion(vpn, number)] = leaf;
    region.count++;
    this.#leaves++;
    return leaf;
  }

  /** Frees the leaf of `vpn`, whose entries are all none: free_pgtables. */
  removeLeaf(vpn: Vpn): void {
    const number = Math.floor(vpn / REGION_PAGES);
    const region = this.#regions.get(number);
    if (region === undefined) return;
    const at = leafOfRegion(vpn, number);
    const leaf = region.leaves[at] ?? null;
    if (leaf === null) return;
    region.leaves[at] = null;
    this.#spare?.giveLeaf(leaf);
    region.count--;
    this.#leaves--;
    if (region.count > 0) return;
    this.#regions.delete(number);
    this.#order.splice(this.#order.indexOf(number), 1);
    this.#last = NO_REGION;
    this.#spare?.giveRegion(region);
  }

  /** The first page of [vpn, end) that lies in a leaf; `end` where there is none. Gaps cost nothing. */
  nextMapped(vpn: Vpn, end: Vpn): Vpn {
    for (let at = vpn; at < end; ) {
      const number = Math.floor(at / REGION_PAGES);
      const region = this.#regions.get(number);
      if (region === undefined) {
        const next = this.#order.find((one) => one > number);
        if (next === undefined) return end;
        at = next * REGION_PAGES;
        continue;
      }
      const { leaves } = region;
      for (let i = leafOfRegion(at, number); i < REGION_LEAVES; i++) {
        if (leaves[i] === null) continue;
        const first = number * REGION_PAGES + i * PTRS_PER_PTE;
        return Math.min(end, Math.max(at, first));
      }
      at = (number + 1) * REGION_PAGES;
    }
    return end;
  }

  /** Calls `visit` for each leaf with the first vpn it holds, in order of addresses. */
  forEachLeaf(visit: (leaf: Leaf, firstVpn: Vpn) => void): void {
    for (const number of [...this.#order]) {
      this.#regions.get(number)!.leaves.forEach((leaf, i) => {
        if (leaf !== null) visit(leaf, number * REGION_PAGES + i * PTRS_PER_PTE);
      });
    }
  }

  #regionFor(number: number): Region {
    const found = this.#regions.get(number);
    if (found !== undefined) return found;
    const region = this.#spare?.takeRegion(number) ?? newRegion(number);
    this.#regions.set(number, region);
    const after = this.#order.findIndex((one) => one > number);
    this.#order.splice(after < 0 ? this.#order.length : after, 0, number);
    return region;
  }
}

/** Which leaf of its region, the one of that number, holds `vpn`. */
function leafOfRegion(vpn: Vpn, number: number): number {
  return (vpn - number * REGION_PAGES) >>> LEAF_SHIFT;
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
