/** Making, removing and emptying mappings. Reference: mm/mmap.c and mm/madvise.c of Linux 6.1. */
import { EINVAL, ENOMEM } from '../errno.ts';
import type { Task } from '../sched/task.ts';
import { TASK_SIZE, type Va } from '../units.ts';
import { unlinkAnonVmas } from './anon-vma.ts';
import { MemoryFile } from './memory-file.ts';
import type { Mm } from './mm.ts';
import { leafStart } from './page-table.ts';
import { PTRS_PER_PTE } from './pte.ts';
import { VM_ACCESS_FLAGS, VM_ACCOUNT, VM_PFNMAP, VM_SHARED, VM_WRITE, Vma } from './vma.ts';
import {
  canVmaMergeAfter,
  canVmaMergeBefore,
  type MergeOptions,
  splitVma,
  vmaExpand,
  vmaLink,
} from './vma-adjust.ts';
import { removeFrom } from './vma-tree.ts';
import { zapRange } from './zap.ts';
import { zapSlowly } from './zap-slowly.ts';

export interface MmapOptions {
  readonly addr: Va;
  readonly pages: number;
  /** VM_READ, VM_WRITE and VM_EXEC. */
  readonly prot: number;
  readonly shared: boolean;
  /** Mapped from its beginning; null for anonymous memory. */
  readonly file: MemoryFile | null;
}

/**
 * mmap with MAP_FIXED: what was mapped there goes. Returns the address, or -EINVAL for no pages or
 * an address that is not aligned, -ENOMEM beyond the end of the address space.
 */
export function* mmapRegion(mm: Mm, options: MmapOptions): Task<number> {
  const { addr, pages } = options;
  if (pages <= 0) return -EINVAL;
  const bytes = pages * mm.pageSize;
  if (bytes > TASK_SIZE || addr > TASK_SIZE - bytes) return -ENOMEM;
  if (addr < 0 || addr % mm.pageSize !== 0) return -EINVAL;
  if (!mm.mmapLock.tryWrite()) yield* mm.mmapLock.write();
  try {
    const unmapped = yield* munmapLocked(mm, addr, bytes);
    if (unmapped < 0) return -ENOMEM;
    mapHole(mm, options, addr + bytes);
    const { events } = mm.kernel;
    if (events.listening) events.mappingChange(mm, 'mmap', addr, addr + bytes);
    return addr;
  } finally {
    mm.mmapLock.unlockWrite();
  }
}

/** mmap_region, once the place is empty: joins the neighbours or makes a VMA. */
function mapHole(mm: Mm, { addr, pages, prot, shared, file }: MmapOptions, end: Va): void {
  let flags = (prot & VM_ACCESS_FLAGS) | (shared ? VM_SHARED : 0);
  if ((flags & (VM_SHARED | VM_WRITE)) === VM_WRITE) flags |= VM_ACCOUNT;
  if (file === null && shared) {
    // Shared anonymous memory is a file of its own; the VMA has the only reference.
    const own = new MemoryFile(mm.pages, mm.kernel.mappings, pages);
    vmaLink(new Vma(mm, addr, end, flags, 0, own));
    return;
  }
  const pgoff = file === null ? mm.vpn(addr) : 0;
  const range: MergeOptions = { start: addr, end, flags, anonVma: null, file, pgoff };
  if (expandNeighbour(mm, range)) return;
  file?.hold();
  vmaLink(new Vma(mm, addr, end, flags, pgoff, file));
}

function expandNeighbour(mm: Mm, range: MergeOptions): boolean {
  const { start, end } = range;
  const next = mm.vmas.firstEndingAfter(start);
  const previous = mm.vmas.previous(range);
  const joinsNext = next !== null && next.start === end && canVmaMergeBefore(next, range);
  const joined = joinsNext ? { ...range, anonVma: next.anonVma } : range;
  if (previous !== null && previous.end === start && canVmaMergeAfter(previous, joined)) {
    vmaExpand(previous, previous.start, joinsNext ? next.end : end, previous.pgoff);
    return true;
  }
  if (!joinsNext) return false;
  vmaExpand(next, start, next.end, next.pgoff - (end - start) / mm.pageSize);
  return true;
}

/** munmap. 0 also where nothing was mapped; -EINVAL for a bad range. */
export function* munmap(mm: Mm, start: Va, bytes: number): Task<number> {
  if (!mm.mmapLock.tryWrite()) yield* mm.mmapLock.write();
  try {
    const result = yield* munmapLocked(mm, start, bytes);
    const { events } = mm.kernel;
    if (result === 0 && events.listening) {
      const end = start + Math.ceil(bytes / mm.pageSize) * mm.pageSize;
      events.mappingChange(mm, 'munmap', start, end);
    }
    const { scheduler } = mm.kernel;
    if (scheduler.owing) yield* scheduler.pay();
    return result;
  } finally {
    mm.mmapLock.unlockWrite();
  }
}

