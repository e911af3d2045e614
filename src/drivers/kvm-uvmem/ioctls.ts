/** What the process that runs a VM asks of KVM: its memory slots, and the end of secure mode. */
import { EBUSY, EEXIST, EINVAL } from '../../core/errno.ts';
import type { Task } from '../../core/sched/task.ts';
import { TASK_SIZE, type Va } from '../../core/units.ts';
import { U_SUCCESS } from '../../hw/svm-codes.ts';
import { memslotCreate, memslotDelete } from './memslots.ts';
import { dropPages, migrateMemSlot } from './migrate.ts';
import { KVM_USER_MEM_SLOTS, type MemorySlot, SECURE_INIT_START } from './slots.ts';
import type { KvmVm } from './vm.ts';

/** struct kvm_userspace_memory_region. */
export interface MemoryRegion {
  /** Number of the slot. */
  readonly slot: number;
  /** First guest page. */
  readonly gfn: number;
  /** How many; 0 takes the slot away. */
  readonly pages: number;
  /** Where the first page is in the process. */
  readonly address: Va;
}

/** __kvm_set_memory_region. */
export function* setMemoryRegion(vm: KvmVm, region: MemoryRegion): Task<number> {
  if (vm.closed || !isRegion(region, vm.mm.pageSize)) return -EINVAL;
  const { slotsLock } = vm;
  if (!slotsLock.tryLock()) yield* slotsLock.lock();
  try {
    const { slot: id, gfn, pages, address } = region;
    const old = vm.slots.byId(id);
    if (pages === 0) return old === null ? -EINVAL : yield* deleteSlot(vm, old);
    if (old !== null) {
      if (old.address !== address || old.npages !== pages) return -EINVAL;
      if (old.baseGfn === gfn) return 0;
    }
    if (vm.slots.overlaps(id, gfn, gfn + pages)) return -EEXIST;
    const slot = { id, baseGfn: gfn, npages: pages, address, invalid: false };
    return old === null ? yield* createSlot(vm, slot) : yield* moveSlot(vm, old, slot);
  } finally {
    slotsLock.unlock();
  }
}

/** The general sanity checks of __kvm_set_memory_region. */
function isRegion({ slot, gfn, pages, address }: MemoryRegion, pageSize: number): boolean {
  const areNumbers = [slot, gfn, pages, address].every((n) => Number.isSafeInteger(n) && n >= 0);
  if (!areNumbers || slot >= KVM_USER_MEM_SLOTS || address % pageSize !== 0) return false;
  const end = (gfn + pages) * pageSize;
  return Number.isSafeInteger(end) && address + pages * pageSize <= TASK_SIZE;
}

/** KVM_MR_CREATE. Whether a slot that comes after H_SVM_INIT_START becomes secure, nobody asks. */
function* createSlot(vm: KvmVm, slot: MemorySlot): Task<number> {
  const watched = vm.watch();
  if (watched < 0) return watched;
  vm.slots.add(slot);
  if (vm.secureGuest === 0) return 0;
  if ((yield* memslotCreate(vm, slot)) === 0) yield* migrateMemSlot(vm, slot);
  return 0;
}

/** KVM_MR_DELETE. */
function* deleteSlot(vm: KvmVm, slot: MemorySlot): Task<number> {
  yield* flush(vm, slot);
  vm.slots.remove(slot);
  if (vm.secureGuest !== 0) yield* memslotDelete(vm, slot);
  return 0;
}

/**
 * KVM_MR_MOVE: tables and ultravisor do not hear of it, as in the kernel; with one exception. A
 * shared page that stayed mapped under its old number would be the guest's after the process gave it
 * up, for nobody tells the ultravisor of the old number any more.
 */
function* moveSlot(vm: KvmVm, old: MemorySlot, moved: MemorySlot): Task<number> {
  yield* flush(vm, old);
  vm.unmapSlot(old);
  vm.slots.remove(old);
  vm.slots.add(moved);
  return 0;
}

/** kvmppc_radix_flush_memslot, once nobody can find the slot any more. */
function* flush(vm: KvmVm, slot: MemorySlot): Task<void> {
  slot.invalid = true;
  if ((vm.secureGuest & SECURE_INIT_START) !== 0) yield* dropPages(vm, slot, true);
  vm.guestPages.remove(slot.baseGfn, slot.baseGfn + slot.npages);
}

/** kvmhv_svm_off. A vCPU that wants to run meanwhile waits. */
export function* svmOff(vm: KvmVm): Task<number> {
  if (vm.closed) return -EINVAL;
  if ((vm.secureGuest & SECURE_INIT_START) === 0) return 0;
  const { mmuSetupLock } = vm;
  if (!mmuSetupLock.tryLock()) yield* mmuSetupLock.lock();
  try {
    if (vm.vcpusRunning > 0) return -EBUSY;
    for (const slot of vm.slots) {
      yield* dropPages(vm, slot, true);
      vm.uvUnregisterMemSlot(slot);
    }
    if (vm.uvSvmTerminate() !== U_SUCCESS) return -EINVAL;
    vm.unmapAll();
    vm.secureGuest = 0;
    return 0;
  } finally {
    mmuSetupLock.unlock();
  }
}
