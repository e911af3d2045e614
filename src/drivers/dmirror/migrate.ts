/** Migration between RAM and a dmirror's own memory. Reference: lib/test_hmm.c of Linux 6.1. */
import { EINVAL } from '../../core/errno.ts';
import { SimError } from '../../core/errors.ts';
import { hmmPopulate } from '../../core/hmm/populate.ts';
import { HMM_PFN_VALID, HMM_PFN_WRITE, hmmPfnPage } from '../../core/hmm/range-fault.ts';
import {
  countMovedPages,
  MIGRATE_PFN_LOCKED,
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_COHERENT,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  MigrateVma,
  migratePfn,
  migratePfnPage,
  migrateVmaFinalizeStep,
  migrateVmaPagesStep,
  migrateVmaSetupStep,
} from '../../core/migrate/index.ts';
import { VM_FAULT_SIGBUS } from '../../core/mm/fault-flags.ts';
import type { Mm } from '../../core/mm/mm.ts';
import { VM_READ, VM_WRITE, type Vma } from '../../core/mm/vma.ts';
import type { DeviceFault } from '../../core/pagemap/pagemap.ts';
import { after, type MaybeTask, PREEMPT, settle, type Task } from '../../core/sched/task.ts';
import { NO_PAGE, type Page, type Va } from '../../core/units.ts';
import type { Dmirror } from './device.ts';
import { BATCH_PAGES } from './fault.ts';
import type { DmirrorFile } from './file.ts';
import { TAG_READ, TAG_WRITE } from './page-table.ts';

/** dmirror_select_device. */
function selectDevice(device: Dmirror): number {
  return device.type === 'private'
    ? MIGRATE_VMA_SELECT_DEVICE_PRIVATE
    : MIGRATE_VMA_SELECT_DEVICE_COHERENT;
}

/**
 * Moves [start, end) to the device as far as it goes: the first half of dmirror_migrate_to_device.
 * What was moved before an error stays moved.
 */
export function migrateToDevice(file: DmirrorFile, start: Va, end: Va): Task<number> {
  return inBatches(file, start, end, MIGRATE_VMA_SELECT_SYSTEM, (args) => {
    const copied = copyToDevice(file, args, 0);
    return copied === undefined
      ? endToDevice(file, args)
      : after(copied, () => endToDevice(file, args));
  });
}

function endToDevice(file: DmirrorFile, args: MigrateVma): MaybeTask<undefined> {
  const moved = migrateVmaPagesStep(args);
  return moved === undefined
    ? mapAndFinalize(file, args)
    : after(moved, () => mapAndFinalize(file, args));
}

function mapAndFinalize(file: DmirrorFile, args: MigrateVma): MaybeTask<undefined> {
  const { scheduler } = file.mm.kernel;
  if (!file.device.mended) {
    if (!file.mutex.tryLock()) return mapLate(file, args);
    mapMigrated(file, args);
  }
  return scheduler.preempts ? finalizeLate(file, args) : migrateVmaFinalizeStep(args);
}

function* mapLate(file: DmirrorFile, args: MigrateVma): Task<undefined> {
  yield* file.mutex.lock();
  mapMigrated(file, args);
  return yield* finalizeLate(file, args);
}

function* finalizeLate(file: DmirrorFile, args: MigrateVma): Task<undefined> {
  const { scheduler } = file.mm.kernel;
  if (scheduler.preempts && scheduler.overtaken('dmirror: finalize', 0)) yield PREEMPT;
  return yield* settle(migrateVmaFinalizeStep(args));
}

/** Brings pages of [start, end) home: dmirror_migrate_to_system. `moved` hears how many, batch by batch. */
export function migrateToSystem(
  file: DmirrorFile,
  start: Va,
  end: Va,
  moved: (pages: number) => void,
): Task<number> {
  return inBatches(file, start, end, selectDevice(file.device), (args) => {
    const copied = copyToRam(args, file);
    const { timing } = file.mm.kernel;
    if (timing === null) return endToSystem(args, moved);
    return after(file.device.moveTime(timing, 'toHost', copied), () => endToSystem(args, moved));
  });
}

function endToSystem(args: MigrateVma, moved: (pages: number) => void): MaybeTask<undefined> {
  const done = migrateVmaPagesStep(args);
  if (done !== undefined) return after(done, () => countAndFinalize(args, moved));
  return countAndFinalize(args, moved);
}

function countAndFinalize(args: MigrateVma, moved: (pages: number) => void): MaybeTask<undefined> {
  moved(countMovedPages(args.src, args.npages));
  return migrateVmaFinalizeStep(args);
}

