/** Flags and results of page faults: include/linux/mm_types.h. */

/** A write: FAULT_FLAG_WRITE. */
export const FAULT_FLAG_WRITE = 1;
/** Give a shared anonymous page a copy of its own, but do not make it writable: FAULT_FLAG_UNSHARE. */
export const FAULT_FLAG_UNSHARE = 2;

export const VM_FAULT_OOM = 0x1;
export const VM_FAULT_SIGBUS = 0x2;
export const VM_FAULT_SIGSEGV = 0x40;
export const VM_FAULT_ERROR: number = VM_FAULT_OOM | VM_FAULT_SIGBUS | VM_FAULT_SIGSEGV;

/** What ends a process whose access cannot be served. SIGKILL stands for the out-of-memory killer. */
export type Signal = 'SIGSEGV' | 'SIGBUS' | 'SIGKILL';
