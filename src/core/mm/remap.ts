/** Moving mappings. Reference: mm/mremap.c of Linux 6.1. */
import { chargeShootdown } from '../charge.ts';
import { EFAULT, EINVAL } from '../errno.ts';
import type { MemoryWatch } from '../memory-watch.ts';
import type { Task } from '../sched/task.ts';
import { NO_PAGE, TASK_SIZE, type Va, type Vpn } from '../units.ts';
import type { Mm } from './mm.ts';
import { munmapLocked } from './mmap.ts';
import { leafEnd, leafIndex } from './page-table.ts';
import { type Leaf, PTE_NONE } from './pte.ts';
import { VM_ACCOUNT, type Vma } from './vma.ts';
import { vmaDuplicate, vmaLink, vmaMerge } from './vma-adjust.ts';

/**
 * mremap with MREMAP_MAYMOVE | MREMAP_FIXED and equal lengths. Returns the new address, or -EINVAL
 * for a bad or overlapping target, -EFAULT where the old range is not within one VMA; by then the
 * target may be unmapped.
 */
export function* mremap(mm: Mm, old: Va, bytes: number, target: Va): Task<number> {
  if (old % mm.pageSize !== 0) return -EINVAL;
  const length = Math.ceil(bytes / mm.pageSize) * mm.pageSize;
  if (length <= 0) return -EINVAL;
  if (!mm.mmapLock.tryWrite()) yield* mm.mmapLock.write();
  try {
    if (mm.vmas.find(old) === null) return -EFAULT;
    return yield* mremapTo(mm, old, length, target);
  } finally {
    mm.mmapLock.unlockWrite();
  }
}

/** mremap_to. */
function* mremapTo(mm: Mm, old: Va, length: number, target: Va): Task<number> {
  if (target < 0 || target % mm.pageSize !== 0) return -EINVAL;
  if (length > TASK_SIZE || target > TASK_SIZE - length) return -EINVAL;
  if (old + length > target && target + length > old) return -EINVAL;
  const unmapped = yield* munmapLocked(mm, target, length);
  if (unmapped < 0) return unmapped;
  const vma = mm.vmas.find(old);
  if (vma === null || length > vma.end - old) return -EFAULT;
  yield* moveVma(vma, old, length, target);
  const { events } = mm.kernel;
  if (events.listening) {
    events.mappingChange(mm, 'mremap', old, old + length);
    events.mappingChange(mm, 'mremap', target, target + length);
  }
  return target;
}

/** move_vma. */
function* moveVma(source: Vma, old: Va, length: number, target: Va): Task<void> {
  const { mm } = source;
  const accounted = (source.flags & VM_ACCOUNT) !== 0;
  const start = source.start;
  const moved = copyVma(source, old, length, target);
  // A VMA that nothing was faulted into may have grown over its own new place.
  const vma = start >= moved.start && start < moved.end ? moved : source;
  yield* movePageTables(mm, old, target, length);
  let remains = 0;
  let inside = false;
  if (accounted) {
    vma.flags &= ~VM_ACCOUNT;
    remains = vma.end - vma.start - length;
    inside = old > vma.start && old + length < vma.end;
  }
  yield* munmapLocked(mm, old, length);
  if (remains === 0) return;
  vma.flags |= VM_ACCOUNT;
  if (inside) {
    const above = mm.vmas.firstEndingAfter(vma.end);
    if (above !== null) above.flags |= VM_ACCOUNT;
  }
}

/** copy_vma: a VMA for the new place, or a neighbour of it that could grow. */
function copyVma(vma: Vma, old: Va, length: number, target: Va): Vma {
  const { mm, flags, anonVma, file } = vma;
  // Without pages there is no offset to keep, and this one merges best.
  const unfaulted = file === null && anonVma === null;
  const pgoff = unfaulted ? mm.vpn(target) : vma.pgoffOf(old);
  const start = target;
  const end = target + length;
  const previous = mm.vmas.previous({ start });
  const merged = vmaMerge(mm, previous, { start, end, flags, anonVma, file, pgoff });
  if (merged !== null) return merged;
  const copy = vmaDuplicate(vma, start, end, pgoff);
  vmaLink(copy);
  return copy;
}

/** move_page_tables: entries move as they are, of whatever kind. */
function* movePageTables(mm: Mm, old: Va, target: Va, length: number): Task<void> {
  const range = { mm, start: old, end: old + length, event: 'unmap', owner: null } as const;
  const waiting = mm.notifiers.start(range);
  if (waiting !== undefined) yield* waiting;
  const { pageTable } = mm;
  const last = mm.vpn(old + length);
  const shift = mm.vpn(target) - mm.vpn(old);
  let vpn = mm.vpn(old);
  while (vpn < last) {
    // A piece stays within one leaf on both sides.
    const until = Math.min(leafEnd(vpn, last), leafEnd(vpn + shift, last + shift) - shift);
    const from = pageTable.leaf(vpn);
    if (from !== null) {
      const to = pageTable.leafFor(vpn + shift);
      if (mm.kernel.watch !== null) watchMoves(mm, mm.kernel.watch, from, vpn, shift, until - vpn);
      mm.pages.tlbs.flush();
      moveEntries(from, leafIndex(vpn), to, leafIndex(vpn + shift), until - vpn);
      if (mm.kernel.events.listening) tellMoved(mm, to, vpn, vpn + shift, until - vpn);
    }
    vpn = until;
  }
  chargeShootdown(mm.kernel);
  mm.notifiers.end(range);
}

/** move_ptes. */
function moveEntries(from: Leaf, first: number, to: Leaf, target: number, count: number): void {
  for (let i = 0; i < count; i++) {
    const bits = from.bits[first + i]!;
    if (bits === PTE_NONE) continue;
    to.set(target + i, from.page[first + i]!, bits);
    from.clear(first + i);
  }
}

function watchMoves(
  mm: Mm,
  watch: MemoryWatch,
  from: Leaf,
  first: Vpn,
  shift: number,
  count: number,
): void {
  for (let vpn = first; vpn < first + count; vpn++) {
    if (from.bits[leafIndex(vpn)] !== PTE_NONE) watch.moved(mm, vpn, vpn + shift);
  }
}

/** The pages have left one address for another; their home is the same. */
function tellMoved(mm: Mm, leaf: Leaf, old: number, target: number, count: number): void {
  const { events } = mm.kernel;
  for (let i = 0; i < count; i++) {
    const page = leaf.page[leafIndex(target) + i]!;
    if (page === NO_PAGE) continue;
    const home = mm.pages.homeOf(page);
    events.ownerChange(mm, mm.va(old + i), page, home, null);
    events.ownerChange(mm, mm.va(target + i), page, null, home);
  }
}
