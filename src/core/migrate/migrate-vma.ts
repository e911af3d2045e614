/**
 * migrate_vma: moving the pages of a range between RAM and device memory.
 *
 * Reference: mm/migrate_device.c of Linux 6.1. One migration is three calls under mmap_lock, and
 * the driver works between the first two:
 *   migrateVmaSetup     chooses pages, locks them, replaces their mappings by migration entries
 *   (driver)            takes destination pages, locked, names them in `dst`, copies
 *   migrateVmaPages     moves each page's identity; clears MIGRATE in `src` where that fails
 *   migrateVmaFinalize  maps the winner again, the new page or the old, and unlocks both
 * Failures are per page and show in `src`; only wrong arguments give an error.
 */
import { EINVAL } from '../errno.ts';
import type { MigrateCause, MigrateInfo, PageHome } from '../events/types.ts';
import type { Kernel } from '../kernel.ts';
import type { Mm } from '../mm/mm.ts';
import { VM_SPECIAL, type Vma } from '../mm/vma.ts';
import type { Owner } from '../pagemap/pagemap.ts';
import { after, type MaybeTask, PREEMPT, settle, type Task } from '../sched/task.ts';
import { NO_PAGE, type Page, type Va } from '../units.ts';
import { collect } from './collect.ts';
import { chargeCollect, chargeFinalize, chargeMove, chargeUnmap } from './cost.ts';
import { digestWords } from './digest.ts';
import { lockedByFault } from './fault-page.ts';
import { finalizeRange, finalizeSlowly } from './finalize.ts';
import { countArrived, tellWords } from './outcome.ts';
import { movePages } from './pages.ts';
import { unmapPages } from './unmap.ts';

export interface MigrateVmaOptions {
  /** The VMA that holds the range; null, as a lookup may give it, is refused with -EINVAL. */
  readonly vma: Vma | null;
  /** First byte; rounded down to a page. */
  readonly start: Va;
  /** First byte after the range; rounded down to a page. */
  readonly end: Va;
  /** (out) One word a page; at least `(end - start) / pageSize` long. */
  readonly src: Uint32Array;
  /** (in) The driver's destination pages, one word each; as long as `src`. */
  readonly dst: Uint32Array;
  /** Whose device pages to collect, and who the migration is by. In v5.7 this is `src_owner`. */
  readonly pgmapOwner: Owner | null;
  /** MIGRATE_VMA_SELECT_* bits; without meaning before v5.9. */
  readonly flags: number;
  /** The device page a CPU fault holds a reference on; NO_PAGE otherwise (since v6.1). */
  readonly faultPage?: Page;
  /** For events; `cpu_fault` where there is a fault page, else `unknown`, unless given. */
  readonly cause?: MigrateCause;
  /** Who migrates, for events; `pgmapOwner` unless given. */
  readonly by?: Owner;
}

/** struct migrate_vma. */
export class MigrateVma implements MigrateInfo {
  readonly vma: Vma | null;
  start: Va;
  end: Va;
  readonly src: Uint32Array;
  readonly dst: Uint32Array;
  readonly pgmapOwner: Owner | null;
  readonly flags: number;
  readonly faultPage: Page;
  readonly cause: MigrateCause;
  /** Who migrates, for events. */
  readonly owner: Owner | null;
  /** (out, setup) Pages that can move, holes included. */
  cpages: number;
  /** (out, setup) Pages looked at. */
  npages: number;
  /** (out, finalize) Where the pages were and went, if that is one place for all; for events. */
  from: PageHome | undefined;
  to: PageHome | undefined;
  /** (out, finalize) What the words said; for events. */
  valid: number;
  writable: number;
  given: number;

  constructor(options: MigrateVmaOptions) {
    this.vma = options.vma;
    this.start = options.start;
    this.end = options.end;
    this.src = options.src;
    this.dst = options.dst;
    // What JavaScript leaves out is null, as in C.
    this.pgmapOwner = options.pgmapOwner ?? null;
    this.flags = options.flags;
    this.faultPage = options.faultPage ?? NO_PAGE;
    this.cause = options.cause ?? (this.faultPage === NO_PAGE ? 'unknown' : 'cpu_fault');
    this.owner = options.by ?? this.pgmapOwner;
    this.cpages = 0;
    this.npages = 0;
    this.from = undefined;
    this.to = undefined;
    this.valid = 0;
    this.writable = 0;
    this.given = 0;
  }

