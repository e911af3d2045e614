/** The page table of a mirror: what the device believes is mapped where. */
import type { WordPool } from '../../core/memory/word-pool.ts';
import { VpnTable } from '../../core/mm/vpn-table.ts';
import type { StateHash } from '../../core/state-hash.ts';
import type { Page, Vpn } from '../../core/units.ts';

/** How a device may use a page it has mapped. */
export type MirrorAccess = 'read' | 'write' | 'exclusive';

/** An entry of a mirror's page table, for people and tables. */
export interface MirrorEntry {
  readonly page: Page;
  readonly access: MirrorAccess;
}

// Tags of an entry, as the xarray of the reference driver has them.
export const TAG_READ = 0;
/** DPT_XA_TAG_ATOMIC: device-exclusive. */
export const TAG_ATOMIC = 1;
/** DPT_XA_TAG_WRITE. */
export const TAG_WRITE = 3;

const TAGS = 4;

/**
 * dmirror->pt. An entry holds no reference on its page: notifiers erase it before the page goes.
 *
 * Where the reference driver keeps the RAM page that backs a device-private page, this one keeps
 * the device page, for here device pages hold their contents themselves.
 */
export class MirrorPageTable {
  /** The page times 4 plus the tag. A read-only zero page is 0. */
  readonly #entries: VpnTable;
  /** All entries lie from `#first` to `#last`, both included. */
  #first: Vpn = Number.POSITIVE_INFINITY;
  #last: Vpn = -1;

  /** @param pool where its arrays come from and go to */
  constructor(pool: WordPool) {
    this.#entries = new VpnTable(pool);
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Pages outside of [first, end) have no entry. Not always the narrowest. */
  extent(): { readonly first: Vpn; readonly end: Vpn } {
    if (this.size === 0) {
      this.#first = Number.POSITIVE_INFINITY;
      this.#last = -1;
    }
    return { first: this.#first, end: this.#last + 1 };
  }

  set(vpn: Vpn, page: Page, tag: number): void {
    if (vpn < this.#first) this.#first = vpn;
    if (vpn > this.#last) this.#last = vpn;
    this.#entries.set(vpn, page * TAGS + tag);
  }

  /** The page mapped at `vpn`, or -1. */
  page(vpn: Vpn): Page | -1 {
    const entry = this.#entries.get(vpn);
    return entry < 0 ? -1 : Math.floor(entry / TAGS);
  }

  /** The page mapped for writing at `vpn`, or -1. */
  writablePage(vpn: Vpn): Page | -1 {
    const entry = this.#entries.get(vpn);
    return entry < 0 || entry % TAGS !== TAG_WRITE ? -1 : Math.floor(entry / TAGS);
  }

  entry(vpn: Vpn): MirrorEntry | null {
    const entry = this.#entries.get(vpn);
    if (entry < 0) return null;
    const tag = entry % TAGS;
    const access = tag === TAG_WRITE ? 'write' : tag === TAG_ATOMIC ? 'exclusive' : 'read';
    return { page: Math.floor(entry / TAGS), access };
  }

  erase(vpn: Vpn): void {
    this.#entries.delete(vpn);
    this.#trim(vpn, vpn);
  }

  /** Erases `first` to `last`, both included. Whole address spaces are fine: no gap is walked. */
  eraseRange(first: Vpn, last: Vpn): void {
    this.#entries.deleteRange(first, last + 1);
    this.#trim(first, last);
  }

  /** Nothing is left from `first` to `last`. */
  #trim(first: Vpn, last: Vpn): void {
    if (first <= this.#first && last >= this.#first) this.#first = last + 1;
    if (first <= this.#last && last >= this.#last) this.#last = first - 1;
  }

  /** True if anything in [first, end) is mapped exclusively. */
  hasExclusive(first: Vpn, end: Vpn): boolean {
    for (const [, entry] of this.#entries.entries(first, end)) {
      if (entry % TAGS === TAG_ATOMIC) return true;
    }
    return false;
  }

  clear(): void {
    this.#entries.clear();
  }

  fingerprint(hash: StateHash): void {
    hash.addPairs(this.#entries.entries());
  }
}
