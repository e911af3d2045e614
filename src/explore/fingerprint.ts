/**
 * The state of a machine as a hash: everything on which its future depends, but for the threads.
 *
 * Two machines of one scenario with equal hashes go on in the same way. Left out is what nobody can
 * tell: the order of free lists (it decides which number a page gets), which pages share a frame,
 * the virtual time.
 */
import type { IntervalNotifier } from '../core/hmm/notifier.ts';
import type { Machine } from '../core/machine.ts';
import type { Mm } from '../core/mm/mm.ts';
import { type Leaf, PTE_KIND, PTE_NONE } from '../core/mm/pte.ts';
import type { Mutex, RwSemaphore } from '../core/sched/locks.ts';
import type { StateHash } from '../core/state-hash.ts';
import { NO_PAGE, type Page } from '../core/units.ts';

/** Null, or why equal states cannot be recognised: a driver does not tell its state. */
export function withoutFingerprint(machine: Machine): string | null {
  // Who is ready when is a matter of hours and queues, of which nothing is told.
  if (machine.kernel.timing !== null) return 'time passes';
  const silent = machine.drivers.filter((driver) => driver.fingerprint === undefined);
  if (silent.length === 0) return null;
  const names = silent.map(({ name }) => name).join(' and ');
  return `${names} ${silent.length === 1 ? 'has' : 'have'} no fingerprint`;
}

/** Adds the state of `machine` to `hash`. */
export function addMachine(machine: Machine, hash: StateHash, exactSequences: boolean): void {
  const { kernel, scheduler } = machine;
  for (const mm of kernel.mms) addSpace(mm, hash, exactSequences);
  addRam(machine, hash);
  addDevicePages(machine, hash);
  for (const lock of scheduler.locks ?? []) addLock(lock, hash);
  for (const driver of machine.drivers) driver.fingerprint?.(hash);
  // Not what time it is, but who pauses for how long yet: that is the order in which they go on.
  for (const { id, state, dueNs } of scheduler.threads) {
    if (state !== 'delayed') continue;
    hash.add(id);
    hash.add(dueNs - scheduler.nowNs);
  }
}

function addSpace(mm: Mm, hash: StateHash, exactSequences: boolean): void {
  hash.add(mm.pid);
  hash.add((mm.alive ? 1 : 0) | (mm.hasPinned ? 2 : 0));
  for (const vma of mm.vmas) {
    hash.add(vma.start);
    hash.add(vma.end);
    hash.add(vma.flags);
    hash.add(vma.pgoff);
    hash.add(vma.file?.id ?? 0);
    hash.add(vma.anonVma?.id ?? 0);
    hash.add(vma.chain.length);
  }
  mm.pageTable.forEachLeaf((leaf, firstVpn) => addLeaf(leaf, firstVpn, hash));
  const { notifiers } = mm;
  const { invalidateSeq } = notifiers;
  hash.add(exactSequences ? invalidateSeq : invalidateSeq & 1);
  hash.add(notifiers.activeInvalidations);
  const addNotifier = (notifier: IntervalNotifier): void => {
    hash.add(notifier.start);
    hash.add(notifier.end);
    // Who has no number in hand asks only whether an invalidation is running.
    const runs = notifier.invalidateSeq === invalidateSeq ? 1 : 0;
    hash.add(exactSequences ? notifier.invalidateSeq : runs);
  };
  for (const notifier of notifiers.intervals) addNotifier(notifier);
  for (const { notifier, insert } of notifiers.deferred) {
    hash.add(insert ? 1 : 0);
    addNotifier(notifier);
  }
  for (const translations of mm.staleTlb) {
    for (const [vpn, { page, writable, concurrent }] of translations) {
      hash.add(vpn);
      hash.add(page);
      hash.add((writable ? 1 : 0) | (concurrent ? 2 : 0));
    }
  }
}

function addLeaf(leaf: Leaf, firstVpn: number, hash: StateHash): void {
  const { bits, page } = leaf;
  hash.add(firstVpn);
  for (let i = 0; i < bits.length; i++) {
    const entry = bits[i]!;
    if ((entry & PTE_KIND) === PTE_NONE) continue;
    hash.add(i);
    hash.add(page[i]!);
    hash.add(entry);
  }
}

/** Pages of RAM in use; those that no entry maps are in somebody's hands. */
function addRam({ kernel }: Machine, hash: StateHash): void {
  const { pages } = kernel;
  let left = pages.ramUsed;
  for (let page: Page = NO_PAGE + 1; left > 0 && page < pages.rows; page++) {
    if (pages.refcount[page]! <= 0 || pages.isZoneDevice(page)) continue;
    left--;
    addPage(kernel, page, hash);
  }
}

function addDevicePages({ kernel }: Machine, hash: StateHash): void {
  const { pages, pagemaps } = kernel;
  for (const { firstPage, pageCount, pagesInUse } of pagemaps) {
    hash.add(firstPage);
    let left = pagesInUse;
    // Most drivers give out the last page first.
    for (let page = firstPage + pageCount - 1; left > 0 && page >= firstPage; page--) {
      if (pages.refcount[page]! <= pages.freeDevicePageRefs) continue;
      left--;
      addPage(kernel, page, hash);
    }
  }
}

function addPage(kernel: Machine['kernel'], page: Page, hash: StateHash): void {
  const { pages, frames } = kernel;
  hash.add(page);
  hash.add(pages.refcount[page]!);
  hash.add(pages.mapcount[page]!);
  // The upper half names who locked it last, for people.
  hash.add(pages.flags[page]! & 0xffff);
  hash.add(pages.mapping[page]!);
  hash.add(pages.indexOf(page));
  hash.add(pages.isZoneDevice(page) ? pages.driverDataOf(page) : 0);
  addContents(frames.view(pages.frame[page]!), hash);
}

/** Most words are zero, and cost nothing but a look. */
function addContents(words: Uint32Array | null, hash: StateHash): void {
  if (words !== null) {
    for (let i = 0; i < words.length; i++) {
      const word = words[i]!;
      if (word === 0) continue;
      hash.add(i);
      hash.add(word | 0);
    }
  }
  hash.add(-1);
}

function addLock(lock: Mutex | RwSemaphore, hash: StateHash): void {
  if ('readers' in lock) {
    hash.add(lock.readers);
    hash.add(lock.writer?.id ?? -1);
  } else {
    hash.add(lock.holder?.id ?? -1);
  }
  for (const { id } of lock.waiting) hash.add(id + 1);
  hash.add(0);
}