  get mm(): Mm | null {
    return this.vma?.mm ?? null;
  }
}

/**
 * migrate_vma_setup. Returns 0, or -EINVAL for a range that is empty, not within the VMA, or in a
 * VMA that cannot be migrated, and for a fault page that is not device-private.
 */
export function migrateVmaSetup(migrate: MigrateVma): Task<number> {
  return settle(migrateVmaSetupStep(migrate));
}

/** The same for paths where speed counts: the result at once where nothing makes it wait. */
export function migrateVmaSetupStep(migrate: MigrateVma): MaybeTask<number> {
  const { vma } = migrate;
  if (vma === null || (vma.flags & VM_SPECIAL) !== 0) return -EINVAL;
  const { mm } = vma;
  const { kernel, pageSize } = mm;
  kernel.lastMigration = migrate;
  const pageCount = Math.floor((migrate.end - migrate.start) / pageSize);
  migrate.start = Math.floor(migrate.start / pageSize) * pageSize;
  migrate.end = Math.floor(migrate.end / pageSize) * pageSize;
  if (pageCount <= 0) return -EINVAL;
  if (migrate.start < vma.start || migrate.start >= vma.end) return -EINVAL;
  if (migrate.end <= vma.start || migrate.end > vma.end) return -EINVAL;
  if (migrate.src.length < pageCount || migrate.dst.length < pageCount) return -EINVAL;
  if (migrate.faultPage !== NO_PAGE && !kernel.pages.isDevicePrivate(migrate.faultPage)) {
    return -EINVAL;
  }
  const locked = lockedByFault(kernel.era, migrate.faultPage);
  if (locked !== NO_PAGE && !kernel.pages.isLocked(locked)) return -EINVAL;
  if (pageCount === 1) migrate.src[0] = 0;
  else migrate.src.fill(0, 0, pageCount);
  migrate.cpages = 0;
  migrate.npages = 0;
  // Where nothing can move, no word says anything.
  migrate.valid = 0;
  migrate.writable = 0;
  migrate.given = 0;
  const { events } = kernel;
  if (events.listening) {
    events.migrateBegin(migrate);
    events.migratePhase(migrate, 'collect', 'begin');
  }
  const collected = collect(migrate, vma);
  return collected === undefined
    ? setupCollected(kernel, migrate)
    : after(collected, () => setupCollected(kernel, migrate));
}

function setupCollected(kernel: Kernel, migrate: MigrateVma): MaybeTask<number> {
  const { events, scheduler } = kernel;
  if (kernel.timing !== null) chargeCollect(kernel, migrate.src, migrate.npages);
  if (events.listening) events.migratePhase(migrate, 'collect', 'end');
  if (!scheduler.preempts) return setupUnmap(kernel, migrate);
  const first = scheduler.choicePoint('migrate: unmap', digest(migrate));
  return after(first, () => setupUnmap(kernel, migrate));
}

function setupUnmap(kernel: Kernel, migrate: MigrateVma): MaybeTask<number> {
  const { events, timing } = kernel;
  if (migrate.cpages === 0) return setupEnd(kernel, migrate);
  if (events.listening) events.migratePhase(migrate, 'unmap', 'begin');
  if (timing !== null) chargeUnmap(kernel, migrate.src, migrate.npages);
  const left = unmapPages(kernel, migrate.src, migrate.npages, migrate.faultPage);
  return typeof left === 'object'
    ? after(left, (count) => setupUnmapped(kernel, migrate, count))
    : setupUnmapped(kernel, migrate, left);
}

function setupUnmapped(kernel: Kernel, migrate: MigrateVma, left: number): MaybeTask<number> {
  migrate.cpages = left;
  if (kernel.events.listening) kernel.events.migratePhase(migrate, 'unmap', 'end');
  return setupEnd(kernel, migrate);
}

function setupEnd(kernel: Kernel, migrate: MigrateVma): MaybeTask<number> {
  const { events, scheduler } = kernel;
  if (events.listening) {
    if (migrate.cpages > 0) events.migratePhase(migrate, 'alloc_copy', 'begin');
    // Nothing is held then, and drivers may stop here without pages and finalize.
    else events.migrateEnd(migrate, 0, 0);
  }
  return scheduler.preempts || scheduler.owing ? giveWayAfterSetup(kernel, migrate) : 0;
}

