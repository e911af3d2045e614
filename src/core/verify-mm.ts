/** The part of `verifyKernel` that looks at address spaces: VMAs, entries and notifiers. */
import type { Kernel } from './kernel.ts';
import { type Pages, PG_ANON, PG_ANON_EXCLUSIVE } from './memory/pages.ts';
import type { AnonVma } from './mm/anon-vma.ts';
import type { MemoryFile } from './mm/memory-file.ts';
import type { Mm } from './mm/mm.ts';
import { leafIndex } from './mm/page-table.ts';
import {
  type Leaf,
  PTE_DEVICE_EXCLUSIVE,
  PTE_DEVICE_PRIVATE,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_WRITE,
} from './mm/pte.ts';
import { VM_ACCESS_FLAGS, VM_MIXEDMAP, VM_SHARED, VM_WRITE, type Vma } from './mm/vma.ts';
import { hex, NO_PAGE, type Page, type Va, type Vpn } from './units.ts';
import type { Finding, FindingCode, PageUse } from './verify.ts';

const KIND_NAMES: readonly string[] = ['none', 'present', 'migration', 'private', 'exclusive'];

export class SpaceCheck {
  readonly #pages: Pages;
  readonly #kernel: Kernel;
  readonly #findings: Finding[];
  readonly #uses: Map<Page, PageUse>;
  readonly #files: Set<MemoryFile>;
  /** The VMAs each anon_vma and file lists, so that asking is cheap. */
  readonly #listed: Map<AnonVma | MemoryFile, Set<Vma>> = new Map();
  /** VMAs whose own anon_vma it is. */
  readonly #active: Map<AnonVma, number> = new Map();
  #mm: Mm | null = null;
  #rssAnon = 0;
  #rssFile = 0;

  constructor(
    kernel: Kernel,
    findings: Finding[],
    uses: Map<Page, PageUse>,
    files: Set<MemoryFile>,
  ) {
    this.#kernel = kernel;
    this.#pages = kernel.pages;
    this.#findings = findings;
    this.#uses = uses;
    this.#files = files;
  }

  check(mm: Mm): void {
    this.#mm = mm;
    this.#checkVmas(mm);
    this.#checkEntries(mm);
    this.#checkTlb(mm);
    this.#checkNotifiers(mm);
    if (mm.mmapLock.locked) {
      this.#add('lock-held', 'mmap_lock is held, but no task runs', { pid: mm.pid });
    }
  }

  /** After all address spaces. */
  checkAnonVmas(): void {
    for (const [anonVma, expected] of this.#active) {
      const found = anonVma.activeVmas;
      if (found === expected) continue;
      const message = `anon_vma ${anonVma.id} counts ${found} VMAs as its own, but has ${expected}`;
      this.#add('vma-links', message, { expected, found });
    }
  }

