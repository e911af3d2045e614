/** Migration between RAM and VRAM. Reference: nouveau_dmem.c of Linux 6.1. */
import { ENODEV, ENOMEM } from '../../core/errno.ts';
import type { Kernel } from '../../core/kernel.ts';
import {
  MIGRATE_PFN_LOCKED,
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  MigrateVma,
  migrateDeviceFinalize,
  migrateDevicePages,
  migrateDeviceRange,
  migratePfn,
  migratePfnPage,
  migrateVmaFinalize,
  migrateVmaPagesStep,
  migrateVmaSetupStep,
} from '../../core/migrate/index.ts';
import { VM_FAULT_SIGBUS } from '../../core/mm/fault-flags.ts';
import type { Vma } from '../../core/mm/vma.ts';
import type { DeviceFault } from '../../core/pagemap/pagemap.ts';
import { after, Delay, type MaybeTask, settle, type Task } from '../../core/sched/task.ts';
import { WaitQueue } from '../../core/sched/wait-queue.ts';
import { NO_PAGE, type Page, type Va } from '../../core/units.ts';
import type { CopyEngine } from '../../hw/copy-engine.ts';
import { GPU_PTE_VALID, GPU_PTE_VRAM } from '../../hw/gpu-page-table.ts';
import type { Nouveau } from './device.ts';
import type { Dmem, DmemChunk } from './dmem.ts';
import type { DmaMappings } from './failures.ts';
import type { Remains } from './remains.ts';
import type { NouveauRules } from './rules.ts';
import type { Svmm } from './svmm.ts';

/** Bytes of a struct scatterlist; a page of them is the longest list without a chain. */
const SCATTERLIST_BYTES = 32;

/** How often, and how far apart, removal looks for RAM that is free. */
const NO_FAIL_LOOKS = 1000;
const NO_FAIL_LOOK_NS = 1_000_000;

/** A destination page's word. LOCKED means something until v5.15 only. */
function wordFor(page: Page): number {
  return (migratePfn(page) | MIGRATE_PFN_LOCKED) >>> 0;
}

// --- Home to RAM ----------------------------------------------------------------------------

/** What bringing a page home needs of a device, looked up once: it stays the same as long as the device. */
export interface HomeParts {
  readonly device: Nouveau;
  readonly kernel: Kernel;
  readonly engine: CopyEngine;
  readonly rules: NouveauRules;
  readonly remains: Remains | null;
}

/**
 * The CPU touched a page of a device: nouveau_dmem_migrate_to_ram. One page comes home. Where RAM
 * is full it stays, and the CPU faults again (before v6.1: SIGBUS).
 */
export function migrateToRam(parts: HomeParts, fault: DeviceFault): MaybeTask<number> {
  const { device, kernel } = parts;
  device.wake();
  const words = device.faultWords.take();
  const args = new MigrateVma({
    vma: fault.vma,
    start: fault.address,
    end: fault.address + kernel.pageSize,
    src: words.src,
    dst: words.dst,
    pgmapOwner: device,
    flags: MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
    faultPage: kernel.era.faultPage ? fault.page : NO_PAGE,
    cause: 'cpu_fault',
  });
  const ret = migrateVmaSetupStep(args);
  return typeof ret === 'object'
    ? after(ret, (late) => moveAndFinalize(parts, args, late))
    : moveAndFinalize(parts, args, ret);
}

/** What follows setup, which answered `ret`. */
function moveAndFinalize(parts: HomeParts, args: MigrateVma, ret: number): MaybeTask<number> {
  const { device } = parts;
  if (ret < 0 || args.cpages === 0) {
    device.faultWords.give(args);
    return ret < 0 ? VM_FAULT_SIGBUS : 0;
  }
  const result = moveOneHome(parts, args);
  return typeof result === 'object'
    ? after(result, (late) => finalizeHome(device, args, late))
    : finalizeHome(device, args, result);
}

