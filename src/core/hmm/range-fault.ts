/**
 * hmm_range_fault: what the CPU's page table says about a range, for a device to mirror, with the
 * faults the device asks for.
 *
 * Reference: mm/hmm.c and mm/pagewalk.c of Linux 6.1. The walk never sleeps; where it must, it stops
 * and says so, the fault is done, and the walk goes on from there.
 */
import { chargeWalks } from '../charge.ts';
import { EBUSY, EFAULT, EINVAL, EPERM } from '../errno.ts';
import { SimError } from '../errors.ts';
import { FAULT_FLAG_WRITE, handleMmFault, VM_FAULT_ERROR } from '../mm/fault.ts';
import type { Mm } from '../mm/mm.ts';
import { leafEnd, leafIndex } from '../mm/page-table.ts';
import {
  type Leaf,
  PTE_DEVICE_EXCLUSIVE,
  PTE_DEVICE_PRIVATE,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_WRITE,
} from '../mm/pte.ts';
import { REFAULTS_AT_ONCE, refaultPause } from '../mm/refault.ts';
import { VM_IO, VM_PFNMAP, VM_READ, VM_WRITE, type Vma } from '../mm/vma.ts';
import type { Owner } from '../pagemap/pagemap.ts';
import { type MaybeTask, PREEMPT, settle, type Task } from '../sched/task.ts';
import type { Page, Va } from '../units.ts';
import type { IntervalNotifier } from './notifier.ts';

// A word of hmm_pfns: flags below, the page from bit 6 up, as in a migrate_pfn. The kernel has its
// flags at the top of 64 bits.
/** Out: the CPU may read the page, or it is private memory of the caller. */
export const HMM_PFN_VALID = 1;
/** Out: the CPU may write it. */
export const HMM_PFN_WRITE = 2;
/** Out: nothing can ever be mapped here. */
export const HMM_PFN_ERROR = 4;
/** In: the page must be VALID. */
export const HMM_PFN_REQ_FAULT: number = HMM_PFN_VALID;
/** In, with REQ_FAULT: it must be WRITE too. */
export const HMM_PFN_REQ_WRITE: number = HMM_PFN_WRITE;
const HMM_PFN_SHIFT = 6;

/** The page of a word that is VALID: hmm_pfn_to_page. The zero page is page 0. */
export function hmmPfnPage(word: number): Page {
  return word >>> HMM_PFN_SHIFT;
}

/** struct hmm_range. */
export interface HmmRange {
  readonly notifier: IntervalNotifier;
  /** What mmuIntervalReadBegin returned. */
  notifierSeq: number;
  /** First byte, a multiple of the page size. */
  start: Va;
  /** First byte after it. */
  end: Va;
  /** One word a page: in, HMM_PFN_REQ_*; out, HMM_PFN_* and the page. */
  hmmPfns: Uint32Array;
  /** Asked for of every page, whatever its word says. */
  defaultFlags: number;
  /** The bits of a word that count as requests. */
  pfnFlagsMask: number;
  /** Whose private memory is reported rather than brought home. */
  devPrivateOwner: Owner | null;
}

const NEED_FAULT = 1;
const NEED_WRITE_FAULT = 2;
const NEED_ALL = 3;

/** Where a walk stopped: [start, end) of `vma` must be faulted in. */
interface NeededFault {
  readonly vma: Vma;
  readonly start: Va;
  readonly end: Va;
  readonly needs: number;
}

/** Where a walk stopped: the page at `start` is under migration. */
interface NeededWait {
  readonly page: Page;
  readonly start: Va;
}

type Stop = NeededFault | NeededWait;

/**
 * Reports every page of the range, after faulting in what it requests. The caller holds mmap_lock.
 * Returns 0; -EBUSY where an invalidation came between (begin again with mmuIntervalReadBegin);
 * -EPERM where a write is requested of a read-only mapping; -EFAULT where a requested page cannot
 * be; -EINVAL for an empty range.
 */
export function hmmRangeFault(range: HmmRange): Task<number> {
  return settle(hmmRangeFaultStep(range));
}