/** do_munmap: the caller holds mmap_lock for writing. */
export function* munmapLocked(mm: Mm, start: Va, bytes: number): Task<number> {
  if (start < 0 || start % mm.pageSize !== 0) return -EINVAL;
  if (start > TASK_SIZE || bytes > TASK_SIZE - start) return -EINVAL;
  const end = start + Math.ceil(bytes / mm.pageSize) * mm.pageSize;
  if (end <= start) return -EINVAL;
  const { vmas } = mm;
  const first = vmas.firstEndingAfter(start);
  if (first === null || first.start >= end) return 0;
  // Which half keeps the old VMA matters to mremap: the parts that stay do.
  if (first.start < start) splitVma(first, start, false);
  const last = vmas.find(end - 1);
  if (last !== null && last.end > end) splitVma(last, end, true);
  const gone = vmas.overlapping(start, end);
  for (const vma of gone) vmas.remove(vma);
  const floor = vmas.previous({ start })?.end ?? 0;
  const ceiling = vmas.firstEndingAfter(start)?.start ?? Number.POSITIVE_INFINITY;
  yield* unmapVmas(mm, gone, start, end);
  freePgtables(mm, gone, floor, ceiling);
  for (const vma of gone) vma.file?.drop();
  return 0;
}

/** unmap_vmas: clears the entries of `gone`, all within [start, end), under one notification. */
export function* unmapVmas(mm: Mm, gone: readonly Vma[], start: Va, end: Va): Task<void> {
  const range = { mm, start, end, event: 'unmap', owner: null } as const;
  const waiting = mm.notifiers.start(range);
  if (waiting !== undefined) yield* waiting;
  const { scheduler } = mm.kernel;
  for (const vma of gone) {
    if (scheduler.preempts) yield* zapSlowly(vma, vma.start, vma.end);
    else zapRange(vma, vma.start, vma.end);
  }
  mm.notifiers.end(range);
}

/**
 * Takes VMAs out of the reverse maps and frees leaves that hold nothing but them: free_pgtables.
 * What lies below `floor` or from `ceiling` up is still mapped.
 */
export function freePgtables(mm: Mm, gone: readonly Vma[], floor: Va, ceiling: Va): void {
  const leafBytes = PTRS_PER_PTE * mm.pageSize;
  for (const vma of gone) {
    unlinkAnonVmas(vma);
    if (vma.file !== null) removeFrom(vma.file.vmas, vma);
    let at = vma.start - (vma.start % leafBytes);
    if (at < floor) at += leafBytes;
    const end = mm.vpn(Math.min(vma.end, ceiling - leafBytes + 1));
    for (let vpn = mm.vpn(at); vpn < end; vpn += PTRS_PER_PTE) {
      // Gaps are passed over: a mapping may be much larger than what is there of it.
      vpn = leafStart(mm.pageTable.nextMapped(vpn, end));
      if (vpn < end) mm.pageTable.removeLeaf(vpn);
    }
  }
}

/**
 * madvise(MADV_DONTNEED): the next access finds fresh pages. -EINVAL where the start is not
 * aligned; -ENOMEM where part of the range is not mapped, though the rest was done.
 */
export function* madviseDontneed(mm: Mm, start: Va, bytes: number): Task<number> {
  if (start % mm.pageSize !== 0) return -EINVAL;
  const end = start + Math.ceil(bytes / mm.pageSize) * mm.pageSize;
  if (end < start) return -EINVAL;
  if (end === start) return 0;
  if (!mm.mmapLock.tryRead()) yield* mm.mmapLock.read();
  try {
    const { events } = mm.kernel;
    const result = yield* dontneedVmas(mm, start, end);
    if (events.listening) events.mappingChange(mm, 'dontneed', start, end);
    const { scheduler } = mm.kernel;
    if (scheduler.owing) yield* scheduler.pay();
    return result;
  } finally {
    mm.mmapLock.unlockRead();
  }
}

/** madvise_walk_vmas. */
function* dontneedVmas(mm: Mm, start: Va, end: Va): Task<number> {
  let result = 0;
  let at = start;
  while (at < end) {
    const vma = mm.vmas.firstEndingAfter(at);
    if (vma === null) return -ENOMEM;
    if (at < vma.start) {
      result = -ENOMEM;
      at = vma.start;
      if (at >= end) break;
    }
    if ((vma.flags & VM_PFNMAP) !== 0) return -EINVAL;
    const until = Math.min(vma.end, end);
    yield* zapPageRangeSingle(vma, at, until);
    at = until;
  }
  return result;
}

/** zap_page_range_single. */
function* zapPageRangeSingle(vma: Vma, start: Va, end: Va): Task<void> {
  const { mm } = vma;
  const range = { mm, start, end, event: 'clear', owner: null } as const;
  const waiting = mm.notifiers.start(range);
  if (waiting !== undefined) yield* waiting;
  const { scheduler } = mm.kernel;
  if (scheduler.preempts) yield* zapSlowly(vma, start, end);
  else zapRange(vma, start, end);
  mm.notifiers.end(range);
}
