import { beforeEach, describe, expect, it } from 'vitest';
import { EINVAL } from '../../src/core/errno.ts';
import { PG_LRU } from '../../src/core/memory/pages.ts';
import {
  countMigrated,
  countMovedPages,
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  MigrateVma,
  type MigrateVmaOptions,
  migratePfn,
  migratePfnPage,
  migrateVmaSetup,
} from '../../src/core/migrate/index.ts';
import {
  PTE_DEVICE_PRIVATE,
  PTE_DIRTY,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_PRESENT,
  PTE_WRITE,
} from '../../src/core/mm/pte.ts';
import { VM_DONTEXPAND, VM_IO, VM_MIXEDMAP, VM_PFNMAP } from '../../src/core/mm/vma.ts';
import { NO_PAGE, PAGE_SIZE, type Page, type Va } from '../../src/core/units.ts';
import { MigrationLab, PRIVATE, SYSTEM } from './migration-lab.ts';

/** The word of a page that did not move after all. */
const STAYED: number = MIGRATE_PFN_VALID | MIGRATE_PFN_WRITE;

let lab: MigrationLab;

beforeEach(() => {
  lab = new MigrationLab();
});

function touched(): Va {
  const va = lab.proc.mmap({ pages: 1 });
  lab.proc.store32(va, 5);
  return va;
}

/** Entry and counts are as if nothing had happened, and the process reads what it wrote. */
function expectUnmoved(va: Va, page: Page, bits: number, counts = [1, 1]): void {
  expect(lab.pageAt(va)).toBe(page);
  expect(lab.bitsAt(va) | PTE_DIRTY).toBe(bits | PTE_DIRTY);
  expect(lab.counts(page)).toEqual(counts);
  expect(lab.pages.isLocked(page)).toBe(false);
  expect(lab.proc.load32(va)).toBe(5);
}

