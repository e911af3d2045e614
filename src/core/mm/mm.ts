/** An address space: struct mm_struct. */

import { NotifierSubscriptions } from '../hmm/notifier.ts';
import type { Kernel } from '../kernel.ts';
import type { Pages } from '../memory/pages.ts';
import { RwSemaphore } from '../sched/locks.ts';
import type { Page, Va, Vpn } from '../units.ts';
import { PageTable } from './page-table.ts';
import { type Leaf, PTE_PRESENT, PTE_PROTNONE, PTE_WRITE } from './pte.ts';
import { Tlb } from './tlb.ts';
import { VM_ACCESS_FLAGS, VM_SHARED, VM_WRITE, VmaList } from './vma.ts';

/** What a TLB may still hold of an entry that is gone. */
export interface StaleTranslation {
  readonly page: Page;
  readonly writable: boolean;
  /**
   * Whoever clears the entry has not returned, so that an access may still count as having come
   * before: who watches memory is not told of it.
   */
  readonly concurrent: boolean;
}

export class Mm {
  readonly kernel: Kernel;
  readonly pages: Pages;
  readonly pageSize: number;
  /** Number of the process it belongs to. */
  readonly pid: number;
  readonly vmas: VmaList;
  readonly pageTable: PageTable;
  readonly tlb: Tlb;
  /** Readers: page faults and drivers; writers: mmap, munmap, mprotect, mremap, fork, exit. */
  readonly mmapLock: RwSemaphore;
  readonly notifiers: NotifierSubscriptions;
  /** Resident anonymous pages, device-private ones and those under migration included. */
  rssAnon: number;
  /** Resident pages of files. */
  rssFile: number;
  /** Something of it was pinned once, so fork must look: MMF_HAS_PINNED. */
  hasPinned: boolean;
  /**
   * Translations that CPUs may still use though their entries are gone, by page: between the moment
   * an entry is cleared and the flush of the TLBs. One map for each flush to come; only a search for
   * races sees that moment.
   */
  readonly staleTlb: Map<Vpn, StaleTranslation>[];
  /** False once the last user has gone: mmget_not_zero fails. */
  alive: boolean;

  constructor(kernel: Kernel, pid: number) {
    this.kernel = kernel;
    this.pages = kernel.pages;
    this.pageSize = kernel.pageSize;
    this.pid = pid;
    this.vmas = new VmaList();
    this.pageTable = new PageTable(kernel.spareTables);
    this.tlb = new Tlb(kernel.pages, kernel.frames, kernel.pageSize);
    this.mmapLock = new RwSemaphore(kernel.scheduler, `mmap_lock of process ${pid}`);
    this.notifiers = new NotifierSubscriptions(kernel, pid);
    this.rssAnon = 0;
    this.rssFile = 0;
    this.hasPinned = false;
    this.staleTlb = [];
    this.alive = true;
    kernel.mms.add(this);
  }

  vpn(va: Va): Vpn {
    return va / this.pageSize;
  }

  /** No CPU uses a translation of [first, end) any more that is gone: flush_tlb_range. */
  flushTlb(first: Vpn, end: Vpn): void {
    for (const translations of this.staleTlb) {
      for (const vpn of translations.keys()) {
        if (vpn >= first && vpn < end) translations.delete(vpn);
      }
    }
  }

  va(vpn: Vpn): Va {
    return vpn * this.pageSize;
  }

  /** Bits of a fresh present entry in a VMA with `flags`: vm_get_page_prot. */
  protBits(flags: number): number {
    if ((flags & VM_ACCESS_FLAGS) === 0) return PTE_PRESENT | PTE_PROTNONE;
    const shared = VM_SHARED | VM_WRITE;
    return (flags & shared) === shared ? PTE_PRESENT | PTE_WRITE : PTE_PRESENT;
  }

  /** The leaf of `vpn`, made if need be; null where there is no memory for it: pte_alloc. */
  allocLeaf(vpn: Vpn): Leaf | null {
    const leaf = this.pageTable.leaf(vpn);
    if (leaf !== null) return leaf;
    if (this.kernel.faults?.fails('page_table') === true) return null;
    return this.pageTable.leafFor(vpn);
  }

  /** A page counts as anonymous or as a file's; call when a mapping of it comes or goes. */
  addRss(anonymous: boolean, count: number): void {
    if (anonymous) this.rssAnon += count;
    else this.rssFile += count;
  }
}
