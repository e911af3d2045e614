// Page tables whose leaves lie together, and the short way of loads and stores, against plain ones.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BLOCK_PAGES, leafIndex, PageTable } from '../../src/core/mm/page-table.ts';
import { PTE_KIND, PTE_PRESENT, PTE_PROTNONE } from '../../src/core/mm/pte.ts';
import { Dmirror, Machine, MiB, PAGE_SIZE, type Process } from '../../src/index.ts';

const GIB_PAGES = 2 ** 18;

describe('a page table', () => {
  const near = fc.nat(BLOCK_PAGES * 2);
  const far = fc.constantFrom(0, GIB_PAGES - 700, GIB_PAGES * 3, 2 ** 35 - BLOCK_PAGES * 3);
  const vpn = fc.tuple(far, near).map(([base, offset]) => base + offset);
  const step = fc.oneof(
    fc.record({ vpn, page: fc.integer({ min: 1, max: 2 ** 26 - 1 }) }),
    fc.record({ remove: vpn }),
    fc.tuple(vpn, vpn),
  );

  it.each([PAGE_SIZE, 65_536])('holds what a map holds, with pages of %i bytes', (pageSize) => {
    const property = fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const table = new PageTable(pageSize);
      const model = new Map<number, number>();
      const leaves = new Set<number>();
      for (const one of steps) {
        if ('page' in one) {
          table.leafFor(one.vpn).set(leafIndex(one.vpn), one.page, PTE_PRESENT);
          model.set(one.vpn, one.page);
          leaves.add(Math.floor(one.vpn / 512));
        } else if ('remove' in one) {
          const number = Math.floor(one.remove / 512);
          for (let i = number * 512; i < number * 512 + 512; i++) {
            table.leaf(i)?.clear(leafIndex(i));
            model.delete(i);
          }
          table.removeLeaf(one.remove);
          leaves.delete(number);
        } else {
          const [from, end] = one;
          const next = [...leaves].map((number) => Math.max(from, number * 512));
          const inside = next.filter((at) => at < end && leaves.has(Math.floor(at / 512)));
          const expected = Math.min(end, ...inside.filter((at) => at >= from));
          if (from < end) expect(table.nextMapped(from, end)).toBe(expected);
        }
      }
      expect(table.leafCount).toBe(leaves.size);
      for (const [at, page] of model) expect(table.leaf(at)!.page[leafIndex(at)]).toBe(page);
      const order: number[] = [];
      table.forEachLeaf((_leaf, first) => order.push(first / 512));
      expect(order).toEqual([...leaves].sort((a, b) => a - b));
    });
    fc.assert(property, { numRuns: 60 });
  });
});

/** By leaf and row, as if there were no short way; -1 where the CPU would fault. */
function slowly(proc: Process, va: number): number {
  const vpn = Math.floor(va / PAGE_SIZE);
  const leaf = proc.mm.pageTable.leaf(vpn);
  if (leaf === null) return -1;
  const bits = leaf.bits[leafIndex(vpn)]!;
  if ((bits & (PTE_KIND | PTE_PROTNONE)) !== PTE_PRESENT) return -1;
  return proc.mm.pages.read32(leaf.page[leafIndex(vpn)]!, (va - vpn * PAGE_SIZE) / 4);
}

describe('loads and stores', () => {
  const PAGES = BLOCK_PAGES + 3000;

  it('find what the page table says, whatever happens in between', () => {
    const machine = new Machine({ ramBytes: 256 * MiB });
    const device = machine.attach(new Dmirror({ chunkBytes: 64 * MiB }));
    const proc = machine.createProcess();
    const file = device.open(proc);
    const buffer = proc.mmap({ pages: PAGES });
    // Far away, in another region.
    const other = proc.mmap({ pages: 600, addr: buffer + 5 * 2 ** 30 });
    const model = new Map<number, number>();
    const children: Process[] = [];
    let state = 99;
    const below = (limit: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return (state >>> 8) % limit;
    };
    const address = (): number => {
      const page = below(PAGES + 600);
      const base = page < PAGES ? buffer + page * PAGE_SIZE : other + (page - PAGES) * PAGE_SIZE;
      return base + below(3) * 4;
    };
    for (let i = 0; i < 40_000; i++) {
      const va = address();
      switch (below(24)) {
        case 0:
          file.migrateToDev(
            Math.min(va - (va % PAGE_SIZE), buffer + (PAGES - 9) * PAGE_SIZE),
            1 + below(8),
          );
          break;
        case 1:
          if (children.length < 3) children.push(proc.fork());
          else children.pop()!.exit();
          break;
        case 2: {
          const start = va - (va % PAGE_SIZE);
          proc.dontneed(start, PAGE_SIZE);
          for (let word = 0; word < 3; word++) model.delete(start + word * 4);
          break;
        }
        default: {
          if (below(2) === 0) {
            const value = below(2 ** 20);
            proc.store32(va, value);
            model.set(va, value);
          }
          const expected = model.get(va) ?? 0;
          expect(proc.load32(va)).toBe(expected);
          const plain = slowly(proc, va);
          if (plain !== expected) expect(plain).toBe(-1);
        }
      }
    }
    expect(machine.verify({ full: true })).toEqual([]);
  });

  it('tell a watch that comes later, too', () => {
    const machine = new Machine({ ramBytes: 64 * MiB });
    const proc = machine.createProcess();
    const buffer = proc.mmap({ pages: BLOCK_PAGES });
    for (let i = 0; i < BLOCK_PAGES; i++) proc.store32(buffer + i * PAGE_SIZE, i);
    proc.load32(buffer);
    const heard: string[] = [];
    machine.kernel.watch = {
      loaded: (_pid: number, va: number, value: number) =>
        heard.push(`load ${va - buffer} ${value}`),
      stored: (_pid: number, va: number, value: number) =>
        heard.push(`store ${va - buffer} ${value}`),
    } as never;
    proc.load32(buffer + PAGE_SIZE);
    proc.store32(buffer + PAGE_SIZE, 7);
    machine.kernel.watch = null;
    proc.load32(buffer + PAGE_SIZE);
    expect(heard).toEqual(['load 4096 1', 'store 4096 7']);
  });

  it.each([2, 3, 1.5, -4, Number.NaN])('refuse a word at +%d', (offset) => {
    const machine = new Machine({ ramBytes: 64 * MiB });
    const proc = machine.createProcess();
    const buffer = proc.mmap({ pages: BLOCK_PAGES });
    for (let i = 0; i < BLOCK_PAGES; i++) proc.store32(buffer + i * PAGE_SIZE, i);
    expect(() => proc.load32(buffer + offset)).toThrow();
    expect(() => proc.store32(buffer + offset, 1)).toThrow();
  });
});

describe('an untouched terabyte', () => {
  it('comes, forks and goes at once', () => {
    const machine = new Machine({ ramBytes: 64 * MiB });
    const proc = machine.createProcess();
    const pages = 2 ** 28;
    const buffer = proc.mmap({ pages });
    proc.store32(buffer + 2 ** 39, 5);
    const child = proc.fork();
    expect(child.load32(buffer + 2 ** 39)).toBe(5);
    expect(proc.mprotect(buffer, pages * PAGE_SIZE, 'r')).toBe(0);
    expect(proc.munmap(buffer, pages * PAGE_SIZE)).toBe(0);
    expect(proc.mm.pageTable.leafCount).toBe(0);
    child.exit();
    expect(machine.kernel.pages.ramUsed).toBe(0);
  });
});