describe('what becomes of a page that fails on its way to a device', () => {
  const options = () => ({ flags: SYSTEM, owner: lab.x });

  it('lock taken, in collect: the driver never sees it', () => {
    const va = touched();
    const page = lab.pageAt(va);
    const bits = lab.bitsAt(va);
    lab.pages.tryLock(page);
    const { args } = lab.setup(va, 1, options());
    expect([...args.src]).toEqual([0]);
    expect(lab.bitsAt(va)).toBe(bits);
    expect(lab.give(args, lab.privateX)).toEqual([]);
    lab.movePages(args);
    lab.finalize(args);
    expect([...args.src]).toEqual([0]);
    lab.pages.unlock(page);
    expectUnmoved(va, page, bits);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });

  it.each<[string, () => (page: Page) => void]>([
    [
      'not on the LRU',
      () => (page) => {
        lab.pages.flags[page] = lab.pages.flags[page]! ^ PG_LRU;
      },
    ],
    ['held by somebody', () => (page) => lab.pages.get(page)],
  ])('%s, in unmap: restored', (name, make) => {
    const va = touched();
    const page = lab.pageAt(va);
    const bits = lab.bitsAt(va);
    make()(page);
    const { args, collected } = lab.setup(va, 1, options());
    expect(collected.cpages).toBe(1);
    expect([...args.src]).toEqual([0]);
    expect(args.cpages).toBe(0);
    expect(lab.bitsAt(va)).toBe(bits);
    lab.movePages(args);
    lab.finalize(args);
    if (name === 'not on the LRU') make()(page);
    else lab.pages.put(page);
    expectUnmoved(va, page, bits);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });

  it('no destination: VALID without MIGRATE, restored', () => {
    const va = touched();
    const page = lab.pageAt(va);
    const bits = lab.bitsAt(va);
    const { args } = lab.setup(va, 1, options());
    lab.movePages(args);
    expect([...args.src]).toEqual([migratePfn(page) | STAYED]);
    expect(lab.bitsAt(va) & PTE_KIND).toBe(PTE_MIGRATION);
    lab.finalize(args);
    expectUnmoved(va, page, bits);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });

  it('a reference that came between unmap and pages: restored, and the device page is freed', () => {
    const va = touched();
    const page = lab.pageAt(va);
    const bits = lab.bitsAt(va);
    const { args } = lab.setup(va, 1, options());
    const [given] = lab.give(args, lab.privateX) as [Page];
    lab.pages.get(page);
    lab.movePages(args);
    expect([...args.src]).toEqual([migratePfn(page) | STAYED]);
    expect(lab.counts(given)).toEqual([1, 0]);
    expect(lab.privateX.freed).toEqual([]);
    lab.finalize(args);
    expect(lab.privateX.freed).toEqual([given]);
    lab.pages.put(page);
    expectUnmoved(va, page, bits);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });

  it.each([true, false])('a page of a file (shared: %s): restored, device page freed', (shared) => {
    const file = lab.proc.createFile(1, () => 5);
    const va = lab.proc.mmap({ pages: 1, file, shared });
    lab.proc.load32(va);
    const page = lab.pageAt(va);
    const bits = lab.bitsAt(va);
    const { args } = lab.setup(va, 1, options());
    expect(args.cpages).toBe(1);
    const given = lab.give(args, lab.privateX);
    lab.movePages(args);
    expect(args.src[0]! & ~MIGRATE_PFN_WRITE).toBe(migratePfn(page));
    lab.finalize(args);
    expect(lab.privateX.freed).toEqual(given);
    expectUnmoved(va, page, bits, [2, 1]);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });

  it('a hole that another fault filled: 0, the page of the other stays, device page freed', () => {
    const va = lab.proc.mmap({ pages: 1 });
    const { args } = lab.setup(va, 1, options());
    expect([...args.src]).toEqual([MIGRATE_PFN_MIGRATE]);
    const given = lab.give(args, lab.privateX);
    lab.proc.store32(va, 5);
    const page = lab.pageAt(va);
    const bits = lab.bitsAt(va);
    lab.movePages(args);
    expect([...args.src]).toEqual([0]);
    lab.finalize(args);
    expect(lab.privateX.freed).toEqual(given);
    expectUnmoved(va, page, bits);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });

  it('success: VALID and MIGRATE, a device entry, one reference', () => {
    const va = touched();
    const page = lab.pageAt(va);
    const { args } = lab.setup(va, 1, options());
    const [given] = lab.give(args, lab.privateX) as [Page];
    lab.movePages(args);
    lab.finalize(args);
    expect([...args.src]).toEqual([migratePfn(page) | MIGRATE_PFN_MIGRATE | STAYED]);
    expect(lab.bitsAt(va)).toBe(PTE_DEVICE_PRIVATE | PTE_WRITE);
    expect(lab.counts(given)).toEqual([1, 1]);
    expect(lab.privateX.freed).toEqual([]);
    expect(lab.proc.load32(va)).toBe(5);
    expect(lab.privateX.freed).toEqual([given]);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });

  it('each page of a range fails or moves for itself, and the counters tell', () => {
    const va = lab.proc.mmap({ pages: 5 });
    for (const i of [0, 1, 3]) lab.proc.store32(va + i * PAGE_SIZE, 10 + i);
    lab.pages.tryLock(lab.pageAt(va + PAGE_SIZE));
    const { args } = lab.setup(va, 5, options());
    expect(args).toMatchObject({ npages: 5, cpages: 4 });
    const given = lab.give(args, lab.privateX);
    // The driver has no page for the second of the holes.
    args.dst[4] = 0;
    lab.movePages(args);
    expect(args).toMatchObject({ npages: 5, cpages: 4 });
    expect(countMigrated(args.src, 5)).toBe(3);
    expect(countMovedPages(args.src, 5)).toBe(2);
    lab.finalize(args);
    lab.pages.unlock(given[3]!);
    lab.pages.put(given[3]!);
    lab.pages.unlock(lab.pageAt(va + PAGE_SIZE));
    const homes = [0, 1, 2, 3, 4].map((i) => lab.machine.ownerOf(lab.proc, va + i * PAGE_SIZE));
    expect(homes).toEqual([lab.x, 'system', lab.x, lab.x, null]);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });
});

