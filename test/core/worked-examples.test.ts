// Seven migrations followed number by number: references, mappings, words and counters at each step
// are those of Linux.

import { describe, expect, it } from 'vitest';
import type { EraName } from '../../src/core/era.ts';
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  migrateDeviceFinalize,
  migrateDevicePages,
  migrateDeviceRange,
  migratePfn,
} from '../../src/core/migrate/index.ts';
import { FOLL_GET, FOLL_PIN, getUserPagesFast, putUserPage } from '../../src/core/mm/gup.ts';
import {
  PTE_DEVICE_PRIVATE,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_PRESENT,
  PTE_WRITE,
} from '../../src/core/mm/pte.ts';
import { PAGE_SIZE, type Page, type Va } from '../../src/core/units.ts';
import { Dmirror } from '../../src/drivers/dmirror/index.ts';
import { COHERENT, MigrationLab, PRIVATE, SYSTEM } from './migration-lab.ts';

const MOVABLE: number = MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE;

/** A word in the notation of the tables. */
function word(src: number): string {
  if (src === 0) return '0';
  return `${src & MIGRATE_PFN_VALID ? 'V' : ''}${src & MIGRATE_PFN_MIGRATE ? 'M' : ''}`;
}

describe('A1: a batch around a fault, with pages of two devices in it', () => {
  interface Column {
    readonly era: EraName;
    readonly asks: string;
    readonly flags: number;
    readonly owned: boolean;
    readonly src: string;
    readonly cpages: number;
  }
  const columns: Column[] = [
    { era: 'v5.6', asks: 'everything', flags: 0, owned: false, src: 'VM M VM VM', cpages: 4 },
    { era: 'v5.7', asks: 'src_owner X', flags: 0, owned: true, src: '0 M VM 0', cpages: 2 },
    { era: 'v5.7', asks: 'src_owner NULL', flags: 0, owned: false, src: 'VM M 0 0', cpages: 2 },
    ...(['v5.10', 'v6.1', 'v6.12'] as const).flatMap((era) => [
      { era, asks: 'P', flags: PRIVATE, owned: true, src: '0 M VM 0', cpages: 2 },
      { era, asks: 'S', flags: SYSTEM, owned: true, src: 'VM M 0 0', cpages: 2 },
      { era, asks: 'S+P', flags: SYSTEM | PRIVATE, owned: true, src: 'VM M VM 0', cpages: 3 },
      { era, asks: 'C', flags: COHERENT, owned: true, src: '0 M 0 0', cpages: 1 },
    ]),
  ];

  it.each(columns)('$era, $asks: $src', ({ era, flags, owned, src, cpages }) => {
    const lab = new MigrationLab(era);
    const va = lab.proc.mmap({ pages: 4 });
    for (const i of [0, 2, 3]) lab.proc.store32(va + i * PAGE_SIZE, i + 1);
    lab.moveTo(lab.privateX, va + 2 * PAGE_SIZE);
    lab.moveTo(lab.privateY, va + 3 * PAGE_SIZE);
    const migration = lab.setup(va, 4, { flags, owner: owned ? lab.x : null });
    expect(migration.collected.src.map(word).join(' ')).toBe(src);
    expect(migration.collected.cpages).toBe(cpages);
    expect([...migration.args.src].map(word).join(' ')).toBe(src);
    expect(migration.args).toMatchObject({ cpages, npages: 4 });
    lab.giveUp(migration);
    expect(lab.machine.ownerOf(lab.proc, va + 2 * PAGE_SIZE)).toBe(lab.x);
    expect(lab.machine.ownerOf(lab.proc, va + 3 * PAGE_SIZE)).toBe(lab.y);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });
});

