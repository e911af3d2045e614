/**
 * Checks a machine at rest: every count and link that the emulated kernel keeps must agree with the
 * page tables. For tests, fuzzing and whoever writes a driver.
 *
 * The work is proportional to the page tables, the files and the rows of RAM ever used. Rows of
 * devices are looked at one by one only where a count says that some are in use that nothing maps,
 * or on request.
 */
import type { Kernel } from './kernel.ts';
import {
  type Pages,
  PG_ANON,
  PG_ANON_EXCLUSIVE,
  PG_LOCKED,
  PG_LRU,
  PIN_BIAS,
} from './memory/pages.ts';
import type { MemoryFile } from './mm/memory-file.ts';
import type { DevPagemap } from './pagemap/pagemap.ts';
import { NO_PAGE, type Page, type Va } from './units.ts';
import { SpaceCheck } from './verify-mm.ts';

export type FindingCode =
  // Counts of a page.
  | 'mapcount'
  | 'refcount'
  | 'free-page'
  | 'pages-in-use'
  | 'ram-used'
  | 'frame-refs'
  // State of a page.
  | 'page-locked'
  | 'lru'
  | 'pinned-device-page'
  | 'exclusive-page-shared'
  | 'file-cache'
  // Entries.
  | 'entry-outside-vma'
  | 'entry-kind'
  | 'entry-rights'
  | 'migration-entry'
  | 'not-in-rmap'
  // Address spaces.
  | 'rss'
  | 'vma-order'
  | 'vma-links'
  | 'leaf-count'
  | 'stale-tlb'
  | 'notifier'
  | 'lock-held';

/** One thing that is wrong. */
export interface Finding {
  readonly code: FindingCode;
  readonly message: string;
  readonly page?: Page;
  readonly pid?: number;
  readonly va?: Va;
  /** What a number should be, and is. */
  readonly expected?: number;
  readonly found?: number;
}

export interface VerifyOptions {
  /** Look at every row of every device too. */
  readonly full?: boolean;
}

/** How entries use one page. */
export interface PageUse {
  /** Entries that count in its mapcount. */
  mappings: number;
  /** Device-exclusive entries, which hold a reference only. */
  exclusive: number;
}

/** Rows come in sections that belong to RAM or to one device as a whole. */
const SECTION_PAGES = 512;

/**
 * Everything wrong with the kernel's state while no task is running; empty if all is well.
 *
 * @param externalRefs references on pages that no entry and no file holds, such as drivers' own;
 *   a pin counts PIN_BIAS. References on the zero page are not counted.
 */
export function verifyKernel(
  kernel: Kernel,
  externalRefs: ReadonlyMap<Page, number> = new Map(),
  options: VerifyOptions = {},
): Finding[] {
  return new Check(kernel, externalRefs, options.full === true).run();
}

class Check {
  readonly #kernel: Kernel;
  readonly #pages: Pages;
  readonly #externalRefs: ReadonlyMap<Page, number>;
  readonly #full: boolean;
  readonly #findings: Finding[] = [];
  readonly #uses: Map<Page, PageUse> = new Map();
  readonly #files: Set<MemoryFile> = new Set();
  readonly #frameUsers: Map<number, number> = new Map();
  readonly #usedDevicePages: Map<DevPagemap, number> = new Map();

  constructor(kernel: Kernel, externalRefs: ReadonlyMap<Page, number>, full: boolean) {
    this.#kernel = kernel;
    this.#pages = kernel.pages;
    this.#externalRefs = externalRefs;
    this.#full = full;
  }

