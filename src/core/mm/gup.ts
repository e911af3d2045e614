/**
 * get_user_pages and pin_user_pages: references to the pages behind addresses of a process.
 *
 * Reference: mm/gup.c of Linux 6.1. A short-term user takes a plain reference (FOLL_GET); who does
 * DMA pins (FOLL_PIN), which keeps a page from moving and fork from sharing it.
 *
 * The zero page is returned like any other, as page 0, but nothing is counted on it. Linux 6.1 does
 * count a FOLL_GET of it; as it is never freed, never moves and is mapped without counting, that
 * number would tell nothing.
 */
import { EBUSY, EFAULT, EINVAL, ENOMEM } from '../errno.ts';
import { SimError } from '../errors.ts';
import type { Kernel } from '../kernel.ts';
import { type Pages, PG_DIRTY, PIN_BIAS } from '../memory/pages.ts';
import { migrateDeviceCoherentPage } from '../migrate/index.ts';
import type { Task } from '../sched/task.ts';
import { NO_PAGE, type Page, TASK_SIZE, type Va } from '../units.ts';
import {
  FAULT_FLAG_UNSHARE,
  FAULT_FLAG_WRITE,
  handleMmFault,
  VM_FAULT_ERROR,
  VM_FAULT_OOM,
} from './fault.ts';
import type { Mm } from './mm.ts';
import { leafIndex } from './page-table.ts';
import { PTE_DIRTY, PTE_KIND, PTE_PRESENT, PTE_PROTNONE, PTE_WRITE } from './pte.ts';
import { REFAULTS_AT_ONCE, refaultPause } from './refault.ts';
import { isAnon, isAnonExclusive } from './rmap.ts';
import { VM_IO, VM_PFNMAP, VM_READ, VM_WRITE, type Vma } from './vma.ts';

// include/linux/mm.h
/** The pages will be written to. */
export const FOLL_WRITE = 0x01;
/** Take a reference. */
export const FOLL_GET = 0x04;
/** A pin that may last for ever: not on device memory, which its device may need back. */
export const FOLL_LONGTERM = 0x1_0000;
/** Pin: adds PIN_BIAS to the reference count. */
export const FOLL_PIN = 0x4_0000;

/** Answers of followPage besides a page. */
const NEEDS_FAULT = -1;
const NEEDS_UNSHARE = -2;

/**
 * The pages of `npages` addresses from `va` on: get_user_pages_fast, or with FOLL_PIN
 * pin_user_pages_fast. Looks at the page table first, without a lock, and takes mmap_lock for what
 * must be faulted in. Returns the pages, fewer than asked for where the rest is out of reach; or
 * -EFAULT, -ENOMEM, -EBUSY where there is not even a first.
 */
export function* getUserPagesFast(
  mm: Mm,
  va: Va,
  npages: number,
  flags: number,
): Task<Page[] | number> {
  if ((flags & FOLL_LONGTERM) !== 0 && (flags & FOLL_PIN) === 0) return -EINVAL;
  if ((flags & FOLL_PIN) !== 0) mm.hasPinned = true;
  const start = va - (va % mm.pageSize);
  if (start + npages * mm.pageSize > TASK_SIZE) return -EFAULT;
  const found = presentPages(mm, start, npages, flags);
  if (found.length === npages) return found;
  const rest = start + found.length * mm.pageSize;
  if (!mm.mmapLock.tryRead()) yield* mm.mmapLock.read();
  try {
    const slow = yield* longtermPages(mm, rest, npages - found.length, flags);
    if (typeof slow !== 'number') return found.length === 0 ? slow : found.concat(slow);
    return found.length > 0 ? found : slow;
  } finally {
    mm.mmapLock.unlockRead();
  }
}

/**
 * The same for an address space that need not be the caller's, who holds mmap_lock:
 * get_user_pages_remote, pin_user_pages_remote.
 */
export function* getUserPagesRemote(
  mm: Mm,
  va: Va,
  npages: number,
  flags: number,
): Task<Page[] | number> {
  if ((flags & FOLL_LONGTERM) !== 0 && (flags & FOLL_PIN) === 0) return -EINVAL;
  if (!mm.mmapLock.locked) {
    throw new SimError('lock-misuse', 'get_user_pages_remote needs mmap_lock, which nobody holds');
  }
  if ((flags & FOLL_PIN) !== 0) mm.hasPinned = true;
  return yield* longtermPages(mm, va, npages, flags);
}

/** Gives back what getUserPages took: put_page, or unpin_user_page if it was pinned. */
export function putUserPage(kernel: Kernel, page: Page, pinned: boolean): void {
  if (page === NO_PAGE) return;
  const { pages } = kernel;
  if (pinned) pages.refcount[page] = pages.refcount[page]! - (PIN_BIAS - 1);
  pages.put(page);
}

/** try_grab_page. */
function grab(pages: Pages, page: Page, flags: number): void {
  if (page === NO_PAGE) return;
  const refs = (flags & FOLL_PIN) !== 0 ? PIN_BIAS : 1;
  pages.refcount[page] = pages.refcount[page]! + refs;
}

/** gup_must_unshare: a pin for reading must see what the process writes later. */
function mustUnshare(mm: Mm, page: Page, flags: number): boolean {
  return (
    (flags & (FOLL_WRITE | FOLL_PIN)) === FOLL_PIN &&
    mm.kernel.era.anonExclusive &&
    isAnon(mm.pages, page) &&
    !isAnonExclusive(mm.pages, page)
  );
}