describe('A2: one page goes to a device', () => {
  it('keeps its counts through collect, isolation and the move', () => {
    const lab = new MigrationLab();
    const va = lab.proc.mmap({ pages: 1 });
    lab.proc.store32(va, 77);
    const page = lab.pageAt(va);
    expect(lab.counts(page)).toEqual([1, 1]);
    expect(lab.proc.mm.rssAnon).toBe(1);

    let afterCollect: [number, number] | null = null;
    lab.machine.events.on('migrate_phase', ({ step, phase }) => {
      if (step === 'collect' && phase === 'end') afterCollect = lab.counts(page);
    });
    const { args } = lab.setup(va, 1, { flags: SYSTEM, owner: lab.x });
    expect(afterCollect).toEqual([1, 0]);
    expect(lab.counts(page)).toEqual([1, 0]);
    expect([...args.src]).toEqual([migratePfn(page) | MIGRATE_PFN_MIGRATE | MIGRATE_PFN_WRITE]);
    expect(lab.bitsAt(va) & (PTE_KIND | PTE_WRITE)).toBe(PTE_MIGRATION | PTE_WRITE);
    expect(lab.proc.mm.rssAnon).toBe(1);

    const [moved] = lab.give(args, lab.privateX) as [Page];
    expect(lab.counts(moved)).toEqual([1, 0]);
    lab.movePages(args);
    expect(args.src[0]! & MOVABLE).toBe(MOVABLE);
    expect([lab.counts(page), lab.counts(moved)]).toEqual([
      [1, 0],
      [1, 0],
    ]);
    expect([lab.pages.isLocked(page), lab.pages.isLocked(moved)]).toEqual([true, true]);

    const ramUsed = lab.pages.ramUsed;
    lab.finalize(args);
    expect(lab.counts(page)).toEqual([0, 0]);
    expect(lab.pages.ramUsed).toBe(ramUsed - 1);
    expect(lab.counts(moved)).toEqual([1, 1]);
    expect(lab.pages.isLocked(moved)).toBe(false);
    expect(lab.bitsAt(va) & (PTE_KIND | PTE_WRITE)).toBe(PTE_DEVICE_PRIVATE | PTE_WRITE);
    expect(lab.pageAt(va)).toBe(moved);
    expect(lab.proc.mm.rssAnon).toBe(1);
    expect(lab.pages.read32(moved, 0)).toBe(77);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });
});

describe('A3: fork, then the child writes to a device page', () => {
  it('brings the page home for both, read-only, and copies it for the child', () => {
    const lab = new MigrationLab();
    const { proc, privateX: region } = lab;
    const va = proc.mmap({ pages: 1 });
    proc.store32(va, 5);
    lab.moveTo(region, va);
    const device = lab.pageAt(va);
    const child = proc.fork();
    expect(lab.counts(device)).toEqual([2, 2]);
    expect([lab.bitsAt(va), lab.bitsAt(va, child)]).toEqual([
      PTE_DEVICE_PRIVATE,
      PTE_DEVICE_PRIVATE,
    ]);

    const steps: [string, unknown][] = [];
    lab.machine.events.on('migrate_phase', ({ step, phase }) => {
      if (step === 'collect' && phase === 'end') steps.push(['collect', lab.counts(device)]);
    });
    region.onStep = (step) => {
      steps.push([step, lab.counts(device)]);
      if (step !== 'finalize') return;
      const ram = lab.pageAt(va);
      expect(lab.pageAt(va, child)).toBe(ram);
      steps.push(['ram', lab.counts(ram)]);
      steps.push(['writable', (lab.bitsAt(va) | lab.bitsAt(va, child)) & PTE_WRITE]);
    };
    child.store32(va, 6);
    expect(steps).toEqual([
      ['fault', [3, 2]],
      ['collect', [3, 1]],
      ['setup', [2, 0]],
      ['pages', [2, 0]],
      ['finalize', [1, 0]],
      ['ram', [2, 2]],
      ['writable', 0],
    ]);
    expect(region.freed).toEqual([device]);
    expect(lab.counts(device)).toEqual([0, 0]);

    const [parents, childs] = [lab.pageAt(va), lab.pageAt(va, child)];
    expect(childs).not.toBe(parents);
    expect([lab.counts(parents), lab.counts(childs)]).toEqual([
      [1, 1],
      [1, 1],
    ]);
    expect([proc.load32(va), child.load32(va)]).toEqual([5, 6]);
    expect([proc.mm.rssAnon, child.mm.rssAnon]).toEqual([1, 1]);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });
});

