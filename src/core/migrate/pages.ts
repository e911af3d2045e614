/**
 * Moving the identity of pages: what they belong to, where, and their flags. Contents are the
 * driver's job. Reference: __migrate_device_pages and migrate_vma_insert_page in
 * mm/migrate_device.c, folio_migrate_mapping in mm/migrate.c, of Linux 6.1.
 */
import type { NotifierRange } from '../hmm/notifier.ts';
import type { Kernel } from '../kernel.ts';
import { PG_ANON, PG_DIRTY, PG_LRU } from '../memory/pages.ts';
import type { MemoryFile } from '../mm/memory-file.ts';
import { leafIndex } from '../mm/page-table.ts';
import {
  PTE_DEVICE_PRIVATE,
  PTE_DIRTY,
  PTE_KIND,
  PTE_NONE,
  PTE_PRESENT,
  PTE_WRITE,
} from '../mm/pte.ts';
import { isAnon, pageAddNewAnonRmap } from '../mm/rmap.ts';
import { VM_WRITE, type Vma } from '../mm/vma.ts';
import { after, type MaybeTask } from '../sched/task.ts';
import { NO_PAGE, type Page, type Va } from '../units.ts';
import type { MigrateVma } from './migrate-vma.ts';
import { MIGRATE_PFN_MIGRATE, migratePfnPage } from './words.ts';

/** @param migrate null for migrations by page instead of by address */
export function movePages(
  kernel: Kernel,
  src: Uint32Array,
  dst: Uint32Array,
  count: number,
  migrate: MigrateVma | null,
): MaybeTask<undefined> {
  const hole = moveFrom(kernel, src, dst, 0, count, migrate, false);
  if (hole === count) return undefined;
  const { era, scheduler } = kernel;
  const { mm } = migrate!.vma!;
  const range: NotifierRange = {
    mm,
    start: migrate!.start + hole * kernel.pageSize,
    end: migrate!.end,
    event: era.migrateEvent ? 'migrate' : 'clear',
    owner: era.migrateEvent ? migrate!.pgmapOwner : null,
  };
  const told = after(mm.notifiers.start(range), () =>
    scheduler.preempts ? scheduler.choicePoint('migrate: insert', hole) : undefined,
  );
  return after(told, () => {
    moveFrom(kernel, src, dst, hole, count, migrate, true);
    mm.notifiers.end(range);
    return undefined;
  });
}

/**
 * Moves pages from entry `first` on. Returns the first hole that is to be filled, or `count`; with
 * `fills` it fills those, too.
 */
function moveFrom(
  kernel: Kernel,
  src: Uint32Array,
  dst: Uint32Array,
  first: number,
  count: number,
  migrate: MigrateVma | null,
  fills: boolean,
): number {
  const faultPage = migrate === null ? NO_PAGE : migrate.faultPage;
  for (let i = first; i < count; i++) {
    const word = src[i]!;
    const to = migratePfnPage(dst[i]!);
    const from = migratePfnPage(word);
    if (to === NO_PAGE) src[i] = word & ~MIGRATE_PFN_MIGRATE;
    else if (from !== NO_PAGE) {
      if (!moveIdentity(kernel, from, to, from === faultPage ? 1 : 0)) {
        src[i] = word & ~MIGRATE_PFN_MIGRATE;
      }
    } else if ((word & MIGRATE_PFN_MIGRATE) !== 0 && migrate !== null) {
      if (!fills) return i;
      const va = migrate.start + i * kernel.pageSize;
      src[i] = insertPage(migrate.vma!, va, to) ? MIGRATE_PFN_MIGRATE : word & ~MIGRATE_PFN_MIGRATE;
    }
  }
  return count;
}

/**
 * migrate_folio. False, with nothing changed, where the destination cannot take the page or somebody
 * holds a reference on it.
 */
function moveIdentity(kernel: Kernel, from: Page, to: Page, extraRefs: number): boolean {
  const { pages, mappings, era } = kernel;
  // The anon_vma of a page that is held but no longer mapped may be gone, its number reused.
  const mapping = isAnon(pages, from) ? null : mappings.byId(pages.mapping[from]!);
  const file: MemoryFile | null = mapping !== null && mapping.kind === 'file' ? mapping : null;
  // Pages of files cannot live in device memory.
  if (file !== null && pages.isZoneDevice(to)) return false;
  // Before v6.1 a device page has one reference of its own beside the migration's.
  const base = pages.isZoneDevice(from) ? era.freeDevicePageRefs : 0;
  const expected = 1 + base + extraRefs + (file !== null ? 1 : 0);
  if (pages.refcount[from] !== expected) return false;
  pages.copyIdentity(to, from, PG_DIRTY | PG_ANON);
  if (file !== null) {
    file.replace(pages.indexOf(to), to);
    pages.get(to);
    pages.put(from);
  }
  return true;
}

/** Maps `page` where nothing or the zero page is: migrate_vma_insert_page. False: it could not. */
function insertPage(vma: Vma, va: Va, page: Page): boolean {
  const { mm } = vma;
  const { pages } = mm;
  if (vma.file !== null) return false;
  const vpn = mm.vpn(va);
  const leaf = mm.allocLeaf(vpn);
  if (leaf === null) return false;
  const at = leafIndex(vpn);
  const kind = leaf.bits[at]! & PTE_KIND;
  const replaceable = kind === PTE_NONE || (kind === PTE_PRESENT && leaf.page[at] === NO_PAGE);
  if (!replaceable) return false;
  const writable = (vma.flags & VM_WRITE) !== 0;
  mm.addRss(true, 1);
  pageAddNewAnonRmap(vma, page, va);
  if (!pages.isZoneDevice(page)) pages.flags[page] = pages.flags[page]! | PG_LRU;
  pages.get(page);
  if (pages.isDevicePrivate(page)) {
    leaf.set(at, page, PTE_DEVICE_PRIVATE | (writable ? PTE_WRITE : 0));
  } else leaf.set(at, page, vma.pageProt | (writable ? PTE_WRITE | PTE_DIRTY : 0));
  const { events } = mm.kernel;
  if (events.listening) {
    events.ownerChange(mm, va, page, null, pages.homeOf(page));
  }
  return true;
}
