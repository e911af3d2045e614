import { beforeEach, describe, expect, it } from 'vitest';
import { EINVAL, ENOMEM, ERANGE } from '../../src/core/errno.ts';
import { Machine } from '../../src/core/machine.ts';
import {
  DevPagemap,
  type DevPagemapOps,
  type DevPagemapOptions,
  type Owner,
} from '../../src/core/pagemap/pagemap.ts';
import type { Task } from '../../src/core/sched/task.ts';
import { GiB, KiB, MiB, PAGE_SIZE, type Page } from '../../src/core/units.ts';
import { MigrationLab, Region } from './migration-lab.ts';

const TOP: number = 2 ** 46;
const SECTION: number = 128 * MiB;

describe('memremapPages', () => {
  const owner: Owner = { name: 'gpu' };
  const ops: DevPagemapOps = { pageFree: () => undefined, migrateToRam: () => 0 };
  let machine: Machine;

  beforeEach(() => {
    machine = new Machine();
  });

  function remap(options: Partial<DevPagemapOptions>): DevPagemap | number {
    const defaults = { type: 'private', owner, ops, bytes: 2 * MiB, name: 'gpu' } as const;
    return machine.memremapPages({ ...defaults, ...options });
  }

  function region(bytes: number): DevPagemap {
    const made = remap({ bytes });
    if (!(made instanceof DevPagemap)) throw new Error(`refused: ${made}`);
    return made;
  }

  const onlyFree: DevPagemapOps = { pageFree: () => undefined };
  const noFree = { migrateToRam: () => 0 } as unknown as DevPagemapOps;
  it.each<[string, Partial<DevPagemapOptions>, number]>([
    ['no memory', { bytes: 0 }, -EINVAL],
    ['less than nothing', { bytes: -PAGE_SIZE }, -EINVAL],
    ['half a page', { bytes: PAGE_SIZE / 2 }, -EINVAL],
    ['private memory without migrateToRam', { ops: onlyFree }, -EINVAL],
    ['memory without pageFree', { ops: noFree }, -EINVAL],
    ['private memory without an owner', { owner: null }, -EINVAL],
    ['coherent memory without an owner', { type: 'coherent', owner: null }, -EINVAL],
    ['more than half of all physical addresses', { bytes: TOP }, -ERANGE],
    ['more struct pages than a machine may have', { bytes: 512 * GiB }, -ENOMEM],
  ])('refuses %s', (_name, options, error) => {
    expect(remap(options)).toBe(error);
    expect(machine.kernel.pagemaps).toEqual([]);
    expect(machine.verify({ full: true })).toEqual([]);
  });

  it('takes coherent memory without migrateToRam, from v6.0 on', () => {
    expect(remap({ type: 'coherent', ops: onlyFree })).toBeInstanceOf(DevPagemap);
    machine = new Machine({ era: 'v5.10' });
    expect(remap({ type: 'coherent', ops: onlyFree })).toBe(-EINVAL);
  });

  it.each([
    ['v5.6', 1],
    ['v5.10', 1],
    ['v6.1', 0],
    ['v6.12', 0],
  ] as const)('free pages of %s have %i references', (era, free) => {
    machine = new Machine({ era });
    const made = region(2 * MiB);
    const { refcount } = machine.kernel.pages;
    const rows = refcount.subarray(made.firstPage, made.firstPage + made.pageCount);
    expect(made.pageCount).toBe(512);
    expect(new Set(rows)).toEqual(new Set([free]));
    made.initPage(made.firstPage + 7);
    expect(machine.kernel.pages.refcount[made.firstPage + 7]).toBe(free + 1);
    expect(machine.kernel.pages.isLocked(made.firstPage + 7)).toBe(true);
    expect(made.pagesInUse).toBe(1);
  });

  it('knows its pages and gives a free one only', () => {
    const made = region(2 * MiB);
    expect([made.firstPage - 1, made.firstPage + 512].map((page) => made.contains(page))).toEqual([
      false,
      false,
    ]);
    made.initPage(made.firstPage);
    const notFree = expect.objectContaining({ code: 'bad-argument' });
    expect(() => made.initPage(made.firstPage)).toThrow(notFree);
    expect(() => made.initPage(made.firstPage - 1)).toThrow(notFree);
  });

  it('rounds the physical range up to sections of 128 MiB, from the top downwards', () => {
    const bytes = [4 * KiB, 2 * MiB, 128 * MiB, 2 * MiB];
    const starts = bytes.map((size) => region(size).start);
    expect(starts).toEqual([1, 2, 3, 4].map((sections) => TOP - sections * SECTION));
    expect(machine.kernel.pagemaps.map(({ pageCount }) => pageCount)).toEqual([1, 512, 32768, 512]);
  });

  it('tries places in steps of its own size, so that a small range leaves a gap under it', () => {
    expect(region(2 * MiB).start).toBe(TOP - SECTION);
    expect(region(256 * MiB).start).toBe(TOP - 4 * SECTION);
    expect(region(2 * MiB).start).toBe(TOP - 2 * SECTION);
    expect(region(130 * MiB).start).toBe(TOP - 6 * SECTION);
    expect(region(2 * MiB).start).toBe(TOP - 7 * SECTION);
    expect(region(300 * MiB).start).toBe(TOP - 12 * SECTION);
    expect(region(2 * MiB).start).toBe(TOP - 8 * SECTION);
  });

  it('gives the range of a region that went to the next one', () => {
    region(2 * MiB);
    const gone = region(2 * MiB);
    region(2 * MiB);
    machine.run(gone.unmap());
    expect(machine.kernel.pagemaps).not.toContain(gone);
    expect(region(2 * MiB).start).toBe(gone.start);
    expect(machine.verify({ full: true })).toEqual([]);
  });
});

