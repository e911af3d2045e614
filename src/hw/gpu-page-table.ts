/** The page table of one address space of a GPU: what its driver told it to map where. */
import { SimError } from '../core/errors.ts';
import { VpnTable } from '../core/mm/vpn-table.ts';
import type { StateHash } from '../core/state-hash.ts';
import type { Page, Vpn } from '../core/units.ts';

/** The entry is there: reads and prefetches are allowed. */
export const GPU_PTE_VALID: number = 1 << 0;
/** Writes are allowed. */
export const GPU_PTE_WRITE: number = 1 << 1;
/** The page lies in the GPU's own memory; without it, in the host's. */
export const GPU_PTE_VRAM: number = 1 << 2;
/** Atomic operations are allowed; they write, so they need GPU_PTE_WRITE as well. */
export const GPU_PTE_ATOMIC: number = 1 << 3;

/** An entry, for drivers and tests. */
export interface GpuPte {
  readonly page: Page;
  /** GPU_PTE_VALID and others. */
  readonly flags: number;
}

const FLAG_BITS = 4;
const FLAGS: number = 1 << FLAG_BITS;

/** Entries hold no reference on their page: the driver erases them before the page goes. */
export class GpuPageTable {
  /** The page times 16 plus the flags. */
  readonly #entries: VpnTable = new VpnTable();

  /** Entries that are there. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * Maps `page` at `vpn` in place of what was there. Without GPU_PTE_VALID nothing is mapped there
   * afterwards.
   *
   * @throws SimError `bad-argument` where `flags` has other bits than GPU_PTE_*
   */
  map(vpn: Vpn, page: Page, flags: number): void {
    if (flags < 0 || flags >= FLAGS || !Number.isInteger(flags)) {
      throw new SimError('bad-argument', `a GPU page table entry has no flags ${flags}`);
    }
    if ((flags & GPU_PTE_VALID) === 0) this.#entries.delete(vpn);
    else this.#entries.set(vpn, page * FLAGS + flags);
  }

  /** Erases [first, end). Whole address spaces are fine: gaps are not walked. */
  unmap(first: Vpn, end: Vpn): void {
    if (end - first === 1) this.#entries.delete(first);
    else this.#entries.deleteRange(first, end);
  }

  fingerprint(hash: StateHash): void {
    hash.addPairs(this.#entries.entries());
  }

  entry(vpn: Vpn): GpuPte | null {
    const entry = this.#entries.get(vpn);
    if (entry < 0) return null;
    return { page: Math.floor(entry / FLAGS), flags: entry % FLAGS };
  }

  /** The page at `vpn` if its entry has all of `flags`, else -1. */
  pageFor(vpn: Vpn, flags: number): Page | -1 {
    const entry = this.#entries.get(vpn);
    if (entry < 0 || (entry & flags) !== flags) return -1;
    return entry >>> FLAG_BITS;
  }

  /** Every entry, by address. */
  *mapped(): Generator<readonly [Vpn, GpuPte]> {
    for (const [vpn, entry] of this.#entries.entries()) {
      yield [vpn, { page: Math.floor(entry / FLAGS), flags: entry % FLAGS }];
    }
  }
}
