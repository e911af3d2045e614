/**
 * First step of setup: which pages of a range take part. This is where the eras differ most.
 * Reference: migrate_vma_collect_pmd in mm/migrate_device.c (6.1), mm/migrate.c (before 5.18).
 */
import type { Era } from '../era.ts';
import type { NotifierRange } from '../hmm/notifier.ts';
import { type Pages, PG_DIRTY } from '../memory/pages.ts';
import type { Mm, StaleTranslation } from '../mm/mm.ts';
import { leafEnd, leafIndex } from '../mm/page-table.ts';
import {
  type Leaf,
  migrationEntry,
  PTE_DEVICE_PRIVATE,
  PTE_DIRTY,
  PTE_KIND,
  PTE_NONE,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_WRITE,
} from '../mm/pte.ts';
import { isAnonExclusive, pageRemoveRmap, pageTryShareAnonRmap } from '../mm/rmap.ts';
import type { Vma } from '../mm/vma.ts';
import { type MaybeTask, PREEMPT, type Task } from '../sched/task.ts';
import { NO_PAGE, type Page, type Vpn } from '../units.ts';
import { lockedByFault } from './fault-page.ts';
import type { MigrateVma } from './migrate-vma.ts';
import {
  MIGRATE_PFN_LOCKED,
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_COHERENT,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  migratePfn,
} from './words.ts';

/** Fills `src` for the whole range and puts migration entries where a page could be locked. */
export function collect(migrate: MigrateVma, vma: Vma): MaybeTask<undefined> {
  const { mm } = vma;
  const { era, scheduler } = mm.kernel;
  const range: NotifierRange = {
    mm,
    start: migrate.start,
    end: migrate.end,
    event: era.migrateEvent ? 'migrate' : 'clear',
    owner: era.migrateEvent ? migrate.pgmapOwner : null,
  };
  const waiting = mm.notifiers.start(range);
  if (waiting !== undefined || scheduler.preempts) {
    return collectSlowly(migrate, vma, range, waiting);
  }
  const last = mm.vpn(migrate.end);
  for (let vpn = mm.vpn(migrate.start); vpn < last; ) {
    const end = leafEnd(vpn, last);
    collectUpTo(migrate, vma, mm.pageTable.leaf(vpn), vpn, end);
    vpn = end;
  }
  mm.notifiers.end(range);
  return undefined;
}

/** The same where a notifier has to wait, or where a search for races looks at every step. */
function* collectSlowly(
  migrate: MigrateVma,
  vma: Vma,
  range: NotifierRange,
  waiting: Task<undefined> | undefined,
): Task<undefined> {
  const { mm } = vma;
  const { era, scheduler } = mm.kernel;
  if (waiting !== undefined) yield* waiting;
  if (scheduler.preempts && scheduler.overtaken('migrate: collect', 0)) yield PREEMPT;
  const last = mm.vpn(migrate.end);
  for (let vpn = mm.vpn(migrate.start); vpn < last; ) {
    const end = leafEnd(vpn, last);
    const leaf = mm.pageTable.leaf(vpn);
    if (leaf === null || !scheduler.preempts) collectUpTo(migrate, vma, leaf, vpn, end);
    else {
      const stale = translationsOf(leaf, leafIndex(vpn), vpn, end);
      collectUpTo(migrate, vma, leaf, vpn, end);
      const flushes = isAnyGone(stale, leaf);
      if (!era.flushesTlbUnderLock) yield* flushLate(mm, stale);
      if (flushes) mm.flushTlb(vpn, end);
    }
    vpn = end;
  }
  mm.notifiers.end(range);
  return undefined;
}

/** [vpn, end) lies in one leaf, which may be missing. */
function collectUpTo(migrate: MigrateVma, vma: Vma, leaf: Leaf | null, vpn: Vpn, end: Vpn): void {
  const { era, pages } = vma.mm.kernel;
  const holes = vma.file === null || era.collectsFileHoles;
  if (leaf === null) collectHole(migrate, end - vpn, holes);
  else {
    const index = leafIndex(vpn);
    collectLeaf(migrate, era, pages, leaf, index, index + end - vpn, holes);
  }
}

/** What the TLBs may hold of the entries of [vpn, end), which begin at `index` of their leaf. */
function translationsOf(leaf: Leaf, index: number, vpn: Vpn, end: Vpn): Map<Vpn, StaleTranslation> {
  const found: Map<Vpn, StaleTranslation> = new Map();
  for (let i = 0; i < end - vpn; i++) {
    const bits = leaf.bits[index + i]!;
    if ((bits & (PTE_KIND | PTE_PROTNONE)) !== PTE_PRESENT) continue;
    const page = leaf.page[index + i]!;
    found.set(vpn + i, { page, writable: (bits & PTE_WRITE) !== 0, concurrent: false });
  }
  return found;
}

/** Some entry of these was taken: then the TLBs are flushed, and of the whole range. */
function isAnyGone(translations: ReadonlyMap<Vpn, StaleTranslation>, leaf: Leaf): boolean {
  for (const vpn of translations.keys()) {
    if (leaf.kind(leafIndex(vpn)) !== PTE_PRESENT) return true;
  }
  return false;
}

/**
 * Until v6.0 the lock on the entries is given back before the TLBs are flushed: for a moment other
 * CPUs go on using entries that are gone. Only a search for races can see that moment.
 */
