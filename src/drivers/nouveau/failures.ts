/** Failures to order, and the DMA mappings of migrations, whose failure is one of them. */
import { EIO } from '../../core/errno.ts';
import { SimError } from '../../core/errors.ts';

/** Attempts of one kind, some of which are to fail. */
export class Failures {
  readonly #what: string;
  /** Attempts that are to fail, by their number. */
  readonly #due: Set<number> = new Set();
  #attempts = 0;

  /** @param what an attempt, for people: "allocation" */
  constructor(what: string) {
    this.#what = what;
  }

  /**
   * The `n`-th attempt from now (1 is the next) fails, once. May be called for several of them.
   *
   * @throws SimError `bad-argument` unless `n` is a whole number from 1 on
   */
  after(n: number): void {
    if (!Number.isSafeInteger(n) || n < 1) {
      throw new SimError('bad-argument', `no ${this.#what} is number ${n} from now`);
    }
    this.#due.add(this.#attempts + n);
  }

  /** One attempt. True: it fails. */
  attempt(): boolean {
    this.#attempts++;
    return this.#due.delete(this.#attempts);
  }
}

/** Pages of RAM that a migration maps for the copy engine: dma_map_page and dma_unmap_page. */
export class DmaMappings {
  readonly failures: Failures = new Failures('DMA mapping');
  #mapped = 0;

  /** Pages that are mapped now. */
  get mapped(): number {
    return this.#mapped;
  }

  /** Maps a page: 0, or -EIO where dma_mapping_error says so. */
  map(): number {
    if (this.failures.attempt()) return -EIO;
    this.#mapped++;
    return 0;
  }

  unmap(count: number): void {
    this.#mapped -= count;
  }
}
