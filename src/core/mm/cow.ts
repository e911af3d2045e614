/**
 * Writes to present but read-only entries: do_wp_page, and the unsharing that a read-only pin asks
 * for. Reference: mm/memory.c of Linux 6.1.
 */
import { chargeCopy, chargeShootdown, chargeZero } from '../charge.ts';
import { PG_LRU } from '../memory/pages.ts';
import { type MaybeTask, PREEMPT, type Task } from '../sched/task.ts';
import { NO_PAGE, type Page, type Va } from '../units.ts';
import { anonVmaPrepare } from './anon-vma.ts';
import { FAULT_FLAG_UNSHARE, VM_FAULT_OOM } from './fault-flags.ts';
import { leafIndex } from './page-table.ts';
import { type Leaf, PTE_DIRTY, PTE_WRITE } from './pte.ts';
import {
  isAnon,
  isAnonExclusive,
  pageAddNewAnonRmap,
  pageMoveAnonRmap,
  pageRemoveRmap,
} from './rmap.ts';
import { VM_SHARED, VM_WRITE, type Vma } from './vma.ts';

/** do_wp_page: reuses the page where this mapping is its only user, else copies it. */
export function doWpPage(
  vma: Vma,
  va: Va,
  leaf: Leaf,
  at: number,
  flags: number,
): MaybeTask<number> {
  const { mm } = vma;
  const { pages } = mm;
  const unshare = (flags & FAULT_FLAG_UNSHARE) !== 0;
  const page = leaf.page[at]!;
  if (page === NO_PAGE) return unshare ? 0 : copy(vma, va, page, unshare);
  if (isAnon(pages, page)) {
    if (!isAnonExclusive(pages, page)) {
      if (pages.refcount[page] !== 1 || pages.isLocked(page)) return copy(vma, va, page, unshare);
      pageMoveAnonRmap(vma, page);
    }
    if (!unshare) reuse(vma, leaf, at);
    return 0;
  }
  if (unshare) return 0;
  const sharedWritable = VM_SHARED | VM_WRITE;
  if ((vma.flags & sharedWritable) === sharedWritable) {
    reuse(vma, leaf, at);
    return 0;
  }
  return copy(vma, va, page, unshare);
}

/** wp_page_reuse. */
function reuse(vma: Vma, leaf: Leaf, at: number): void {
  const writable = (vma.flags & VM_WRITE) !== 0 ? PTE_WRITE : 0;
  leaf.bits[at] = leaf.bits[at]! | PTE_DIRTY | writable;
}

/** wp_page_copy: maps a copy of `old`, the zero page included. */
function* copy(vma: Vma, va: Va, old: Page, unshare: boolean): Task<number> {
  const { mm } = vma;
  const { pages, kernel } = mm;
  anonVmaPrepare(kernel.mappings, vma);
  const fresh = pages.allocate();
  if (fresh === NO_PAGE) return VM_FAULT_OOM;
  if (old !== NO_PAGE) {
    pages.get(old);
    pages.copyContents(fresh, old);
    chargeCopy(kernel);
    chargeShootdown(kernel);
  } else chargeZero(kernel);
  const vpn = mm.vpn(va);
  const at = leafIndex(vpn);
  const before = mm.pageTable.leaf(vpn)!.bits[at]!;
  const range = { mm, start: va, end: va + mm.pageSize, event: 'clear', owner: null } as const;
  const waiting = mm.notifiers.start(range);
  if (waiting !== undefined) yield* waiting;
  const { scheduler } = kernel;
  if (scheduler.preempts && scheduler.overtaken('copy on write', fresh)) yield PREEMPT;
  // The notifier may have slept: somebody else may have changed the entry.
  const leaf = mm.pageTable.leaf(vpn);
  if (leaf !== null && leaf.bits[at] === before && leaf.page[at] === old) {
    if (old === NO_PAGE) mm.addRss(true, 1);
    else if (!isAnon(pages, old)) {
      mm.addRss(false, -1);
      mm.addRss(true, 1);
    }
    const mayWrite = !unshare && (vma.flags & VM_WRITE) !== 0;
    pageAddNewAnonRmap(vma, fresh, va);
    pages.flags[fresh] = pages.flags[fresh]! | PG_LRU;
    const bits = (unshare ? 0 : PTE_DIRTY) | (mayWrite ? PTE_WRITE : 0);
    leaf.set(at, fresh, (vma.pageProt & ~PTE_WRITE) | bits);
    if (kernel.events.listening) {
      kernel.events.ownerChange(mm, va, fresh, pages.homeOf(old), 'system');
    }
    if (old !== NO_PAGE) {
      pageRemoveRmap(pages, old);
      pages.put(old);
    }
  } else pages.put(fresh);
  mm.notifiers.end(range);
  if (old !== NO_PAGE) pages.put(old);
  return 0;
}
