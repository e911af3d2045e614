// The drivers' words of device pages against a Map, while regions come and go and words grow.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Machine } from '../../src/core/machine.ts';
import { type DevPagemap, FreePages, memremapPages } from '../../src/core/pagemap/pagemap.ts';
import { NO_PAGE, PAGE_SIZE, type Page } from '../../src/core/units.ts';

const words = fc.oneof(
  fc.constantFrom(0, 1, 255, 256, 0xffff, 0x1_0000, 0xffff_ffff),
  fc.nat({ max: 300 }),
);
const step = fc.tuple(fc.nat(5), fc.nat(999), fc.nat(999), words);

describe("drivers' words", () => {
  it('are what was stored last, and 0 where nothing was', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const machine = new Machine();
        const { kernel } = machine;
        const regions: DevPagemap[] = [];
        const model = new Map<Page, number>();
        for (const [what, a, b, word] of steps) {
          if (what === 0 || regions.length === 0) {
            const owner = { name: `owner ${a}` };
            const ops = { migrateToRam: () => 0, pageFree: () => {} };
            const bytes = (1 + (a % 1200)) * PAGE_SIZE;
            const name = `region ${a}`;
            const made = memremapPages(kernel, { type: 'private', owner, ops, bytes, name });
            regions.push(made as DevPagemap);
          } else if (what === 1) {
            const [gone] = regions.splice(a % regions.length, 1);
            machine.run(gone!.unmap());
            for (let i = 0; i < gone!.pageCount; i++) model.delete(gone!.firstPage + i);
          } else {
            const { firstPage, pageCount } = regions[a % regions.length]!;
            const page = firstPage + (b % pageCount);
            kernel.pages.setDriverData(page, word);
            model.set(page, word);
          }
          for (const { firstPage, pageCount } of regions) {
            for (const at of [0, b % pageCount, pageCount - 1]) {
              const page = firstPage + at;
              expect(kernel.pages.driverDataOf(page)).toBe(model.get(page) ?? 0);
            }
          }
        }
      }),
      { numRuns: 300, seed: 2 },
    );
  });
});

describe('free pages', () => {
  it('come back last in, first out, and leave nothing behind', () => {
    const machine = new Machine();
    const { kernel } = machine;
    const owner = { name: 'owner' };
    const free = new FreePages(kernel);
    const ops = { migrateToRam: () => 0, pageFree: (page: Page) => free.push(page) };
    const region = { type: 'private', owner, ops, bytes: 8 * PAGE_SIZE, name: 'region' } as const;
    const { firstPage, pageCount } = memremapPages(kernel, region) as DevPagemap;
    free.addRegion(firstPage, pageCount);
    const taken = Array.from({ length: pageCount }, () => free.take());
    expect(taken).toEqual(Array.from({ length: 8 }, (_, i) => firstPage + 7 - i));
    expect(free.take()).toBe(NO_PAGE);
    for (const page of taken) kernel.pages.setDriverData(page, 9);
    for (const page of taken) kernel.pages.unlockAndPut(page);
    expect(free.count).toBe(8);
    for (const page of taken.toReversed()) {
      expect(free.take()).toBe(page);
      expect([kernel.pages.mapping[page], kernel.pages.driverDataOf(page)]).toEqual([0, 0]);
    }
  });

  it('of a region that is gone leave the next one nothing', () => {
    const machine = new Machine();
    const { kernel } = machine;
    const free = new FreePages(kernel);
    const ops = { migrateToRam: () => 0, pageFree: (page: Page) => free.push(page) };
    const owner = { name: 'owner' };
    const region = { type: 'private', owner, ops, bytes: 8 * PAGE_SIZE, name: 'region' } as const;
    const first = memremapPages(kernel, region) as DevPagemap;
    free.addRegion(first.firstPage, first.pageCount);
    const taken = [free.take(), free.take(), free.take()];
    for (const page of taken) kernel.pages.unlockAndPut(page);
    expect(taken.map((page) => kernel.pages.mapping[page])).toEqual([0, ...taken.slice(0, 2)]);
    machine.run(first.unmap());
    const next = memremapPages(kernel, region) as DevPagemap;
    expect(next.firstPage).toBe(first.firstPage);
    expect(taken.map((page) => kernel.pages.mapping[page])).toEqual([0, 0, 0]);
  });
});
