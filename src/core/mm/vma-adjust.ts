/**
 * Splitting and merging VMAs.
 *
 * Reference: mm/mmap.c of Linux 6.1. Whether two VMAs may become one depends on their flags, file
 * and offsets, and on their anon_vmas: a VMA whose anon_vma came from a parent stays apart.
 */
import type { Va } from '../units.ts';
import { type AnonVma, anonVmaClone, unlinkAnonVmas } from './anon-vma.ts';
import type { MemoryFile } from './memory-file.ts';
import type { Mm } from './mm.ts';
import { VM_SPECIAL, Vma } from './vma.ts';
import { insertByPgoff, removeFrom } from './vma-tree.ts';

/** What a range that may join its neighbours is like. */
export interface MergeOptions {
  readonly start: Va;
  readonly end: Va;
  readonly flags: number;
  readonly anonVma: AnonVma | null;
  readonly file: MemoryFile | null;
  readonly pgoff: number;
}

/** Puts a new VMA into its address space and its file: vma_link. */
export function vmaLink(vma: Vma): void {
  vma.mm.vmas.insert(vma);
  if (vma.file !== null) insertByPgoff(vma.file.vmas, vma);
}

/**
 * A VMA like `vma` at another place, with a hold on its file and linked to its anon_vmas, but in no
 * list yet: vm_area_dup and what its callers do next.
 */
export function vmaDuplicate(vma: Vma, start: Va, end: Va, pgoff: number): Vma {
  const copy = new Vma(vma.mm, start, end, vma.flags, pgoff, vma.file);
  copy.anonVma = vma.anonVma;
  anonVmaClone(copy, vma);
  copy.file?.hold();
  return copy;
}

/**
 * Cuts `vma` in two at `at`: split_vma. The new VMA, which is returned, is the lower part if
 * `newBelow`, else the upper one; `vma` stays the other.
 */
export function splitVma(vma: Vma, at: Va, newBelow: boolean): Vma {
  const added = newBelow
    ? vmaDuplicate(vma, vma.start, at, vma.pgoff)
    : vmaDuplicate(vma, at, vma.end, vma.pgoffOf(at));
  if (newBelow) moveBounds(vma, at, vma.end, vma.pgoffOf(at));
  else moveBounds(vma, vma.start, at, vma.pgoff);
  vma.mm.vmas.forgetLast();
  vmaLink(added);
  return added;
}

/**
 * Joins a range to the VMAs around it: vma_merge. The range is a hole after `previous`, or part of
 * the VMA there whose flags are about to become `range.flags`. Returns the VMA that now holds it,
 * or null where nothing fits; then nothing has changed.
 */
export function vmaMerge(mm: Mm, previous: Vma | null, range: MergeOptions): Vma | null {
  const { start, end } = range;
  if ((range.flags & VM_SPECIAL) !== 0) return null;
  let next = mm.vmas.firstEndingAfter(previous === null ? 0 : previous.end);
  if (next !== null && next.end === end) next = mm.vmas.next(next);
  const joinsPrevious =
    previous !== null && previous.end === start && canVmaMergeAfter(previous, range);
  const joinsNext = next !== null && next.start === end && canVmaMergeBefore(next, range);
  if (joinsPrevious) {
    const both = joinsNext && isMergeableAnonVma(previous.anonVma, next!.anonVma, null);
    vmaExpand(previous, previous.start, both ? next!.end : end, previous.pgoff);
    return previous;
  }
  if (!joinsNext) return null;
  vmaExpand(next!, start, next!.end, next!.pgoff - (end - start) / mm.pageSize);
  return next;
}

/**
 * Grows `vma` to [start, end): vma_expand and the growing side of __vma_adjust. VMAs that it covers
 * go; one that it covers in part gives that part up. Pages of theirs are now `vma`'s, so it takes
 * over their anon_vma where it has none.
 */
export function vmaExpand(vma: Vma, start: Va, end: Va, pgoff: number): void {
  const { vmas, pageSize } = vma.mm;
  const losers = vmas.overlapping(start, end).filter((other) => other !== vma);
  if (vma.anonVma === null) {
    const exporter = losers.find((other) => other.anonVma !== null);
    if (exporter !== undefined) {
      vma.anonVma = exporter.anonVma;
      anonVmaClone(vma, exporter);
    }
  }
  for (const other of losers) {
    if (other.start < start) moveBounds(other, other.start, start, other.pgoff);
    else if (other.end > end) {
      moveBounds(other, end, other.end, other.pgoff + (end - other.start) / pageSize);
    } else {
      vmas.remove(other);
      if (other.file !== null) removeFrom(other.file.vmas, other);
    }
  }
  moveBounds(vma, start, end, pgoff);
  vmas.forgetLast();
  for (const other of losers) {
    if (other.start < start || other.end > end) continue;
    unlinkAnonVmas(other);
    other.file?.drop();
  }
}

/** can_vma_merge_before: `vma` begins where the range ends. */
export function canVmaMergeBefore(vma: Vma, range: MergeOptions): boolean {
  const pages = (range.end - range.start) / vma.mm.pageSize;
  return isMergeable(vma, range) && vma.pgoff === range.pgoff + pages;
}

/** can_vma_merge_after: `vma` ends where the range begins. */
export function canVmaMergeAfter(vma: Vma, range: MergeOptions): boolean {
  return isMergeable(vma, range) && vma.pgoff + vma.pages === range.pgoff;
}

/** is_mergeable_vma and is_mergeable_anon_vma. */
function isMergeable(vma: Vma, { flags, file, anonVma }: MergeOptions): boolean {
  return vma.flags === flags && vma.file === file && isMergeableAnonVma(anonVma, vma.anonVma, vma);
}

function isMergeableAnonVma(a: AnonVma | null, b: AnonVma | null, vma: Vma | null): boolean {
  if ((a === null || b === null) && (vma === null || vma.chain.length === 1)) return true;
  return a === b;
}

/** Changes where a VMA lies; lists sorted by offset must see it go and come back. */
function moveBounds(vma: Vma, start: Va, end: Va, pgoff: number): void {
  for (const anonVma of vma.chain) removeFrom(anonVma.vmas, vma);
  if (vma.file !== null) removeFrom(vma.file.vmas, vma);
  vma.start = start;
  vma.end = end;
  vma.pgoff = pgoff;
  if (vma.file !== null) insertByPgoff(vma.file.vmas, vma);
  for (const anonVma of vma.chain) insertByPgoff(anonVma.vmas, vma);
}
