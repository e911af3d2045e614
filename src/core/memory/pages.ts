/**
 * struct page, as columns: one row a page frame, for RAM and for the regions of devices.
 *
 * A `Page` is the index of a row; row 0 is the zero page. Rows come in sections of 512, and a
 * section belongs to RAM or to one dev_pagemap, as in the kernel's sparse memory model. The columns
 * grow as RAM is first touched, so a machine costs what it uses. Growing replaces the arrays: code
 * that may allocate must not keep one in a local across the allocation.
 */
import { invariant, SimError } from '../errors.ts';
import type { PageHome } from '../events/types.ts';
import type { FaultPlan } from '../fault-plan.ts';
import type { MemoryWatch } from '../memory-watch.ts';
import type { Tlbs } from '../mm/tlb.ts';
import type { DevPagemap } from '../pagemap/pagemap.ts';
import type { Scheduler } from '../sched/scheduler.ts';
import type { Task } from '../sched/task.ts';
import type { Thread } from '../sched/thread.ts';
import { WaitQueue } from '../sched/wait-queue.ts';
import { NO_PAGE, type Page } from '../units.ts';
import { DriverWords } from './driver-words.ts';
import { type Frames, ZERO_FRAME } from './frames.ts';

/** Page lock, held. The id of the thread that took it stands in the upper half of the flag word. */
export const PG_LOCKED: number = 1 << 0;
/** On a list of pages that could be reclaimed; never set for device memory. */
export const PG_LRU: number = 1 << 1;
export const PG_DIRTY: number = 1 << 2;
/** `mapping` names an anon_vma, not a file. */
export const PG_ANON: number = 1 << 3;
/** Exclusive to one mapping of one process, so a write fault may reuse it: PageAnonExclusive. */
export const PG_ANON_EXCLUSIVE: number = 1 << 4;

/** Of the flag word: the upper part of the index. */
const INDEX_HIGH_SHIFT = 8;
const INDEX_HIGH_MASK = 0xff00;
const INDEX_LOW_VALUES: number = 2 ** 32;
/** No page is mapped more often: what a column of 16 bits can count. */
const MAPCOUNT_MAX = 0xffff;

/** What FOLL_PIN adds to a reference count: GUP_PIN_COUNTING_BIAS, include/linux/mm.h. */
export const PIN_BIAS = 1024;

const SECTION_SHIFT = 9;
const SECTION_PAGES: number = 1 << SECTION_SHIFT;
const LOCK_HOLDER_SHIFT = 16;
/** Columns grow by little: what stands empty counts in the bytes a resident page costs. */
const GROWTH = 1.1;
/** A migrate_pfn word has 26 bits for the page. */
const ROWS_MAX: number = 2 ** 26;

/** For messages and for the order of locks. */
function lockName(page: Page): string {
  return `lock of page ${page}`;
}

export interface PagesOptions {
  readonly ramPages: number;
  readonly freeDevicePageRefs: 0 | 1;
  readonly scheduler: Scheduler;
  readonly frames: Frames;
  readonly tlbs: Tlbs;
  /** Called with a page of RAM or of a device that was just freed. */
  readonly onFree: (page: Page) => void;
}

