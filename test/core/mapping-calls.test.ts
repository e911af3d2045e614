// What munmap, madvise, mprotect, mremap, fork and exit tell drivers, and what they do to entries.

import { beforeEach, describe, expect, it } from 'vitest';
import type { EraName } from '../../src/core/era.ts';
import { EFAULT, EINVAL, ENOMEM } from '../../src/core/errno.ts';
import { mmuIntervalNotifierInsert, mmuIntervalSetSeq } from '../../src/core/hmm/notifier.ts';
import { Machine } from '../../src/core/machine.ts';
import { PG_ANON_EXCLUSIVE, PIN_BIAS } from '../../src/core/memory/pages.ts';
import { leafIndex } from '../../src/core/mm/page-table.ts';
import {
  PTE_DEVICE_EXCLUSIVE,
  PTE_DEVICE_PRIVATE,
  PTE_DIRTY,
  PTE_EXCLUSIVE,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_WRITE,
} from '../../src/core/mm/pte.ts';
import { pageRemoveRmap, replaceByMigrationEntry, rmapVmas } from '../../src/core/mm/rmap.ts';
import { VM_ACCOUNT } from '../../src/core/mm/vma.ts';
import type { DevPagemap } from '../../src/core/pagemap/pagemap.ts';
import type { Process } from '../../src/core/process.ts';
import { MiB, NO_PAGE, PAGE_SIZE, type Page, TASK_SIZE, type Va } from '../../src/core/units.ts';

const BASE = 0x1_0000_0000;
const LEAF = 2 * MiB;

let machine: Machine;
let proc: Process;
let heard: string[];

function setUp(era: EraName): void {
  machine = new Machine({ era });
  proc = machine.createProcess();
  heard = [];
  listen(proc, '');
}

/** Notes each event as `unmap 2+3`: from page 2 of BASE on, 3 pages. */
function listen(of: Process, prefix: string): void {
  mmuIntervalNotifierInsert(of.mm, {
    name: 'listener',
    invalidate(notifier, range, seq) {
      mmuIntervalSetSeq(notifier, seq);
      const pages = (range.end - range.start) / PAGE_SIZE;
      const first = (range.start - BASE) / PAGE_SIZE;
      const all = range.start === 0 && range.end === TASK_SIZE;
      heard.push(`${prefix}${range.event} ${all ? 'all' : `${first}+${pages}`}`);
      return true;
    },
  });
}

function at(page: number): Va {
  return BASE + page * PAGE_SIZE;
}

function bytes(pages: number): number {
  return pages * PAGE_SIZE;
}

/** Bits of the entry of page `page`, and the page it names. */
function entry(of: Process, page: number): { bits: number; page: Page } {
  const vpn = at(page) / PAGE_SIZE;
  const leaf = of.mm.pageTable.leaf(vpn);
  if (leaf === null) return { bits: PTE_NONE, page: NO_PAGE };
  return { bits: leaf.bits[leafIndex(vpn)]!, page: leaf.page[leafIndex(vpn)]! };
}

function setEntry(of: Process, page: number, row: Page, bits: number): void {
  const vpn = at(page) / PAGE_SIZE;
  of.mm.pageTable.leafFor(vpn).set(leafIndex(vpn), row, bits);
}

function mapAnon(page: number, pages: number, prot: 'rw' | 'r' | 'n' = 'rw'): void {
  proc.mmap({ addr: at(page), pages, prot });
}

function fill(page: number, pages: number): void {
  for (let i = page; i < page + pages; i++) proc.store32(at(i), 100 + i);
}

/** The kernel under migrate_vma: page `page` under migration, held and locked. */
function startMigration(page: number): Page {
  const { kernel } = machine;
  const row = entry(proc, page).page;
  kernel.pages.get(row);
  kernel.pages.tryLock(row);
  const leaf = proc.mm.pageTable.leaf(at(page) / PAGE_SIZE)!;
  replaceByMigrationEntry(kernel.pages, leaf, leafIndex(at(page) / PAGE_SIZE), row);
  return row;
}

/** A device takes page `page`, as makeDeviceExclusiveRange leaves it. */
function makeExclusive(page: number): Page {
  const { pages } = machine.kernel;
  const { page: row, bits } = entry(proc, page);
  pageRemoveRmap(pages, row);
  setEntry(proc, page, row, PTE_DEVICE_EXCLUSIVE | (bits & PTE_WRITE));
  return row;
}

