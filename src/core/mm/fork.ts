/**
 * The beginning and the end of an address space: fork and exit.
 *
 * Reference: kernel/fork.c, mm/memory.c and mm/mmap.c of Linux 6.1.
 */
import { chargeCopy, chargeShootdown } from '../charge.ts';
import { ENOMEM } from '../errno.ts';
import { invariant } from '../errors.ts';
import { restoreExclusivePte } from '../hmm/exclusive-entry.ts';
import { PG_LRU } from '../memory/pages.ts';
import { PREEMPT, type Task } from '../sched/task.ts';
import { NO_PAGE, type Page, TASK_SIZE, type Va, type Vpn } from '../units.ts';
import { anonVmaFork } from './anon-vma.ts';
import type { Mm } from './mm.ts';
import { freePgtables, unmapVmas } from './mmap.ts';
import { leafEnd, leafIndex } from './page-table.ts';
import {
  type Leaf,
  PTE_DEVICE_EXCLUSIVE,
  PTE_DEVICE_PRIVATE,
  PTE_DIRTY,
  PTE_EXCLUSIVE,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_WRITE,
} from './pte.ts';
import { isAnon, pageAddFileRmap, pageAddNewAnonRmap, pageTryDupAnonRmap } from './rmap.ts';
import { VM_MIXEDMAP, VM_PFNMAP, VM_WRITE, Vma } from './vma.ts';

/**
 * Makes the new address space `child` a copy of `parent`: dup_mmap. -ENOMEM where a page had to be
 * copied and RAM is full, or where a page that a device has to itself is locked; then the child is
 * gone again.
 */
export function* forkMm(parent: Mm, child: Mm): Task<number> {
  if (!parent.mmapLock.tryWrite()) yield* parent.mmapLock.write();
  let result = 0;
  try {
    if (!child.mmapLock.tryWrite()) yield* child.mmapLock.write();
    try {
      child.kernel.watch?.forked(parent, child);
      for (const vma of parent.vmas) {
        result = yield* copyPageRange(duplicateVma(vma, child), vma);
        if (result < 0) break;
      }
      chargeShootdown(parent.kernel);
    } finally {
      child.mmapLock.unlockWrite();
    }
  } finally {
    parent.mmapLock.unlockWrite();
  }
  if (result < 0) {
    yield* exitMm(child);
    return result;
  }
  const { events } = child.kernel;
  if (events.listening) events.mappingChange(child, 'fork', 0, TASK_SIZE);
  return 0;
}

function duplicateVma(vma: Vma, child: Mm): Vma {
  const copy = new Vma(child, vma.start, vma.end, vma.flags, vma.pgoff, vma.file);
  anonVmaFork(child.kernel.mappings, copy, vma);
  child.vmas.insert(copy);
  if (vma.file !== null) {
    vma.file.hold();
    // Right behind the parent's, wherever others of the same offset stand.
    vma.file.vmas.splice(vma.file.vmas.indexOf(vma) + 1, 0, copy);
  }
  return copy;
}

/** copy_page_range. */
function* copyPageRange(to: Vma, from: Vma): Task<number> {
  // Faults find the pages of a file again, so they need no copying.
  const special = (from.flags & (VM_PFNMAP | VM_MIXEDMAP)) !== 0;
  if (from.anonVma === null && !special) return 0;
  if (!from.isCow) return copyLeaves(to, from);
  const { mm, start, end } = from;
  const range = { mm, start, end, event: 'protection_page', owner: null } as const;
  const waiting = mm.notifiers.start(range);
  if (waiting !== undefined) yield* waiting;
  const { scheduler } = mm.kernel;
  if (scheduler.preempts && scheduler.overtaken('fork: copy', 0)) yield PREEMPT;
  const result = copyLeaves(to, from);
  mm.notifiers.end(range);
  return result;
}

function copyLeaves(to: Vma, from: Vma): number {
  const last = from.mm.vpn(from.end);
  let vpn = from.mm.vpn(from.start);
  while (vpn < last) {
    vpn = from.mm.pageTable.nextMapped(vpn, last);
    const until = leafEnd(vpn, last);
    const leaf = from.mm.pageTable.leaf(vpn);
    if (leaf !== null) {
      const copy = to.mm.allocLeaf(vpn);
      if (copy === null) return -ENOMEM;
      const result = copyLeaf(to, copy, from, leaf, vpn, until);
      if (result < 0) return result;
    }
    vpn = until;
  }
  return 0;
}