function* giveWayAfterSetup({ scheduler }: Kernel, migrate: MigrateVma): Task<number> {
  if (scheduler.owing) yield* scheduler.pay();
  if (scheduler.preempts && scheduler.overtaken('migrate: copy', digest(migrate))) yield PREEMPT;
  return 0;
}

/** migrate_vma_pages: moves each page's identity to its destination, and fills holes. */
export function migrateVmaPages(migrate: MigrateVma): Task<undefined> {
  return settle(migrateVmaPagesStep(migrate));
}

/** The same for paths where speed counts: done at once where nothing makes it wait. */
export function migrateVmaPagesStep(migrate: MigrateVma): MaybeTask<undefined> {
  const { kernel } = migrate.vma!.mm;
  const { scheduler } = kernel;
  if (!scheduler.preempts) return moveAll(kernel, migrate);
  const first = scheduler.choicePoint('migrate: pages', digest(migrate));
  return after(first, () =>
    after(moveAll(kernel, migrate), () =>
      scheduler.choicePoint('migrate: finalize', digest(migrate)),
    ),
  );
}

function moveAll(kernel: Kernel, migrate: MigrateVma): MaybeTask<undefined> {
  const { events, scheduler, timing } = kernel;
  const { listening } = events;
  if (listening) {
    events.migratePhase(migrate, 'alloc_copy', 'end');
    events.migratePhase(migrate, 'pages', 'begin');
  }
  if (timing !== null) chargeMove(kernel, migrate.dst, migrate.npages);
  const moved = movePages(kernel, migrate.src, migrate.dst, migrate.npages, migrate);
  if (!listening && timing === null) return moved;
  return after(moved, () => {
    if (scheduler.owing) return after(scheduler.pay(), () => endMove(kernel, migrate));
    return endMove(kernel, migrate);
  });
}

function endMove({ events }: Kernel, migrate: MigrateVma): undefined {
  if (events.listening) events.migratePhase(migrate, 'pages', 'end');
}

/** What a migration carries in its hands: its words so far. */
function digest({ src, dst, npages, start }: MigrateVma): number {
  return digestWords(src, dst, npages, start);
}

/** migrate_vma_finalize: maps the pages again, unlocks them, drops the references of setup. */
export function migrateVmaFinalize(migrate: MigrateVma): void {
  beginFinalize(migrate);
  finalizeRange(migrate, migrate.vma!);
  endFinalize(migrate);
}

/** The same for a driver in whose midst a search for races may let other threads go on. */
export function migrateVmaFinalizeTask(migrate: MigrateVma): Task<undefined> {
  return settle(migrateVmaFinalizeStep(migrate));
}

/** That for paths where speed counts: done at once unless there is such a search. */
export function migrateVmaFinalizeStep(migrate: MigrateVma): MaybeTask<undefined> {
  if (migrate.vma!.mm.kernel.scheduler.preempts) return finalizeOverlapped(migrate);
  migrateVmaFinalize(migrate);
  return undefined;
}

function* finalizeOverlapped(migrate: MigrateVma): Task<undefined> {
  const { kernel } = migrate.vma!.mm;
  beginFinalize(migrate);
  yield* finalizeSlowly(kernel, migrate.src, migrate.dst, migrate.npages, migrate.faultPage);
  endFinalize(migrate);
  return undefined;
}

function beginFinalize(migrate: MigrateVma): void {
  const { kernel } = migrate.vma!.mm;
  const { events } = kernel;
  if (events.listening) {
    tellWords(kernel, migrate, migrate.src, migrate.dst, migrate.npages);
    // Still open where the driver had no destination and left out migrate_vma_pages.
    events.migratePhase(migrate, 'alloc_copy', 'end');
    events.migratePhase(migrate, 'finalize', 'begin');
  }
  if (kernel.timing !== null) chargeFinalize(kernel, migrate.src, migrate.npages);
}

function endFinalize(migrate: MigrateVma): void {
  const { events } = migrate.vma!.mm.kernel;
  if (!events.listening) return;
  events.migratePhase(migrate, 'finalize', 'end');
  const arrived = countArrived(migrate.src, migrate.dst, migrate.npages);
  events.migrateEnd(migrate, migrate.cpages, arrived);
}