/** Walks [start, end) under mmap_lock in batches that do not cross a VMA, from setup to `carryOut`. */
function* inBatches(
  file: DmirrorFile,
  start: Va,
  end: Va,
  flags: number,
  carryOut: (args: MigrateVma) => MaybeTask<undefined>,
): Task<number> {
  const { mm, device } = file;
  if (!mm.alive) return -EINVAL;
  const { selection } = mm.kernel.era;
  // In v5.7 an owner excludes pages of RAM, so who wants those names none.
  const owned = selection !== 'src-owner' || (flags & MIGRATE_VMA_SELECT_SYSTEM) === 0;
  const { words } = mm.kernel;
  const src = words.take(BATCH_PAGES);
  const dst = words.take(BATCH_PAGES);
  if (!mm.mmapLock.tryRead()) yield* mm.mmapLock.read();
  try {
    let next = start;
    for (let from = start; from < end; from = next) {
      const vma = mm.vmas.find(from);
      if (vma === null || (vma.flags & VM_READ) === 0) return -EINVAL;
      next = Math.min(end, from + BATCH_PAGES * mm.pageSize, vma.end);
      const args = new MigrateVma({
        vma,
        start: from,
        end: next,
        src,
        dst,
        pgmapOwner: owned ? device : null,
        by: device,
        flags,
        cause: 'driver',
      });
      const setup = migrateVmaSetupStep(args);
      const result = typeof setup === 'object' ? yield* setup : setup;
      if (result !== 0) return result;
      const carried = carryOut(args);
      if (carried !== undefined) yield* carried;
    }
    return 0;
  } finally {
    mm.mmapLock.unlockRead();
    words.give(src);
    words.give(dst);
  }
}

/** dmirror_migrate_alloc_and_copy, from entry `first` on. */
function copyToDevice(file: DmirrorFile, args: MigrateVma, first: number): MaybeTask<undefined> {
  const { device, mm } = file;
  const count = (args.end - args.start) / mm.pageSize;
  for (let i = first; i < count; i++) {
    if (!isWanted(mm, args.src[i]!)) continue;
    const to = device.allocatePage();
    // A chunk is added: rare enough for a task of its own.
    if (typeof to === 'object') return copyOnceAllocated(file, args, i, to);
    copyOne(file, args, i, to);
  }
  const { timing } = mm.kernel;
  return timing === null
    ? undefined
    : device.moveTime(timing, 'toDevice', countCopied(args, count));
}

function* copyOnceAllocated(
  file: DmirrorFile,
  args: MigrateVma,
  i: number,
  allocation: Task<Page>,
): Task<undefined> {
  copyOne(file, args, i, yield* allocation);
  return yield* settle(copyToDevice(file, args, i + 1));
}

/** Without a source page this is a hole or the zero page: the device page starts as zeros. */
function isWanted({ pages }: Mm, word: number): boolean {
  if ((word & MIGRATE_PFN_MIGRATE) === 0) return false;
  const from = migratePfnPage(word);
  return from === NO_PAGE || !pages.isZoneDevice(from);
}

function copyOne(file: DmirrorFile, { src, dst, vma }: MigrateVma, i: number, to: Page): void {
  if (to === NO_PAGE) return;
  const { pages } = file.mm;
  const word = src[i]!;
  const from = migratePfnPage(word);
  if (from !== NO_PAGE) pages.copyContents(to, from);
  else pages.clearContents(to);
  pages.setDriverData(to, file.id);
  const isWritable =
    from !== NO_PAGE ? (word & MIGRATE_PFN_WRITE) !== 0 : (vma!.flags & VM_WRITE) !== 0;
  dst[i] = migratePfn(to) | MIGRATE_PFN_LOCKED | (isWritable ? MIGRATE_PFN_WRITE : 0);
}

/** Pages that were copied, not filled with zeros. */
function countCopied({ src, dst }: MigrateVma, count: number): number {
  let copied = 0;
  for (let i = 0; i < count; i++) {
    if (migratePfnPage(dst[i]!) !== NO_PAGE && migratePfnPage(src[i]!) !== NO_PAGE) copied++;
  }
  return copied;
}

/**
 * Enters migrated pages into the mirror's page table: dmirror_migrate_finalize_and_map. Nothing is
 * asked of the notifier: what a process zapped since setup is entered all the same. The caller holds the
 * mutex, which is given back.
 */
function mapMigrated({ mm, mutex, pageTable }: DmirrorFile, args: MigrateVma): void {
  const first = mm.vpn(args.start);
  const count = mm.vpn(args.end) - first;
  for (let i = 0; i < count; i++) {
    if ((args.src[i]! & MIGRATE_PFN_MIGRATE) === 0) continue;
    const word = args.dst[i]!;
    const page = migratePfnPage(word);
    if (page === NO_PAGE) continue;
    pageTable.set(first + i, page, (word & MIGRATE_PFN_WRITE) !== 0 ? TAG_WRITE : TAG_READ);
  }
  mutex.unlock();
}

/**
 * What a mended device does in its place, once all is migrated: it asks hmm_range_fault which pages
 * of [start, end) are on the device, and enters those. The caller does not hold mmap_lock.
 */