/** Moves page `page` into device memory; the list tells what page_free gets. */
function makeDevicePrivate(page: number, freed: Page[]): Page {
  const { pages } = machine.kernel;
  const pagemap = machine.memremapPages({
    type: 'private',
    name: 'device',
    bytes: 2 * MiB,
    owner: { name: 'device' },
    ops: { pageFree: (row: Page) => void freed.push(row), migrateToRam: () => 0 },
  }) as DevPagemap;
  const row = pagemap.firstPage;
  pagemap.initPage(row);
  const { page: old } = entry(proc, page);
  pages.flags[row] = pages.flags[row]! | (pages.flags[old]! & ~1);
  pages.mapping[row] = pages.mapping[old]!;
  pages.setIndex(row, pages.indexOf(old));
  pages.mapcount[row] = 1;
  pages.unlock(row);
  setEntry(proc, page, row, PTE_DEVICE_PRIVATE | PTE_WRITE);
  pageRemoveRmap(pages, old);
  pages.put(old);
  return row;
}

beforeEach(() => setUp('v6.1'));

describe('munmap', () => {
  it('tells the whole range once, however many mappings are in it', () => {
    mapAnon(0, 4);
    mapAnon(6, 4, 'r');
    expect(proc.munmap(at(2), bytes(6))).toBe(0);
    expect(heard).toEqual(['unmap 2+6']);
    expect([...proc.mm.vmas].map(({ start, end }) => [start, end])).toEqual([
      [at(0), at(2)],
      [at(8), at(10)],
    ]);
  });

  it('tells nobody of a range without mappings', () => {
    expect(proc.munmap(at(0), bytes(4))).toBe(0);
    expect(heard).toEqual([]);
  });

  it('refuses bad ranges', () => {
    expect(proc.munmap(at(0) + 1, bytes(1))).toBe(-EINVAL);
    expect(proc.munmap(at(0), 0)).toBe(-EINVAL);
    expect(proc.munmap(TASK_SIZE, bytes(1))).toBe(-EINVAL);
  });

  it('frees a leaf once no mapping is left in its 2 MiB', () => {
    mapAnon(0, 3);
    fill(0, 3);
    proc.munmap(at(1), bytes(1));
    expect(proc.mm.pageTable.leafCount).toBe(1);
    proc.munmap(at(0), bytes(1));
    expect(proc.mm.pageTable.leafCount).toBe(1);
    proc.munmap(at(2), bytes(1));
    expect(proc.mm.pageTable.leafCount).toBe(0);
    expect(machine.kernel.pages.ramUsed).toBe(0);
  });

  it('frees device-private pages at once and puts nothing for a page under migration', () => {
    const freed: Page[] = [];
    mapAnon(0, 3);
    fill(0, 3);
    const device = makeDevicePrivate(0, freed);
    const moving = startMigration(1);
    const exclusive = makeExclusive(2);
    expect(proc.mm.rssAnon).toBe(3);
    proc.munmap(at(0), bytes(3));
    expect(freed).toEqual([device]);
    const { refcount } = machine.kernel.pages;
    expect([refcount[device], refcount[moving], refcount[exclusive]]).toEqual([0, 1, 0]);
    expect(proc.mm.rssAnon).toBe(0);
  });
});

describe('madvise(MADV_DONTNEED)', () => {
  it('tells of each mapping on its own and reports holes at the end', () => {
    mapAnon(0, 2);
    mapAnon(3, 2);
    fill(0, 2);
    fill(3, 2);
    expect(proc.dontneed(at(1), bytes(5))).toBe(-ENOMEM);
    expect(heard).toEqual(['clear 1+1', 'clear 3+2']);
    expect(proc.load32(at(0))).toBe(100);
    expect(proc.load32(at(3))).toBe(0);
    // The leaf stays.
    expect(proc.mm.pageTable.leafCount).toBe(1);
  });

  it('accepts an empty range and refuses one that is not aligned', () => {
    expect(proc.dontneed(at(0), 0)).toBe(0);
    expect(proc.dontneed(at(0) + 8, bytes(1))).toBe(-EINVAL);
    expect(heard).toEqual([]);
  });
});