function finalizeHome(device: Nouveau, args: MigrateVma, result: number): number {
  migrateVmaFinalize(args);
  device.faultWords.give(args);
  return result;
}

/**
 * What lies between setup and finalize.
 *
 * Since v6.1 the destination is named before the copy and stays named where the copy fails, while
 * migrate_vma_pages is left out. Finalize then takes the page for moved: both pages are freed and
 * the migration entry stays, for a page that is gone. A process that touches it again never gets
 * out of the fault; munmap and exit take the entry away. `mended` devices take the name back.
 */
function moveOneHome(parts: HomeParts, args: MigrateVma): MaybeTask<number> {
  const { kernel, rules, remains } = parts;
  const { pages } = kernel;
  const { src, dst } = args;
  const from = migratePfnPage(src[0]!);
  if (from === NO_PAGE || (src[0]! & MIGRATE_PFN_MIGRATE) === 0) return 0;
  const to = pages.allocateLocked();
  if (to === NO_PAGE) return rules.evicts ? 0 : VM_FAULT_SIGBUS;
  remains?.restore(to);
  dst[0] = wordFor(to);
  const copied = copyUnderLock(parts, args, to, from);
  return typeof copied === 'object'
    ? after(copied, (late) => moveCopied(parts, args, to, late))
    : moveCopied(parts, args, to, copied);
}

function moveCopied(
  parts: HomeParts,
  args: MigrateVma,
  to: Page,
  copied: number,
): MaybeTask<number> {
  const { device, kernel, engine, rules } = parts;
  if (copied !== 0) {
    if (!rules.evicts || device.mended) {
      args.dst[0] = 0;
      kernel.pages.unlock(to);
      kernel.pages.put(to);
    }
    return VM_FAULT_SIGBUS;
  }
  const fence = engine.fence();
  const moved = migrateVmaPagesStep(args);
  if (moved === undefined && fence.done) return endCopy(device);
  return after(moved, () => after(fence.wait(), () => endCopy(device)));
}

function endCopy(device: Nouveau): number {
  device.dma.unmap(1);
  return 0;
}

/**
 * Copies a page home while nobody can map it on the GPU through the address space that migrated it.
 * The GPU may map it through another one, of a forked process: for that the reverse map's
 * notification is there, except in the space that faults, whose own notifier lets the migration
 * pass. `mended` devices let none pass.
 */
function copyUnderLock(
  parts: HomeParts,
  args: MigrateVma,
  to: Page,
  from: Page,
): MaybeTask<number> {
  const { device, rules, remains } = parts;
  const svmm = device.svmmOf(from);
  // Who migrated the page may have closed the GPU since; the kernel uses it after it was freed.
  const isNoticed = remains === null;
  if (svmm === null || !rules.mapsMigrated) return copyHome(parts, to, from, isNoticed);
  return svmm.mutex.tryLock()
    ? copyLocked(parts, svmm, args, to, from)
    : after(svmm.mutex.lock(), () => copyLocked(parts, svmm, args, to, from));
}

function copyLocked(
  parts: HomeParts,
  svmm: Svmm,
  { start, end }: MigrateVma,
  to: Page,
  from: Page,
): number {
  svmm.invalidate(start, end);
  const result = copyHome(parts, to, from, parts.remains === null);
  svmm.mutex.unlock();
  return result;
}

/**
 * nouveau_dmem_copy_one: 0, with `to` mapped for the engine, or -EIO. Unless `isNoticed` also 0 where
 * the engine did not copy.
 */
function copyHome(parts: HomeParts, to: Page, from: Page, isNoticed = true): number {
  const { device, kernel, engine } = parts;
  const { dma } = device;
  const mapped = dma.map(kernel);
  if (mapped !== 0) return mapped;
  const result = engine.copy(to, from);
  if (result !== 0 && !isNoticed) return 0;
  if (result !== 0) dma.unmap(1);
  return result;
}

