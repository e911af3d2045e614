/**
 * Taking entries away as other CPUs see it, for a search for races: zap_pte_range may give its lock
 * back between two entries, and the TLBs are flushed, and the pages let go, only at the end.
 */
import { PREEMPT, type Task } from '../sched/task.ts';
import { NO_PAGE, type Page, type Va, type Vpn } from '../units.ts';
import type { Mm, StaleTranslation } from './mm.ts';
import { leafIndex } from './page-table.ts';
import { PTE_KIND, PTE_PRESENT, PTE_PROTNONE, PTE_WRITE } from './pte.ts';
import type { Vma } from './vma.ts';
import { zapRange } from './zap.ts';

/** `zapRange` with a choice point before each page that is mapped, and one before the flush. */
export function* zapSlowly(vma: Vma, start: Va, end: Va): Task<void> {
  const { mm } = vma;
  const { scheduler, pages } = mm.kernel;
  const stale: Map<Vpn, StaleTranslation> = new Map();
  const held: Page[] = [];
  mm.staleTlb.push(stale);
  try {
    const last = mm.vpn(Math.min(end, vma.end));
    for (let vpn = mm.vpn(Math.max(start, vma.start)); vpn < last; vpn++) {
      if (!isMapped(mm, vpn)) continue;
      if (scheduler.overtaken('zap', vpn)) yield PREEMPT;
      const translation = translationOf(mm, vpn);
      if (translation !== null) {
        stale.set(vpn, translation);
        if (translation.page !== NO_PAGE) {
          pages.get(translation.page);
          held.push(translation.page);
        }
      }
      zapRange(vma, mm.va(vpn), mm.va(vpn + 1));
    }
    if (stale.size > 0 && scheduler.overtaken('zap: TLB flush', stale.size)) yield PREEMPT;
  } finally {
    mm.staleTlb.splice(mm.staleTlb.indexOf(stale), 1);
    for (const page of held) pages.put(page);
  }
}

function isMapped(mm: Mm, vpn: Vpn): boolean {
  const leaf = mm.pageTable.leaf(vpn);
  return leaf !== null && leaf.bits[leafIndex(vpn)] !== 0;
}

/** What a TLB may hold of an entry; null where the CPU cannot use it. */
function translationOf(mm: Mm, vpn: Vpn): StaleTranslation | null {
  const leaf = mm.pageTable.leaf(vpn);
  if (leaf === null) return null;
  const at = leafIndex(vpn);
  const bits = leaf.bits[at]!;
  if ((bits & (PTE_KIND | PTE_PROTNONE)) !== PTE_PRESENT) return null;
  return { page: leaf.page[at]!, writable: (bits & PTE_WRITE) !== 0, concurrent: true };
}