describe('mprotect', () => {
  it('tells from the first leaf on, and nobody where there is none', () => {
    mapAnon(0, 2048);
    expect(proc.mprotect(at(0), bytes(2048), 'r')).toBe(0);
    expect(heard).toEqual([]);
    proc.mprotect(at(0), bytes(2048), 'rw');
    proc.store32(at(700), 1);
    expect(proc.mprotect(at(100), bytes(1900), 'r')).toBe(0);
    expect(heard).toEqual(['protection_vma 512+1488']);
  });

  it('tells once for each gigabyte', () => {
    const gigabyte = 512 * 512;
    proc.mmap({ addr: at(gigabyte - 4), pages: 8 });
    proc.store32(at(gigabyte - 1), 1);
    proc.store32(at(gigabyte), 1);
    proc.mprotect(at(gigabyte - 4), bytes(8), 'r');
    expect(heard).toEqual([`protection_vma ${gigabyte - 4}+4`, `protection_vma ${gigabyte}+4`]);
  });

  it('changes nothing where the rights are those already', () => {
    mapAnon(0, 4);
    fill(0, 4);
    expect(proc.mprotect(at(0), bytes(4), 'rw')).toBe(0);
    expect(heard).toEqual([]);
  });

  it('stops at a hole with what lies before it changed', () => {
    mapAnon(0, 2);
    mapAnon(3, 2);
    fill(0, 2);
    fill(3, 2);
    expect(proc.mprotect(at(1), bytes(4), 'n')).toBe(-ENOMEM);
    expect(heard).toEqual(['protection_vma 1+1']);
    expect(entry(proc, 1).bits).toBe(PTE_PRESENT | PTE_PROTNONE | PTE_DIRTY);
    expect(entry(proc, 3).bits & PTE_WRITE).toBe(PTE_WRITE);
    expect(proc.mprotect(at(2), bytes(1), 'r')).toBe(-ENOMEM);
    expect(proc.mprotect(at(2) + 1, bytes(1), 'r')).toBe(-EINVAL);
    expect(proc.mprotect(at(2), 0, 'r')).toBe(0);
  });

  it.each([
    ['v5.10', 0, 0],
    ['v6.1', PTE_WRITE, 0],
    ['v6.12', PTE_WRITE, PTE_WRITE],
  ] as const)(
    'gives write permission back in %s to a dirty page: %i, a clean one: %i',
    (era, dirty, clean) => {
      setUp(era);
      mapAnon(0, 2);
      fill(0, 2);
      proc.mprotect(at(0), bytes(2), 'r');
      const { page, bits } = entry(proc, 1);
      setEntry(proc, 1, page, bits & ~PTE_DIRTY);
      proc.mprotect(at(0), bytes(2), 'rw');
      expect(entry(proc, 0).bits & PTE_WRITE).toBe(dirty);
      expect(entry(proc, 1).bits & PTE_WRITE).toBe(clean);
    },
  );

  it('takes write permission from entries that are not present', () => {
    mapAnon(0, 3);
    fill(0, 3);
    makeDevicePrivate(0, []);
    startMigration(1);
    makeExclusive(2);
    proc.mprotect(at(0), bytes(3), 'r');
    expect(entry(proc, 0).bits).toBe(PTE_DEVICE_PRIVATE);
    expect(entry(proc, 1).bits & ~PTE_DIRTY).toBe(PTE_MIGRATION | PTE_EXCLUSIVE);
    expect(entry(proc, 2).bits).toBe(PTE_DEVICE_EXCLUSIVE);
    proc.mprotect(at(0), bytes(3), 'rw');
    expect(entry(proc, 0).bits).toBe(PTE_DEVICE_PRIVATE);
  });

  it('makes entries of shared files writable at once', () => {
    proc.mmap({ addr: at(0), pages: 1, shared: true, prot: 'r' });
    proc.load32(at(0));
    expect(entry(proc, 0).bits & PTE_WRITE).toBe(0);
    proc.mprotect(at(0), bytes(1), 'rw');
    expect(entry(proc, 0).bits & PTE_WRITE).toBe(PTE_WRITE);
  });
});

