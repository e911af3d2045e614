/**
 * Reverse maps: from a page to every entry that maps it, in all address spaces.
 *
 * Reference: mm/rmap.c and mm/migrate.c of Linux 6.1. Adding and removing here keeps the page's
 * mapcount and what kind of page it is; references and entries are the caller's.
 */
import type { NotifierRange } from '../hmm/notifier.ts';
import type { Kernel } from '../kernel.ts';
import { type Pages, PG_ANON, PG_ANON_EXCLUSIVE, PG_DIRTY } from '../memory/pages.ts';
import type { MaybeTask, Task } from '../sched/task.ts';
import type { Page, Va } from '../units.ts';
import { anonVmaPrepare } from './anon-vma.ts';
import { leafIndex } from './page-table.ts';
import {
  type Leaf,
  migrationEntry,
  PTE_DEVICE_PRIVATE,
  PTE_DIRTY,
  PTE_EXCLUSIVE,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_WRITE,
} from './pte.ts';
import { VM_WRITE, type Vma } from './vma.ts';

export function isAnon(pages: Pages, page: Page): boolean {
  return (pages.flags[page]! & PG_ANON) !== 0;
}

export function isAnonExclusive(pages: Pages, page: Page): boolean {
  return (pages.flags[page]! & PG_ANON_EXCLUSIVE) !== 0;
}

/** A new page gets its first mapping: page_add_new_anon_rmap. */
export function pageAddNewAnonRmap(vma: Vma, page: Page, va: Va): void {
  const { pages, kernel } = vma.mm;
  pages.mapping[page] = anonVmaPrepare(kernel.mappings, vma).id;
  pages.setIndex(page, vma.pgoffOf(va));
  pages.flags[page] =
    pages.flags[page]! | PG_ANON | (kernel.era.anonExclusive ? PG_ANON_EXCLUSIVE : 0);
  pages.mapcount[page] = 1;
}

/** One more entry maps an anonymous page: page_add_anon_rmap. */
export function pageAddAnonRmap(vma: Vma, page: Page, exclusive: boolean): void {
  const { pages } = vma.mm;
  pages.addMapping(page);
  if (exclusive && vma.mm.kernel.era.anonExclusive) {
    pages.flags[page] = pages.flags[page]! | PG_ANON_EXCLUSIVE;
  }
}

/** page_add_file_rmap. */
export function pageAddFileRmap(pages: Pages, page: Page): void {
  pages.addMapping(page);
}

/** page_remove_rmap. */
export function pageRemoveRmap(pages: Pages, page: Page): void {
  pages.mapcount[page] = pages.mapcount[page]! - 1;
  pages.tlbs.flush();
}

/**
 * fork maps an anonymous page in the child too: page_try_dup_anon_rmap. Returns false, and does
 * nothing, where the page may be pinned, so that the child needs a copy.
 */
export function pageTryDupAnonRmap(vma: Vma, page: Page): boolean {
  const { pages, kernel } = vma.mm;
  const flags = pages.flags[page]!;
  const asks = kernel.era.anonExclusive ? (flags & PG_ANON_EXCLUSIVE) !== 0 : true;
  if (asks) {
    const needsCopy =
      vma.isCow && vma.mm.hasPinned && pages.maybePinned(page) && !pages.isDevicePrivate(page);
    if (needsCopy) return false;
    pages.flags[page] = flags & ~PG_ANON_EXCLUSIVE;
  }
  pages.addMapping(page);
  return true;
}

/** Gives up exclusivity before a migration: page_try_share_anon_rmap. False where it may be pinned. */
export function pageTryShareAnonRmap(pages: Pages, page: Page): boolean {
  if (pages.maybePinned(page) && !pages.isDevicePrivate(page)) return false;
  pages.flags[page] = pages.flags[page]! & ~PG_ANON_EXCLUSIVE;
  return true;
}

/** The only mapping left takes the page over: page_move_anon_rmap. */
export function pageMoveAnonRmap(vma: Vma, page: Page): void {
  const { pages, kernel } = vma.mm;
  pages.mapping[page] = anonVmaPrepare(kernel.mappings, vma).id;
  if (kernel.era.anonExclusive) pages.flags[page] = pages.flags[page]! | PG_ANON_EXCLUSIVE;
}

/** Where `vma` maps the page, if it does: vma_address. */
export function pageVa(vma: Vma, page: Page): Va {
  return vma.start + (vma.mm.pages.indexOf(page) - vma.pgoff) * vma.mm.pageSize;
}

/** VMAs that may map the page, in the order in which the kernel's rmap_walk visits them. */
export function rmapVmas(kernel: Kernel, page: Page): Vma[] {
  const mapping = kernel.mappings.byId(kernel.pages.mapping[page]!);
  if (mapping === null) return [];
  const index = kernel.pages.indexOf(page);
  const found: Vma[] = [];
  for (const vma of mapping.vmas) if (covers(vma, index)) found.push(vma);
  return found;
}

function covers(vma: Vma, index: number): boolean {
  return index >= vma.pgoff && index < vma.pgoff + vma.pages;
}

/**
 * Replaces every mapping of a locked page by a migration entry: try_to_migrate. Mappings of pinned
 * pages stay; look at the mapcount afterwards. Sends MMU_NOTIFY_CLEAR to each address space.
 */
export function tryToMigrate(kernel: Kernel, page: Page): MaybeTask<undefined> {
  return migrateMappings(page, rmapVmas(kernel, page), 0);
}

