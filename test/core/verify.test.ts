import { beforeEach, describe, expect, it } from 'vitest';
import { mmuIntervalNotifierInsert } from '../../src/core/hmm/notifier.ts';
import type { Kernel } from '../../src/core/kernel.ts';
import { Machine } from '../../src/core/machine.ts';
import { PG_ANON_EXCLUSIVE, PG_LRU, PIN_BIAS } from '../../src/core/memory/pages.ts';
import { FOLL_PIN, FOLL_WRITE, getUserPagesFast, putUserPage } from '../../src/core/mm/gup.ts';
import { leafIndex } from '../../src/core/mm/page-table.ts';
import { type Leaf, PTE_KIND, PTE_MIGRATION } from '../../src/core/mm/pte.ts';
import { DevPagemap, FreePages } from '../../src/core/pagemap/pagemap.ts';
import type { Process } from '../../src/core/process.ts';
import { MiB, PAGE_SIZE, type Page, type Va } from '../../src/core/units.ts';
import { type Finding, verifyKernel } from '../../src/core/verify.ts';

const PAGES = 4;

describe('verifyKernel', () => {
  let machine: Machine;
  let kernel: Kernel;
  let proc: Process;
  let buf: Va;
  /** The page behind the first page of the buffer. */
  let page: Page;

  beforeEach(() => {
    machine = new Machine();
    kernel = machine.kernel;
    proc = machine.createProcess();
    buf = proc.mmap({ pages: PAGES });
    for (let i = 0; i < PAGES; i++) proc.store32(buf + i * PAGE_SIZE, i + 1);
    page = machine.pageAt(proc, buf)!;
    expect(machine.verify({ full: true })).toEqual([]);
  });

  function leafOf(va: Va): { leaf: Leaf; at: number } {
    const vpn = proc.mm.vpn(va);
    return { leaf: proc.mm.pageTable.leaf(vpn)!, at: leafIndex(vpn) };
  }

  function codes(findings: readonly Finding[]): string[] {
    return findings.map(({ code }) => code);
  }

  it('finds nothing in a machine that was used properly', () => {
    const file = proc.createFile(3, (i) => 7000 + i);
    const shared = proc.mmap({ pages: 3, file, shared: true });
    const copy = proc.mmap({ pages: 3, file });
    proc.store32(shared, 1);
    proc.store32(copy + PAGE_SIZE, 2);
    proc.load32(proc.mmap({ pages: 1 }));
    const child = proc.fork();
    child.store32(buf, 9);
    child.load32(shared);
    expect(proc.mprotect(buf, PAGE_SIZE, 'n')).toBe(0);
    expect(machine.verify({ full: true })).toEqual([]);
    expect(proc.munmap(buf + PAGE_SIZE, PAGE_SIZE)).toBe(0);
    child.exit();
    expect(machine.verify({ full: true })).toEqual([]);
    proc.exit();
    expect(machine.verify({ full: true })).toEqual([]);
  });

  it('finds a reference too many and says how many there should be', () => {
    kernel.pages.get(page);
    expect(machine.verify()).toEqual([
      {
        code: 'refcount',
        message:
          `refcount of page ${page} is 2, expected 1: ` +
          '1 mappings, 0 exclusive entries, 0 of a file, 0 held outside',
        page,
        expected: 1,
        found: 2,
      },
    ]);
  });

  it('counts the references the caller knows of', () => {
    const pinned = machine.run(getUserPagesFast(proc.mm, buf, 2, FOLL_WRITE | FOLL_PIN)) as Page[];
    expect(pinned[0]).toBe(page);
    expect(codes(verifyKernel(kernel))).toEqual(['refcount', 'refcount']);
    const held = new Map(pinned.map((one) => [one, PIN_BIAS]));
    expect(verifyKernel(kernel, held)).toEqual([]);
    for (const one of pinned) putUserPage(kernel, one, true);
    expect(verifyKernel(kernel)).toEqual([]);
    expect(codes(verifyKernel(kernel, held))).toEqual(['refcount', 'refcount']);
  });

  it('finds somebody who believes in a page that is free', () => {
    proc.munmap(buf, PAGE_SIZE);
    expect(verifyKernel(kernel, new Map([[page, 1]]))).toMatchObject([
      { code: 'refcount', page, expected: 1, found: 0 },
    ]);
  });

  it('finds a wrong mapcount', () => {
    kernel.pages.mapcount[page] = 2;
    expect(machine.verify()).toMatchObject([{ code: 'mapcount', page, expected: 1, found: 2 }]);
  });

  it('finds a wrong resident set size', () => {
    proc.mm.addRss(true, 1);
    proc.mm.addRss(false, -1);
    expect(machine.verify()).toMatchObject([
      { code: 'rss', pid: proc.pid, expected: PAGES, found: PAGES + 1 },
      { code: 'rss', pid: proc.pid, expected: 0, found: -1 },
    ]);
  });

  it('finds locks that were left behind', () => {
    kernel.pages.tryLock(page);
    proc.mm.mmapLock.tryRead();
    expect(machine.verify()).toMatchObject([
      { code: 'lock-held', pid: proc.pid },
      { code: 'page-locked', page },
    ]);
  });

  it('finds pages of RAM that nobody has', () => {
    const lost = kernel.pages.allocate();
    expect(machine.verify()).toMatchObject([
      { code: 'refcount', page: lost, expected: 0, found: 1 },
    ]);
  });

  it('finds entries that lost their page, their VMA or their rights', () => {
    const { leaf, at } = leafOf(buf);
    const bits = leaf.bits[at]!;
    leaf.bits[at] = (bits & ~PTE_KIND) | PTE_MIGRATION;
    expect(codes(machine.verify())).toEqual(['migration-entry', 'mapcount', 'refcount']);
    leaf.bits[at] = bits;

    kernel.pages.flags[page] = kernel.pages.flags[page]! & ~PG_ANON_EXCLUSIVE;
    expect(machine.verify()).toMatchObject([{ code: 'entry-rights', pid: proc.pid, va: buf }]);
    kernel.pages.flags[page] = kernel.pages.flags[page]! | PG_ANON_EXCLUSIVE;

    const vma = proc.mm.vmas.find(buf)!;
    vma.start += PAGE_SIZE;
    vma.pgoff += 1;
    expect(machine.verify()).toMatchObject([{ code: 'entry-outside-vma', va: buf, page }]);
    vma.pgoff -= 1;
    expect(codes(machine.verify())).toContain('not-in-rmap');
    vma.start -= PAGE_SIZE;
    expect(machine.verify()).toEqual([]);
  });

  it('finds a page off the LRU and an exclusive page that is shared', () => {
    const { leaf, at } = leafOf(buf + PAGE_SIZE);
    const other = leaf.page[at]!;
    kernel.pages.flags[page] = kernel.pages.flags[page]! & ~PG_LRU;
    leaf.page[at] = page;
    expect(codes(machine.verify()).sort()).toEqual([
      'exclusive-page-shared',
      'lru',
      'mapcount',
      'mapcount',
      'not-in-rmap',
      'refcount',
      'refcount',
    ]);
    leaf.page[at] = other;
  });

  it('finds an invalidation that never ended and an even interval', () => {
    const ops = { name: 'watcher', invalidate: () => true };
    const interval = mmuIntervalNotifierInsert(proc.mm, ops);
    if (typeof interval === 'number') throw new Error('not inserted');
    expect(machine.verify()).toEqual([]);
    proc.mm.notifiers.activeInvalidations++;
    interval.invalidateSeq++;
    expect(codes(machine.verify())).toEqual(['notifier', 'notifier']);
  });

  it('finds shared contents that are counted wrong', () => {
    const frame = kernel.pages.frame[page]!;
    kernel.frames.share(frame);
    expect(machine.verify()).toMatchObject([{ code: 'frame-refs', expected: 1, found: 2 }]);
  });

  describe('with a device', () => {
    let pagemap: DevPagemap;
    let free: FreePages;

    beforeEach(() => {
      free = new FreePages(kernel);
      const made = machine.memremapPages({
        type: 'private',
        owner: { name: 'device' },
        ops: { pageFree: (freed) => free.push(freed), migrateToRam: () => 0 },
        bytes: 2 * MiB,
        name: 'device memory',
      });
      if (!(made instanceof DevPagemap)) throw new Error('no region');
      pagemap = made;
      free.addRegion(pagemap.firstPage, pagemap.pageCount);
      expect(machine.verify({ full: true })).toEqual([]);
    });

    it('finds a device page that was taken into use and forgotten', () => {
      const lost = free.pop();
      pagemap.initPage(lost);
      expect(machine.verify()).toMatchObject([
        { code: 'refcount', page: lost, expected: 0, found: 1 },
        { code: 'page-locked', page: lost },
        { code: 'pages-in-use', expected: 0, found: 1 },
      ]);
      kernel.pages.unlock(lost);
      expect(codes(verifyKernel(kernel, new Map([[lost, 1]])))).toEqual([]);
      kernel.pages.put(lost);
      expect(machine.verify({ full: true })).toEqual([]);
    });

    it('looks at free device pages only when asked', () => {
      const odd = pagemap.firstPage + 7;
      kernel.pages.mapcount[odd] = 1;
      expect(machine.verify()).toEqual([]);
      expect(machine.verify({ full: true })).toMatchObject([{ code: 'free-page', page: odd }]);
    });
  });
});