describe('A4: a page that somebody holds', () => {
  function hold(lab: MigrationLab, va: Va, flags: number): Page {
    const found = lab.machine.run(getUserPagesFast(lab.proc.mm, va, 1, flags));
    if (typeof found === 'number') throw new Error(`no page: ${found}`);
    return found[0]!;
  }

  it('pinned and exclusive: collect puts the entry back', () => {
    const lab = new MigrationLab();
    const va = lab.proc.mmap({ pages: 1 });
    lab.proc.store32(va, 1);
    const bits = lab.bitsAt(va);
    const page = hold(lab, va, FOLL_PIN);
    expect(lab.counts(page)).toEqual([1025, 1]);
    const migration = lab.setup(va, 1, { flags: SYSTEM });
    expect(migration.collected).toEqual({ src: [0], cpages: 0 });
    expect(migration.args.cpages).toBe(0);
    expect(lab.bitsAt(va)).toBe(bits);
    expect(lab.counts(page)).toEqual([1025, 1]);
    lab.giveUp(migration);
    putUserPage(lab.kernel, page, true);
    expect(lab.machine.verify()).toEqual([]);
  });

  it('an extra reference: unmap finds one too many and restores the entry', () => {
    const lab = new MigrationLab();
    const va = lab.proc.mmap({ pages: 2 });
    lab.proc.store32(va, 1);
    lab.proc.store32(va + PAGE_SIZE, 2);
    const bits = lab.bitsAt(va);
    const page = hold(lab, va, FOLL_GET);
    expect(lab.counts(page)).toEqual([2, 1]);
    const migration = lab.setup(va, 2, { flags: SYSTEM });
    expect(migration.collected.cpages).toBe(2);
    expect(migration.args.cpages).toBe(1);
    expect([...migration.args.src].map(word)).toEqual(['0', 'VM']);
    expect(lab.bitsAt(va)).toBe(bits);
    expect(lab.counts(page)).toEqual([2, 1]);
    expect(lab.pages.isLocked(page)).toBe(false);
    lab.giveUp(migration);
    putUserPage(lab.kernel, page, false);
    expect(lab.machine.verify()).toEqual([]);
  });
});

describe('A5: the zero page and a hole', () => {
  it('both become device pages, and count as resident from then on', () => {
    const lab = new MigrationLab();
    const { proc } = lab;
    const va = proc.mmap({ pages: 2 });
    expect(proc.load32(va)).toBe(0);
    expect(proc.mm.rssAnon).toBe(0);
    const { args } = lab.setup(va, 2, { flags: SYSTEM, owner: lab.x });
    expect([...args.src]).toEqual([MIGRATE_PFN_MIGRATE, MIGRATE_PFN_MIGRATE]);
    expect(args.cpages).toBe(2);
    const given = lab.give(args, lab.privateX);
    lab.movePages(args);
    expect([...args.src]).toEqual([MIGRATE_PFN_MIGRATE, MIGRATE_PFN_MIGRATE]);
    expect(given.map((page) => lab.counts(page))).toEqual([
      [2, 1],
      [2, 1],
    ]);
    lab.finalize(args);
    expect(given.map((page) => lab.counts(page))).toEqual([
      [1, 1],
      [1, 1],
    ]);
    expect([va, va + PAGE_SIZE].map((at) => lab.pageAt(at))).toEqual(given);
    expect(lab.bitsAt(va)).toBe(PTE_DEVICE_PRIVATE | PTE_WRITE);
    expect(proc.mm.rssAnon).toBe(2);
    expect([proc.load32(va), proc.load32(va + PAGE_SIZE)]).toEqual([0, 0]);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });

  it('dmirror counts both as readable', () => {
    const lab = new MigrationLab();
    const file = lab.machine.attach(new Dmirror()).open(lab.proc);
    const va = lab.proc.mmap({ pages: 2 });
    lab.proc.load32(va);
    const result = file.migrateToDev(va, 2);
    expect(result).toEqual({ ret: 0, cpages: 2, faults: 0, data: Uint32Array.of(0, 0) });
    expect(lab.proc.mm.rssAnon).toBe(2);
    expect(lab.machine.verify()).toEqual([]);
  });
});

