/**
 * What becomes of a memory slot when its VM becomes secure: its pages may not be merged with equal
 * ones, it has a table of its pages, and the ultravisor knows of it.
 */
import type { Mm } from '../../core/mm/mm.ts';
import {
  VM_DONTEXPAND,
  VM_IO,
  VM_MERGEABLE,
  VM_MIXEDMAP,
  VM_PFNMAP,
  VM_SHARED,
  type Vma,
} from '../../core/mm/vma.ts';
import type { Task } from '../../core/sched/task.ts';
import { H_PARAMETER, H_STATE } from '../../hw/svm-codes.ts';
import type { MemorySlot } from './slots.ts';
import type { KvmVm } from './vm.ts';

const UNMERGEABLE = VM_SHARED | VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_MIXEDMAP;

/**
 * kvmppc_memslot_page_merge: allows or forbids it for every VMA that a slot touches, each as a
 * whole. H_STATE where the slot is gone or its last page is not mapped; what was done stays.
 */
function* memslotPageMerge(vm: KvmVm, slot: MemorySlot, merge: boolean): Task<number> {
  const { mm } = vm;
  const address = vm.gfnToHva(slot.baseGfn);
  if (address === null) return H_STATE;
  if (!mm.mmapLock.tryWrite()) yield* mm.mmapLock.write();
  try {
    return mergeVmas(mm, address, address + slot.npages * mm.pageSize, merge);
  } finally {
    mm.mmapLock.unlockWrite();
  }
}

function mergeVmas(mm: Mm, start: number, end: number, merge: boolean): number {
  for (let at = start; at < end; ) {
    const vma = mm.vmas.firstEndingAfter(at);
    if (vma === null || vma.start >= end) return H_STATE;
    ksmMadvise(vma, merge);
    at = vma.end;
  }
  return 0;
}

/** ksm_madvise, where there are no merged pages to part. */
function ksmMadvise(vma: Vma, merge: boolean): void {
  if (!merge) vma.flags &= ~VM_MERGEABLE;
  else if ((vma.flags & UNMERGEABLE) === 0) vma.flags |= VM_MERGEABLE;
}

/** __kvmppc_uvmem_memslot_create. */
export function* memslotCreate(vm: KvmVm, slot: MemorySlot): Task<number> {
  if ((yield* memslotPageMerge(vm, slot, false)) !== 0) return H_PARAMETER;
  if (!vm.uvmemLock.tryLock()) yield* vm.uvmemLock.lock();
  vm.uvmemSlots.init(slot);
  vm.uvmemLock.unlock();
  if (vm.uvRegisterMemSlot(slot) >= 0) return 0;
  yield* slotFree(vm, slot);
  yield* memslotPageMerge(vm, slot, true);
  return H_PARAMETER;
}

/** __kvmppc_uvmem_memslot_delete. */
export function* memslotDelete(vm: KvmVm, slot: MemorySlot): Task<void> {
  vm.uvUnregisterMemSlot(slot);
  yield* slotFree(vm, slot);
  yield* memslotPageMerge(vm, slot, true);
}

function* slotFree(vm: KvmVm, slot: MemorySlot): Task<void> {
  if (!vm.uvmemLock.tryLock()) yield* vm.uvmemLock.lock();
  vm.uvmemSlots.free(slot);
  vm.uvmemLock.unlock();
}
