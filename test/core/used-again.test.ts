// Leaves and regions of page tables that serve again, against tables that make each anew.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Machine } from '../../src/core/machine.ts';
import { leafIndex, PageTable, SpareTables } from '../../src/core/mm/page-table.ts';
import { PTE_PRESENT } from '../../src/core/mm/pte.ts';
import { PAGE_SIZE, type Vpn } from '../../src/core/units.ts';

const REGION = 512 * 512;

/** Pages in a few leaves of a few regions. */
const vpn = fc.tuple(fc.nat(2), fc.nat(3), fc.nat(511)).map(([region, leaf, at]) => {
  return region * 3 * REGION + leaf * 512 + at;
});
const step = fc.tuple(fc.nat(1), fc.nat(3), vpn, fc.integer({ min: 1, max: 99 }));

function contents(table: PageTable): Map<Vpn, readonly [number, number]> {
  const found = new Map<Vpn, readonly [number, number]>();
  table.forEachLeaf((leaf, first) => {
    for (let i = 0; i < 512; i++) {
      if (leaf.bits[i] !== 0) found.set(first + i, [leaf.page[i]!, leaf.bits[i]!]);
      else if (leaf.page[i] !== 0) throw new Error(`an empty entry has page ${leaf.page[i]}`);
    }
  });
  return found;
}

describe('page tables that share spare leaves', () => {
  it('hold what tables of their own would', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const spare = new SpareTables();
        const sharing = [new PageTable(spare), new PageTable(spare)];
        const own = [new PageTable(), new PageTable()];
        for (const [which, what, at, page] of steps) {
          for (const table of [sharing[which]!, own[which]!]) {
            if (what < 3) table.leafFor(at).set(leafIndex(at), page, PTE_PRESENT);
            else table.removeLeaf(at);
          }
          expect(sharing[which]!.leafCount).toBe(own[which]!.leafCount);
          expect(sharing[which]!.nextMapped(0, at)).toBe(own[which]!.nextMapped(0, at));
        }
        for (const i of [0, 1]) expect(contents(sharing[i]!)).toEqual(contents(own[i]!));
      }),
      { numRuns: 400, seed: 4 },
    );
  });

  it('take the leaf of another that has gone', () => {
    const spare = new SpareTables();
    const [one, two] = [new PageTable(spare), new PageTable(spare)];
    const leaf = one.leafFor(5);
    leaf.set(5, 7, PTE_PRESENT);
    one.removeLeaf(5);
    expect(one.leaf(5)).toBeNull();
    expect(two.leafFor(REGION * 9)).toBe(leaf);
    expect(contents(two).size).toBe(0);
    expect(one.leaf(5)).toBeNull();
    expect(one.leafFor(5)).not.toBe(leaf);
  });

  it('forget a region that another has now, at the same addresses', () => {
    const spare = new SpareTables();
    const [one, two] = [new PageTable(spare), new PageTable(spare)];
    one.leafFor(5);
    // What was looked up last is remembered.
    expect(one.leaf(5)).not.toBeNull();
    one.removeLeaf(5);
    two.leafFor(5);
    expect(one.leaf(5)).toBeNull();
    expect([one.leafCount, two.leafCount]).toEqual([0, 1]);
  });

  it('are those of processes, except in a search for races', () => {
    const machine = new Machine();
    const proc = machine.createProcess();
    const va = proc.mmap({ pages: 1 });
    proc.store32(va, 1);
    const leaf = proc.mm.pageTable.leaf(proc.mm.vpn(va));
    proc.exit();
    const next = machine.createProcess();
    const other = next.mmap({ pages: 1 });
    expect(next.load32(other)).toBe(0);
    expect(next.mm.pageTable.leaf(next.mm.vpn(other))).toBe(leaf);
    next.munmap(other, PAGE_SIZE);
    expect(machine.verify({ full: true })).toEqual([]);
    const explorer = { next: (current: never, others: readonly never[]) => current ?? others[0]! };
    expect(new Machine({ explorer }).kernel.spareTables).toBeNull();
  });
});
