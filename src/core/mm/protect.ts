/** Changing access rights. Reference: mm/mprotect.c of Linux 6.1. */
import { chargeShootdown } from '../charge.ts';
import { EINVAL, ENOMEM } from '../errno.ts';
import type { NotifierRange } from '../hmm/notifier.ts';
import { PREEMPT, type Task } from '../sched/task.ts';
import type { Page, Va, Vpn } from '../units.ts';
import type { Mm } from './mm.ts';
import { leafEnd, leafIndex } from './page-table.ts';
import {
  type Leaf,
  PTE_DEVICE_EXCLUSIVE,
  PTE_DEVICE_PRIVATE,
  PTE_DIRTY,
  PTE_EXCLUSIVE,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_WRITE,
  PTRS_PER_PTE,
} from './pte.ts';
import { isAnon, isAnonExclusive } from './rmap.ts';
import { VM_ACCESS_FLAGS, VM_ACCOUNT, VM_SHARED, VM_WRITE, type Vma } from './vma.ts';
import { splitVma, vmaMerge } from './vma-adjust.ts';

/** Leaves that one middle table points to: PTRS_PER_PMD. */
const PTRS_PER_PMD = 512;

/**
 * mprotect. -EINVAL where the start is not aligned; -ENOMEM where part of the range is not mapped,
 * though what lies before the first hole was changed.
 */
export function* mprotect(mm: Mm, start: Va, bytes: number, prot: number): Task<number> {
  if (start % mm.pageSize !== 0) return -EINVAL;
  if (bytes === 0) return 0;
  const end = start + Math.ceil(bytes / mm.pageSize) * mm.pageSize;
  if (end <= start) return -ENOMEM;
  if (!mm.mmapLock.tryWrite()) yield* mm.mmapLock.write();
  try {
    const result = yield* protectVmas(mm, start, end, prot & VM_ACCESS_FLAGS);
    const { events } = mm.kernel;
    if (events.listening) events.mappingChange(mm, 'mprotect', start, end);
    const { scheduler } = mm.kernel;
    if (scheduler.owing) yield* scheduler.pay();
    return result;
  } finally {
    mm.mmapLock.unlockWrite();
  }
}

/** do_mprotect_pkey, under mmap_lock. */
function* protectVmas(mm: Mm, start: Va, end: Va, prot: number): Task<number> {
  const { vmas } = mm;
  let vma = vmas.find(start);
  if (vma === null) return -ENOMEM;
  let previous = start > vma.start ? vma : vmas.previous(vma);
  for (let at = start; ; ) {
    const flags = prot | (vma.flags & ~VM_ACCESS_FLAGS);
    const until = Math.min(vma.end, end);
    previous = yield* mprotectFixup(vma, previous, at, until, flags);
    // A merge may have swallowed VMAs that have these rights already.
    at = Math.max(until, previous.end);
    if (at >= end) return 0;
    vma = vmas.firstEndingAfter(previous.end);
    if (vma === null || vma.start !== at) return -ENOMEM;
  }
}

/** mprotect_fixup: [start, end) of one VMA gets new flags. Returns the VMA that now holds it. */
function* mprotectFixup(
  old: Vma,
  previous: Vma | null,
  start: Va,
  end: Va,
  newFlags: number,
): Task<Vma> {
  if (newFlags === old.flags) return old;
  let flags = newFlags;
  const accounted = VM_ACCOUNT | VM_WRITE | VM_SHARED;
  if ((flags & VM_WRITE) !== 0 && (old.flags & accounted) === 0) flags |= VM_ACCOUNT;
  const { anonVma, file } = old;
  const pgoff = old.pgoffOf(start);
  let vma = vmaMerge(old.mm, previous, { start, end, flags, anonVma, file, pgoff });
  if (vma === null) {
    vma = old;
    if (start !== vma.start) splitVma(vma, start, true);
    if (end !== vma.end) splitVma(vma, end, false);
  }
  vma.flags = flags;
  yield* changeProtection(vma, start, end);
  return vma;
}

/** change_protection: brings the entries of [start, end) in line with the VMA's new flags. */
function* changeProtection(vma: Vma, start: Va, end: Va): Task<void> {
  const { mm } = vma;
  const last = mm.vpn(end);
  let vpn = mm.vpn(start);
  while (vpn < last) {
    const spanPages = PTRS_PER_PTE * PTRS_PER_PMD;
    const until = Math.min(last, (Math.floor(vpn / spanPages) + 1) * spanPages);
    yield* changePmdRange(vma, vpn, until);
    vpn = until;
  }
}

/** change_pmd_range: notifiers hear of it from the first leaf on, and not at all without one. */
function* changePmdRange(vma: Vma, first: Vpn, end: Vpn): Task<void> {
  const { mm } = vma;
  let range: NotifierRange | null = null;
  let vpn = first;
  while (vpn < end) {
    vpn = mm.pageTable.nextMapped(vpn, end);
    const until = leafEnd(vpn, end);
    const leaf = mm.pageTable.leaf(vpn);
    if (leaf !== null) {
      if (range === null) {
        const event = 'protection_vma';
        range = { mm, start: mm.va(vpn), end: mm.va(end), event, owner: null };
        const waiting = mm.notifiers.start(range);
        if (waiting !== undefined) yield* waiting;
      }
      const { scheduler } = mm.kernel;
      if (scheduler.preempts && scheduler.overtaken('change protection', vpn)) yield PREEMPT;
      changePteRange(vma, leaf, leafIndex(vpn), until - vpn);
    }
    vpn = until;
  }
  if (range === null) return;
  chargeShootdown(mm.kernel);
  mm.notifiers.end(range);
}

/** change_pte_range. */
function changePteRange(vma: Vma, leaf: Leaf, first: number, count: number): void {
  const { pages, kernel } = vma.mm;
  const prot = vma.pageProt;
  // A writable private mapping is write-protected for copy-on-write; single entries may do without.
  const upgrades = (vma.flags & (VM_SHARED | VM_WRITE)) === VM_WRITE;
  const { bits } = leaf;
  pages.tlbs.flush();
  for (let at = first; at < first + count; at++) {
    const old = bits[at]!;
    switch (old & PTE_KIND) {
      case PTE_PRESENT: {
        const changed = prot | (old & PTE_DIRTY);
        const writable = upgrades && canChangePteWritable(vma, leaf.page[at]!, changed);
        bits[at] = writable ? changed | PTE_WRITE : changed;
        break;
      }
      case PTE_MIGRATION: {
        if ((old & PTE_WRITE) === 0) break;
        const exclusive = kernel.era.anonExclusive && isAnon(pages, leaf.page[at]!);
        bits[at] = (old & ~PTE_WRITE) | (exclusive ? PTE_EXCLUSIVE : 0);
        break;
      }
      // Even when the new rights include writing; a fault gives it back.
      case PTE_DEVICE_PRIVATE:
      case PTE_DEVICE_EXCLUSIVE:
        bits[at] = old & ~PTE_WRITE;
        break;
    }
  }
}

/** can_change_pte_writable, of a private mapping: a write fault would only set the bit anyway. */
function canChangePteWritable(vma: Vma, page: Page, bits: number): boolean {
  if ((bits & PTE_PROTNONE) !== 0) return false;
  const { pages, kernel } = vma.mm;
  if ((bits & PTE_DIRTY) === 0 && !kernel.era.upgradesCleanPages) return false;
  return isAnonExclusive(pages, page);
}
