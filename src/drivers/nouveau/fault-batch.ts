/**
 * The faults that a GPU reported, in the order in which nouveau serves them: nouveau_svm_fault_cmp
 * and the grouping in nouveau_svm_fault. Reference: nouveau_svm.c of Linux 6.1.
 */
import {
  FAULT_ACCESS_PREFETCH,
  FAULT_ACCESS_READ,
  FAULT_ACCESS_WRITE,
  type FaultEntry,
} from '../../hw/fault-buffer.ts';
import { GPU_PTE_ATOMIC, GPU_PTE_VALID, GPU_PTE_WRITE } from '../../hw/gpu-page-table.ts';
import type { NouveauRules } from './rules.ts';
import type { Svmm } from './svmm.ts';

/** struct nouveau_svm_fault: a fault as it was cached from the hardware's buffer. */
export interface CachedFault {
  readonly entry: FaultEntry;
  /** Id of the record of the fault in the event stream; undefined where nobody listened. */
  readonly cause: number | undefined;
  /** Whose fault it is; null where the channel shares no address space. */
  svmm: Svmm | null;
}

/** The weakest access first, so that what leads a group is what asks for least. */
const PRIORITIES: readonly number[] = [1, 2, 3, 0];
/** Until v5.13: writes and atomics first, which a single entry then serves all of. */
const OLD_PRIORITIES: readonly number[] = [1, 0, 0, 1];

/**
 * Sorts by channel, by address, and by how much an access asks for. The kernel looks at the lower
 * 32 bits of differences only, so that addresses 2 GiB apart and more may come in another order
 * there, and fault once more than here.
 */
export function sortFaults(faults: CachedFault[], rules: NouveauRules): void {
  const priorities = rules.atomics ? PRIORITIES : OLD_PRIORITIES;
  faults.sort(
    ({ entry: a }, { entry: b }) =>
      a.inst - b.inst || a.addr - b.addr || priorities[a.access]! - priorities[b.access]!,
  );
}

/**
 * Where the group that `first` leads ends: the faults behind it on the same page are taken for
 * served too, unless the new entry lacks what the leader needs. It is the leader's need that
 * counts, not theirs: a write behind a read is passed over, and faults again after the replay.
 */
export function groupEnd(
  faults: readonly CachedFault[],
  first: number,
  limit: number,
  flags: number,
  rules: NouveauRules,
): number {
  const leader = faults[first]!;
  let end = first + 1;
  if ((neededFlags(leader.entry.access, rules) & ~flags) !== 0) return end;
  while (
    end < faults.length &&
    faults[end]!.svmm === leader.svmm &&
    faults[end]!.entry.addr < limit
  ) {
    end++;
  }
  return end;
}

/** GPU_PTE_* bits without which an access fails. A prefetch is content with anything. */
function neededFlags(access: number, rules: NouveauRules): number {
  switch (access) {
    case FAULT_ACCESS_READ:
      return GPU_PTE_VALID;
    case FAULT_ACCESS_PREFETCH:
      return 0;
    case FAULT_ACCESS_WRITE:
      return GPU_PTE_WRITE;
    default:
      return rules.atomics ? GPU_PTE_WRITE | GPU_PTE_ATOMIC : GPU_PTE_WRITE;
  }
}