describe('mremap', () => {
  it('unmaps the target, moves the entries and unmaps the source', () => {
    mapAnon(0, 4);
    mapAnon(10, 3);
    fill(0, 4);
    const freed: Page[] = [];
    const device = makeDevicePrivate(1, freed);
    const before = [entry(proc, 1), entry(proc, 2)];
    expect(proc.mremap(at(1), bytes(2), at(11))).toBe(at(11));
    expect(heard).toEqual(['unmap 11+2', 'unmap 1+2', 'unmap 1+2']);
    expect([entry(proc, 11), entry(proc, 12)]).toEqual(before);
    expect(entry(proc, 1).bits).toBe(PTE_NONE);
    expect(freed).toEqual([]);
    expect(machine.kernel.pages.refcount[device]).toBe(1);
    expect(proc.mm.rssAnon).toBe(4);
  });

  it('names its errors in the order of the kernel', () => {
    mapAnon(0, 4);
    mapAnon(10, 2);
    fill(0, 4);
    expect(proc.mremap(at(0) + 1, bytes(1), at(20))).toBe(-EINVAL);
    expect(proc.mremap(at(0), 0, at(20))).toBe(-EINVAL);
    expect(proc.mremap(at(30), bytes(2), at(31))).toBe(-EFAULT);
    expect(proc.mremap(at(0), bytes(4), at(2))).toBe(-EINVAL);
    expect(proc.mremap(at(0), bytes(2), at(20) + 1)).toBe(-EINVAL);
    expect(proc.mremap(at(0), bytes(2), TASK_SIZE)).toBe(-EINVAL);
    expect(heard).toEqual([]);
    // Too long for its mapping: the target is gone all the same.
    expect(proc.mremap(at(0), bytes(5), at(10))).toBe(-EFAULT);
    expect(heard).toEqual(['unmap 10+5']);
    expect(proc.mm.vmas.find(at(10))).toBe(null);
  });

  it('keeps the offset of pages, and takes a new one where there are none', () => {
    mapAnon(0, 2);
    fill(0, 2);
    mapAnon(4, 2);
    proc.mremap(at(0), bytes(2), at(20));
    proc.mremap(at(4), bytes(2), at(30));
    expect(proc.mm.vmas.find(at(20))!.pgoff).toBe(at(0) / PAGE_SIZE);
    expect(proc.mm.vmas.find(at(30))!.pgoff).toBe(at(30) / PAGE_SIZE);
  });

  it('moves whole leaves between tables', () => {
    mapAnon(0, 512);
    fill(510, 2);
    const target = at(0) + 4 * LEAF - PAGE_SIZE;
    expect(proc.mremap(at(0), LEAF, target)).toBe(target);
    expect(proc.load32(target + bytes(511))).toBe(100 + 511);
    expect(proc.load32(target + bytes(510))).toBe(100 + 510);
  });
});

describe('mappings', () => {
  /** First page, number of pages, and `a` for those that count against the commit limit. */
  function vmas(): string[] {
    return [...proc.mm.vmas].map(({ start, pages, flags }) => {
      const account = (flags & VM_ACCOUNT) !== 0 ? 'a' : '';
      return `${(start - BASE) / PAGE_SIZE}+${pages}${account}`;
    });
  }

  it('count against the commit limit from the first write permission on', () => {
    mapAnon(0, 2, 'r');
    mapAnon(2, 2);
    expect(vmas()).toEqual(['0+2', '2+2a']);
    proc.mprotect(at(0), bytes(2), 'rw');
    expect(vmas()).toEqual(['0+4a']);
    proc.mprotect(at(0), bytes(2), 'r');
    mapAnon(4, 2, 'r');
    expect(vmas()).toEqual(['0+2a', '2+2a', '4+2']);
    proc.mmap({ addr: at(6), pages: 1, shared: true });
    expect(vmas().at(-1)).toBe('6+1');
  });

  it('keep that when a part is moved away', () => {
    mapAnon(0, 6);
    fill(0, 6);
    proc.mremap(at(2), bytes(2), at(20));
    expect(vmas()).toEqual(['0+2a', '4+2a', '20+2a']);
    proc.mremap(at(0), bytes(1), at(30));
    proc.mremap(at(5), bytes(1), at(32));
    expect(vmas()).toEqual(['1+1a', '4+1a', '20+2a', '30+1a', '32+1a']);
  });

  it('take over the pages of a neighbour they grow into', () => {
    mapAnon(0, 6);
    proc.mprotect(at(2), bytes(2), 'r');
    fill(4, 2);
    proc.mprotect(at(2), bytes(2), 'rw');
    expect(vmas()).toEqual(['0+6a']);
    const { page } = entry(proc, 4);
    expect(rmapVmas(machine.kernel, page)).toEqual([...proc.mm.vmas]);
  });

  it('do not take a faulted part into a mapping without pages', () => {
    mapAnon(0, 4);
    proc.mprotect(at(0), bytes(2), 'r');
    fill(2, 2);
    proc.mprotect(at(2), bytes(2), 'r');
    expect(vmas()).toEqual(['0+2a', '2+2a']);
  });

  it('stay apart where each has pages of its own', () => {
    mapAnon(0, 1);
    mapAnon(2, 1);
    fill(0, 1);
    fill(2, 1);
    mapAnon(1, 1);
    // The new one joins what follows it or, failing that, what precedes it; never both.
    expect(vmas()).toEqual(['0+1a', '1+2a']);
  });
});