function* flushLate(mm: Mm, stale: Map<Vpn, StaleTranslation>): Task<void> {
  const { scheduler } = mm.kernel;
  mm.staleTlb.push(stale);
  if (scheduler.overtaken('migrate: TLB flush', stale.size)) yield PREEMPT;
  mm.staleTlb.splice(mm.staleTlb.indexOf(stale), 1);
}

function collectHole(migrate: MigrateVma, count: number, holes: boolean): void {
  const word = holes ? MIGRATE_PFN_MIGRATE : 0;
  const { npages } = migrate;
  migrate.src.fill(word, npages, npages + count);
  migrate.dst.fill(0, npages, npages + count);
  migrate.npages += count;
  if (holes) migrate.cpages += count;
}

function collectLeaf(
  migrate: MigrateVma,
  era: Era,
  pages: Pages,
  leaf: Leaf,
  from: number,
  to: number,
  holes: boolean,
): void {
  const { src, dst } = migrate;
  const { page: entryPages, bits: entryBits } = leaf;
  const system = selectsSystem(migrate, era);
  let { npages, cpages } = migrate;
  for (let at = from; at < to; at++) {
    const bits = entryBits[at]!;
    const kind = bits & PTE_KIND;
    const page = entryPages[at]!;
    let word = 0;
    if (kind === PTE_NONE) word = holes ? MIGRATE_PFN_MIGRATE : 0;
    else if (kind === PTE_PRESENT && page === NO_PAGE) word = system ? MIGRATE_PFN_MIGRATE : 0;
    else if (isSelected(migrate, era, pages, kind, page, system)) {
      word = take(migrate, era, pages, leaf, at, page, bits);
      if (kind === PTE_DEVICE_PRIVATE && era.selection === 'any-owner' && word !== 0) {
        tellTrespass(migrate, pages, page, npages);
      }
    }
    if (word !== 0) cpages++;
    dst[npages] = 0;
    src[npages] = word;
    npages++;
  }
  migrate.npages = npages;
  migrate.cpages = cpages;
}

function selectsSystem(migrate: MigrateVma, era: Era): boolean {
  switch (era.selection) {
    case 'any-owner':
      return true;
    case 'src-owner':
      return migrate.pgmapOwner === null;
    case 'flags':
      return (migrate.flags & MIGRATE_VMA_SELECT_SYSTEM) !== 0;
  }
}

/** The truth table of the eras, for an entry that maps a page. */
function isSelected(
  migrate: MigrateVma,
  era: Era,
  pages: Pages,
  kind: number,
  page: Page,
  system: boolean,
): boolean {
  if (kind === PTE_DEVICE_PRIVATE) {
    const own = pages.pagemapOf(page)!.owner === migrate.pgmapOwner;
    if (era.selection === 'any-owner') return true;
    if (era.selection === 'src-owner') return own;
    return own && (migrate.flags & MIGRATE_VMA_SELECT_DEVICE_PRIVATE) !== 0;
  }
  if (kind !== PTE_PRESENT) return false;
  // page->mapping is NULL only for pages that no rmap walk could find.
  if (pages.mapping[page] === 0) return false;
  if (!pages.isZoneDevice(page)) return system;
  return (
    (migrate.flags & MIGRATE_VMA_SELECT_DEVICE_COHERENT) !== 0 &&
    pages.pagemapOf(page)!.owner === migrate.pgmapOwner
  );
}

/** Until v5.6 nobody asks whose device page it is: facts for whoever wonders what went wrong. */
function tellTrespass(migrate: MigrateVma, pages: Pages, page: Page, at: number): void {
  const { owner } = pages.pagemapOf(page)!;
  if (owner === migrate.owner || owner === migrate.pgmapOwner) return;
  const { mm } = migrate.vma!;
  const va = migrate.start + at * mm.pageSize;
  const by = migrate.owner?.name ?? 'migrate_vma without an owner';
  mm.kernel.trespass({ by, what: 'migrate', page, owner, pid: mm.pid, va });
}

/** Takes a reference and, if it can, the page lock, and leaves a migration entry: the `src` word. */
function take(
  migrate: MigrateVma,
  era: Era,
  pages: Pages,
  leaf: Leaf,
  at: number,
  page: Page,
  bits: number,
): number {
  const write = (bits & PTE_WRITE) !== 0 ? MIGRATE_PFN_WRITE : 0;
  const word = (migratePfn(page) | MIGRATE_PFN_MIGRATE | write) >>> 0;
  // A page that the CPU faults on is locked already, by the fault.
  const isLockedByFault = page === lockedByFault(era, migrate.faultPage);
  if (!isLockedByFault && !pages.tryLock(page)) {
    if (era.dropsLockedInCollect) return 0;
    // The prepare step tries once more; until then the mapping stays.
    pages.get(page);
    return word;
  }
  const exclusive = isAnonExclusive(pages, page);
  if (exclusive && !pageTryShareAnonRmap(pages, page)) {
    if (!isLockedByFault) pages.unlock(page);
    return 0;
  }
  const entry = migrationEntry(bits, exclusive);
  if ((entry & PTE_DIRTY) !== 0 && era.collectKeepsDirty) {
    pages.flags[page] = pages.flags[page]! | PG_DIRTY;
  }
  leaf.bits[at] = entry;
  // The mapping's reference becomes ours, so the count stays.
  pageRemoveRmap(pages, page);
  return era.dropsLockedInCollect ? word : (word | MIGRATE_PFN_LOCKED) >>> 0;
}
