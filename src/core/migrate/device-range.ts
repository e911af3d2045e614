/**
 * Migration by page instead of by address: for drivers that must empty their memory without knowing
 * who maps it. Reference: mm/migrate_device.c of Linux 6.1.
 */
import { EBUSY } from '../errno.ts';
import type { MigrateCause, MigrateInfo } from '../events/types.ts';
import type { Kernel } from '../kernel.ts';
import { PREEMPT, settle, type Task } from '../sched/task.ts';
import { NO_PAGE, type Page } from '../units.ts';
import { chargeCollectPages, chargeFinalize, chargeMove, chargeUnmap } from './cost.ts';
import { digestWords } from './digest.ts';
import { finalizePages } from './finalize.ts';
import { countArrived, tellWords } from './outcome.ts';
import { movePages } from './pages.ts';
import { unmapPages } from './unmap.ts';
import { MIGRATE_PFN_MIGRATE, migratePfn } from './words.ts';

/**
 * migrate_device_range: locks and unmaps every used page of [first, first + count). `src` gets a
 * word a page: 0 for pages that are free, locked by others or held by others. Returns 0.
 */
export function* migrateDeviceRange(
  kernel: Kernel,
  src: Uint32Array,
  first: Page,
  count: number,
): Task<number> {
  const { pages } = kernel;
  const { refcount } = pages;
  const { events } = kernel;
  const info = events.listening ? beginEvent(kernel, src, first, count, 'evict') : null;
  if (info !== null) events.migratePhase(info, 'collect', 'begin');
  const free = pages.freeDevicePageRefs;
  for (let i = 0; i < count; i++) {
    const page = first + i;
    if (refcount[page]! <= free) src[i] = 0;
    else if (!pages.tryLock(page)) src[i] = 0;
    else {
      pages.get(page);
      src[i] = (migratePfn(page) | MIGRATE_PFN_MIGRATE) >>> 0;
    }
  }
  if (info !== null) {
    events.migratePhase(info, 'collect', 'end');
    events.migratePhase(info, 'unmap', 'begin');
  }
  const { scheduler } = kernel;
  if (scheduler.preempts && scheduler.overtaken('migrate: unmap', digestWords(src, null, count, 0)))
    yield PREEMPT;
  if (kernel.timing !== null) {
    chargeCollectPages(kernel, src, count);
    chargeUnmap(kernel, src, count);
  }
  const selected = yield* settle(unmapPages(kernel, src, count, NO_PAGE));
  if (scheduler.owing) yield* scheduler.pay();
  if (scheduler.preempts && scheduler.overtaken('migrate: copy', digestWords(src, null, count, 0)))
    yield PREEMPT;
  if (info !== null) {
    events.migratePhase(info, 'unmap', 'end');
    if (selected === 0) endEvent(kernel, src, 0, 0);
    else events.migratePhase(info, 'alloc_copy', 'begin');
  }
  return 0;
}

function beginEvent(
  kernel: Kernel,
  src: Uint32Array,
  first: Page,
  count: number,
  cause: MigrateCause,
): MigrateInfo | null {
  const pagemap = kernel.pages.pagemapOf(first);
  if (pagemap === null) return null;
  const start = pagemap.start + (first - pagemap.firstPage) * kernel.pageSize;
  const end = start + count * kernel.pageSize;
  const { owner } = pagemap;
  const info: MigrateInfo = { mm: null, start, end, pages: count, owner, cause };
  kernel.deviceMigrations.set(src, info);
  kernel.events.migrateBegin(info);
  return info;
}

function endEvent(kernel: Kernel, src: Uint32Array, selected: number, migrated: number): void {
  const info = kernel.deviceMigrations.get(src);
  if (info === undefined) return;
  kernel.deviceMigrations.delete(src);
  kernel.events.migrateEnd(info, selected, migrated);
}

/** migrate_device_pages. */
export function* migrateDevicePages(
  kernel: Kernel,
  src: Uint32Array,
  dst: Uint32Array,
  count: number,
): Task<void> {
  const { scheduler } = kernel;
  if (scheduler.preempts && scheduler.overtaken('migrate: pages', digestWords(src, dst, count, 0)))
    yield PREEMPT;
  const info = kernel.deviceMigrations.get(src);
  if (info !== undefined) {
    kernel.events.migratePhase(info, 'alloc_copy', 'end');
    kernel.events.migratePhase(info, 'pages', 'begin');
  }
  if (kernel.timing !== null) chargeMove(kernel, dst, count);
  yield* settle(movePages(kernel, src, dst, count, null));
  if (scheduler.owing) yield* scheduler.pay();
  if (info !== undefined) kernel.events.migratePhase(info, 'pages', 'end');
  if (
    scheduler.preempts &&
    scheduler.overtaken('migrate: finalize', digestWords(src, dst, count, 0))
  )
    yield PREEMPT;
}

/** migrate_device_finalize. */
export function migrateDeviceFinalize(
  kernel: Kernel,
  src: Uint32Array,
  dst: Uint32Array,
  count: number,
): void {
  const info = kernel.deviceMigrations.get(src);
  const { events } = kernel;
  if (info !== undefined) {
    tellWords(kernel, info, src, dst, count);
    events.migratePhase(info, 'alloc_copy', 'end');
    events.migratePhase(info, 'finalize', 'begin');
  }
  if (kernel.timing !== null) chargeFinalize(kernel, src, count);
  finalizePages(kernel, src, dst, count);
  if (info === undefined) return;
  events.migratePhase(info, 'finalize', 'end');
  // Unmapping has let go of the others: a word that names a page was selected.
  endEvent(kernel, src, info.valid ?? 0, countArrived(src, dst, count));
}

/**
 * migrate_device_coherent_page: brings one coherent page, on which the caller holds a reference,
 * back to RAM. Returns 0, or -EBUSY where it is pinned or RAM is full.
 */
export function* migrateDeviceCoherentPage(kernel: Kernel, page: Page): Task<number> {
  const { pages } = kernel;
  if (!pages.tryLock(page)) yield* pages.lock(page);
  const src = new Uint32Array([(migratePfn(page) | MIGRATE_PFN_MIGRATE) >>> 0]);
  const dst = new Uint32Array(1);
  const { events } = kernel;
  const info = events.listening ? beginEvent(kernel, src, page, 1, 'pin') : null;
  if (info !== null) events.migratePhase(info, 'unmap', 'begin');
  const selected = yield* settle(unmapPages(kernel, src, 1, NO_PAGE));
  if (info !== null) events.migratePhase(info, 'unmap', 'end');
  if (selected === 0) {
    endEvent(kernel, src, 0, 0);
    return -EBUSY;
  }
  if (info !== null) events.migratePhase(info, 'alloc_copy', 'begin');
  const fresh = pages.allocateLocked();
  if (fresh !== NO_PAGE) dst[0] = migratePfn(fresh);
  yield* migrateDevicePages(kernel, src, dst, 1);
  const moved = (src[0]! & MIGRATE_PFN_MIGRATE) !== 0;
  if (moved) pages.copyContents(fresh, page);
  migrateDeviceFinalize(kernel, src, dst, 1);
  return moved ? 0 : -EBUSY;
}
