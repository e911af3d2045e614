/**
 * The hypercalls H_SVM_*, each with its checks in the kernel's order.
 *
 * Reference: arch/powerpc/kvm/book3s_hv_uvmem.c and book3s_hv.c of Linux 6.1.
 */
import { toldCall } from '../../core/events/call.ts';
import type { Task } from '../../core/sched/task.ts';
import { NO_PAGE } from '../../core/units.ts';
import {
  H_AUTHORITY,
  H_FUNCTION,
  H_P2,
  H_P3,
  H_PAGE_IN_SHARED,
  H_PARAMETER,
  H_STATE,
  H_SUCCESS,
  H_SVM_INIT_ABORT,
  H_SVM_INIT_DONE,
  H_SVM_INIT_START,
  H_SVM_PAGE_IN,
  H_SVM_PAGE_OUT,
  H_UNSUPPORTED,
  svmCallName,
} from '../../hw/svm-codes.ts';
import { memslotCreate, memslotDelete } from './memslots.ts';
import { dropPages, migrateMemSlot, sharePage, svmPageIn, svmPageOutLocked } from './migrate.ts';
import { SECURE_INIT_DONE, SECURE_INIT_START } from './slots.ts';
import type { KvmVm } from './vm.ts';

/**
 * A hypercall of the guest, or, with `secure` (MSR_S), of the ultravisor in its name:
 * kvmppc_pseries_do_hcall. H_FUNCTION for a call that is none of H_SVM_*.
 */
export function svmHcall(
  vm: KvmVm,
  call: number,
  args: readonly number[],
  secure: boolean,
): Task<number> {
  const isPageCall = call === H_SVM_PAGE_IN || call === H_SVM_PAGE_OUT;
  const info = vm.callInfo(svmCallName(call), isPageCall ? vm.gfnOf(args[0] ?? 0) : null);
  return toldCall(vm.mm.kernel, info, dispatch(vm, call, args, secure));
}

function* dispatch(
  vm: KvmVm,
  call: number,
  args: readonly number[],
  secure: boolean,
): Task<number> {
  const [gpa = 0, flags = 0, shift = 0] = args;
  const { timing, scheduler } = vm.mm.kernel;
  if (timing !== null) scheduler.charge(timing.secure.hypercallNs);
  switch (call) {
    case H_SVM_PAGE_IN:
      return secure ? yield* pageIn(vm, gpa, flags, shift) : H_UNSUPPORTED;
    case H_SVM_PAGE_OUT:
      return secure ? yield* pageOut(vm, gpa, flags, shift) : H_UNSUPPORTED;
    case H_SVM_INIT_START:
      return secure ? yield* initStart(vm) : H_UNSUPPORTED;
    case H_SVM_INIT_DONE:
      return secure ? yield* initDone(vm) : H_UNSUPPORTED;
    case H_SVM_INIT_ABORT:
      // It comes with the MSR of the guest, which is not secure yet.
      return yield* initAbort(vm);
    default:
      return H_FUNCTION;
  }
}

/**
 * kvmppc_h_svm_init_start. The state is set before anything is checked, and stays when a check
 * fails. What was created before a slot fails stays, too: the loop that should undo it deletes the
 * slot that failed, once for each slot before it. Not so where the driver is `mended`.
 */
function* initStart(vm: KvmVm): Task<number> {
  const { mended } = vm.device;
  const before = vm.secureGuest;
  vm.device.sealsMemory = true;
  vm.secureGuest = SECURE_INIT_START;
  const result = yield* startSlots(vm, mended);
  if (mended && result !== H_SUCCESS) vm.secureGuest = before;
  return result;
}

function* startSlots(vm: KvmVm, mended: boolean): Task<number> {
  if (!vm.device.available) return H_UNSUPPORTED;
  if (!vm.radix) return H_UNSUPPORTED;
  if (!vm.svmEnabled) return H_AUTHORITY;
  const slots = [...vm.slots];
  for (const slot of slots) {
    const result = yield* memslotCreate(vm, slot);
    if (result === 0) continue;
    for (const other of slots) {
      if (other === slot) break;
      yield* memslotDelete(vm, mended ? other : slot);
    }
    return result;
  }
  return H_SUCCESS;
}

/** kvmppc_h_svm_init_done. Pages that moved before one did not stay where they are. */
function* initDone(vm: KvmVm): Task<number> {
  if ((vm.secureGuest & SECURE_INIT_START) === 0) return H_UNSUPPORTED;
  for (const slot of vm.slots) {
    if ((yield* migrateMemSlot(vm, slot)) !== 0) return H_STATE;
  }
  vm.secureGuest |= SECURE_INIT_DONE;
  // From here on the ultravisor has the guest's page table.
  vm.unmapAll();
  return H_SUCCESS;
}

/** kvmppc_h_svm_init_abort. Its H_PARAMETER goes to the guest, whose UV_ESM failed. */
function* initAbort(vm: KvmVm): Task<number> {
  if ((vm.secureGuest & SECURE_INIT_START) === 0) return H_UNSUPPORTED;
  if ((vm.secureGuest & SECURE_INIT_DONE) !== 0) return H_STATE;
  for (const slot of vm.slots) yield* dropPages(vm, slot, false);
  vm.secureGuest = 0;
  vm.uvSvmTerminate();
  return H_PARAMETER;
}

/** kvmppc_h_svm_page_in. */
function* pageIn(vm: KvmVm, gpa: number, flags: number, shift: number): Task<number> {
  if ((vm.secureGuest & SECURE_INIT_START) === 0) return H_UNSUPPORTED;
  if (shift !== vm.pageShift) return H_P3;
  // Not by `&`, which sees half of a register.
  const isShared = flags === H_PAGE_IN_SHARED;
  if (!isShared && flags !== 0) return H_P2;
  if (isShared) return yield* sharePage(vm, gpa);
  const { mm, uvmemLock } = vm;
  if (!mm.mmapLock.tryRead()) yield* mm.mmapLock.read();
  try {
    const start = vm.gfnToHva(vm.gfnOf(gpa));
    if (start === null) return H_PARAMETER;
    if (!uvmemLock.tryLock()) yield* uvmemLock.lock();
    try {
      if (vm.uvmemSlots.isUvmem(vm.gfnOf(gpa))) return H_PARAMETER;
      const vma = mm.vmas.find(start);
      if (vma === null) return H_PARAMETER;
      const result = yield* svmPageIn(vm, { vma, start, gpa }, true);
      return result === 0 ? H_SUCCESS : H_PARAMETER;
    } finally {
      uvmemLock.unlock();
    }
  } finally {
    mm.mmapLock.unlockRead();
  }
}

/** kvmppc_h_svm_page_out. A page that is not secure is out already. */
function* pageOut(vm: KvmVm, gpa: number, flags: number, shift: number): Task<number> {
  if ((vm.secureGuest & SECURE_INIT_START) === 0) return H_UNSUPPORTED;
  if (shift !== vm.pageShift) return H_P3;
  if (flags !== 0) return H_P2;
  const { mm } = vm;
  if (!mm.mmapLock.tryRead()) yield* mm.mmapLock.read();
  try {
    const start = vm.gfnToHva(vm.gfnOf(gpa));
    const vma = start === null ? null : mm.vmas.find(start);
    if (start === null || vma === null) return H_PARAMETER;
    const result = yield* svmPageOutLocked(vm, { vma, start, gpa }, NO_PAGE, 'evict');
    return result === 0 ? H_SUCCESS : H_PARAMETER;
  } finally {
    mm.mmapLock.unlockRead();
  }
}
