/**
 * Moving guest pages between normal and secure memory.
 *
 * Reference: arch/powerpc/kvm/book3s_hv_uvmem.c of Linux 6.1, its quirks included. Locks, outer
 * first: mmap_lock of the process, uvmem_lock of the VM.
 */

import { EFAULT } from '../../core/errno.ts';
import { SimError } from '../../core/errors.ts';
import { toldDeviceFault } from '../../core/events/call.ts';
import type { MigrateCause } from '../../core/events/types.ts';
import { mmuIntervalReadBegin, mmuIntervalReadRetry } from '../../core/hmm/notifier.ts';
import {
  MIGRATE_PFN_LOCKED,
  MIGRATE_PFN_MIGRATE,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  MigrateVma,
  migratePfn,
  migratePfnPage,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from '../../core/migrate/index.ts';
import { VM_FAULT_SIGBUS } from '../../core/mm/fault-flags.ts';
import { FOLL_GET, FOLL_WRITE, getUserPagesFast, putUserPage } from '../../core/mm/gup.ts';
import { REFAULTS_AT_ONCE, refaultPause } from '../../core/mm/refault.ts';
import type { Vma } from '../../core/mm/vma.ts';
import type { DeviceFault } from '../../core/pagemap/pagemap.ts';
import type { Task } from '../../core/sched/task.ts';
import { NO_PAGE, type Page, type Va } from '../../core/units.ts';
import { H_PARAMETER, H_STATE, H_SUCCESS, U_SUCCESS } from '../../hw/svm-codes.ts';
import type { KvmUvmem, UvmemPage } from './device.ts';
import { GFN_NORMAL, GFN_SHARED, type MemorySlot } from './slots.ts';
import type { KvmVm } from './vm.ts';

/** What the kernel's helpers return where the reason does not matter. */
const FAILED = -1;

/** A guest page and where it is in the process. */
interface GuestPage {
  readonly vma: Vma;
  readonly start: Va;
  readonly gpa: number;
}

/**
 * kvmppc_svm_page_in: a page of RAM, or a hole, becomes a device page, and the ultravisor gets the
 * contents if `pagein`. 0, or a number that says no more than that it failed. Success is not
 * checked again after migrate_vma_pages: where that could not move the page, the guest page counts
 * as paged out. The caller holds mmap_lock and uvmem_lock.
 */
export function* svmPageIn(vm: KvmVm, page: GuestPage, pagein: boolean): Task<number> {
  const { device } = vm;
  const { vma, start, gpa } = page;
  const migrate = new MigrateVma({
    vma,
    start,
    end: start + vm.mm.pageSize,
    src: new Uint32Array(1),
    dst: new Uint32Array(1),
    pgmapOwner: null,
    flags: MIGRATE_VMA_SELECT_SYSTEM,
    cause: 'driver',
    by: device.owner,
  });
  const result = yield* migrateVmaSetup(migrate);
  if (result !== 0) return result;
  // Nothing is held of a page that was not chosen.
  if ((migrate.src[0]! & MIGRATE_PFN_MIGRATE) === 0) return FAILED;
  const copied = takeIn(vm, migrate, gpa, pagein);
  if (device.kernel.scheduler.owing) yield* device.kernel.scheduler.pay();
  yield* migrateVmaPages(migrate);
  migrateVmaFinalize(migrate);
  return copied;
}

/** The step between setup and pages: a device page, and the contents to the ultravisor. */
function takeIn(vm: KvmVm, migrate: MigrateVma, gpa: number, pagein: boolean): number {
  const { device } = vm;
  const { pages } = device.kernel;
  const to = device.getPage(vm, gpa);
  if (to === NO_PAGE) return FAILED;
  const from = migratePfnPage(migrate.src[0]!);
  if (pagein && from !== NO_PAGE) {
    const result = vm.uvPageIn(from, gpa);
    if (result !== U_SUCCESS && device.defects.has('keeps_refused_page')) return result;
    if (result !== U_SUCCESS) {
      // Its pageFree makes the guest page a paged-out one.
      pages.unlock(to);
      pages.put(to);
      return result;
    }
  }
  migrate.dst[0] = migratePfn(to) | MIGRATE_PFN_LOCKED;
  return 0;
}

/**
 * __kvmppc_svm_page_out: the device page of a guest page goes home, sealed. U_SUCCESS also where
 * the guest page has none; -1 or the ultravisor's answer where it stays. The caller holds mmap_lock
 * and uvmem_lock.
 */
export function* svmPageOut(
  vm: KvmVm,
  page: GuestPage,
  faultPage: Page,
  cause: MigrateCause,
): Task<number> {
  const { vma, start, gpa } = page;
  if (!vm.uvmemSlots.isUvmem(vm.gfnOf(gpa))) return U_SUCCESS;
  const migrate = new MigrateVma({
    vma,
    start,
    end: start + vm.mm.pageSize,
    src: new Uint32Array(1),
    dst: new Uint32Array(1),
    pgmapOwner: vm.device.owner,
    flags: MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
    faultPage,
    cause,
  });
  if ((yield* migrateVmaSetup(migrate)) !== 0) return FAILED;
  if ((migrate.src[0]! & MIGRATE_PFN_MIGRATE) === 0) return U_SUCCESS;
  const result = giveOut(vm, migrate, gpa);
  const { scheduler } = vm.device.kernel;
  if (scheduler.owing) yield* scheduler.pay();
  yield* migrateVmaPages(migrate);
  migrateVmaFinalize(migrate);
  return result;
}

function giveOut(vm: KvmVm, migrate: MigrateVma, gpa: number): number {
  const { pages } = vm.device.kernel;
  const from = migratePfnPage(migrate.src[0]!);
  if (from === NO_PAGE || !pages.isZoneDevice(from)) return U_SUCCESS;
  const to = pages.allocateLocked();
  if (to === NO_PAGE) return FAILED;
  // Before v5.7 this may be a page of another device, which has nothing to tell.
  const skip = vm.device.standsFor(from)?.skipPageOut ?? false;
  const result = skip ? U_SUCCESS : vm.uvPageOut(to, gpa);
  if (result === U_SUCCESS) {
    migrate.dst[0] = migratePfn(to) | MIGRATE_PFN_LOCKED;
    return result;
  }
  pages.unlock(to);
  pages.put(to);
  return result;
}

/** kvmppc_svm_page_out. */
export function* svmPageOutLocked(
  vm: KvmVm,
  page: GuestPage,
  faultPage: Page,
  cause: MigrateCause,
): Task<number> {
  if (!vm.uvmemLock.tryLock()) yield* vm.uvmemLock.lock();
  try {
    return yield* svmPageOut(vm, page, faultPage, cause);
  } finally {
    vm.uvmemLock.unlock();
  }
}

/** The hypervisor, or a device through it, touched a secure page: kvmppc_uvmem_migrate_to_ram. */
export function* migrateToRam(device: KvmUvmem, fault: DeviceFault): Task<number> {
  const standsFor = device.standsFor(fault.page);
  if (standsFor === null) {
    // Until v6.0 the fault holds no reference on it.
    throw new SimError(
      'use-after-free',
      `a CPU fault brought page ${fault.page} of ${device.name}, which was freed on the way`,
      { page: fault.page },
    );
  }
  const { vm, gpa } = standsFor;
  const page = { vma: fault.vma, start: fault.address, gpa };
  const faultPage = device.kernel.era.faultPage ? fault.page : NO_PAGE;
  const result = yield* svmPageOutLocked(vm, page, faultPage, 'cpu_fault');
  return result === U_SUCCESS ? 0 : VM_FAULT_SIGBUS;
}

/**
 * kvmppc_uvmem_drop_pages: every secure page of a slot goes home, with what the ultravisor has of
 * it unless `skip`, and every guest page is normal. What cannot go stays; a hole in the address
 * space ends it.
 */
export function* dropPages(vm: KvmVm, slot: MemorySlot, skip: boolean): Task<void> {
  const { mm, uvmemLock } = vm;
  if (!mm.mmapLock.tryRead()) yield* mm.mmapLock.read();
  try {
    for (let i = 0; i < slot.npages; i++) {
      const start = slot.address + i * mm.pageSize;
      const vma = mm.vmas.find(start);
      if (vma === null) return;
      if (!uvmemLock.tryLock()) yield* uvmemLock.lock();
      try {
        yield* dropPage(vm, vma, start, slot.baseGfn + i, skip);
      } finally {
        uvmemLock.unlock();
      }
    }
  } finally {
    mm.mmapLock.unlockRead();
  }
}

function* dropPage(vm: KvmVm, vma: Vma, start: Va, gfn: number, skip: boolean): Task<void> {
  const pvt = standIn(vm, gfn);
  if (pvt === null) {
    vm.uvmemSlots.mark(gfn, GFN_NORMAL);
    return;
  }
  pvt.skipPageOut = skip;
  pvt.removeGfn = true;
  yield* svmPageOut(vm, { vma, start, gpa: pvt.gpa }, NO_PAGE, 'driver');
}

/** What the device page of a guest page carries; null where the guest page has none. */
function standIn(vm: KvmVm, gfn: number): UvmemPage | null {
  const page = vm.uvmemSlots.uvmemPage(gfn);
  return page === NO_PAGE ? null : vm.device.standsFor(page);
}

/**
 * kvmppc_uv_migrate_mem_slot: every page of a slot that has no flag becomes a device page, without
 * its contents. 0, or H_STATE at the first that does not.
 */
export function* migrateMemSlot(vm: KvmVm, slot: MemorySlot): Task<number> {
  const { mm, uvmemLock, uvmemSlots } = vm;
  if (!mm.mmapLock.tryRead()) yield* mm.mmapLock.read();
  try {
    if (!uvmemLock.tryLock()) yield* uvmemLock.lock();
    try {
      let gfn = uvmemSlots.nextNontransitioned(slot.baseGfn);
      for (; gfn >= 0; gfn = uvmemSlots.nextNontransitioned(gfn)) {
        const start = vm.gfnToHva(gfn);
        if (start === null) return H_STATE;
        const vma = mm.vmas.find(start);
        if (vma === null) return H_STATE;
        const page = { vma, start, gpa: gfn * mm.pageSize };
        if ((yield* svmPageIn(vm, page, false)) !== 0) return H_STATE;
      }
      return 0;
    } finally {
      uvmemLock.unlock();
    }
  } finally {
    mm.mmapLock.unlockRead();
  }
}

/**
 * kvmppc_share_page: the guest page is normal memory that both sides see. A secure one goes home
 * first, by the fault of touching it, and leaves its contents behind.
 */
export function* sharePage(vm: KvmVm, gpa: number): Task<number> {
  const { uvmemLock, uvmemSlots } = vm;
  const gfn = vm.gfnOf(gpa);
  if (!uvmemLock.tryLock()) yield* uvmemLock.lock();
  leaveContents(vm, gfn);
  for (let tries = 0; ; tries++) {
    uvmemLock.unlock();
    // Where the process has moved the secure page elsewhere, the kernel never gets out of here.
    if (tries >= REFAULTS_AT_ONCE) yield* refaultPause(vm.mm, vm.gfnToHva(gfn) ?? 0, tries);
    const pinned = yield* gfnToPfn(vm, gfn);
    if (pinned === null) return H_PARAMETER;
    if (!uvmemLock.tryLock()) yield* uvmemLock.lock();
    if (leaveContents(vm, gfn) || !pinned.isCurrent()) {
      pinned.release();
      continue;
    }
    const result = vm.uvPageIn(pinned.page, gpa);
    if (result === U_SUCCESS) uvmemSlots.mark(gfn, GFN_SHARED);
    pinned.release();
    uvmemLock.unlock();
    return result === U_SUCCESS ? H_SUCCESS : H_PARAMETER;
  }
}

/** False where the guest page is not secure. */
function leaveContents(vm: KvmVm, gfn: number): boolean {
  const pvt = standIn(vm, gfn);
  if (pvt === null) return false;
  pvt.skipPageOut = true;
  pvt.removeGfn = false;
  return true;
}

/** A page of the process with a reference. */
interface PinnedPage {
  readonly page: Page;
  /**
   * The process still has it there. The kernel does not ask; but an ultravisor of ours that was
   * given a page whose going it was told of before would write to memory of somebody else.
   */
  isCurrent(): boolean;
  release(): void;
}

/** gfn_to_pfn, for writing; null where there is no such page. */
function* gfnToPfn(vm: KvmVm, gfn: number): Task<PinnedPage | null> {
  const { mm, notifier } = vm;
  const start = vm.gfnToHva(gfn);
  if (start === null || notifier === null || !mm.alive) return null;
  const seq = yield* mmuIntervalReadBegin(notifier);
  const found = yield* getUserPagesFast(mm, start, 1, FOLL_GET | FOLL_WRITE);
  if (typeof found === 'number') return null;
  const page = found[0]!;
  return {
    page,
    isCurrent: () => !mmuIntervalReadRetry(notifier, seq),
    release: () => putUserPage(mm.kernel, page, false),
  };
}

/**
 * The guest touched a shared page that the ultravisor has no mapping of: kvmppc_send_page_to_uv.
 * 0 where the guest may try again, or -EFAULT.
 */
export function sendPageToUv(vm: KvmVm, gpa: number): Task<number> {
  const { mm, device } = vm;
  const start = vm.gfnToHva(vm.gfnOf(gpa)) ?? 0;
  const end = start + mm.pageSize;
  const fault = { mm, start, end, device: device.name, access: 'write' } as const;
  return toldDeviceFault(fault, sendPage(vm, gpa));
}

function* sendPage(vm: KvmVm, gpa: number): Task<number> {
  const { uvmemLock, uvmemSlots } = vm;
  for (;;) {
    const pinned = yield* gfnToPfn(vm, vm.gfnOf(gpa));
    if (pinned === null) return -EFAULT;
    if (!uvmemLock.tryLock()) yield* uvmemLock.lock();
    const isSecure = uvmemSlots.isUvmem(vm.gfnOf(gpa));
    const isCurrent = pinned.isCurrent();
    const result = !isSecure && isCurrent ? vm.uvPageIn(pinned.page, gpa) : U_SUCCESS;
    pinned.release();
    uvmemLock.unlock();
    if (isSecure || isCurrent) return result === U_SUCCESS ? 0 : -EFAULT;
  }
}