/** lockless_pages_from_mm: the pages up to the first entry that needs a closer look. */
function presentPages(mm: Mm, start: Va, npages: number, flags: number): Page[] {
  const { pages, pageTable } = mm;
  const wanted = PTE_PRESENT | ((flags & FOLL_WRITE) !== 0 ? PTE_WRITE : 0);
  const looksAt = PTE_KIND | PTE_PROTNONE | (wanted & PTE_WRITE);
  const first = mm.vpn(start);
  const found: Page[] = [];
  for (let vpn = first; vpn < first + npages; vpn++) {
    const leaf = pageTable.leaf(vpn);
    if (leaf === null) break;
    const bits = leaf.bits[leafIndex(vpn)]!;
    const page = leaf.page[leafIndex(vpn)]!;
    // The entry of the zero page is marked special.
    if ((bits & looksAt) !== wanted || page === NO_PAGE) break;
    if ((flags & FOLL_LONGTERM) !== 0 && pages.isDeviceCoherent(page)) break;
    if ((bits & PTE_WRITE) === 0 && mustUnshare(mm, page, flags)) break;
    grab(pages, page, flags);
    found.push(page);
  }
  return found;
}

/** __gup_longterm_locked: moves pages of coherent devices home before a pin that lasts. */
function* longtermPages(mm: Mm, start: Va, npages: number, flags: number): Task<Page[] | number> {
  for (;;) {
    const found = yield* faultInPages(mm, start, npages, flags);
    if (typeof found === 'number' || (flags & FOLL_LONGTERM) === 0) return found;
    const { pages } = mm;
    if (!found.some((page) => pages.isDeviceCoherent(page))) return found;
    const result = yield* migrateUnpinnable(mm.kernel, found);
    if (result < 0) return result;
  }
}

/** migrate_longterm_unpinnable_pages: gives all pins back, those on device memory by moving it. */
function* migrateUnpinnable(kernel: Kernel, found: readonly Page[]): Task<number> {
  const { pages } = kernel;
  for (let i = 0; i < found.length; i++) {
    const page = found[i]!;
    if (!pages.isDeviceCoherent(page)) {
      putUserPage(kernel, page, true);
      continue;
    }
    // A pinned page does not move: keep a plain reference, which the migration takes over.
    pages.get(page);
    putUserPage(kernel, page, true);
    if ((yield* migrateDeviceCoherentPage(kernel, page)) !== 0) {
      for (const other of found.slice(i + 1)) putUserPage(kernel, other, true);
      return -EBUSY;
    }
  }
  return 0;
}

/** __get_user_pages. The caller holds mmap_lock. */
function* faultInPages(mm: Mm, start: Va, npages: number, flags: number): Task<Page[] | number> {
  const found: Page[] = [];
  let vma: Vma | null = null;
  for (let i = 0; i < npages; i++) {
    const va = start + i * mm.pageSize;
    if (vma === null || va >= vma.end) {
      vma = mm.vmas.find(va);
      if (vma === null || !mayAccess(vma, flags)) return i > 0 ? found : -EFAULT;
    }
    const page = yield* faultInPage(vma, va, flags);
    if (page < 0) return i > 0 ? found : page;
    found.push(page);
  }
  return found;
}

/** Follows and faults in turn until there is a page; a negative errno where there is none to be. */
function* faultInPage(vma: Vma, va: Va, flags: number): Task<Page | number> {
  const write = (flags & FOLL_WRITE) !== 0 ? FAULT_FLAG_WRITE : 0;
  for (let faults = 0; ; faults++) {
    const page = followPage(vma.mm, va, flags);
    if (page >= 0) return page;
    if (faults >= REFAULTS_AT_ONCE) yield* refaultPause(vma.mm, va, faults);
    const outcome = handleMmFault(vma, va, page === NEEDS_UNSHARE ? FAULT_FLAG_UNSHARE : write);
    const result = typeof outcome === 'object' ? yield* outcome : outcome;
    if ((result & VM_FAULT_OOM) !== 0) return -ENOMEM;
    if ((result & VM_FAULT_ERROR) !== 0) return -EFAULT;
  }
}

/** follow_page_pte: the page at `va` with a reference, or NEEDS_FAULT, NEEDS_UNSHARE. */
function followPage(mm: Mm, va: Va, flags: number): Page | number {
  const { pages } = mm;
  const vpn = mm.vpn(va);
  const leaf = mm.pageTable.leaf(vpn);
  if (leaf === null) return NEEDS_FAULT;
  const bits = leaf.bits[leafIndex(vpn)]!;
  if ((bits & (PTE_KIND | PTE_PROTNONE)) !== PTE_PRESENT) return NEEDS_FAULT;
  const write = (flags & FOLL_WRITE) !== 0;
  if (write && (bits & PTE_WRITE) === 0) return NEEDS_FAULT;
  const page = leaf.page[leafIndex(vpn)]!;
  if ((bits & PTE_WRITE) === 0 && mustUnshare(mm, page, flags)) return NEEDS_UNSHARE;
  grab(pages, page, flags);
  if (write && (bits & PTE_DIRTY) === 0) pages.flags[page] = pages.flags[page]! | PG_DIRTY;
  return page;
}

/** check_vma_flags. */
function mayAccess(vma: Vma, flags: number): boolean {
  if ((vma.flags & (VM_IO | VM_PFNMAP)) !== 0) return false;
  return (vma.flags & ((flags & FOLL_WRITE) !== 0 ? VM_WRITE : VM_READ)) !== 0;
}