describe('memunmap_pages', () => {
  let lab: MigrationLab;
  let device: Region;
  let page: Page;
  let va: number;

  beforeEach(() => {
    lab = new MigrationLab();
    device = lab.privateX;
    va = lab.proc.mmap({ pages: 1 });
    lab.proc.store32(va, 7);
    lab.moveTo(device, va);
    page = lab.pageAt(va);
  });

  it('waits until the last page is free', () => {
    const order: string[] = [];
    const { machine, proc } = lab;
    machine.spawn(
      'remover',
      (function* (): Task<void> {
        yield* device.pagemap.unmap();
        order.push(`removed with ${device.pagemap.pagesInUse} pages in use`);
      })(),
    );
    machine.spawn(
      'toucher',
      (function* (): Task<void> {
        order.push(`touching with ${device.pagemap.pagesInUse} page in use`);
        expect(yield* proc.loadTask(va)).toBe(7);
        order.push('touched');
      })(),
    );
    machine.runAll();
    expect(order).toEqual([
      'touching with 1 page in use',
      'touched',
      'removed with 0 pages in use',
    ]);
    expect(device.freed).toEqual([page]);
    expect(lab.kernel.pagemaps).not.toContain(device.pagemap);
    expect(lab.pages.pagemapOf(page)).toBeNull();
    expect(machine.verify({ full: true })).toEqual([]);
  });

  it('is reported as a deadlock where nobody frees the page', () => {
    const deadlock = {
      code: 'deadlock',
      detail: {
        report: [
          {
            thread: 'caller',
            waitsFor: 'the last of 1 pages of X, private',
            heldBy: [] as string[],
          },
        ],
      },
    };
    expect(() => lab.machine.run(device.pagemap.unmap())).toThrow(
      expect.objectContaining(deadlock),
    );
    // The page still serves the process; only new ones are not to be had.
    expect(() => device.take()).toThrow(expect.objectContaining({ code: 'bad-argument' }));
    expect(lab.proc.load32(va)).toBe(7);
    expect(device.pagemap.pagesInUse).toBe(0);
    expect(lab.machine.verify()).toEqual([]);
  });

  it('goes at once where every page is free, and lets others come', () => {
    lab.proc.munmap(va, PAGE_SIZE);
    lab.machine.run(device.pagemap.unmap());
    const next = new Region(lab, lab.y, 'coherent');
    lab.proc.mmap({ addr: va, pages: 1 });
    lab.moveTo(next, va);
    expect(lab.machine.ownerOf(lab.proc, va)).toBe(lab.y);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });
});
