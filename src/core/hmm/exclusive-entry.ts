/**
 * Taking a page back from a device that has it to itself.
 *
 * Reference: mm/memory.c of Linux 6.1. Page faults need this half of exclusive access; the half that
 * makes the entries is in exclusive.ts.
 */
import { leafIndex } from '../mm/page-table.ts';
import { PTE_DEVICE_EXCLUSIVE, PTE_DIRTY, PTE_WRITE } from '../mm/pte.ts';
import { pageAddAnonRmap } from '../mm/rmap.ts';
import { VM_WRITE, type Vma } from '../mm/vma.ts';
import { PREEMPT, type Task } from '../sched/task.ts';
import type { Page, Va } from '../units.ts';

/**
 * Makes the exclusive entry at `va` map its page again: restore_exclusive_pte. The page is locked;
 * the reference that the entry held goes over to the mapping.
 */
export function restoreExclusivePte(vma: Vma, va: Va, page: Page): void {
  const { mm } = vma;
  const vpn = mm.vpn(va);
  const leaf = mm.pageTable.leafFor(vpn);
  const at = leafIndex(vpn);
  let bits = vma.pageProt;
  if ((leaf.bits[at]! & PTE_WRITE) !== 0) {
    bits |= PTE_DIRTY | ((vma.flags & VM_WRITE) !== 0 ? PTE_WRITE : 0);
  }
  pageAddAnonRmap(vma, page, false);
  leaf.set(at, page, bits);
}

/**
 * The CPU touched a page that a device has to itself: remove_device_exclusive_entry. Tells drivers,
 * then restores the mapping. The caller holds mmap_lock and tries the access again.
 */
export function* removeDeviceExclusiveEntry(vma: Vma, va: Va): Task<number> {
  const { mm } = vma;
  const { pages } = mm;
  const vpn = mm.vpn(va);
  const at = leafIndex(vpn);
  const found = mm.pageTable.leaf(vpn);
  if (found === null || found.kind(at) !== PTE_DEVICE_EXCLUSIVE) return 0;
  const page = found.page[at]!;
  const bits = found.bits[at]!;
  // Waiting for the lock, the entry and with it the page could go away: keep the page.
  pages.get(page);
  const { scheduler } = mm.kernel;
  if (scheduler.preempts && scheduler.overtaken('restore exclusive', page)) yield PREEMPT;
  if (!pages.tryLock(page)) yield* pages.lock(page);
  const range = {
    mm,
    start: va,
    end: va + mm.pageSize,
    event: 'exclusive',
    owner: null,
  } as const;
  const waiting = mm.notifiers.start(range);
  if (waiting !== undefined) yield* waiting;
  if (scheduler.preempts && scheduler.overtaken('restore exclusive: told', page)) yield PREEMPT;
  const leaf = mm.pageTable.leaf(vpn);
  if (leaf !== null && leaf.bits[at] === bits && leaf.page[at] === page) {
    restoreExclusivePte(vma, va, page);
  }
  pages.unlock(page);
  pages.put(page);
  mm.notifiers.end(range);
  return 0;
}
