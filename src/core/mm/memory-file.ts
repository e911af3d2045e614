/**
 * Files of a memory file system (shmem): memfd files, and what MAP_SHARED | MAP_ANONYMOUS maps.
 *
 * A file holds a reference on each page of its cache.
 */
import { type Pages, PG_DIRTY, PG_LRU } from '../memory/pages.ts';
import { NO_PAGE, type Page } from '../units.ts';
import type { Mappings } from './mapping.ts';
import type { Vma } from './vma.ts';

export class MemoryFile {
  readonly kind = 'file';
  readonly id: number;
  /** Length in pages. */
  readonly pageCount: number;
  /** VMAs that map it: the interval tree `i_mmap`. */
  readonly vmas: Vma[] = [];
  readonly #pages: Pages;
  readonly #mappings: Mappings;
  readonly #cache: Map<number, Page> = new Map();
  /** VMAs and open handles; without any the file is gone. */
  #references = 1;

  constructor(pages: Pages, mappings: Mappings, pageCount: number) {
    this.#pages = pages;
    this.#mappings = mappings;
    this.pageCount = pageCount;
    this.id = mappings.register(this);
  }

  /** Pages in the cache, by offset. */
  get cache(): ReadonlyMap<number, Page> {
    return this.#cache;
  }

  cached(index: number): Page | undefined {
    return this.#cache.get(index);
  }

  /** The page at `index`, added (as zeros) if it is not cached; NO_PAGE when RAM is full: shmem_getpage. */
  pageAt(index: number): Page {
    const cached = this.#cache.get(index);
    if (cached !== undefined) return cached;
    const page = this.#pages.allocate();
    if (page === NO_PAGE) return NO_PAGE;
    this.#pages.flags[page] = PG_LRU | PG_DIRTY;
    this.#pages.mapping[page] = this.id;
    this.#pages.setIndex(page, index);
    this.#cache.set(index, page);
    return page;
  }

  /** Puts `page` in the place of the one cached at its index: folio_migrate_mapping. */
  replace(index: number, page: Page): void {
    this.#cache.set(index, page);
  }

  hold(): void {
    this.#references++;
  }

  /** Drops a reference; the last one frees the cache. */
  drop(): void {
    this.#references--;
    if (this.#references > 0) return;
    for (const page of this.#cache.values()) {
      this.#pages.mapping[page] = 0;
      this.#pages.put(page);
    }
    this.#cache.clear();
    this.#mappings.unregister(this.id);
  }
}
