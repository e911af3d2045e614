/**
 * Page faults: handle_mm_fault and what it calls, as far as entries without a page go.
 *
 * Reference: mm/memory.c of Linux 6.1. What usually does not sleep (demand zero, reuse on write)
 * returns its result at once; the rest returns a task.
 */

import { chargeFault, chargeZero } from '../charge.ts';
import { removeDeviceExclusiveEntry } from '../hmm/exclusive-entry.ts';
import { PG_LRU } from '../memory/pages.ts';
import { type MaybeTask, PREEMPT, type Task } from '../sched/task.ts';
import { NO_PAGE, type Va } from '../units.ts';
import { doWpPage } from './cow.ts';
import {
  FAULT_FLAG_UNSHARE,
  FAULT_FLAG_WRITE,
  type Signal,
  VM_FAULT_ERROR,
  VM_FAULT_OOM,
  VM_FAULT_SIGBUS,
} from './fault-flags.ts';
import { doFileFault } from './file-fault.ts';
import type { Mm } from './mm.ts';
import { leafIndex } from './page-table.ts';
import {
  type Leaf,
  PTE_DEVICE_EXCLUSIVE,
  PTE_DEVICE_PRIVATE,
  PTE_DIRTY,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_PRESENT,
  PTE_WRITE,
} from './pte.ts';
import { pageAddNewAnonRmap } from './rmap.ts';
import { VM_ACCESS_FLAGS, VM_WRITE, type Vma } from './vma.ts';

export * from './fault-flags.ts';

/** handle_mm_fault: makes the entry of `va` allow the access. The caller holds mmap_lock. */
export function handleMmFault(vma: Vma, va: Va, flags: number): MaybeTask<number> {
  const { mm } = vma;
  const vpn = Math.floor(va / mm.pageSize);
  const leaf = mm.pageTable.leaf(vpn);
  const at = leafIndex(vpn);
  const bits = leaf === null ? PTE_NONE : leaf.bits[at]!;
  const kind = bits & PTE_KIND;
  if (kind === PTE_NONE) {
    if (vma.file === null) return doAnonymousPage(vma, mm.va(vpn), flags);
    return doFileFault(vma, vma.file, mm.va(vpn), flags);
  }
  if (kind !== PTE_PRESENT) return doSwapPage(vma, mm.va(vpn), leaf!, at);
  if ((flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE)) !== 0) {
    if ((bits & PTE_WRITE) === 0) return doWpPage(vma, mm.va(vpn), leaf!, at, flags);
    if ((flags & FAULT_FLAG_WRITE) !== 0) leaf!.bits[at] = bits | PTE_DIRTY;
  }
  return 0;
}

/** A fault on private anonymous memory that was never touched: do_anonymous_page. */
function doAnonymousPage(vma: Vma, va: Va, flags: number): number {
  const { mm } = vma;
  const { pages } = mm;
  const vpn = mm.vpn(va);
  const at = leafIndex(vpn);
  if ((flags & FAULT_FLAG_WRITE) === 0) {
    const leaf = mm.allocLeaf(vpn);
    if (leaf === null) return VM_FAULT_OOM;
    leaf.set(at, NO_PAGE, vma.pageProt);
    return 0;
  }
  const leaf = mm.allocLeaf(vpn);
  if (leaf === null) return VM_FAULT_OOM;
  const page = pages.allocate();
  if (page === NO_PAGE) return VM_FAULT_OOM;
  chargeZero(mm.kernel);
  const writable = (vma.flags & VM_WRITE) !== 0 ? PTE_WRITE | PTE_DIRTY : 0;
  mm.addRss(true, 1);
  pageAddNewAnonRmap(vma, page, va);
  pages.flags[page] = pages.flags[page]! | PG_LRU;
  leaf.set(at, page, vma.pageProt | writable);
  const { events } = mm.kernel;
  if (events.listening) events.ownerChange(mm, va, page, null, 'system');
  return 0;
}

/** A fault on an entry that is neither none nor present: do_swap_page. */
function* doSwapPage(vma: Vma, va: Va, leaf: Leaf, at: number): Task<number> {
  const { mm } = vma;
  const { pages, kernel } = mm;
  const page = leaf.page[at]!;
  switch (leaf.kind(at)) {
    case PTE_MIGRATION:
      yield* pages.waitUnlocked(page);
      return 0;
    case PTE_DEVICE_EXCLUSIVE:
      return yield* removeDeviceExclusiveEntry(vma, va);
    case PTE_DEVICE_PRIVATE: {
      const { scheduler, era } = kernel;
      if (era.dpFaultLock !== 'none' && !pages.tryLock(page)) {
        if (era.dpFaultLock === 'wait') yield* pages.waitUnlocked(page);
        return 0;
      }
      const holds = era.faultPage;
      if (holds) pages.get(page);
      try {
        if (scheduler.preempts && scheduler.overtaken('device-private fault', page)) yield PREEMPT;
        const { ops } = pages.pagemapOf(page)!;
        const result = ops.migrateToRam!({ vma, address: va, page });
        return typeof result === 'object' ? yield* result : result;
      } finally {
        if (era.dpFaultLock !== 'none') pages.unlock(page);
        if (holds) pages.put(page);
      }
    }
    default:
      return VM_FAULT_SIGBUS;
  }
}

/**
 * The CPU of a process touched `va` and the entry did not allow it: do_user_addr_fault. Returns the
 * signal that would end the process, or null: try the access again.
 */
export function* userFault(mm: Mm, va: Va, write: boolean): Task<Signal | null> {
  const { events } = mm.kernel;
  const listening = events.listening;
  if (listening) events.cpuFaultBegin(mm, va, write);
  chargeFault(mm.kernel);
  const signal = yield* faultOnce(mm, va, write);
  if (listening) events.cpuFaultEnd(mm, va, signal ?? 'ok');
  return signal;
}

function* faultOnce(mm: Mm, va: Va, write: boolean): Task<Signal | null> {
  if (!mm.mmapLock.tryRead()) yield* mm.mmapLock.read();
  try {
    const vma = mm.vmas.find(va);
    if (vma === null || !mayAccess(vma, write)) return 'SIGSEGV';
    const outcome = handleMmFault(vma, va, write ? FAULT_FLAG_WRITE : 0);
    const result = typeof outcome === 'object' ? yield* outcome : outcome;
    const { scheduler } = mm.kernel;
    if (scheduler.owing) yield* scheduler.pay();
    if ((result & VM_FAULT_ERROR) === 0) return null;
    return (result & VM_FAULT_OOM) !== 0 ? 'SIGKILL' : 'SIGBUS';
  } finally {
    mm.mmapLock.unlockRead();
  }
}

/** access_error. */
function mayAccess(vma: Vma, write: boolean): boolean {
  return (vma.flags & (write ? VM_WRITE : VM_ACCESS_FLAGS)) !== 0;
}