  run(): Finding[] {
    const spaces = new SpaceCheck(this.#kernel, this.#findings, this.#uses, this.#files);
    for (const mm of this.#kernel.mms) spaces.check(mm);
    spaces.checkAnonVmas();
    this.#checkRam();
    this.#checkDevicePages();
    for (const file of this.#files) this.#checkFile(file);
    this.#checkFrames();
    return this.#findings;
  }

  #add(finding: Finding): void {
    this.#findings.push(finding);
  }

  /** All rows that ever were RAM, in use or not. */
  #checkRam(): void {
    const { refcount, mapcount, flags, frame, rows } = this.#pages;
    const zeroPage = refcount[NO_PAGE]! - 1 + mapcount[NO_PAGE]! + flags[NO_PAGE]!;
    if (zeroPage !== 0 || frame[NO_PAGE] !== 0) {
      this.#add({ code: 'refcount', message: 'the zero page was counted or written', page: 0 });
    }
    let used = 0;
    let page: Page = NO_PAGE + 1;
    while (page < rows) {
      const pagemap = this.#pages.pagemapOf(page);
      if (pagemap !== null) {
        page = roundToSection(pagemap.firstPage + pagemap.pageCount);
        continue;
      }
      const end = Math.min(rows, roundToSection(page + 1));
      for (; page < end; page++) {
        if ((refcount[page]! | mapcount[page]! | flags[page]! | frame[page]!) === 0) continue;
        if (refcount[page] !== 0) {
          used++;
          this.#checkUsedPage(page, null);
        } else this.#checkFreePage(page, 0);
      }
    }
    if (used !== this.#pages.ramUsed) {
      const found = this.#pages.ramUsed;
      const message = `${found} pages of RAM count as used, but ${used} have references`;
      this.#add({ code: 'ram-used', message, expected: used, found });
    }
    // A page that is free may still have users who believe in it.
    for (const [mapped, use] of this.#uses) this.#checkStale(mapped, use);
    for (const held of this.#externalRefs.keys()) {
      if (!this.#uses.has(held)) this.#checkStale(held, UNUSED);
    }
  }

  #checkStale(page: Page, use: PageUse): void {
    const isFree = this.#pages.refcount[page] === 0;
    if (isFree && !this.#pages.isZoneDevice(page)) this.#checkCounts(page, use, 0, 0);
  }

  #checkDevicePages(): void {
    const seen = new Set<Page>();
    for (const page of this.#uses.keys()) if (this.#pages.isZoneDevice(page)) seen.add(page);
    for (const [page, refs] of this.#externalRefs) {
      if (refs > 0 && this.#pages.isZoneDevice(page)) seen.add(page);
    }
    for (const page of seen) {
      const pagemap = this.#pages.pagemapOf(page)!;
      this.#usedDevicePages.set(pagemap, (this.#usedDevicePages.get(pagemap) ?? 0) + 1);
      this.#checkUsedPage(page, pagemap);
    }
    for (const pagemap of this.#kernel.pagemaps) {
      const used = this.#usedDevicePages.get(pagemap) ?? 0;
      const agrees = used === pagemap.pagesInUse;
      if (this.#full || !agrees) this.#checkRegion(pagemap, seen);
      if (!agrees) {
        const found = pagemap.pagesInUse;
        const message = `${found} pages of ${pagemap.name} count as used, but ${used} are`;
        this.#add({ code: 'pages-in-use', message, expected: used, found });
      }
    }
  }

  /** The rows of a device that nothing maps and nobody claims: they must be free. */
  #checkRegion(pagemap: DevPagemap, seen: ReadonlySet<Page>): void {
    const { refcount, mapcount, flags, frame } = this.#pages;
    const free = this.#pages.freeDevicePageRefs;
    const end = pagemap.firstPage + pagemap.pageCount;
    for (let page = pagemap.firstPage; page < end; page++) {
      if (seen.has(page)) continue;
      if (refcount[page]! > free) this.#checkUsedPage(page, pagemap);
      else if (refcount[page] !== free || (mapcount[page]! | flags[page]! | frame[page]!) !== 0) {
        this.#checkFreePage(page, free);
      }
    }
  }

  #checkFreePage(page: Page, freeRefs: number): void {
    const { refcount, mapcount, flags, frame } = this.#pages;
    // Where entries map it, its counts are compared with them instead.
    if (this.#uses.has(page)) return;
    const numbers = [
      `refcount ${refcount[page]} (${freeRefs} if free)`,
      `mapcount ${mapcount[page]}`,
      `flags 0x${flags[page]!.toString(16)}`,
      `frame ${frame[page]}`,
    ];
    const message = `page ${page} is free, yet not clean: ${numbers.join(', ')}`;
    this.#add({ code: 'free-page', message, page });
  }

  #checkUsedPage(page: Page, pagemap: DevPagemap | null): void {
    const { flags, frame, mapping } = this.#pages;
    const use = this.#uses.get(page) ?? UNUSED;
    let cacheRefs = 0;
    const owner = this.#kernel.mappings.byId(mapping[page]!);
    if (owner?.kind === 'file') {
      this.#files.add(owner);
      if (owner.cached(this.#pages.indexOf(page)) === page) cacheRefs = 1;
    }
    this.#checkCounts(page, use, cacheRefs, this.#pages.freeDevicePageRefs);
    this.#checkState(page, use, pagemap, cacheRefs > 0);
    if (frame[page] !== 0) {
      this.#frameUsers.set(frame[page]!, (this.#frameUsers.get(frame[page]!) ?? 0) + 1);
    }
    const entries = use.mappings + use.exclusive;
    if ((flags[page]! & PG_ANON_EXCLUSIVE) !== 0 && entries > 1) {
      const message = `page ${page} is exclusive to one mapping, but ${entries} entries have it`;
      this.#add({ code: 'exclusive-page-shared', message, page, expected: 1, found: entries });
    }
  }

  #checkCounts(page: Page, use: PageUse, cacheRefs: number, freeDeviceRefs: number): void {
    const { refcount, mapcount } = this.#pages;
    if (mapcount[page] !== use.mappings) {
      const found = mapcount[page]!;
      const message = `mapcount of page ${page} is ${found}, but ${use.mappings} entries map it`;
      this.#add({ code: 'mapcount', message, page, expected: use.mappings, found });
    }
    const external = this.#externalRefs.get(page) ?? 0;
    const base = this.#pages.isZoneDevice(page) ? freeDeviceRefs : 0;
    const expected = base + use.mappings + use.exclusive + cacheRefs + external;
    if (refcount[page] !== expected) {
      const parts = [
        `${use.mappings} mappings`,
        `${use.exclusive} exclusive entries`,
        `${cacheRefs} of a file`,
        `${external} held outside`,
        ...(base > 0 ? [`${base} as a device page`] : []),
      ];
      const found = refcount[page]!;
      const message = `refcount of page ${page} is ${found}, expected ${expected}: ${parts.join(', ')}`;
      this.#add({ code: 'refcount', message, page, expected, found });
    }
  }

  #checkState(page: Page, use: PageUse, pagemap: DevPagemap | null, isCached: boolean): void {
    const { flags, refcount } = this.#pages;
    const bits = flags[page]!;
    if ((bits & PG_LOCKED) !== 0) {
      this.#add({ code: 'page-locked', message: `page ${page} is locked, but no task runs`, page });
    }
    if (pagemap === null) {
      const isKernels = this.#pages.mapping[page] === 0;
      if (use.mappings > 0 && !isKernels && (bits & PG_LRU) === 0) {
        this.#add({ code: 'lru', message: `page ${page} is mapped, but not on the LRU`, page });
      }
      return;
    }
    if ((bits & PG_LRU) !== 0) {
      const message = `page ${page} of ${pagemap.name} is on the LRU`;
      this.#add({ code: 'lru', message, page });
    }
    if (pagemap.type === 'private' && refcount[page]! >= PIN_BIAS) {
      const found = refcount[page]!;
      const message = `page ${page} of ${pagemap.name} is pinned: refcount ${found}`;
      this.#add({ code: 'pinned-device-page', message, page, found });
    }
    if (isCached) {
      const message = `page ${page} of ${pagemap.name} is in the cache of a file`;
      this.#add({ code: 'file-cache', message, page });
    }
  }

  /** Each page of a file's cache must lead back to its place there. */
  #checkFile(file: MemoryFile): void {
    const { flags, mapping } = this.#pages;
    for (const [offset, page] of file.cache) {
      const isItsOwn = mapping[page] === file.id && this.#pages.indexOf(page) === offset;
      if (isItsOwn && (flags[page]! & PG_ANON) === 0 && offset < file.pageCount) continue;
      const place = `mapping ${mapping[page]}, index ${this.#pages.indexOf(page)}`;
      const message = `file ${file.id} has page ${page} at ${offset}, but the page says ${place}`;
      this.#add({ code: 'file-cache', message, page });
    }
  }

  #checkFrames(): void {
    const { frames } = this.#kernel;
    for (const [frame, users] of this.#frameUsers) {
      const found = frames.refs[frame]!;
      if (found === users) continue;
      const message = `frame ${frame} has ${found} references, but ${users} pages share it`;
      this.#add({ code: 'frame-refs', message, expected: users, found });
    }
    const expected = this.#frameUsers.size;
    if (frames.used !== expected) {
      const found = frames.used;
      const message = `${found} frames are in use, but pages have ${expected}`;
      this.#add({ code: 'frame-refs', message, expected, found });
    }
  }
}

const UNUSED: PageUse = { mappings: 0, exclusive: 0 };

function roundToSection(page: Page): Page {
  return Math.ceil(page / SECTION_PAGES) * SECTION_PAGES;
}