/** copy_pte_range. */
function copyLeaf(to: Vma, copy: Leaf, from: Vma, leaf: Leaf, first: Vpn, end: Vpn): number {
  const { mm } = from;
  const { pages, kernel } = mm;
  const { events } = kernel;
  const offset = leafIndex(first);
  const limit = offset + (end - first);
  // The parent's entries lose the right to write.
  pages.tlbs.flush();
  for (let at = offset; at < limit; at++) {
    if (leaf.bits[at] === PTE_NONE) continue;
    const va = mm.va(first + (at - offset));
    const page = leaf.page[at]!;
    switch (leaf.bits[at]! & PTE_KIND) {
      case PTE_MIGRATION:
        copyMigrationEntry(to, copy, from, leaf, at);
        break;
      case PTE_DEVICE_PRIVATE:
        copyDevicePrivateEntry(to, copy, from, leaf, at);
        break;
      case PTE_DEVICE_EXCLUSIVE:
        // It is taken from the device first. The kernel does not wait for the page lock here.
        if (!pages.tryLock(page)) return -ENOMEM;
        restoreExclusivePte(from, va, page);
        pages.unlock(page);
        if (!copyPresentPte(to, copy, from, leaf, at, va)) return -ENOMEM;
        break;
      default:
        if (!copyPresentPte(to, copy, from, leaf, at, va)) return -ENOMEM;
    }
    if (events.listening) {
      const mapped = copy.page[at]!;
      const home = pages.homeOf(mapped);
      if (mapped !== NO_PAGE) events.ownerChange(to.mm, va, mapped, null, home);
    }
  }
  return 0;
}

/** Of copy_nonpresent_pte. The entry holds neither reference nor mapping, but it is resident. */
function copyMigrationEntry(to: Vma, copy: Leaf, from: Vma, leaf: Leaf, at: number): void {
  const page = leaf.page[at]!;
  to.mm.addRss(isAnon(from.mm.pages, page), 1);
  if (from.isCow) leaf.bits[at] = leaf.bits[at]! & ~(PTE_WRITE | PTE_EXCLUSIVE);
  copy.set(at, page, leaf.bits[at]!);
}

/** Of copy_nonpresent_pte. */
function copyDevicePrivateEntry(to: Vma, copy: Leaf, from: Vma, leaf: Leaf, at: number): void {
  const page = leaf.page[at]!;
  const { pages } = from.mm;
  pages.get(page);
  to.mm.addRss(isAnon(pages, page), 1);
  invariant(pageTryDupAnonRmap(from, page), 'a device-private page cannot be pinned');
  if (from.isCow) leaf.bits[at] = leaf.bits[at]! & ~PTE_WRITE;
  copy.set(at, page, leaf.bits[at]!);
}

/** copy_present_pte. False where a page had to be copied and RAM is full. */
function copyPresentPte(to: Vma, copy: Leaf, from: Vma, leaf: Leaf, at: number, va: Va): boolean {
  const { pages } = from.mm;
  const page = leaf.page[at]!;
  if (page !== NO_PAGE) {
    const anonymous = isAnon(pages, page);
    if (!anonymous) pageAddFileRmap(pages, page);
    else if (!pageTryDupAnonRmap(from, page)) return copyPresentPage(to, copy, at, va, page);
    pages.get(page);
    to.mm.addRss(anonymous, 1);
  }
  if (from.isCow) leaf.bits[at] = leaf.bits[at]! & ~PTE_WRITE;
  const bits = leaf.bits[at]!;
  copy.set(at, page, from.isCow ? bits : bits & ~PTE_DIRTY);
  return true;
}

/** copy_present_page: somebody does DMA to the parent's page, so the child gets another at once. */
function copyPresentPage(to: Vma, copy: Leaf, at: number, va: Va, page: Page): boolean {
  const { mm } = to;
  const { pages } = mm;
  const fresh = pages.allocate();
  if (fresh === NO_PAGE) return false;
  pages.copyContents(fresh, page);
  chargeCopy(mm.kernel);
  pageAddNewAnonRmap(to, fresh, va);
  pages.flags[fresh] = pages.flags[fresh]! | PG_LRU;
  mm.addRss(true, 1);
  const writable = (to.flags & VM_WRITE) !== 0 ? PTE_WRITE : 0;
  copy.set(at, fresh, to.pageProt | PTE_DIRTY | writable);
  return true;
}

/**
 * Takes an address space down once its last user has gone: exit_mmap. Drivers are told before any
 * page goes.
 */
export function* exitMm(mm: Mm): Task<void> {
  // A fork that failed has taken its child down already.
  if (!mm.alive) return;
  mm.alive = false;
  const range = { mm, start: 0, end: TASK_SIZE, event: 'release', owner: null } as const;
  const waiting = mm.notifiers.start(range);
  if (waiting !== undefined) yield* waiting;
  mm.notifiers.end(range);
  if (!mm.mmapLock.tryWrite()) yield* mm.mmapLock.write();
  try {
    const gone = [...mm.vmas];
    if (gone.length > 0) {
      yield* unmapVmas(mm, gone, 0, TASK_SIZE);
      freePgtables(mm, gone, 0, Number.POSITIVE_INFINITY);
      for (const vma of gone.toReversed()) mm.vmas.remove(vma);
      for (const vma of gone) vma.file?.drop();
    }
  } finally {
    mm.mmapLock.unlockWrite();
  }
  const { events } = mm.kernel;
  if (events.listening) events.mappingChange(mm, 'exit', 0, TASK_SIZE);
  mm.kernel.mms.delete(mm);
}
