/**
 * A page table: leaves of 512 entries under three levels of 512.
 *
 * Virtual page numbers (up to 2^35) divided by 512 are leaf numbers (up to 2^26), on which bit
 * operators are safe.
 */
import type { Vpn } from '../units.ts';
import { Leaf, PTRS_PER_PTE } from './pte.ts';

type Level<T> = (T | null)[];

const FANOUT = 512;

function emptyLevel<T>(): Level<T> {
  return new Array<T | null>(FANOUT).fill(null);
}

/** The level under `level` at `index`, made if need be. */
function child<T>(level: Level<Level<T>>, index: number): Level<T> {
  const found = level[index];
  if (found != null) return found;
  const made = emptyLevel<T>();
  level[index] = made;
  return made;
}

export class PageTable {
  readonly #root: Level<Level<Level<Leaf>>> = emptyLevel();
  #lastNumber = -1;
  #lastLeaf: Leaf | null = null;
  #leaves = 0;

  /** How many leaves exist. */
  get leafCount(): number {
    return this.#leaves;
  }

  /** The leaf that holds the entry of `vpn`, or null where the table has a hole: pmd_none. */
  leaf(vpn: Vpn): Leaf | null {
    const number = Math.floor(vpn / PTRS_PER_PTE);
    if (number === this.#lastNumber) return this.#lastLeaf;
    const leaf =
      this.#root[number >>> 18]?.[(number >>> 9) & (FANOUT - 1)]?.[number & (FANOUT - 1)] ?? null;
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
    const number = Math.floor(vpn / PTRS_PER_PTE);
    const upper = child(this.#root, number >>> 18);
    const middle = child(upper, (number >>> 9) & (FANOUT - 1));
    const leaf = new Leaf();
    middle[number & (FANOUT - 1)] = leaf;
    this.#leaves++;
    this.#lastNumber = number;
    this.#lastLeaf = leaf;
    return leaf;
  }

  /** Frees the leaf of `vpn`, whose entries are all none: free_pgtables. */
  removeLeaf(vpn: Vpn): void {
    const number = Math.floor(vpn / PTRS_PER_PTE);
    const middle = this.#root[number >>> 18]?.[(number >>> 9) & (FANOUT - 1)];
    if (middle?.[number & (FANOUT - 1)] == null) return;
    middle[number & (FANOUT - 1)] = null;
    this.#leaves--;
    this.#lastNumber = -1;
    this.#lastLeaf = null;
  }

  /** Calls `visit` for each leaf with the first vpn it holds, in order of addresses. */
  forEachLeaf(visit: (leaf: Leaf, firstVpn: Vpn) => void): void {
    this.#root.forEach((upper, i) => {
      upper?.forEach((middle, j) => {
        middle?.forEach((leaf, k) => {
          if (leaf !== null) visit(leaf, ((i * FANOUT + j) * FANOUT + k) * PTRS_PER_PTE);
        });
      });
    });
  }
}

/** Position of `vpn` within its leaf. */
export function leafIndex(vpn: Vpn): number {
  // Not the remainder operator, which is slow beyond 32 bits.
  return vpn - Math.floor(vpn / PTRS_PER_PTE) * PTRS_PER_PTE;
}

/** First page after `vpn` that lies in another leaf, or `end` if that comes first. */
export function leafEnd(vpn: Vpn, end: Vpn): Vpn {
  return Math.min(end, (Math.floor(vpn / PTRS_PER_PTE) + 1) * PTRS_PER_PTE);
}