// --- To VRAM --------------------------------------------------------------------------------

/**
 * Moves what it can of [start, end), which lies in `vma`, to VRAM: nouveau_dmem_migrate_vma. The
 * caller holds mmap_lock. Returns 0 also where nothing moved, say because VRAM is full; -ENODEV
 * where VRAM has no pages; -ENOMEM where there is no memory for its arrays; -EINVAL where the VMA
 * cannot be migrated.
 */
export function* migrateVma(
  device: Nouveau,
  svmm: Svmm,
  vma: Vma,
  start: Va,
  end: Va,
): Task<number> {
  const { kernel, dmem } = device;
  const { era, pageSize } = kernel;
  if (dmem === null) return -ENODEV;
  // Sources, destinations, DMA addresses, and since v5.8 what the GPU is to map.
  for (let arrays = device.rules.mapsMigrated ? 4 : 3; arrays > 0; arrays--) {
    if (!device.allocates()) return -ENOMEM;
  }
  const npages = Math.floor((end - start) / pageSize);
  const max = Math.min(pageSize / SCATTERLIST_BYTES, npages);
  const src = new Uint32Array(max);
  const dst = new Uint32Array(max);
  for (let from = start; from < end; from += max * pageSize) {
    const args = new MigrateVma({
      vma,
      start: from,
      end: Math.min(end, from + max * pageSize),
      src,
      dst,
      // In v5.7 naming an owner meant: that owner's device pages, and no others.
      pgmapOwner: era.selection === 'src-owner' ? null : device,
      flags: MIGRATE_VMA_SELECT_SYSTEM,
      cause: 'driver',
      by: device,
    });
    const setup = migrateVmaSetupStep(args);
    const result = typeof setup === 'object' ? yield* setup : setup;
    if (result !== 0) return result;
    if (args.cpages > 0) yield* migrateChunk(device, svmm, args);
  }
  return 0;
}

/** nouveau_dmem_migrate_chunk. */
function* migrateChunk(device: Nouveau, svmm: Svmm, args: MigrateVma): Task<void> {
  const { engine, rules, dma, kernel, writeFlags } = device;
  const { src, dst, start } = args;
  const count = Math.floor((args.end - start) / kernel.pageSize);
  const flags = new Uint8Array(count);
  const pages = new Uint32Array(count);
  const parts = { kernel, dmem: device.dmem!, engine, dma, fillsHoles: rules.mapsMigrated };
  let mapped = 0;
  for (let i = 0; i < count; i++) {
    const word = src[i]!;
    const to = (word & MIGRATE_PFN_MIGRATE) === 0 ? NO_PAGE : copyToVram(parts, word);
    if (to !== NO_PAGE) {
      if (migratePfnPage(word) !== NO_PAGE) mapped++;
      kernel.pages.setDriverData(to, svmm.id);
      const write = (word & MIGRATE_PFN_WRITE) !== 0 ? writeFlags : 0;
      flags[i] = GPU_PTE_VALID | GPU_PTE_VRAM | write;
    }
    dst[i] = to === NO_PAGE ? 0 : wordFor(to);
    pages[i] = to;
  }
  const fence = engine.fence();
  const moved = migrateVmaPagesStep(args);
  if (moved !== undefined) yield* moved;
  yield* settle(fence.wait());
  if (rules.mapsMigrated) {
    if (device.mended) dropFailed(args, flags);
    if (!svmm.mutex.tryLock()) yield* svmm.mutex.lock();
    mapAll(svmm, start, pages, flags);
    svmm.mutex.unlock();
  }
  dma.unmap(mapped);
  migrateVmaFinalize(args);
}

/** What copying a page needs of a device, looked up once a batch. */
interface CopyParts {
  readonly kernel: Kernel;
  readonly dmem: Dmem;
  readonly engine: CopyEngine;
  readonly dma: DmaMappings;
  /** Holes become pages of zeros. */
  readonly fillsHoles: boolean;
}

