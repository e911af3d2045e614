/**
 * Faults on purpose: attempts that fail because somebody wants to see what happens then.
 *
 * Code that may fail for want of something asks the machine's plan, if it has one, before it
 * tries. A plan may count (`CountedFaults`), or be the search for an order of events that goes wrong.
 */
import { SimError } from './errors.ts';

/** Where an attempt can fail. */
export type FaultSite =
  | 'ram'
  | 'device_page'
  | 'page_table'
  | 'copy'
  | 'dma_map'
  | 'driver_memory'
  | 'read_retry'
  | 'ultravisor'
  | 'fault_buffer';

export interface FaultSiteInfo {
  readonly site: FaultSite;
  /** What an attempt is, and what its failure means; for people. */
  readonly summary: string;
}

export const FAULT_SITES: readonly FaultSiteInfo[] = Object.freeze<FaultSiteInfo[]>([
  { site: 'ram', summary: 'taking a page of RAM: there is none' },
  { site: 'device_page', summary: 'taking a page of device memory: there is none' },
  { site: 'page_table', summary: 'a new page of a page table: there is no memory for it' },
  { site: 'copy', summary: 'an operation of a copy engine: it is refused, nothing is copied' },
  { site: 'dma_map', summary: 'mapping a page of RAM for a device: it cannot be had' },
  { site: 'driver_memory', summary: "memory for a driver's own lists: there is none" },
  { site: 'read_retry', summary: 'mmu_interval_read_retry: an invalidation came in between' },
  { site: 'ultravisor', summary: 'a call of the ultravisor: it refuses' },
  { site: 'fault_buffer', summary: "an entry of a GPU's fault buffer: the buffer is full" },
]);

export interface FaultPlan {
  /** One attempt at `site`. True: it fails. */
  fails(site: FaultSite): boolean;
}

/** Attempts fail by their number. */
export class CountedFaults implements FaultPlan {
  readonly #attempts: Map<FaultSite, number> = new Map();
  /** Attempts that are to fail, as site and number. */
  readonly #due: Set<string> = new Set();

  /**
   * The `n`-th attempt at `site` from now (1 is the next) fails, once. May be called for several.
   *
   * @throws SimError `bad-argument` unless `n` is a whole number from 1 on
   */
  after(site: FaultSite, n: number): void {
    if (!Number.isSafeInteger(n) || n < 1) {
      throw new SimError('bad-argument', `no attempt at ${site} is number ${n} from now`);
    }
    this.#due.add(`${site} ${(this.#attempts.get(site) ?? 0) + n}`);
  }

  fails(site: FaultSite): boolean {
    const attempt = (this.#attempts.get(site) ?? 0) + 1;
    this.#attempts.set(site, attempt);
    return this.#due.delete(`${site} ${attempt}`);
  }
}
