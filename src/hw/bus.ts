/**
 * The bus, as a device sees it: which memory answers it, and what happens where none does.
 *
 * A device reaches RAM, memory that the CPU reaches too, and its own memory. Private memory of
 * another owner does not answer: a read gives all ones, a write goes nowhere, and the trespass is
 * counted and told. Hardware knows no page tables of processes: who may use which page is up to the
 * driver, and this is where its mistakes show.
 */
import { invariant } from '../core/errors.ts';
import type { Kernel } from '../core/kernel.ts';
import type { Owner } from '../core/pagemap/pagemap.ts';
import { NO_PAGE, type Page, type Va } from '../core/units.ts';

/** What a read of memory that does not answer gives: the bus is pulled up, all bits are ones. */
export const MASTER_ABORT = 0xffffffff;

export interface BusOptions {
  /**
   * False for a page of private memory of this owner that has nothing behind it now, as while the
   * device's memory is without power: reads give `MASTER_ABORT`, writes go nowhere.
   */
  readonly answers?: (page: Page) => boolean;
}

/** One device's way to memory: its DMA. */
export class BusMaster {
  /** Whose private memory it reaches. */
  readonly owner: Owner;
  readonly #kernel: Kernel;
  readonly #answers: ((page: Page) => boolean) | undefined;
  /** A page of all ones, made when first needed. */
  #ones: Uint32Array<ArrayBuffer> | null = null;

  constructor(kernel: Kernel, owner: Owner, { answers }: BusOptions = {}) {
    this.owner = owner;
    this.#kernel = kernel;
    this.#answers = answers;
  }

  /** True for RAM, coherent memory of anybody, and private memory of this owner. */
  reaches(page: Page): boolean {
    const pagemap = this.#kernel.pages.pagemapOf(page);
    return pagemap === null || pagemap.type === 'coherent' || pagemap.owner === this.owner;
  }

  /**
   * The 32-bit word at `word` (0 <= word < words of a page); `MASTER_ABORT` where none answers.
   * `pid` and `va`, the address of the word, say on whose behalf, where that is known; for the
   * record of a trespass, and for who watches the memory of processes.
   */
  read32(page: Page, word: number, pid: number | null = null, va: Va | null = null): number {
    const mayRead = this.#mayRead(page, pid, va);
    const value = mayRead ? this.#kernel.pages.read32(page, word) : MASTER_ABORT;
    const { watch } = this.#kernel;
    if (watch !== null && pid !== null && va !== null) watch.loaded(pid, va, value);
    return value;
  }

  /**
   * Stores the low 32 bits of `value`. Who watches is told also of a store that goes nowhere: the
   * device takes it for done.
   */
  write32(
    page: Page,
    word: number,
    value: number,
    pid: number | null = null,
    va: Va | null = null,
  ): void {
    if (this.#mayWrite(page, pid, va)) this.#kernel.pages.write32(page, word, value);
    const { watch } = this.#kernel;
    if (watch !== null && pid !== null && va !== null) watch.stored(pid, va, value >>> 0);
  }

  /** Gives `to` the contents of `from`, shared until one of them is written. */
  copyPage(to: Page, from: Page): void {
    const answers = this.#mayRead(from, null, null);
    if (!this.#mayWrite(to, null, null)) return;
    if (answers) this.#kernel.pages.copyContents(to, from);
    else this.#kernel.pages.writePage(to, this.#allOnes());
  }

  /** Fills `page` with zeros. */
  clearPage(page: Page): void {
    if (this.#mayWrite(page, null, null)) this.#kernel.pages.clearContents(page);
  }

  #mayRead(page: Page, pid: number | null, va: Va | null): boolean {
    return this.#may('read', page, pid, va);
  }

  #mayWrite(page: Page, pid: number | null, va: Va | null): boolean {
    // The kernel maps it read-only everywhere; a write would change what every process reads.
    if (page === NO_PAGE) invariant(false, `${this.owner.name} writes to the zero page`);
    return this.#may('write', page, pid, va);
  }

  /** As `reaches`; of its own private memory it also asks whether something is behind it. */
  #may(what: 'read' | 'write', page: Page, pid: number | null, va: Va | null): boolean {
    const pagemap = this.#kernel.pages.pagemapOf(page);
    if (pagemap === null || pagemap.type === 'coherent') return true;
    if (pagemap.owner === this.owner) return this.#answers === undefined || this.#answers(page);
    this.#trespass(what, page, pid, va);
    return false;
  }

  #trespass(what: 'read' | 'write', page: Page, pid: number | null, va: Va | null): void {
    const { owner } = this.#kernel.pages.pagemapOf(page)!;
    this.#kernel.trespass({ by: this.owner.name, what, page, owner, pid, va });
  }

  #allOnes(): Uint32Array<ArrayBuffer> {
    this.#ones ??= new Uint32Array(this.#kernel.frames.words).fill(MASTER_ABORT);
    return this.#ones;
  }
}
