/** Faults of the kernel's driver that are mended in 6.1 by now, and that it can be given back. */

/** The name of one: see `KVM_UVMEM_DEFECTS`. */
export type KvmUvmemDefect = 'keeps_refused_page';

/**
 * Those that 6.1 still has are there without being asked for; see `KvmUvmem.mended`.
 *
 * - `keeps_refused_page`: kvmppc_svm_page_in returned without unlocking and putting the device page
 *   where the ultravisor refused UV_PAGE_IN. The page of secure memory is never used again, and its
 *   guest page counts as secure although its contents stayed in RAM: every further H_SVM_PAGE_IN is
 *   H_PARAMETER. Mended in the later releases of 6.1; 7.0 still has it.
 */
export const KVM_UVMEM_DEFECTS: readonly {
  readonly name: KvmUvmemDefect;
  readonly summary: string;
}[] = [
  {
    name: 'keeps_refused_page',
    summary: 'a page that the ultravisor refused keeps its page of secure memory, locked',
  },
];