describe('fork', () => {
  it('tells of private mappings that have pages, and of no others', () => {
    mapAnon(0, 2);
    mapAnon(4, 2);
    proc.mmap({ addr: at(8), pages: 2, shared: true });
    fill(4, 1);
    fill(8, 1);
    const child = proc.fork();
    expect(heard).toEqual(['protection_page 4+2']);
    expect(entry(child, 8).bits).toBe(PTE_NONE);
    expect(entry(child, 4)).toEqual(entry(proc, 4));
    expect(entry(proc, 4).bits & PTE_WRITE).toBe(0);
    const { page } = entry(proc, 4);
    const { pages } = machine.kernel;
    expect([
      pages.refcount[page],
      pages.mapcount[page],
      pages.flags[page]! & PG_ANON_EXCLUSIVE,
    ]).toEqual([2, 2, 0]);
    expect(child.load32(at(8))).toBe(108);
    child.store32(at(4), 5);
    expect(proc.load32(at(4))).toBe(104);
  });

  it('copies entries of every kind', () => {
    mapAnon(0, 4);
    fill(0, 3);
    proc.load32(at(3));
    const device = makeDevicePrivate(0, []);
    const moving = startMigration(1);
    const exclusive = makeExclusive(2);
    const child = proc.fork();
    const { pages } = machine.kernel;
    for (const of of [proc, child]) {
      expect(entry(of, 0)).toEqual({ bits: PTE_DEVICE_PRIVATE, page: device });
      expect(entry(of, 1).page).toBe(moving);
      expect(entry(of, 1).bits & ~PTE_DIRTY).toBe(PTE_MIGRATION);
      expect(entry(of, 2).page).toBe(exclusive);
      expect(entry(of, 2).bits & (PTE_KIND | PTE_WRITE)).toBe(PTE_PRESENT);
      expect(entry(of, 3)).toEqual({ bits: PTE_PRESENT, page: NO_PAGE });
      expect(of.mm.rssAnon).toBe(3);
    }
    expect([device, moving, exclusive].map((row) => pages.refcount[row])).toEqual([2, 1, 2]);
    expect([device, moving, exclusive].map((row) => pages.mapcount[row])).toEqual([2, 0, 2]);
  });

  it('fails while the page that a device holds exclusively is locked', () => {
    mapAnon(0, 1);
    fill(0, 1);
    const row = makeExclusive(0);
    machine.kernel.pages.tryLock(row);
    expect(() => proc.fork()).toThrow('ENOMEM');
    machine.kernel.pages.unlock(row);
    expect(machine.kernel.mms.size).toBe(1);
    const child = proc.fork();
    expect(child.load32(at(0))).toBe(100);
  });

  it('copies a page that may be pinned, and unwinds when RAM is full', () => {
    mapAnon(0, 1);
    fill(0, 1);
    const { pages } = machine.kernel;
    const { page } = entry(proc, 0);
    pages.refcount[page] = pages.refcount[page]! + PIN_BIAS;
    proc.mm.hasPinned = true;
    const child = proc.fork();
    expect(entry(child, 0).page).not.toBe(page);
    expect(child.load32(at(0))).toBe(100);
    expect(entry(child, 0).bits).toBe(PTE_PRESENT | PTE_WRITE | PTE_DIRTY);
    expect(entry(proc, 0)).toEqual({ bits: PTE_PRESENT | PTE_WRITE | PTE_DIRTY, page });
    while (pages.allocate() !== NO_PAGE);
    expect(() => proc.fork()).toThrow('ENOMEM');
    expect(machine.kernel.mms.size).toBe(2);
  });
});

describe('exit', () => {
  it('tells of the release, then unmaps', () => {
    mapAnon(0, 2);
    fill(0, 2);
    proc.mmap({ addr: at(8), pages: 2, shared: true });
    fill(8, 2);
    proc.exit();
    expect(heard).toEqual(['release all', 'unmap all']);
    expect(machine.kernel.pages.ramUsed).toBe(0);
    expect(machine.kernel.mms.size).toBe(0);
    expect([proc.mm.rssAnon, proc.mm.rssFile, proc.mm.pageTable.leafCount]).toEqual([0, 0, 0]);
  });
});