  #add(code: FindingCode, message: string, where: Omit<Finding, 'code' | 'message'>): void {
    const who = this.#mm === null || where.pid === undefined ? '' : `process ${where.pid}: `;
    this.#findings.push({ code, message: who + message, ...where });
  }

  #checkVmas(mm: Mm): void {
    const { pid, pageSize } = mm;
    let end = 0;
    for (const vma of mm.vmas) {
      const { start } = vma;
      if (start < end || vma.end <= start || (start % pageSize) + (vma.end % pageSize) !== 0) {
        const bounds = `${hex(start)} to ${hex(vma.end)}`;
        const message = `the VMA ${bounds} is empty, not aligned, or overlaps the one before it`;
        this.#add('vma-order', message, { pid, va: start });
      }
      end = vma.end;
      const { anonVma, file } = vma;
      if (file !== null) this.#files.add(file);
      const isLinked =
        vma.mm === mm &&
        (file === null || this.#isListed(file, vma)) &&
        (anonVma === null ? vma.chain.length === 0 : vma.chain.includes(anonVma)) &&
        vma.chain.every((one) => this.#isListed(one, vma));
      if (!isLinked) {
        const message = `the VMA at ${hex(start)} is not linked to its file or anon_vmas`;
        this.#add('vma-links', message, { pid, va: start });
      }
      if (anonVma !== null) this.#active.set(anonVma, (this.#active.get(anonVma) ?? 0) + 1);
    }
  }

  #isListed(mapping: AnonVma | MemoryFile, vma: Vma): boolean {
    let vmas = this.#listed.get(mapping);
    if (vmas === undefined) {
      vmas = new Set(mapping.vmas);
      this.#listed.set(mapping, vmas);
    }
    return vmas.has(vma);
  }

  #checkEntries(mm: Mm): void {
    const { pid } = mm;
    this.#rssAnon = 0;
    this.#rssFile = 0;
    let leaves = 0;
    mm.pageTable.forEachLeaf((leaf, firstVpn) => {
      leaves++;
      this.#checkLeaf(mm, leaf, firstVpn);
    });
    if (leaves !== mm.pageTable.leafCount) {
      const found = mm.pageTable.leafCount;
      const message = `the page table counts ${found} leaves, but has ${leaves}`;
      this.#add('leaf-count', message, { pid, expected: leaves, found });
    }
    this.#checkRss('anonymous', mm.rssAnon, this.#rssAnon);
    this.#checkRss('file', mm.rssFile, this.#rssFile);
  }

  #checkRss(what: string, found: number, expected: number): void {
    if (found === expected) return;
    const message = `${found} ${what} pages count as resident, but ${expected} are`;
    this.#add('rss', message, { pid: this.#mm!.pid, expected, found });
  }

  /** What a TLB remembers must be what a walk of the table would find. */
  #checkTlb(mm: Mm): void {
    const { frame: frames } = this.#pages;
    mm.tlb.forEach((vpn, frame, canStore) => {
      const leaf = mm.pageTable.leaf(vpn);
      const bits = leaf?.bits[leafIndex(vpn)] ?? 0;
      const page = leaf?.page[leafIndex(vpn)] ?? NO_PAGE;
      const loads = (bits & (PTE_KIND | PTE_PROTNONE)) === PTE_PRESENT && frames[page] === frame;
      const stores = (bits & PTE_WRITE) !== 0 && this.#kernel.frames.refs[frame] === 1;
      if (loads && (stores || !canStore)) return;
      const va = mm.va(vpn);
      const message = `a TLB remembers ${hex(va)}${loads ? ' as writable' : ''}, wrongly`;
      this.#add('stale-tlb', message, { pid: mm.pid, va, page });
    });
  }

  #checkLeaf(mm: Mm, leaf: Leaf, firstVpn: Vpn): void {
    const { bits } = leaf;
    let vma: Vma | null = null;
    for (let at = 0; at < bits.length; at++) {
      if (bits[at] === 0) continue;
      const va = mm.va(firstVpn + at);
      if (vma === null || va >= vma.end) vma = mm.vmas.firstEndingAfter(va);
      this.#checkEntry(mm, vma === null || vma.start > va ? null : vma, va, leaf, at);
    }
  }

  #checkEntry(mm: Mm, vma: Vma | null, va: Va, leaf: Leaf, at: number): void {
    const { pid } = mm;
    const page = leaf.page[at]!;
    const bits = leaf.bits[at]!;
    const kind = bits & PTE_KIND;
    if (vma === null) {
      const message = `${hex(va)} has a ${KIND_NAMES[kind]} entry, but no VMA`;
      this.#add('entry-outside-vma', message, { pid, va, page });
    }
    if (kind === PTE_PRESENT && page === NO_PAGE) {
      if ((bits & PTE_WRITE) !== 0) {
        this.#add('entry-rights', `the zero page is writable at ${hex(va)}`, { pid, va, page });
      }
      return;
    }
    this.#checkKind(mm, va, page, kind);
    if ((this.#pages.flags[page]! & PG_ANON) !== 0) this.#rssAnon++;
    else this.#rssFile++;
    if (kind === PTE_MIGRATION) {
      const message = `${hex(va)} waits for a migration of page ${page}, but no task runs`;
      this.#add('migration-entry', message, { pid, va, page });
      return;
    }
    this.#count(page, kind);
    if (vma !== null) {
      this.#checkRights(mm, vma, va, page, bits);
      this.#checkRmap(mm, vma, va, page);
    }
  }

  #count(page: Page, kind: number): void {
    let use = this.#uses.get(page);
    if (use === undefined) {
      use = { mappings: 0, exclusive: 0 };
      this.#uses.set(page, use);
    }
    if (kind === PTE_DEVICE_EXCLUSIVE) use.exclusive++;
    else use.mappings++;
  }

  #checkKind(mm: Mm, va: Va, page: Page, kind: number): void {
    const isPrivate = this.#pages.isDevicePrivate(page);
    const fits =
      kind === PTE_MIGRATION ||
      (kind === PTE_DEVICE_PRIVATE && isPrivate) ||
      (kind === PTE_PRESENT && !isPrivate) ||
      (kind === PTE_DEVICE_EXCLUSIVE && !isPrivate);
    if (fits && page !== NO_PAGE && page < this.#pages.rows) return;
    const message = `${hex(va)} has page ${page} in an entry of the wrong kind, ${kind}`;
    this.#add('entry-kind', message, { pid: mm.pid, va, page });
  }

  #checkRights(mm: Mm, vma: Vma, va: Va, page: Page, bits: number): void {
    const { pid } = mm;
    const flags = this.#pages.flags[page]!;
    if ((bits & PTE_WRITE) !== 0 && (vma.flags & VM_WRITE) === 0) {
      this.#add('entry-rights', `${hex(va)} is writable, its VMA is not`, { pid, va, page });
    }
    const isProtNone = (bits & PTE_PROTNONE) !== 0;
    if ((bits & PTE_KIND) === PTE_PRESENT && isProtNone !== ((vma.flags & VM_ACCESS_FLAGS) === 0)) {
      const message = `${hex(va)} is ${isProtNone ? 'closed' : 'open'} to all access, its VMA not`;
      this.#add('entry-rights', message, { pid, va, page });
    }
    if (
      this.#kernel.era.anonExclusive &&
      (bits & PTE_WRITE) !== 0 &&
      (flags & PG_ANON) !== 0 &&
      (flags & PG_ANON_EXCLUSIVE) === 0
    ) {
      const message = `${hex(va)} is writable, but its anonymous page ${page} is not exclusive`;
      this.#add('entry-rights', message, { pid, va, page });
    }
  }

  /** Would a walk of the page's reverse map come to this entry? */
  #checkRmap(mm: Mm, vma: Vma, va: Va, page: Page): void {
    const { pid } = mm;
    const { mapping, flags } = this.#pages;
    // A page that a driver put there with vm_insert_page has no reverse map.
    if ((vma.flags & VM_MIXEDMAP) !== 0 && mapping[page] === 0) return;
    const owner = this.#kernel.mappings.byId(mapping[page]!);
    const isAnon = (flags[page]! & PG_ANON) !== 0;
    const isKnown =
      owner !== null &&
      (owner.kind === 'file'
        ? !isAnon && owner === vma.file && owner.cached(this.#pages.indexOf(page)) === page
        : isAnon && (vma.flags & VM_SHARED) === 0 && vma.chain.includes(owner));
    if (isKnown && this.#pages.indexOf(page) === vma.pgoffOf(va)) return;
    const place = `${owner?.kind ?? 'nothing'} ${mapping[page]} at ${this.#pages.indexOf(page)}`;
    const message = `page ${page} at ${hex(va)} is not found from its reverse map, ${place}`;
    this.#add('not-in-rmap', message, { pid, va, page });
  }

  #checkNotifiers(mm: Mm): void {
    const { pid, notifiers } = mm;
    const { invalidateSeq, activeInvalidations: active } = notifiers;
    if ((invalidateSeq & 1) !== 0 || active !== 0) {
      const message = `an invalidation runs (${active}, sequence ${invalidateSeq}), but no task`;
      this.#add('notifier', message, { pid, expected: 0, found: active });
    }
    for (const interval of notifiers.intervals) {
      if ((interval.invalidateSeq & 1) !== 0 && interval.mm === mm) continue;
      const { name } = interval.ops;
      const message = `the interval of ${name} has sequence ${interval.invalidateSeq}, not odd`;
      this.#add('notifier', message, { pid, found: interval.invalidateSeq });
    }
  }
}