/** nouveau_dmem_migrate_copy_one: the page in VRAM, locked, or NO_PAGE. */
function copyToVram({ kernel, dmem, engine, dma, fillsHoles }: CopyParts, word: number): Page {
  const from = migratePfnPage(word);
  if (from === NO_PAGE && !fillsHoles) return NO_PAGE;
  const to = dmem.allocatePage();
  if (to === NO_PAGE) return NO_PAGE;
  if (from === NO_PAGE) {
    if (engine.clear(to) === 0) return to;
  } else if (dma.map(kernel) === 0) {
    if (engine.copy(to, from) === 0) return to;
    dma.unmap(1);
  }
  kernel.pages.unlock(to);
  kernel.pages.put(to);
  return NO_PAGE;
}

/** Forgets the mappings of pages that migrate_vma_pages could not move. */
function dropFailed(args: MigrateVma, flags: Uint8Array): void {
  for (let i = 0; i < flags.length; i++) {
    if ((args.src[i]! & MIGRATE_PFN_MIGRATE) === 0) flags[i] = 0;
  }
}

/**
 * nouveau_pfns_map: enters all pages of a batch, and unmaps those that have none. What was worked
 * out before migrate_vma_pages is entered as it stands, so where that failed, as it does for the
 * pages of files, the GPU maps VRAM that is free a moment later. `mended` devices enter what moved.
 * The caller holds the mutex.
 */
function mapAll(svmm: Svmm, start: Va, pages: Uint32Array, flags: Uint8Array): void {
  const { pageSize } = svmm.mm;
  for (let i = 0; i < pages.length; i++) svmm.pfnMap(start + i * pageSize, pages[i]!, flags[i]!);
}

// --- Removal --------------------------------------------------------------------------------

/**
 * Brings every page of a chunk home, whoever maps it: nouveau_dmem_evict_chunk. It waits for RAM
 * as long as it takes. A page that cannot be copied or mapped for it comes home empty, a page that
 * somebody holds does not come.
 */
export function* evictChunk(device: Nouveau, chunk: DmemChunk): Task<void> {
  const { kernel, engine, dma } = device;
  const { pages } = kernel;
  const { firstPage, pageCount: count, pagesInUse } = chunk.pagemap!;
  if (pagesInUse === 0) return;
  const src = new Uint32Array(count);
  const dst = new Uint32Array(count);
  yield* migrateDeviceRange(kernel, src, firstPage, count);
  let mapped = 0;
  for (let i = 0; i < count; i++) {
    if ((src[i]! & MIGRATE_PFN_MIGRATE) === 0) continue;
    let to = pages.allocateLocked();
    if (to === NO_PAGE) to = yield* waitForPage(device);
    dst[i] = wordFor(to);
    if (copyHome(device.home, to, migratePfnPage(src[i]!)) === 0) mapped++;
  }
  const fence = engine.fence();
  yield* migrateDevicePages(kernel, src, dst, count);
  yield* settle(fence.wait());
  migrateDeviceFinalize(kernel, src, dst, count);
  dma.unmap(mapped);
}

/**
 * alloc_page with __GFP_NOFAIL, and lock_page, where RAM is full. Nobody tells when there is some again,
 * so the task looks now and then. Where none came for long it sleeps for good: a machine that hangs is
 * told as a deadlock.
 */
function* waitForPage(device: Nouveau): Task<Page> {
  const { pages, scheduler } = device.kernel;
  for (let looks = 1; ; looks++) {
    yield looks < NO_FAIL_LOOKS
      ? new Delay(NO_FAIL_LOOK_NS)
      : new WaitQueue(scheduler, () => `a free page of RAM to empty ${device.name} into`);
    const page = pages.allocateLocked();
    if (page !== NO_PAGE) return page;
  }
}
