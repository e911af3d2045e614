import type { Task } from '../core/sched/task.ts';

/** The hypervisor as the ultravisor calls it. */
export interface SvmHypervisor {
  /** A hypercall for the guest `lpid`, with MSR_S set: it comes from the ultravisor. */
  hcall(lpid: number, call: number, args: readonly number[]): Task<number>;
  /** The guest touched a shared page that is not mapped. 0: try again; -EFAULT: there is none. */
  pageFault(lpid: number, gpa: number): Task<number>;
}