export function* mapOwnPages(file: DmirrorFile, start: Va, end: Va): Task<number> {
  const { notifier, device, mutex: lock, mm, pageTable } = file;
  const step = BATCH_PAGES * mm.pageSize;
  for (let from = start; from < end; from += step) {
    const until = Math.min(from + step, end);
    const first = mm.vpn(from);
    const count = mm.vpn(until) - first;
    const range = { notifier, start: from, end: until, request: 0, owner: device, lock };
    const result = yield* hmmPopulate(range, (words) => {
      for (let i = 0; i < count; i++) {
        const page = hmmPfnPage(words[i]!);
        if ((words[i]! & HMM_PFN_VALID) === 0 || mm.pages.homeOf(page) !== device) continue;
        const writable = (words[i]! & HMM_PFN_WRITE) !== 0;
        pageTable.set(first + i, page, writable ? TAG_WRITE : TAG_READ);
      }
    });
    if (result !== 0) return result;
  }
  return 0;
}

/**
 * dmirror_devmem_fault_alloc_and_copy; returns how many pages were copied. `mirror` loses its
 * entries of the pages that go: where it ignores migrations by its own device, the notifier does
 * not tell it.
 */
function copyToRam(args: MigrateVma, mirror: DmirrorFile | null): number {
  const { mm } = args.vma as Vma;
  const { pages } = mm;
  const { src, dst } = args;
  const first = mm.vpn(args.start);
  const count = mm.vpn(args.end) - first;
  let copied = 0;
  for (let i = 0; i < count; i++) {
    const word = src[i]!;
    const from = migratePfnPage(word);
    if (from === NO_PAGE || (word & MIGRATE_PFN_MIGRATE) === 0) continue;
    const to = pages.allocateLocked();
    if (to === NO_PAGE) continue;
    mirror?.pageTable.erase(first + i);
    pages.copyContents(to, from);
    copied++;
    dst[i] = migratePfn(to) | MIGRATE_PFN_LOCKED | (word & MIGRATE_PFN_WRITE);
  }
  return copied;
}

/**
 * The CPU touched a page of `device`: dmirror_devmem_fault. Where RAM is full the page stays, and
 * the CPU faults again.
 */
export function migrateOneToRam(device: Dmirror, fault: DeviceFault): MaybeTask<number> {
  if (device.kernel.era.faultPage) return bringHome(device, fault);
  return after(arriveUnheld(device, fault.page), () => bringHome(device, fault));
}

function bringHome(device: Dmirror, { vma, address, page }: DeviceFault): MaybeTask<number> {
  const { kernel } = device;
  // The file that migrated the page may mirror another process than the one that faults.
  const mirror = device.migratorOf(page);
  const namesFaultPage = kernel.era.faultPage && !device.defects.has('no_fault_page');
  const words = device.faultWords.take();
  const args = new MigrateVma({
    vma,
    start: address,
    end: address + kernel.pageSize,
    src: words.src,
    dst: words.dst,
    pgmapOwner: device,
    flags: selectDevice(device),
    faultPage: namesFaultPage ? page : NO_PAGE,
    cause: 'cpu_fault',
  });
  const ret = migrateVmaSetupStep(args);
  return typeof ret === 'object'
    ? after(ret, (late) => moveHome(device, args, mirror, late))
    : moveHome(device, args, mirror, ret);
}

/** What follows setup, which answered `ret`. */
function moveHome(
  device: Dmirror,
  args: MigrateVma,
  mirror: DmirrorFile | null,
  ret: number,
): MaybeTask<number> {
  if (ret !== 0) {
    device.faultWords.give(args);
    return VM_FAULT_SIGBUS;
  }
  const copied = copyToRam(args, mirror);
  const { timing } = device.kernel;
  if (timing === null) return finalizeHome(device, args);
  return after(device.moveTime(timing, 'toHost', copied), () => finalizeHome(device, args));
}

function finalizeHome(device: Dmirror, args: MigrateVma): MaybeTask<number> {
  const moved = migrateVmaPagesStep(args);
  if (moved !== undefined) return after(moved, () => finalizeMoved(device, args));
  return finalizeMoved(device, args);
}

function finalizeMoved(device: Dmirror, args: MigrateVma): MaybeTask<number> {
  const done = migrateVmaFinalizeStep(args);
  return done === undefined ? endHome(device, args) : after(done, () => endHome(device, args));
}

function endHome(device: Dmirror, args: MigrateVma): number {
  device.faultWords.give(args);
  return 0;
}

/**
 * Until v6.0 a CPU fault holds no reference on the page that it calls the driver about. Another CPU
 * may have brought it home meanwhile, for another process that shared it, and then there is no page
 * to look at.
 */
function* arriveUnheld({ kernel, name }: Dmirror, page: Page): Task<undefined> {
  const { scheduler, pages } = kernel;
  if (scheduler.preempts && scheduler.overtaken('CPU fault: migrate_to_ram', page)) yield PREEMPT;
  if (pages.refcount[page]! > pages.freeDevicePageRefs) return undefined;
  throw new SimError(
    'use-after-free',
    `a CPU fault brought ${name} page ${page}, which was freed on the way`,
    { page },
  );
}
