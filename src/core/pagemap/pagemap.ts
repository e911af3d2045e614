/**
 * dev_pagemap: a region of device memory with struct pages, its type, its owner and its callbacks.
 *
 * Reference: mm/memremap.c and include/linux/memremap.h of Linux 6.1.
 */
import { EINVAL, ENOMEM, ERANGE } from '../errno.ts';
import { SimError } from '../errors.ts';
import type { Kernel } from '../kernel.ts';
import type { Vma } from '../mm/vma.ts';
import type { MaybeTask, Task } from '../sched/task.ts';
import { WaitQueue } from '../sched/wait-queue.ts';
import { MiB, NO_PAGE, type Page, type Va } from '../units.ts';

/**
 * Whoever a device page belongs to. Compared by identity, never by name; the name is for people.
 * A driver usually passes itself, or one object for all devices that can reach each other's memory.
 */
export interface Owner {
  readonly name: string;
}

/**
 * `private`: the CPU cannot address it (MEMORY_DEVICE_PRIVATE). `coherent`: it can
 * (MEMORY_DEVICE_COHERENT).
 */
export type PagemapType = 'private' | 'coherent';

/** A CPU fault on a device-private page: struct vm_fault. */
export interface DeviceFault {
  readonly vma: Vma;
  /** First byte of the page that was touched. */
  readonly address: Va;
  readonly page: Page;
}

/** struct dev_pagemap_ops. */
export interface DevPagemapOps {
  /** The last reference to `page` is gone. May run under a page-table lock: it may not sleep. */
  pageFree(page: Page): void;
  /**
   * Brings a page home to RAM because the CPU touched it; the caller holds mmap_lock for reading.
   * Returns 0 (the access is tried again) or VM_FAULT_* bits. Needed for private pagemaps.
   */
  migrateToRam?(fault: DeviceFault): MaybeTask<number>;
}

export interface DevPagemapOptions {
  readonly type: PagemapType;
  readonly owner: Owner | null;
  readonly ops: DevPagemapOps;
  /** Size of the region in bytes, a multiple of the page size. */
  readonly bytes: number;
  /** For people: "hmm_dmirror0 chunk 1". */
  readonly name: string;
}

/** Regions of device memory start at multiples of this: PA_SECTION_SIZE on x86-64. */
export const PA_SECTION_BYTES: number = 128 * MiB;

/** Physical addresses end here: MAX_PHYSMEM_BITS is 46. */
const PHYSICAL_END: number = 2 ** 46;

/** struct dev_pagemap. Made by `memremapPages`. */
export class DevPagemap {
  readonly type: PagemapType;
  readonly owner: Owner;
  readonly ops: DevPagemapOps;
  readonly name: string;
  readonly kernel: Kernel;
  /** First page of the region; the pages follow each other. */
  readonly firstPage: Page;
  readonly pageCount: number;
  /** Physical address of the region, in bytes. */
  readonly start: number;
  /** Pages in use: what keeps `memunmapPages` waiting. */
  #pagesInUse = 0;
  #dying = false;
  readonly #done: WaitQueue;

