/** What pages of RAM hold while they are free: what their last user left there. */
import type { Kernel } from '../../core/kernel.ts';
import type { StateHash } from '../../core/state-hash.ts';
import type { Page } from '../../core/units.ts';

/**
 * Pages that the emulated kernel hands out are cleared, as if each had been asked for with
 * __GFP_ZERO. For code that forgets that flag, this remembers contents at the time a page is freed.
 * Pages that were freed before it was made hold zeros.
 */
export class Remains {
  readonly #kernel: Kernel;
  readonly #contents: Map<Page, Uint32Array> = new Map();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    kernel.events.on('page_free', ({ page, pagemap }) => {
      if (pagemap === null) this.#contents.set(page, kernel.pages.readPage(page));
    });
  }

  fingerprint(hash: StateHash): void {
    for (const [page, words] of this.#contents) {
      hash.add(page);
      for (const word of words) if (word !== 0) hash.add(word);
    }
  }

  /** `page` was just allocated, without __GFP_ZERO: it gets back what it held when it was freed. */
  restore(page: Page): void {
    const words = this.#contents.get(page);
    if (words !== undefined) this.#kernel.pages.writePage(page, words);
  }
}
