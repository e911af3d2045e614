/** Faults on mappings of memory files: do_fault. Reference: mm/memory.c and mm/filemap.c of Linux 6.1. */

import { chargeCopy } from '../charge.ts';
import { PG_LRU } from '../memory/pages.ts';
import type { Task } from '../sched/task.ts';
import { NO_PAGE, type Page, type Va } from '../units.ts';
import { anonVmaPrepare } from './anon-vma.ts';
import { FAULT_FLAG_WRITE, VM_FAULT_OOM, VM_FAULT_SIGBUS } from './fault-flags.ts';
import type { MemoryFile } from './memory-file.ts';
import { leafIndex } from './page-table.ts';
import { PTE_DIRTY, PTE_KIND, PTE_NONE, PTE_WRITE, PTRS_PER_PTE } from './pte.ts';
import { pageAddFileRmap, pageAddNewAnonRmap } from './rmap.ts';
import { VM_SHARED, VM_WRITE, type Vma } from './vma.ts';

/** A read fault also maps cached neighbours in a window of this many bytes: fault_around_bytes. */
const FAULT_AROUND_BYTES = 65536;

export function* doFileFault(vma: Vma, file: MemoryFile, va: Va, flags: number): Task<number> {
  const write = (flags & FAULT_FLAG_WRITE) !== 0;
  if (!write && faultAround(vma, file, va)) return 0;
  const { mm } = vma;
  const { pages } = mm;
  const index = vma.pgoffOf(va);
  if (index >= file.pageCount) return VM_FAULT_SIGBUS;
  const copies = write && (vma.flags & VM_SHARED) === 0;
  let fresh: Page = NO_PAGE;
  if (copies) {
    anonVmaPrepare(mm.kernel.mappings, vma);
    fresh = pages.allocate();
    if (fresh === NO_PAGE) return VM_FAULT_OOM;
  }
  const page = file.pageAt(index);
  if (page === NO_PAGE) {
    if (fresh !== NO_PAGE) pages.put(fresh);
    return VM_FAULT_OOM;
  }
  pages.get(page);
  if (!pages.tryLock(page)) yield* pages.lock(page);
  const leaf = mm.allocLeaf(mm.vpn(va));
  if (leaf === null) {
    if (fresh !== NO_PAGE) pages.put(fresh);
    pages.unlock(page);
    pages.put(page);
    return VM_FAULT_OOM;
  }
  const at = leafIndex(mm.vpn(va));
  // Another task may have answered the fault, or moved the page, while this one slept.
  const stale = leaf.kind(at) !== PTE_NONE || file.cached(index) !== page;
  if (stale) {
    if (fresh !== NO_PAGE) pages.put(fresh);
  } else if (copies) {
    pages.copyContents(fresh, page);
    chargeCopy(mm.kernel);
    mm.addRss(true, 1);
    pageAddNewAnonRmap(vma, fresh, va);
    pages.flags[fresh] = pages.flags[fresh]! | PG_LRU;
    const writable = (vma.flags & VM_WRITE) !== 0 ? PTE_WRITE : 0;
    leaf.set(at, fresh, vma.pageProt | PTE_DIRTY | writable);
    const { events } = mm.kernel;
    if (events.listening) events.ownerChange(mm, va, fresh, null, 'system');
  } else {
    pages.get(page);
    mapFilePage(vma, page, va, write);
  }
  pages.unlock(page);
  pages.put(page);
  return 0;
}

/** do_fault_around: maps what is cached near `va`; true if that answered the fault. */
function faultAround(vma: Vma, file: MemoryFile, va: Va): boolean {
  const { mm } = vma;
  const { pages, pageSize } = mm;
  const windowPages = Math.max(1, FAULT_AROUND_BYTES / pageSize);
  if (windowPages === 1) return false;
  const vpn = mm.vpn(va);
  // The window starts at a multiple of its size or where the VMA starts; it stays in one leaf.
  const first = Math.max(vpn - (vpn % windowPages), mm.vpn(vma.start));
  const end = Math.min(first + windowPages, mm.vpn(vma.end), vpn - leafIndex(vpn) + PTRS_PER_PTE);
  let answered = false;
  for (let near = first; near < end; near++) {
    const page = file.cached(vma.pgoffOf(mm.va(near)));
    if (page === undefined || pages.isLocked(page)) continue;
    const leaf = mm.allocLeaf(near);
    if (leaf === null) return false;
    if ((leaf.bits[leafIndex(near)]! & PTE_KIND) !== PTE_NONE) continue;
    pages.get(page);
    mapFilePage(vma, page, mm.va(near), false);
    if (near === vpn) answered = true;
  }
  return answered;
}

/** do_set_pte for a page of the cache; the mapping takes over one reference. */
function mapFilePage(vma: Vma, page: Page, va: Va, write: boolean): void {
  const { mm } = vma;
  mm.addRss(false, 1);
  pageAddFileRmap(mm.pages, page);
  const dirty = write ? PTE_DIRTY | ((vma.flags & VM_WRITE) !== 0 ? PTE_WRITE : 0) : 0;
  mm.pageTable.leafFor(mm.vpn(va)).set(leafIndex(mm.vpn(va)), page, vma.pageProt | dirty);
  const { events } = mm.kernel;
  if (events.listening) events.ownerChange(mm, va, page, null, 'system');
}