  constructor(kernel: Kernel, options: DevPagemapOptions, owner: Owner, start: number) {
    this.kernel = kernel;
    this.type = options.type;
    this.owner = owner;
    this.ops = options.ops;
    this.name = options.name;
    this.pageCount = options.bytes / kernel.pageSize;
    this.start = start;
    this.firstPage = kernel.pages.addRegion(this, this.pageCount);
    this.#done = new WaitQueue(
      kernel.scheduler,
      () => `the last of ${this.#pagesInUse} pages of ${this.name}`,
    );
  }

  get pagesInUse(): number {
    return this.#pagesInUse;
  }

  /** First physical address after the region's whole sections. */
  get end(): number {
    const bytes = this.pageCount * this.kernel.pageSize;
    return this.start + Math.ceil(bytes / PA_SECTION_BYTES) * PA_SECTION_BYTES;
  }

  /** The shortest range that holds every page in use; empty where there is none. */
  usedRange(): { readonly first: Page; readonly count: number } {
    const { refcount, freeDevicePageRefs } = this.kernel.pages;
    let left = this.#pagesInUse;
    let first = this.firstPage;
    let end = first;
    for (let page = first + this.pageCount - 1; left > 0; page--) {
      if (refcount[page]! <= freeDevicePageRefs) continue;
      if (end === this.firstPage) end = page + 1;
      first = page;
      left--;
    }
    return { first, count: end - first };
  }

  contains(page: Page): boolean {
    return page >= this.firstPage && page < this.firstPage + this.pageCount;
  }

  /** A driver takes a free page into use: one reference, locked. zone_device_page_init. */
  initPage(page: Page): void {
    const pages = this.kernel.pages;
    if (!this.contains(page) || pages.refcount[page] !== pages.freeDevicePageRefs) {
      throw new SimError('bad-argument', `page ${page} is not a free page of ${this.name}`, {
        page,
      });
    }
    if (this.#dying) {
      throw new SimError('bad-argument', `${this.name} is being removed; it gives no pages`);
    }
    this.#pagesInUse++;
    pages.get(page);
    if (!pages.tryLock(page)) throw new SimError('lock-misuse', `free page ${page} is locked`);
  }

  /** The last reference to `page` went: free_zone_device_page. Called by the page table of frames. */
  freePage(page: Page): void {
    const scheduler = this.kernel.scheduler;
    scheduler.enterAtomic();
    try {
      this.ops.pageFree(page);
    } finally {
      scheduler.leaveAtomic();
    }
    this.#pagesInUse--;
    if (this.#dying && this.#pagesInUse === 0) this.#done.wakeAll();
  }

  /** memunmap_pages: waits until every page is free, then removes the region. */
  *unmap(): Task<void> {
    this.#dying = true;
    while (this.#pagesInUse > 0) yield this.#done;
    this.kernel.pages.removeRegion(this.firstPage, this.pageCount);
    this.kernel.forgetPagemap(this);
  }
}

/**
 * Makes struct pages for device memory: memremap_pages on a region of request_free_mem_region.
 *
 * Returns the pagemap, or -EINVAL where the options are not what the type needs, -ERANGE where no
 * region is free, -ENOMEM where the machine has no room for more pages.
 */
export function memremapPages(kernel: Kernel, options: DevPagemapOptions): DevPagemap | number {
  const { bytes, owner, type, ops } = options;
  if (bytes <= 0 || bytes % kernel.pageSize !== 0) return -EINVAL;
  if (owner === null) return -EINVAL;
  if (type === 'private' && ops.migrateToRam === undefined) return -EINVAL;
  // Types ask for it, but drivers in JavaScript have none.
  if (typeof ops.pageFree !== 'function') return -EINVAL;
  if (type === 'coherent' && !kernel.era.deviceCoherent) return -EINVAL;
  const start = requestFreeMemRegion(kernel.pagemaps, bytes);
  if (start < 0) return -ERANGE;
  try {
    const pagemap = new DevPagemap(kernel, options, owner, start);
    kernel.pagemaps.push(pagemap);
    return pagemap;
  } catch (error) {
    if (error instanceof SimError && error.code === 'limit') return -ENOMEM;
    throw error;
  }
}

/**
 * A free physical range for `bytes`, rounded up to whole sections: request_free_mem_region. The
 * places tried lie below the top of physical memory in steps of the range's own size, so ranges of
 * different sizes can leave gaps. Returns its address, or -1.
 */
function requestFreeMemRegion(taken: readonly DevPagemap[], bytes: number): number {
  const size = Math.ceil(bytes / PA_SECTION_BYTES) * PA_SECTION_BYTES;
  // From the top down, so that each is looked at once.
  const regions = taken.map(({ start, end }) => ({ start, end })).sort((a, b) => b.start - a.start);
  let at = PHYSICAL_END - size;
  for (const { start, end } of regions) {
    if (at <= size || end <= at) break;
    if (start >= at + size) continue;
    const steps = Math.ceil((PHYSICAL_END - start) / size);
    at = PHYSICAL_END - (steps + 1) * size;
  }
  return at > size ? at : -1;
}

/** A list of free device pages, last in, first out, threaded through the column of mappings. */
export class FreePages {
  readonly #kernel: Kernel;
  #head: Page = NO_PAGE;
  /** Regions never used so far, each taken from its end: as if all had been pushed in order. */
  readonly #untouched: { first: Page; next: Page }[] = [];
  #count = 0;

  /** @param pagemap a new region whose pages are all free */
  constructor(kernel: Kernel, pagemap?: DevPagemap) {
    this.#kernel = kernel;
    if (pagemap !== undefined) this.addRegion(pagemap.firstPage, pagemap.pageCount);
  }

  /** Free pages. */
  get count(): number {
    return this.#count;
  }

  /** Adds all pages of a new region; the one with the highest number is given out first. */
  addRegion(first: Page, count: number): void {
    this.#untouched.push({ first, next: first + count - 1 });
    this.#count += count;
  }

  push(page: Page): void {
    this.#kernel.pages.setNextFree(page, this.#head);
    this.#head = page;
    this.#count++;
  }

  /** A free page taken into use, locked and with one reference; NO_PAGE when there is none. */
  take(): Page {
    const page = this.pop();
    if (page !== NO_PAGE) this.#kernel.pages.pagemapOf(page)!.initPage(page);
    return page;
  }

  /** A free page, or NO_PAGE. */
  pop(): Page {
    if (this.#count === 0) return NO_PAGE;
    if (this.#kernel.faults?.fails('device_page') === true) return NO_PAGE;
    this.#count--;
    const page = this.#head;
    if (page !== NO_PAGE) {
      const { pages } = this.#kernel;
      this.#head = pages.nextFree(page);
      pages.setNextFree(page, NO_PAGE);
      pages.setDriverData(page, 0);
      return page;
    }
    const region = this.#untouched.at(-1)!;
    const untouched = region.next--;
    if (region.next < region.first) this.#untouched.pop();
    return untouched;
  }

  clear(): void {
    this.#head = NO_PAGE;
    this.#untouched.length = 0;
    this.#count = 0;
  }
}