/** The same for paths where speed counts: the result at once where nothing has to be faulted in. */
export function hmmRangeFaultStep(range: HmmRange): MaybeTask<number> {
  const { mm } = range.notifier;
  if (!mm.mmapLock.locked) {
    throw new SimError('lock-misuse', 'hmm_range_fault needs mmap_lock, which nobody holds');
  }
  const { scheduler, timing } = mm.kernel;
  if (scheduler.preempts || timing !== null) return rangeFaultTask(range, null);
  if (range.notifier.invalidateSeq !== range.notifierSeq) return -EBUSY;
  const stop = walkRange(mm, range, range.start);
  return typeof stop === 'number' ? stop : rangeFaultTask(range, stop);
}

/** @param found where a first walk stopped already, if there was one */
function* rangeFaultTask(range: HmmRange, found: Stop | null): Task<number> {
  const { mm } = range.notifier;
  let first = found;
  let last = range.start;
  let stuckRounds = 0;
  for (;;) {
    const { scheduler } = mm.kernel;
    if (scheduler.preempts && scheduler.overtaken('hmm_range_fault', range.notifierSeq))
      yield PREEMPT;
    // mmu_interval_check_retry, which no fault on purpose hits.
    if (range.notifier.invalidateSeq !== range.notifierSeq) return -EBUSY;
    const stop: Stop | number = first ?? walkRange(mm, range, last);
    first = null;
    if (typeof stop === 'number') {
      chargeWalks(mm.kernel, (range.end - range.start) / mm.pageSize);
      if (scheduler.owing) yield* scheduler.pay();
      return stop;
    }
    stuckRounds = stop.start === last ? stuckRounds + 1 : 0;
    if (stuckRounds >= REFAULTS_AT_ONCE) yield* refaultPause(mm, stop.start, stuckRounds);
    last = stop.start;
    if ('page' in stop) yield* mm.pages.waitUnlocked(stop.page);
    else {
      const result = yield* hmmVmaFault(range, stop);
      if (result !== 0) return result;
    }
  }
}

/** hmm_vma_fault: 0 stands for its -EBUSY, look again. */
function* hmmVmaFault(range: HmmRange, fault: NeededFault): Task<number> {
  const { vma, start, end, needs } = fault;
  const { mm } = vma;
  const write = (needs & NEED_WRITE_FAULT) !== 0;
  if (write && (vma.flags & VM_WRITE) === 0) return -EPERM;
  const { events } = mm.kernel;
  const { listening } = events;
  if (listening) {
    const access = write ? 'write' : 'read';
    events.deviceFaultBegin(mm, start, end, range.notifier.ops.name, access);
  }
  let result = 0;
  for (let va = start; va < end && result === 0; va += mm.pageSize) {
    const outcome = handleMmFault(vma, va, write ? FAULT_FLAG_WRITE : 0);
    const answer = typeof outcome === 'object' ? yield* outcome : outcome;
    if ((answer & VM_FAULT_ERROR) !== 0) result = -EFAULT;
  }
  if (listening) events.deviceFaultEnd(mm, start, end, result);
  return result;
}

/** walk_page_range with hmm's callbacks. */
function walkRange(mm: Mm, range: HmmRange, from: Va): Stop | number {
  if (from >= range.end) return -EINVAL;
  let start = from;
  while (start < range.end) {
    const vma = mm.vmas.firstEndingAfter(start);
    const isHole = vma === null || vma.start > start;
    const next = vma === null ? range.end : Math.min(range.end, isHole ? vma.start : vma.end);
    if (isHole || !canBeMirrored(vma)) {
      if (rangeNeeds(range, start, next, 0) !== 0) return -EFAULT;
      fill(range, start, next, HMM_PFN_ERROR);
    } else {
      const stop = walkVma(vma, range, start, next);
      if (stop !== null) return stop;
    }
    start = next;
  }
  return 0;
}

/** hmm_vma_walk_test. */
function canBeMirrored(vma: Vma): boolean {
  return (vma.flags & (VM_IO | VM_PFNMAP)) === 0 && (vma.flags & VM_READ) !== 0;
}