/** From the VMA in place `first` on: at once, unless somebody who is told has to sleep. */
function migrateMappings(page: Page, vmas: readonly Vma[], first: number): MaybeTask<undefined> {
  for (let i = first; i < vmas.length; i++) {
    const { mm } = vmas[i]!;
    const va = pageVa(vmas[i]!, page);
    const range: NotifierRange = {
      mm,
      start: va,
      end: va + mm.pageSize,
      event: 'clear',
      owner: null,
    };
    const waiting = mm.notifiers.start(range);
    if (waiting !== undefined) return migrateMappingsLater(page, vmas, i, range, waiting);
    if (!migrateMapping(range, page)) return undefined;
  }
  return undefined;
}

function* migrateMappingsLater(
  page: Page,
  vmas: readonly Vma[],
  at: number,
  range: NotifierRange,
  waiting: Task<undefined>,
): Task<undefined> {
  yield* waiting;
  if (!migrateMapping(range, page)) return undefined;
  const rest = migrateMappings(page, vmas, at + 1);
  if (rest !== undefined) yield* rest;
  return undefined;
}

/** The one at the start of `range`, of which everybody was told. False: there is no need to go on. */
function migrateMapping(range: NotifierRange, page: Page): boolean {
  const { mm, start } = range;
  const { pages } = mm;
  const vpn = mm.vpn(start);
  const leaf = mm.pageTable.leaf(vpn);
  let stays = false;
  if (leaf?.maps(leafIndex(vpn), page)) {
    stays = !replaceByMigrationEntry(pages, leaf, leafIndex(vpn), page);
  }
  mm.notifiers.end(range);
  return !stays && pages.mapcount[page] !== 0;
}

/**
 * One mapping becomes a migration entry of the same rights. False, with nothing changed, where the
 * page is exclusive and may be pinned. Drops the mapping's reference: the caller must hold another.
 */
export function replaceByMigrationEntry(
  pages: Pages,
  leaf: Leaf,
  index: number,
  page: Page,
): boolean {
  const exclusive = isAnonExclusive(pages, page);
  if (exclusive && !pageTryShareAnonRmap(pages, page)) return false;
  const entry = migrationEntry(leaf.bits[index]!, exclusive);
  if ((entry & PTE_DIRTY) !== 0) pages.flags[page] = pages.flags[page]! | PG_DIRTY;
  leaf.bits[index] = entry;
  pageRemoveRmap(pages, page);
  pages.put(page);
  return true;
}

/**
 * Turns the migration entries of `from` into mappings of `to`, which is `from` itself where the
 * migration failed: remove_migration_ptes. `to` carries the index and mapping already.
 */
export function removeMigrationPtes(kernel: Kernel, from: Page, to: Page): void {
  const { pages } = kernel;
  const mapping = kernel.mappings.byId(pages.mapping[to]!);
  if (mapping === null) return;
  const index = pages.indexOf(to);
  const { vmas } = mapping;
  // Nothing here sleeps, so the list cannot change under the walk.
  for (let i = 0; i < vmas.length; i++) {
    const vma = vmas[i]!;
    if (!covers(vma, index)) continue;
    const { mm } = vma;
    const vpn = mm.vpn(pageVa(vma, to));
    const leaf = mm.pageTable.leaf(vpn);
    if (leaf === null) continue;
    const at = leafIndex(vpn);
    if ((leaf.bits[at]! & PTE_KIND) !== PTE_MIGRATION || leaf.page[at] !== from) continue;
    restore(vma, leaf, at, to);
    const { events } = kernel;
    if (from !== to && events.listening) {
      events.ownerChange(mm, mm.va(vpn), to, pages.homeOf(from), pages.homeOf(to));
    }
  }
}

/**
 * The mapping whose pages `vma` alone may map, or 0: what it finds of them at their address need not be
 * looked for elsewhere.
 */
export function exclusiveMappingOf(vma: Vma): number {
  const { anonVma } = vma;
  return anonVma !== null && anonVma.vmas.length === 1 ? anonVma.id : 0;
}

/**
 * `removeMigrationPtes` where it is known already which entry it will find: entry `at` of `leaf`, for a
 * page with this mapping and index. False, with nothing done, where that is not so.
 */
export function removeMigrationPte(
  vma: Vma,
  leaf: Leaf,
  at: number,
  from: Page,
  to: Page,
  mapping: number,
  index: number,
): boolean {
  const { pages } = vma.mm;
  if (pages.mapping[to] !== mapping || pages.indexOf(to) !== index) return false;
  if ((leaf.bits[at]! & PTE_KIND) !== PTE_MIGRATION || leaf.page[at] !== from) return false;
  restore(vma, leaf, at, to);
  return true;
}

/** remove_migration_pte: rights come from the VMA as it is now and from the migration entry. */
function restore(vma: Vma, leaf: Leaf, at: number, page: Page): void {
  const { mm } = vma;
  const { pages } = mm;
  const entry = leaf.bits[at]!;
  const flags = pages.flags[page]!;
  const isWritable = (entry & PTE_WRITE) !== 0 && (vma.flags & VM_WRITE) !== 0;
  pages.refcount[page] = pages.refcount[page]! + 1;
  pages.addMapping(page);
  if (
    (flags & PG_ANON) !== 0 &&
    (entry & (PTE_WRITE | PTE_EXCLUSIVE)) !== 0 &&
    mm.kernel.era.anonExclusive
  ) {
    pages.flags[page] = flags | PG_ANON_EXCLUSIVE;
  }
  leaf.page[at] = page;
  if (pages.isDevicePrivate(page)) {
    leaf.bits[at] = PTE_DEVICE_PRIVATE | (isWritable ? PTE_WRITE : 0);
    return;
  }
  let bits = vma.pageProt & ~PTE_WRITE;
  if (isWritable) bits |= PTE_WRITE;
  if ((entry & PTE_DIRTY) !== 0 && (flags & PG_DIRTY) !== 0) bits |= PTE_DIRTY;
  leaf.bits[at] = bits;
}