export class Pages {
  refcount: Int32Array<ArrayBuffer> = new Int32Array(0);
  /** Page-table entries that map the page, in all address spaces. */
  mapcount: Uint16Array<ArrayBuffer> = new Uint16Array(0);
  /** PG_* bits, the upper part of the index, and who holds the lock. */
  flags: Uint32Array<ArrayBuffer> = new Uint32Array(0);
  /** Id of the anon_vma or file the page belongs to; 0 is none. Of a free page, link of a free list. */
  mapping: Uint32Array<ArrayBuffer> = new Uint32Array(0);
  /** Contents. Changed by methods only, which tell the TLBs. */
  frame: Uint32Array<ArrayBuffer> = new Uint32Array(0);
  /** The lower 32 bits of the index. */
  #indexLow: Uint32Array<ArrayBuffer> = new Uint32Array(0);
  readonly #driverWords: DriverWords = new DriverWords(SECTION_SHIFT);
  /** By section: 0 for RAM, else the id of a pagemap. */
  #pagemapIdOfSection: Uint16Array<ArrayBuffer> = new Uint16Array(0);
  /** What CPUs remember of mapped pages. */
  readonly tlbs: Tlbs;
  readonly #pagemaps: (DevPagemap | null)[] = [null];
  readonly #freeRuns: Map<number, Page[]> = new Map();
  #rowsUsed = 0;
  #ramFreeHead: Page = NO_PAGE;
  #ramNext = 0;
  #ramEnd = 0;
  #ramUsed = 0;
  readonly #ramPages: number;
  readonly #freeDevicePageRefs: number;
  readonly #scheduler: Scheduler;
  readonly #frames: Frames;
  readonly #onFree: (page: Page) => void;
  readonly #lockWaiters: Map<Page, WaitQueue> = new Map();
  /** Which attempts to take a page fail on purpose; null where none does. Set through the kernel. */
  faults: FaultPlan | null = null;
  /** Who watches what is loaded and stored; null where nobody does. Set through the kernel. */
  watch: MemoryWatch | null = null;

  constructor(options: PagesOptions) {
    this.#ramPages = options.ramPages;
    this.#freeDevicePageRefs = options.freeDevicePageRefs;
    this.#scheduler = options.scheduler;
    this.#frames = options.frames;
    this.tlbs = options.tlbs;
    this.#onFree = options.onFree;
    this.#ramNext = this.#takeRows(SECTION_PAGES);
    this.#ramEnd = this.#ramNext + SECTION_PAGES;
    const zeroPage = this.#ramNext++;
    invariant(zeroPage === NO_PAGE, 'the zero page is row 0');
    this.refcount[zeroPage] = 1;
  }

  /** Pages of RAM in use, the zero page not counted. */
  get ramUsed(): number {
    return this.#ramUsed;
  }

  get ramPages(): number {
    return this.#ramPages;
  }

  /** Rows handed out so far: every page is below. */
  get rows(): number {
    return this.#rowsUsed;
  }