describe('A6: munmap of memory that a device has', () => {
  it('tells the device first, then frees its page at once', () => {
    const lab = new MigrationLab();
    const device = lab.machine.attach(new Dmirror());
    const file = device.open(lab.proc);
    const va = lab.proc.mmap({ pages: 1 });
    lab.proc.store32(va, 1);
    expect(file.migrateToDev(va, 1).ret).toBe(0);
    const page = lab.pageAt(va);
    expect(lab.counts(page)).toEqual([1, 1]);
    const vpn = va / PAGE_SIZE;
    expect(file.pageTable.page(vpn)).toBe(page);

    const seen: string[] = [];
    lab.machine.events.on('invalidate', ({ event, phase }) => {
      seen.push(`invalidate ${event} ${phase}`);
    });
    lab.machine.events.on('page_free', (event) => {
      expect(event).toMatchObject({ page, owner: device });
      expect(file.pageTable.page(vpn)).toBe(-1);
      expect(lab.counts(page)).toEqual([0, 0]);
      expect(lab.proc.mm.rssAnon).toBe(0);
      seen.push('page free');
    });
    expect(lab.proc.munmap(va, PAGE_SIZE)).toBe(0);
    expect(seen).toEqual(['invalidate unmap begin', 'page free', 'invalidate unmap end']);
    expect(device.pagesInUse).toBe(0);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });
});

describe('A7: a range of device pages: free, mapped once, mapped twice, locked', () => {
  it('takes those that are mapped', () => {
    const lab = new MigrationLab();
    const { proc, privateX: region } = lab;
    const va = proc.mmap({ pages: 3 });
    for (let i = 0; i < 3; i++) proc.store32(va + i * PAGE_SIZE, i + 1);
    // The page with the highest number is given first.
    lab.moveTo(region, va, 3);
    const [locked, twice, once] = [0, 1, 2].map((i) => lab.pageAt(va + i * PAGE_SIZE)) as [
      Page,
      Page,
      Page,
    ];
    expect([locked, twice]).toEqual([once + 2, once + 1]);
    const child = proc.fork();
    child.munmap(va, PAGE_SIZE);
    child.munmap(va + 2 * PAGE_SIZE, PAGE_SIZE);
    expect([once - 1, once, twice].map((page) => lab.counts(page))).toEqual([
      [0, 0],
      [1, 1],
      [2, 2],
    ]);
    lab.pages.tryLock(locked);

    const src = new Uint32Array(4);
    const dst = new Uint32Array(4);
    expect(lab.machine.run(migrateDeviceRange(lab.kernel, src, once - 1, 4))).toBe(0);
    const taken = [once, twice].map((page) => migratePfn(page) | MIGRATE_PFN_MIGRATE);
    expect([...src]).toEqual([0, ...taken, 0]);
    expect([...src].map(word)).toEqual(['0', 'VM', 'VM', '0']);
    expect([once, twice, locked].map((page) => lab.counts(page))).toEqual([
      [1, 0],
      [1, 0],
      [1, 1],
    ]);
    const entries = [lab.bitsAt(va + PAGE_SIZE), lab.bitsAt(va + PAGE_SIZE, child)];
    expect(entries.map((bits) => bits & PTE_KIND)).toEqual([PTE_MIGRATION, PTE_MIGRATION]);

    lab.machine.run(migrateDevicePages(lab.kernel, src, dst, 4));
    migrateDeviceFinalize(lab.kernel, src, dst, 4);
    lab.pages.unlock(locked);
    expect(lab.bitsAt(va + PAGE_SIZE) & PTE_KIND).toBe(PTE_DEVICE_PRIVATE);
    expect(lab.machine.verify({ full: true })).toEqual([]);
    expect([0, 1, 2].map((i) => proc.load32(va + i * PAGE_SIZE))).toEqual([1, 2, 3]);
    expect(child.load32(va + PAGE_SIZE)).toBe(2);
    expect(lab.bitsAt(va) & PTE_KIND).toBe(PTE_PRESENT);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });
});
