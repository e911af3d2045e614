/** Device page faults: a mirror fills its page table through hmm_range_fault. */
import { EFAULT } from '../../core/errno.ts';
import { toldDeviceFault } from '../../core/events/call.ts';
import { hmmPopulate } from '../../core/hmm/populate.ts';
import {
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  HMM_PFN_WRITE,
  hmmPfnPage,
} from '../../core/hmm/range-fault.ts';
import type { Task } from '../../core/sched/task.ts';
import type { Va } from '../../core/units.ts';
import type { DmirrorFile } from './file.ts';
import { TAG_READ, TAG_WRITE } from './page-table.ts';

/** Pages that one call of hmm_range_fault or migrate_vma is asked for. */
export const BATCH_PAGES = 64;

/**
 * The device missed entries in [start, end): dmirror_fault. -EFAULT where the process has ended; a
 * device with the defect `gone_mm_loops` answers 0.
 */
export function* deviceFault(file: DmirrorFile, start: Va, end: Va, write: boolean): Task<number> {
  const { mm, device } = file;
  if (!mm.alive) return device.defects.has('gone_mm_loops') ? 0 : -EFAULT;
  const fault = { mm, start, end, device: device.name, access: write ? 'write' : 'read' } as const;
  return yield* toldDeviceFault(fault, faultInBatches(file, start, end, write));
}

function* faultInBatches(file: DmirrorFile, start: Va, end: Va, write: boolean): Task<number> {
  const { notifier, device } = file;
  const step = BATCH_PAGES * file.mm.pageSize;
  const { words } = file.mm.kernel;
  const hmmPfns = words.take(BATCH_PAGES);
  const request = HMM_PFN_REQ_FAULT | (write ? HMM_PFN_REQ_WRITE : 0);
  for (let from = start; from < end; from += step) {
    const until = Math.min(from + step, end);
    let mapped = 0;
    const lock = file.mutex;
    const range = { notifier, start: from, end: until, request, owner: device, lock, hmmPfns };
    const populated = yield* hmmPopulate(range, () => {
      mapped = mapPages(file, from, until, hmmPfns, write);
    });
    const result = populated !== 0 ? populated : mapped;
    if (result === 0) continue;
    words.give(hmmPfns);
    return result;
  }
  words.give(hmmPfns);
  return 0;
}

/** Enters what hmm_range_fault answered into the mirror's page table: dmirror_do_fault. */
function mapPages(
  file: DmirrorFile,
  start: Va,
  end: Va,
  pfns: Uint32Array,
  write: boolean,
): number {
  const { mm, pageTable } = file;
  const first = mm.vpn(start);
  const count = mm.vpn(end) - first;
  for (let i = 0; i < count; i++) {
    const word = pfns[i]!;
    const writable = (word & HMM_PFN_WRITE) !== 0;
    // The device has the page, but read-only: hmm_range_fault does not fault its owner's pages.
    if (write && !writable) return -EFAULT;
    pageTable.set(first + i, hmmPfnPage(word), writable ? TAG_WRITE : TAG_READ);
  }
  return 0;
}