  /** Bytes of one row over all columns; a device page has the driver's word, too. */
  get bytesPerRow(): number {
    const { refcount, mapcount, flags, mapping, frame } = this;
    const columns = [refcount, mapcount, flags, mapping, frame, this.#indexLow];
    return columns.reduce((sum, column) => sum + column.BYTES_PER_ELEMENT, 0);
  }

  /** A page of RAM with one reference, contents zero; NO_PAGE when RAM is full. */
  allocate(): Page {
    if (this.#ramUsed >= this.#ramPages) return NO_PAGE;
    if (this.faults?.fails('ram') === true) return NO_PAGE;
    let page = this.#ramFreeHead;
    if (page !== NO_PAGE) {
      this.#ramFreeHead = this.mapping[page]!;
      this.mapping[page] = 0;
    } else {
      if (this.#ramNext === this.#ramEnd) {
        this.#ramNext = this.#takeRows(SECTION_PAGES);
        this.#ramEnd = this.#ramNext + SECTION_PAGES;
      }
      page = this.#ramNext++;
    }
    this.#ramUsed++;
    this.refcount[page] = 1;
    return page;
  }

  /** The same, locked: a destination for a migration. alloc_page and lock_page. */
  allocateLocked(): Page {
    const page = this.allocate();
    if (page !== NO_PAGE) this.tryLock(page);
    return page;
  }

  get(page: Page): void {
    this.refcount[page] = this.refcount[page]! + 1;
  }

  /** One more entry maps the page. Throws a `SimError` (`limit`) at 65,536. */
  addMapping(page: Page): void {
    const count = this.mapcount[page]!;
    if (count === MAPCOUNT_MAX) {
      throw new SimError('limit', `page ${page} is mapped ${MAPCOUNT_MAX} times already`, { page });
    }
    this.mapcount[page] = count + 1;
  }

  /** Offset in its anon_vma or file, in pages: page->index. Below 2^40. */
  indexOf(page: Page): number {
    const high = (this.flags[page]! & INDEX_HIGH_MASK) >>> INDEX_HIGH_SHIFT;
    return this.#indexLow[page]! + high * INDEX_LOW_VALUES;
  }

  setIndex(page: Page, index: number): void {
    const high = Math.floor(index / INDEX_LOW_VALUES) << INDEX_HIGH_SHIFT;
    this.#indexLow[page] = index;
    this.flags[page] = (this.flags[page]! & ~INDEX_HIGH_MASK) | high;
  }

  /** `to` belongs where `from` belongs: the same mapping and index. Of the flags it gets `carried`. */
  copyIdentity(to: Page, from: Page, carried: number): void {
    this.mapping[to] = this.mapping[from]!;
    this.#indexLow[to] = this.#indexLow[from]!;
    const fromFlags = this.flags[from]! & (INDEX_HIGH_MASK | carried);
    this.flags[to] = (this.flags[to]! & ~INDEX_HIGH_MASK) | fromFlags;
  }

  /** The driver's own word of a device page: page->zone_device_data. */
  driverDataOf(page: Page): number {
    return this.#driverWords.get(page);
  }

  /** @param word 0 to 2^32 - 1; small ones cost less memory */
  setDriverData(page: Page, word: number): void {
    this.#driverWords.set(page, word);
  }

  /** Of a free device page: the next one of a list, or NO_PAGE. */
  nextFree(page: Page): Page {
    return this.mapping[page]!;
  }

  setNextFree(page: Page, next: Page): void {
    this.#driverWords.touch(page);
    this.mapping[page] = next;
  }

  /** Drops a reference; the last one frees the page (a device's `pageFree` runs at once). */
  put(page: Page): void {
    const left = this.refcount[page]! - 1;
    this.refcount[page] = left;
    if (left <= 1) this.#putSlowly(page, left);
  }

  isZoneDevice(page: Page): boolean {
    return this.#pagemapIdOfSection[page >>> SECTION_SHIFT] !== 0;
  }

  /** The dev_pagemap of a device page, null for RAM: page->pgmap. */
  pagemapOf(page: Page): DevPagemap | null {
    return this.#pagemaps[this.#pagemapIdOfSection[page >>> SECTION_SHIFT]!]!;
  }

  /** Who owns what an entry with this page maps: nobody owns the zero page, 'system' has RAM. */
  homeOf(page: Page): PageHome {
    if (page === NO_PAGE) return null;
    return this.pagemapOf(page)?.owner ?? 'system';
  }

  isDevicePrivate(page: Page): boolean {
    return this.pagemapOf(page)?.type === 'private';
  }

  isDeviceCoherent(page: Page): boolean {
    return this.pagemapOf(page)?.type === 'coherent';
  }

  /** May somebody be doing DMA to it: page_maybe_dma_pinned. */
  maybePinned(page: Page): boolean {
    return this.refcount[page]! >= PIN_BIAS;
  }

  /** Frees on a driver's list have this many references. */
  get freeDevicePageRefs(): number {
    return this.#freeDevicePageRefs;
  }

  /** Gives `to` the contents of `from`, sharing them until one is written: copy_highpage. */
  copyContents(to: Page, from: Page): void {
    const old = this.frame[to]!;
    if (this.mapcount[to] !== 0 || this.mapcount[from] !== 0) this.tlbs.flush();
    this.frame[to] = this.#frames.share(this.frame[from]!);
    this.#frames.release(old);
  }

  clearContents(page: Page): void {
    if (this.mapcount[page] !== 0) this.tlbs.flush();
    this.#frames.release(this.frame[page]!);
    this.frame[page] = ZERO_FRAME;
  }

  /** A copy of the whole contents, as 32-bit words. */
  readPage(page: Page): Uint32Array<ArrayBuffer> {
    const words = new Uint32Array(this.#frames.words);
    const view = this.#frames.view(this.frame[page]!);
    if (view !== null) words.set(view);
    return words;
  }

  /** Replaces the whole contents. */
  writePage(page: Page, words: Uint32Array): void {
    this.clearContents(page);
    if (words.every((word) => word === 0)) return;
    const frame = this.#frames.split(ZERO_FRAME);
    this.#frames.view(frame)!.set(words);
    this.frame[page] = frame;
  }

  /** Replaces the whole contents by `value` and zeros. */
  writeFirstWord(page: Page, value: number): void {
    if (this.mapcount[page] !== 0) this.tlbs.flush();
    const old = this.frame[page]!;
    this.frame[page] = this.#frames.withFirstWord(value);
    this.#frames.release(old);
  }

  read32(page: Page, word: number): number {
    return this.#frames.read(this.frame[page]!, word);
  }

  write32(page: Page, word: number, value: number): void {
    let frame = this.frame[page]!;
    if (frame === ZERO_FRAME || this.#frames.refs[frame] !== 1) {
      if (this.mapcount[page] !== 0) this.tlbs.flush();
      frame = this.#frames.split(frame);
      this.frame[page] = frame;
    }
    this.#frames.write(frame, word, value);
  }

  // Page locks -------------------------------------------------------------------------------

  isLocked(page: Page): boolean {
    return (this.flags[page]! & PG_LOCKED) !== 0;
  }

  tryLock(page: Page): boolean {
    const flags = this.flags[page]!;
    if ((flags & PG_LOCKED) !== 0) return false;
    const { current, lockOrder } = this.#scheduler;
    this.flags[page] = flags | PG_LOCKED | (current.id << LOCK_HOLDER_SHIFT);
    lockOrder?.taken(current, lockName(page));
    return true;
  }

  *lock(page: Page): Task<void> {
    const scheduler = this.#scheduler;
    scheduler.lockOrder?.wanted(scheduler.current, lockName(page));
    while (!this.tryLock(page)) yield this.#waitersOf(page);
  }

  unlock(page: Page): void {
    const flags = this.flags[page]!;
    if ((flags & PG_LOCKED) === 0) {
      throw new SimError('lock-misuse', `page ${page} is not locked`);
    }
    this.flags[page] = flags & (0xffff ^ PG_LOCKED);
    this.#scheduler.lockOrder?.released(this.#scheduler.current, lockName(page));
    if (this.#lockWaiters.size > 0) {
      const waiters = this.#lockWaiters.get(page);
      if (waiters !== undefined) {
        this.#lockWaiters.delete(page);
        waiters.wakeAll();
      }
    }
  }

  /** `unlock` and `put`, as a migration ends for each page. */
  unlockAndPut(page: Page): void {
    const flags = this.flags[page]!;
    if ((flags & PG_LOCKED) === 0 || this.#lockWaiters.size > 0 || this.#scheduler.slowLocks) {
      this.unlock(page);
      this.put(page);
      return;
    }
    const left = this.refcount[page]! - 1;
    this.flags[page] = flags & (0xffff ^ PG_LOCKED);
    this.refcount[page] = left;
    if (left <= 1) this.#putSlowly(page, left);
  }

  /** Sleeps, without a reference, until somebody unlocks the page. */
  *waitUnlocked(page: Page): Task<void> {
    if (!this.isLocked(page)) return;
    const scheduler = this.#scheduler;
    scheduler.lockOrder?.wanted(scheduler.current, lockName(page));
    yield this.#waitersOf(page);
  }

  #waitersOf(page: Page): WaitQueue {
    let waiters = this.#lockWaiters.get(page);
    if (waiters === undefined) {
      waiters = new WaitQueue(
        this.#scheduler,
        () => lockName(page),
        () => this.#lockHolder(page),
        'page_lock',
        'page lock',
      );
      this.#lockWaiters.set(page, waiters);
    }
    return waiters;
  }

  #lockHolder(page: Page): readonly Thread[] {
    return this.#scheduler.threadsWithShortId(this.flags[page]! >>> LOCK_HOLDER_SHIFT);
  }

  // Device regions ---------------------------------------------------------------------------

  /** Rows for a device region of `count` pages; returns the first. */
  addRegion(pagemap: DevPagemap, count: number): Page {
    const rows = Math.ceil(count / SECTION_PAGES) * SECTION_PAGES;
    const first = this.#freeRuns.get(rows)?.pop() ?? this.#takeDeviceRows(rows);
    let id = this.#pagemaps.indexOf(null, 1);
    if (id < 0) id = this.#pagemaps.length;
    this.#pagemaps[id] = pagemap;
    this.#pagemapIdOfSection.fill(id, first >>> SECTION_SHIFT, (first + rows) >>> SECTION_SHIFT);
    // Fresh columns read as zero already; writing would touch memory that may never be used.
    if (this.#freeDevicePageRefs !== 0) {
      this.refcount.fill(this.#freeDevicePageRefs, first, first + count);
    }
    return first;
  }

  /** Takes a region away again; every page of it must be free. */
  removeRegion(first: Page, count: number): void {
    const rows = Math.ceil(count / SECTION_PAGES) * SECTION_PAGES;
    const section = first >>> SECTION_SHIFT;
    this.#pagemaps[this.#pagemapIdOfSection[section]!] = null;
    this.#pagemapIdOfSection.fill(0, section, (first + rows) >>> SECTION_SHIFT);
    // Free pages have no other references.
    if (this.#freeDevicePageRefs !== 0) this.refcount.fill(0, first, first + count);
    for (let page = first; page < first + rows; page += SECTION_PAGES) {
      // Most of a region is never used, and need not be looked at.
      if (this.#driverWords.clearSection(page)) this.mapping.fill(0, page, page + SECTION_PAGES);
    }
    const runs = this.#freeRuns.get(rows);
    if (runs === undefined) this.#freeRuns.set(rows, [first]);
    else runs.push(first);
  }

  /** Rows that have a driver's word each. */
  #takeDeviceRows(count: number): Page {
    const first = this.#takeRows(count);
    this.#driverWords.add(first, count, GROWTH);
    return first;
  }

  #takeRows(count: number): Page {
    const first = this.#rowsUsed;
    const needed = first + count;
    if (needed > ROWS_MAX) {
      throw new SimError('limit', `more than ${ROWS_MAX} pages of RAM and devices together`);
    }
    if (needed > this.refcount.length) {
      const rows = Math.max(needed, this.refcount.length * GROWTH);
      this.#grow(Math.min(ROWS_MAX, roundUp(rows)));
    }
    this.#rowsUsed = needed;
    return first;
  }

  #grow(rows: number): void {
    this.refcount = grown(this.refcount, new Int32Array(rows));
    this.mapcount = grown(this.mapcount, new Uint16Array(rows));
    this.flags = grown(this.flags, new Uint32Array(rows));
    this.mapping = grown(this.mapping, new Uint32Array(rows));
    this.#indexLow = grown(this.#indexLow, new Uint32Array(rows));
    this.frame = grown(this.frame, new Uint32Array(rows));
    const sections = rows / SECTION_PAGES;
    this.#pagemapIdOfSection = grown(this.#pagemapIdOfSection, new Uint16Array(sections));
  }

  #putSlowly(page: Page, left: number): void {
    const pagemap = this.pagemapOf(page);
    const free = pagemap === null ? 0 : this.#freeDevicePageRefs;
    if (left > free) return;
    if (left < free || page === NO_PAGE) {
      throw new SimError('refcount', `page ${page} was put more often than it was taken`, { page });
    }
    if (this.mapcount[page] !== 0) {
      throw new SimError('refcount', `page ${page} was freed while it is mapped`, {
        page,
        mapcount: this.mapcount[page],
      });
    }
    if (this.isLocked(page)) {
      throw new SimError('refcount', `page ${page} was freed while it is locked`, { page });
    }
    this.#onFree(page);
    this.#frames.release(this.frame[page]!);
    this.frame[page] = ZERO_FRAME;
    this.mapping[page] = 0;
    this.flags[page] = 0;
    if (pagemap !== null) {
      pagemap.freePage(page);
      return;
    }
    this.mapping[page] = this.#ramFreeHead;
    this.#ramFreeHead = page;
    this.#ramUsed--;
  }
}

function roundUp(rows: number): number {
  return Math.ceil(rows / SECTION_PAGES) * SECTION_PAGES;
}

function grown<T extends Int32Array | Uint32Array | Uint16Array>(old: T, grownTo: T): T {
  grownTo.set(old as never);
  return grownTo;
}