/** hmm_vma_walk_pmd for each leaf of [start, end), and hmm_vma_walk_hole where there is none. */
function walkVma(vma: Vma, range: HmmRange, start: Va, end: Va): Stop | number | null {
  const { mm } = vma;
  const endVpn = mm.vpn(end);
  let next = start;
  for (let va = start; va < end; va = next) {
    next = mm.va(leafEnd(mm.vpn(va), endVpn));
    const leaf = mm.pageTable.leaf(mm.vpn(va));
    if (leaf !== null) {
      const stop = walkLeaf(vma, range, leaf, va, next);
      if (stop !== null) return stop;
      continue;
    }
    const needs = rangeNeeds(range, va, next, 0);
    if (needs !== 0) return { vma, start: va, end: next, needs };
    fill(range, va, next, 0);
  }
  return null;
}

/** hmm_vma_handle_pte for each entry of [start, end), which lies in one leaf. */
function walkLeaf(vma: Vma, range: HmmRange, leaf: Leaf, start: Va, end: Va): Stop | number | null {
  const { pages, pageSize } = vma.mm;
  const { hmmPfns, devPrivateOwner } = range;
  const anyOwner = !vma.mm.kernel.era.hmmChecksOwner;
  let word = (start - range.start) / pageSize;
  let at = leafIndex(vma.mm.vpn(start));
  for (let va = start; va < end; va += pageSize, word++, at++) {
    const bits = leaf.bits[at]!;
    const kind = bits & PTE_KIND;
    const page = leaf.page[at]!;
    const isOwn =
      kind === PTE_DEVICE_PRIVATE && (anyOwner || pages.pagemapOf(page)!.owner === devPrivateOwner);
    const isMapped = kind === PTE_PRESENT && (bits & PTE_PROTNONE) === 0;
    let flags = 0;
    if (isMapped || isOwn) {
      flags = (bits & PTE_WRITE) !== 0 ? HMM_PFN_VALID | HMM_PFN_WRITE : HMM_PFN_VALID;
    }
    // The caller's own memory is never faulted, not even to make it writable.
    const needs = isOwn ? 0 : wordNeeds(range, hmmPfns[word]!, flags);
    if (needs === 0) {
      // A read-protected page is reported too, without VALID.
      const reported = isOwn || kind === PTE_PRESENT;
      hmmPfns[word] = reported ? (page << HMM_PFN_SHIFT) | flags : 0;
      continue;
    }
    if (kind === PTE_MIGRATION) return { page, start: va };
    if (!canFault(vma.mm, kind)) return -EFAULT;
    // Everything up to the end of the leaf is faulted with this entry, whether it needs it or not.
    return { vma, start: va, end, needs };
  }
  return null;
}

/** Is there a way to make an entry of this kind present? */
function canFault(mm: Mm, kind: number): boolean {
  if (kind === PTE_NONE || kind === PTE_PRESENT || kind === PTE_DEVICE_EXCLUSIVE) return true;
  return kind === PTE_DEVICE_PRIVATE && mm.kernel.era.hmmFaultsForeign;
}

/** hmm_pte_need_fault. */
function wordNeeds(range: HmmRange, word: number, flags: number): number {
  const request = (word & range.pfnFlagsMask) | range.defaultFlags;
  if ((request & HMM_PFN_REQ_FAULT) === 0) return 0;
  if ((request & HMM_PFN_REQ_WRITE) !== 0 && (flags & HMM_PFN_WRITE) === 0) return NEED_ALL;
  return (flags & HMM_PFN_VALID) === 0 ? NEED_FAULT : 0;
}

/** hmm_range_need_fault. */
function rangeNeeds(range: HmmRange, start: Va, end: Va, flags: number): number {
  if (((range.defaultFlags | range.pfnFlagsMask) & HMM_PFN_REQ_FAULT) === 0) return 0;
  const { pageSize } = range.notifier.mm;
  const endWord = (end - range.start) / pageSize;
  let needs = 0;
  for (let word = (start - range.start) / pageSize; word < endWord; word++) {
    needs |= wordNeeds(range, range.hmmPfns[word]!, flags);
    if (needs === NEED_ALL) break;
  }
  return needs;
}

/** hmm_pfns_fill. */
function fill(range: HmmRange, start: Va, end: Va, word: number): void {
  const { pageSize } = range.notifier.mm;
  range.hmmPfns.fill(word, (start - range.start) / pageSize, (end - range.start) / pageSize);
}
