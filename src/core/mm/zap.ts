/** Taking entries away: for munmap, MADV_DONTNEED and exit. Reference: mm/memory.c of Linux 6.1. */
import { chargeShootdown } from '../charge.ts';
import { PG_DIRTY } from '../memory/pages.ts';
import { NO_PAGE, type Page, type Va, type Vpn } from '../units.ts';
import type { Mm } from './mm.ts';
import { leafEnd, leafIndex } from './page-table.ts';
import {
  type Leaf,
  PTE_DEVICE_EXCLUSIVE,
  PTE_DEVICE_PRIVATE,
  PTE_DIRTY,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_PRESENT,
} from './pte.ts';
import { isAnon, pageRemoveRmap } from './rmap.ts';
import type { Vma } from './vma.ts';

/**
 * Clears the entries of `vma` within [start, end) and lets go of their pages: unmap_page_range.
 * Tells no notifier; may call pageFree of a driver.
 */
export function zapRange(vma: Vma, start: Va, end: Va): void {
  const { mm } = vma;
  const last = mm.vpn(Math.min(end, vma.end));
  let vpn = mm.vpn(Math.max(start, vma.start));
  let found = false;
  for (;;) {
    vpn = mm.pageTable.nextMapped(vpn, last);
    if (vpn >= last) break;
    const until = leafEnd(vpn, last);
    zapLeaf(mm, mm.pageTable.leaf(vpn)!, vpn, until);
    found = true;
    vpn = until;
  }
  if (found) chargeShootdown(mm.kernel);
}

/** zap_pte_range. */
function zapLeaf(mm: Mm, leaf: Leaf, first: Vpn, end: Vpn): void {
  const offset = leafIndex(first);
  const limit = offset + (end - first);
  const { events, watch } = mm.kernel;
  for (let at = offset; at < limit; at++) {
    const bits = leaf.bits[at]!;
    if (bits === PTE_NONE) continue;
    const page = leaf.page[at]!;
    leaf.clear(at);
    if (watch !== null) watch.zapped(mm, first + (at - offset));
    // The zero page counts nowhere.
    if (page === NO_PAGE) continue;
    if (events.listening) {
      const home = mm.pages.homeOf(page);
      events.ownerChange(mm, mm.va(first + (at - offset)), page, home, null);
    }
    zapEntry(mm, bits, page);
  }
}

/** What an entry that is gone had of its page: resident count, mapping, reference. */
function zapEntry(mm: Mm, bits: number, page: Page): void {
  const { pages } = mm;
  const anonymous = isAnon(pages, page);
  mm.addRss(anonymous, -1);
  switch (bits & PTE_KIND) {
    case PTE_PRESENT:
      if (!anonymous && (bits & PTE_DIRTY) !== 0) {
        pages.flags[page] = pages.flags[page]! | PG_DIRTY;
      }
      pageRemoveRmap(pages, page);
      pages.put(page);
      break;
    case PTE_DEVICE_PRIVATE:
      pageRemoveRmap(pages, page);
      pages.put(page);
      break;
    case PTE_DEVICE_EXCLUSIVE:
      // Its mapping was taken off when the device got the page.
      pages.put(page);
      break;
    case PTE_MIGRATION:
      // Holds nothing; whoever migrates the page finds no entry and drops it.
      break;
  }
}