describe('filling holes', () => {
  it('takes the place of the zero page that was mapped meanwhile', () => {
    const va = lab.proc.mmap({ pages: 1 });
    const { args } = lab.setup(va, 1, { flags: SYSTEM, owner: lab.x });
    const given = lab.give(args, lab.privateX);
    expect(lab.proc.load32(va)).toBe(0);
    expect(lab.pageAt(va)).toBe(NO_PAGE);
    lab.movePages(args);
    lab.finalize(args);
    expect([...args.src]).toEqual([MIGRATE_PFN_MIGRATE]);
    expect([lab.pageAt(va)]).toEqual(given);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });

  it('may write where the VMA may, with private, coherent and ordinary pages', () => {
    const { x, proc, privateX, coherentX } = lab;
    const options = { flags: SYSTEM, owner: x };
    for (const prot of ['rw', 'r'] as const) {
      const write = prot === 'rw' ? PTE_WRITE : 0;
      const dirty = prot === 'rw' ? PTE_DIRTY : 0;
      const va = proc.mmap({ pages: 3, prot });
      const inserted = [PTE_DEVICE_PRIVATE, PTE_PRESENT | dirty, PTE_PRESENT | dirty];
      inserted.forEach((bits, i) => {
        const { args } = lab.setup(va + i * PAGE_SIZE, 1, options);
        if (i === 2) lab.giveRam(args);
        else lab.give(args, i === 0 ? privateX : coherentX!);
        lab.movePages(args);
        lab.finalize(args);
        expect(lab.bitsAt(va + i * PAGE_SIZE)).toBe(bits | write);
      });
      expect(lab.machine.verify({ full: true })).toEqual([]);
    }
  });

  it('fails for holes of files, which v5.7 still collects', () => {
    lab = new MigrationLab('v5.7');
    const va = lab.proc.mmap({ pages: 1, file: lab.proc.createFile(1), shared: true });
    const { args } = lab.setup(va, 1, { flags: 0 });
    expect([...args.src]).toEqual([MIGRATE_PFN_MIGRATE]);
    const given = lab.give(args, lab.privateX);
    lab.movePages(args);
    expect([...args.src]).toEqual([0]);
    lab.finalize(args);
    expect(lab.privateX.freed).toEqual(given);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });
});

describe('from device to device, and from RAM to RAM', () => {
  it('moves a page from one owner to another directly', () => {
    const va = touched();
    lab.moveTo(lab.privateX, va);
    const page = lab.pageAt(va);
    for (const region of [lab.privateY, lab.coherentY!]) {
      const owner = lab.machine.ownerOf(lab.proc, va) === lab.x ? lab.x : lab.y;
      const { args } = lab.setup(va, 1, { flags: PRIVATE, owner });
      expect(args.cpages).toBe(1);
      lab.give(args, region);
      lab.movePages(args);
      lab.finalize(args);
      expect(lab.pages.pagemapOf(lab.pageAt(va))).toBe(region.pagemap);
      expect(lab.machine.verify({ full: true })).toEqual([]);
    }
    expect(lab.privateX.freed).toEqual([page]);
    expect(lab.bitsAt(va) & (PTE_KIND | PTE_WRITE)).toBe(PTE_PRESENT | PTE_WRITE);
    expect(lab.proc.load32(va)).toBe(5);
  });

  it('moves a page of a file to another page of RAM, in its cache too', () => {
    const file = lab.proc.createFile(1, () => 5);
    const va = lab.proc.mmap({ pages: 1, file, shared: true });
    const other = lab.proc.mmap({ pages: 1, file });
    lab.proc.store32(va, 6);
    lab.proc.load32(other);
    const old = lab.pageAt(va);
    const { args } = lab.setup(va, 1, { flags: SYSTEM });
    const [fresh] = lab.giveRam(args) as [Page];
    lab.movePages(args);
    lab.finalize(args);
    expect(file.cached(0)).toBe(fresh);
    expect([lab.pageAt(va), lab.pageAt(other)]).toEqual([fresh, fresh]);
    expect([lab.counts(old), lab.counts(fresh)]).toEqual([
      [0, 0],
      [3, 2],
    ]);
    expect([lab.proc.load32(va), lab.proc.load32(other)]).toEqual([6, 6]);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });
});

