/**
 * Page faults: handle_mm_fault and what it calls, as far as entries without a page go.
 *
 * Reference: mm/memory.c of Linux 6.1. What usually does not sleep (demand zero, reuse on write)
 * returns its result at once; the rest returns a task.
 */

import { chargeFault, chargeZero } from '../charge.ts';
import { removeDeviceExclusiveEntry } from '../hmm/exclusive-entry.ts';
import type { Kernel } from '../kernel.ts';
import { type Pages, PG_LRU } from '../memory/pages.ts';
import { after, type MaybeTask, type Task } from '../sched/task.ts';
import { NO_PAGE, type Page, type Va } from '../units.ts';
import { doWpPage } from './cow.ts';
import {
  FAULT_FLAG_UNSHARE,
  FAULT_FLAG_WRITE,
  type Signal,
  VM_FAULT_ERROR,
  VM_FAULT_OOM,
  VM_FAULT_SIGBUS,
  VM_FAULT_SIGSEGV,
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
function doSwapPage(vma: Vma, va: Va, leaf: Leaf, at: number): MaybeTask<number> {
  const page = leaf.page[at]!;
  switch (leaf.kind(at)) {
    case PTE_MIGRATION:
      return waitAndRetry(vma.mm.pages, page);
    case PTE_DEVICE_EXCLUSIVE:
      return removeDeviceExclusiveEntry(vma, va);
    case PTE_DEVICE_PRIVATE:
      return doDevicePrivate(vma, va, page);
    default:
      return VM_FAULT_SIGBUS;
  }
}

/** The driver brings the page home, while the fault holds what its era holds. */
function doDevicePrivate(vma: Vma, address: Va, page: Page): MaybeTask<number> {
  const { kernel, pages } = vma.mm;
  const { scheduler, era } = kernel;
  if (era.dpFaultLock !== 'none' && !pages.tryLock(page)) {
    return era.dpFaultLock === 'wait' ? waitAndRetry(pages, page) : 0;
  }
  if (era.faultPage) pages.get(page);
  let result: MaybeTask<number>;
  try {
    const first = scheduler.preempts
      ? scheduler.choicePoint('device-private fault', page)
      : undefined;
    const fault = { vma, address, page };
    result =
      first === undefined
        ? pages.pagemapOf(page)!.ops.migrateToRam!(fault)
        : after(first, () => pages.pagemapOf(page)!.ops.migrateToRam!(fault));
  } catch (error) {
    letGoOf(kernel, page);
    throw error;
  }
  if (typeof result === 'object') return endDevicePrivate(kernel, page, result);
  letGoOf(kernel, page);
  return result;
}

function* endDevicePrivate(kernel: Kernel, page: Page, task: Task<number>): Task<number> {
  try {
    return yield* task;
  } finally {
    letGoOf(kernel, page);
  }
}

function letGoOf({ era, pages }: Kernel, page: Page): void {
  if (era.dpFaultLock !== 'none') pages.unlock(page);
  if (era.faultPage) pages.put(page);
}

/** Sleeps until a page is unlocked; then the access is tried again. */
function* waitAndRetry(pages: Pages, page: Page): Task<number> {
  yield* pages.waitUnlocked(page);
  return 0;
}

/**
 * The CPU of a process touched `va` and the entry did not allow it: do_user_addr_fault. Answers with
 * the signal that would end the process, or 'ok': try the access again.
 */
export function userFault(mm: Mm, va: Va, write: boolean): MaybeTask<Signal | 'ok'> {
  const { events } = mm.kernel;
  const listening = events.listening;
  if (listening) events.cpuFaultBegin(mm, va, write);
  chargeFault(mm.kernel);
  const outcome = faultOnce(mm, va, write);
  if (!listening) return outcome;
  return after(outcome, (signal) => {
    events.cpuFaultEnd(mm, va, signal);
    return signal;
  });
}

function faultOnce(mm: Mm, va: Va, write: boolean): MaybeTask<Signal | 'ok'> {
  if (!mm.mmapLock.tryRead()) return faultWhenLocked(mm, va, write);
  const result = faultUnderLock(mm, va, write);
  if (typeof result === 'object' || mm.kernel.scheduler.owing) return endFault(mm, result);
  mm.mmapLock.unlockRead();
  return signalOf(result);
}

function* faultWhenLocked(mm: Mm, va: Va, write: boolean): Task<Signal | 'ok'> {
  yield* mm.mmapLock.read();
  return yield* endFault(mm, faultUnderLock(mm, va, write));
}

/** Gives the lock back if it throws. */
function faultUnderLock(mm: Mm, va: Va, write: boolean): MaybeTask<number> {
  try {
    const vma = mm.vmas.find(va);
    if (vma === null || !mayAccess(vma, write)) return VM_FAULT_SIGSEGV;
    return handleMmFault(vma, va, write ? FAULT_FLAG_WRITE : 0);
  } catch (error) {
    mm.mmapLock.unlockRead();
    throw error;
  }
}

function* endFault(mm: Mm, result: MaybeTask<number>): Task<Signal | 'ok'> {
  try {
    const code = typeof result === 'object' ? yield* result : result;
    const { scheduler } = mm.kernel;
    if (scheduler.owing) yield* scheduler.pay();
    return signalOf(code);
  } finally {
    mm.mmapLock.unlockRead();
  }
}

function signalOf(result: number): Signal | 'ok' {
  if ((result & VM_FAULT_ERROR) === 0) return 'ok';
  if ((result & VM_FAULT_OOM) !== 0) return 'SIGKILL';
  return (result & VM_FAULT_SIGBUS) !== 0 ? 'SIGBUS' : 'SIGSEGV';
}

/** access_error. */
function mayAccess(vma: Vma, write: boolean): boolean {
  return (vma.flags & (write ? VM_WRITE : VM_ACCESS_FLAGS)) !== 0;
}
