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

/** One device's way to memory: its DMA. */
export class BusMaster {
  /** Whose private memory it reaches. */
  readonly owner: Owner;
  readonly #kernel: Kernel;
  /** A page of all ones, made when first needed. */
  #ones: Uint32Array<ArrayBuffer> | null = null;

  constructor(kernel: Kernel, owner: Owner) {
    this.owner = owner;
    this.#kernel = kernel;
  }

  /** True for RAM, coherent memory of anybody, and private memory of this owner. */
  reaches(page: Page): boolean {
    const pagemap = this.#kernel.pages.pagemapOf(page);
    return pagemap === null || pagemap.type === 'coherent' || pagemap.owner === this.owner;
  }

  /**
   * The 32-bit word at `word` (0 <= word < words of a page); `MASTER_ABORT` where none answers.
   * `pid` and `va` say on whose behalf, where that is known; for the record of a trespass.
   */
  read32(page: Page, word: number, pid: number | null = null, va: Va | null = null): number {
    if (this.reaches(page)) return this.#kernel.pages.read32(page, word);
    this.#trespass('read', page, pid, va);
    return MASTER_ABORT;
  }

  /** Stores the low 32 bits of `value`. */
  write32(
    page: Page,
    word: number,
    value: number,
    pid: number | null = null,
    va: Va | null = null,
  ): void {
    if (this.#mayWrite(page, pid, va)) this.#kernel.pages.write32(page, word, value);
  }

  /** Gives `to` the contents of `from`, shared until one of them is written. */
  copyPage(to: Page, from: Page): void {
    const answers = this.reaches(from);
    if (!answers) this.#trespass('read', from, null, null);
    if (!this.#mayWrite(to, null, null)) return;
    if (answers) this.#kernel.pages.copyContents(to, from);
    else this.#kernel.pages.writePage(to, this.#allOnes());
  }

  /** Fills `page` with zeros. */
  clearPage(page: Page): void {
    if (this.#mayWrite(page, null, null)) this.#kernel.pages.clearContents(page);
  }

  #mayWrite(page: Page, pid: number | null, va: Va | null): boolean {
    // The kernel maps it read-only everywhere; a write would change what every process reads.
    invariant(page !== NO_PAGE, `${this.owner.name} writes to the zero page`);
    if (this.reaches(page)) return true;
    this.#trespass('write', page, pid, va);
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