describe('migrateVmaSetup refuses', () => {
  let va: Va;

  beforeEach(() => {
    va = lab.proc.mmap({ pages: 4 });
    lab.proc.store32(va, 5);
  });

  function setup(change: Partial<MigrateVmaOptions>): [number, MigrateVma] {
    const args = new MigrateVma({
      vma: lab.vmaOf(va),
      start: va,
      end: va + 2 * PAGE_SIZE,
      src: new Uint32Array(4).fill(99),
      dst: new Uint32Array(4).fill(99),
      pgmapOwner: lab.x,
      flags: SYSTEM,
      ...change,
    });
    return [lab.machine.run(migrateVmaSetup(args)), args];
  }

  // In the order in which Linux asks.
  it.each<[string, () => Partial<MigrateVmaOptions>]>([
    ['no VMA', () => ({ vma: null })],
    ...[VM_IO, VM_DONTEXPAND, VM_PFNMAP, VM_MIXEDMAP].map(
      (flag): [string, () => Partial<MigrateVmaOptions>] => [
        `a special VMA, flag 0x${flag.toString(16)}`,
        () => {
          lab.vmaOf(va).flags |= flag;
          return {};
        },
      ],
    ),
    ['an empty range', () => ({ end: va })],
    ['a range that runs backwards', () => ({ start: va + PAGE_SIZE, end: va })],
    ['less than a page across a boundary', () => ({ start: va + 100, end: va + PAGE_SIZE + 50 })],
    ['a start before the VMA', () => ({ start: va - PAGE_SIZE })],
    [
      'a start at the end of the VMA',
      () => ({ start: va + 4 * PAGE_SIZE, end: va + 5 * PAGE_SIZE }),
    ],
    ['a range before the VMA', () => ({ start: va - 2 * PAGE_SIZE, end: va })],
    ['an end after the VMA', () => ({ start: va + 2 * PAGE_SIZE, end: va + 5 * PAGE_SIZE })],
    ['too few words in src', () => ({ src: Uint32Array.of(99) })],
    ['too few words in dst', () => ({ dst: Uint32Array.of(99) })],
    ['a fault page of RAM', () => ({ faultPage: lab.pageAt(va) })],
    ['a fault page of coherent memory', () => ({ faultPage: lab.coherentX!.pagemap.firstPage })],
  ])('%s', (_name, change) => {
    const options = change();
    let events = 0;
    lab.machine.events.on('*', () => events++);
    const [ret, args] = setup(options);
    expect(ret).toBe(-EINVAL);
    expect(events).toBe(0);
    expect(args).toMatchObject({ npages: 0, cpages: 0 });
    expect(new Set([...args.src, ...args.dst])).toEqual(new Set([99]));
    lab.vmaOf(va).flags &= ~(VM_IO | VM_DONTEXPAND | VM_PFNMAP | VM_MIXEDMAP);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });

  it('nothing else: bounds within pages are rounded down, no page at all is fine', () => {
    const [ret, args] = setup({ start: va + 8, end: va + PAGE_SIZE + 12, flags: 0 });
    expect(ret).toBe(0);
    expect(args).toMatchObject({ start: va, end: va + PAGE_SIZE, npages: 1, cpages: 0 });
    expect([...args.src]).toEqual([0, 99, 99, 99]);
    expect([...args.dst]).toEqual([0, 99, 99, 99]);
    expect(migratePfnPage(args.src[0]!)).toBe(NO_PAGE);
  });

  it.each(['r', 'n'] as const)('no VMA for its rights: %s', (prot) => {
    lab.proc.mprotect(va, 4 * PAGE_SIZE, prot);
    const migration = lab.setup(va, 2, { flags: SYSTEM });
    expect(migration.ret).toBe(0);
    expect(migration.args.cpages).toBe(2);
    lab.giveUp(migration);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });
});
