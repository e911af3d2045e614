/** Finds the pages that go from owner to owner. */
import { hex } from '../../core/units.ts';
import type { RecordedEventOf } from '../recorded.ts';
import type { PingPongPage } from './types.ts';

/** So many owners in turn are kept of each page. */
const OWNERS_MAX = 16;

export class PingPong {
  readonly #pages = new Map<number, Map<number, PingPongPage>>();

  /** What comes to be or goes is no change of owner; only what passes from one to another is. */
  see({ pid, va, from, to }: RecordedEventOf<'owner_change'>): void {
    if (from === null || to === null || from === to) return;
    let pages = this.#pages.get(pid);
    if (pages === undefined) {
      pages = new Map();
      this.#pages.set(pid, pages);
    }
    let page = pages.get(va);
    if (page === undefined) {
      page = { pid, va: hex(va), changes: 0, owners: [from] };
      pages.set(va, page);
    }
    page.changes++;
    if (page.owners.at(-1) !== from) page.owners.push(from);
    page.owners.push(to);
    if (page.owners.length > OWNERS_MAX) {
      page.owners.splice(0, page.owners.length - OWNERS_MAX);
    }
  }

  /** The `count` pages with most changes; of equals, the lower process and address first. */
  most(count: number): PingPongPage[] {
    const found: { readonly va: number; readonly page: PingPongPage }[] = [];
    for (const pages of this.#pages.values()) {
      for (const [va, page] of pages) if (page.changes > 1) found.push({ va, page });
    }
    found.sort((a, b) => b.page.changes - a.page.changes || a.page.pid - b.page.pid || a.va - b.va);
    return found.slice(0, count).map(({ page }) => page);
  }
}
