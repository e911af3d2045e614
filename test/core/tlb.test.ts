// Page tables against a map; loads and stores that hit a TLB against the table and a model of contents.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { leafIndex, PageTable } from '../../src/core/mm/page-table.ts';
import { PTE_KIND, PTE_PRESENT, PTE_PROTNONE } from '../../src/core/mm/pte.ts';
import { Dmirror, Machine, MiB, PAGE_SIZE, type Process } from '../../src/index.ts';

const REGION_PAGES = 2 ** 18;

describe('a page table', () => {
  const near = fc.nat(2 ** 14);
  const far = fc.constantFrom(0, REGION_PAGES - 700, REGION_PAGES * 3, 2 ** 35 - 2 ** 15);
  const vpn = fc.tuple(far, near).map(([base, offset]) => base + offset);
  const step = fc.oneof(
    fc.record({ vpn, page: fc.integer({ min: 1, max: 2 ** 26 - 1 }) }),
    fc.record({ remove: vpn }),
    fc.tuple(vpn, vpn),
  );

  it('holds what a map holds', () => {
    const property = fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const table = new PageTable();
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
    fc.assert(property, { numRuns: 120 });
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

/** A generator of small numbers that is the same every time. */
function numbers(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % limit;
  };
}

/** Loads so often that its TLB begins to remember. */
function warm(proc: Process, va: number): void {
  for (let i = 0; i < 1100; i++) proc.load32(va);
}

describe('loads and stores', () => {
  const PAGES = 8192;

  it('find what the page table says, whatever happens in between', () => {
    const machine = new Machine({ ramBytes: 256 * MiB });
    const device = machine.attach(new Dmirror({ chunkBytes: 64 * MiB }));
    const proc = machine.createProcess();
    const file = device.open(proc);
    const buffer = proc.mmap({ pages: PAGES });
    // Far away, in another window.
    const other = proc.mmap({ pages: 600, addr: buffer + 5 * 2 ** 30 });
    const model = new Map<number, number>();
    const children: Process[] = [];
    const below = numbers(99);
    const address = (): number => {
      const page = below(PAGES + 600);
      const base = page < PAGES ? buffer + page * PAGE_SIZE : other + (page - PAGES) * PAGE_SIZE;
      return base + below(3) * 4;
    };
    for (let i = 0; i < 40_000; i++) {
      const va = address();
      const start = va - (va % PAGE_SIZE);
      switch (below(24)) {
        case 0:
          file.migrateToDev(Math.min(start, buffer + (PAGES - 9) * PAGE_SIZE), 1 + below(8));
          break;
        case 1:
          if (children.length < 3) children.push(proc.fork());
          else children.pop()!.exit();
          break;
        case 2: {
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

  // Few pages, so that what happens, happens to a page that a TLB remembers.
  it.each([1, 2, 3, 4])('never hit what is no longer so, seed %i', (seed) => {
    const machine = new Machine({ ramBytes: 16 * MiB });
    const device = machine.attach(new Dmirror({ chunkBytes: 4 * MiB }));
    const parent = machine.createProcess();
    const shared = parent.createFile(4);
    const pages = 8;
    const below = numbers(seed);
    const buffer = parent.mmap({ pages });
    const spare = parent.mmap({ pages });
    const mapped = parent.mmap({ pages: 4, file: shared, shared: true });
    const copied = parent.mmap({ pages: 4, file: shared });
    const processes = [parent];
    const files = [device.open(parent)];
    const tries: (() => unknown)[] = [];
    for (let i = 0; i < 3000; i++) {
      const which = below(processes.length);
      const proc = processes[which]!;
      const file = files[which]!;
      const areas = [buffer, mapped, copied, buffer, spare];
      const area = areas[below(areas.length)]!;
      const va = area + below(area === buffer || area === spare ? pages : 4) * PAGE_SIZE;
      const value = 1 + below(1000);
      const done = below(16);
      if (done < 5) tries.push(() => proc.tryLoad32(va));
      else if (done < 9) tries.push(() => proc.tryStore32(va, value));
      else if (done === 9)
        proc.mprotect(va, PAGE_SIZE, (['rw', 'r', 'n', 'rw'] as const)[below(4)]!);
      else if (done === 10) proc.dontneed(va, PAGE_SIZE);
      else if (done === 11) file.migrateToDev(va, 1);
      else if (done === 12) file.write(va, [value]);
      else if (done === 13) file.exclusive(va, 1);
      else if (done === 14) proc.mremap(va, PAGE_SIZE, spare + below(pages) * PAGE_SIZE);
      else if (processes.length < 3) {
        const child = proc.fork();
        processes.push(child);
        files.push(device.open(child));
      } else if (which > 0) {
        proc.exit();
        processes.splice(which, 1);
        files.splice(which, 1);
      }
      for (const one of tries.splice(0)) one();
      // Everything that can be remembered is, so that the next step has something to spoil.
      for (const one of processes) {
        for (const area of areas) {
          for (let page = 0; page < 4; page++) one.tryLoad32(area + page * PAGE_SIZE);
        }
      }
      if (i % 3 === 0)
        expect(machine.verify().filter(({ code }) => code === 'stale-tlb')).toEqual([]);
    }
    expect(machine.verify({ full: true })).toEqual([]);
  });

  it('see other contents that a mapped page gets, and share none', () => {
    const machine = new Machine({ ramBytes: 16 * MiB });
    const proc = machine.createProcess();
    const { pages } = machine.kernel;
    const buffer = proc.mmap({ pages: 2 });
    for (let i = 0; i < 2; i++) proc.store32(buffer + i * PAGE_SIZE, i + 1);
    const [first, second] = [0, 1].map((i) => {
      const vpn = proc.mm.vpn(buffer + i * PAGE_SIZE);
      return proc.mm.pageTable.leaf(vpn)!.page[leafIndex(vpn)]!;
    });
    warm(proc, buffer);
    const both = (): number[] => [proc.load32(buffer), proc.load32(buffer + PAGE_SIZE)];
    expect(both()).toEqual([1, 2]);
    pages.copyContents(first!, second!);
    expect(both()).toEqual([2, 2]);
    proc.store32(buffer, 5);
    expect(both()).toEqual([5, 2]);
    // To a page that nobody maps: the source is shared from now on.
    const copy = pages.allocate();
    pages.copyContents(copy, first!);
    proc.store32(buffer, 6);
    expect(pages.read32(copy, 0)).toBe(5);
    pages.put(copy);
    expect(both()).toEqual([6, 2]);
    pages.clearContents(first!);
    expect(both()).toEqual([0, 2]);
    expect(machine.verify()).toEqual([]);
  });

  it('keep on hitting when all epochs have been used', () => {
    const machine = new Machine({ ramBytes: 16 * MiB });
    const proc = machine.createProcess();
    const buffer = proc.mmap({ pages: 2 });
    warm(proc, buffer);
    for (let i = 0; i < 20_000; i++) {
      proc.store32(buffer, i);
      proc.store32(buffer + PAGE_SIZE, i);
      expect(proc.load32(buffer)).toBe(i);
      proc.dontneed(buffer, PAGE_SIZE);
      expect(proc.load32(buffer)).toBe(0);
      expect(proc.load32(buffer + PAGE_SIZE)).toBe(i);
    }
  });

  it('remember what is used, at any distance', () => {
    const machine = new Machine({ ramBytes: 16 * MiB });
    const proc = machine.createProcess();
    const high = proc.mmap({ pages: 4, addr: 0x7f00_0000_0000 - 4 * PAGE_SIZE });
    const low = proc.mmap({ pages: 4, addr: 0x1000_0000 });
    const remembered = (va: number): boolean => {
      let found = false;
      proc.mm.tlb.forEach((vpn) => {
        if (vpn === va / PAGE_SIZE) found = true;
      });
      return found;
    };
    warm(proc, high);
    for (const va of [high, low, high + PAGE_SIZE, low + 3 * PAGE_SIZE]) {
      for (let i = 0; i < 20; i++) proc.store32(va, i);
      expect(remembered(va)).toBe(true);
      expect(proc.load32(va)).toBe(19);
    }
    // Downwards from page to page, too.
    const stack = proc.mmap({ pages: 2000, addr: 0x2000_0000 });
    for (let i = 1999; i >= 0; i--) proc.store32(stack + i * PAGE_SIZE, i);
    for (let i = 1999; i >= 0; i--) expect(proc.load32(stack + i * PAGE_SIZE)).toBe(i);
    expect(remembered(stack + 1900 * PAGE_SIZE)).toBe(true);
    expect(remembered(stack)).toBe(true);
  });

  it('tell a watch that comes later, too', () => {
    const machine = new Machine({ ramBytes: 64 * MiB });
    const proc = machine.createProcess();
    const buffer = proc.mmap({ pages: 2 });
    for (let i = 0; i < 2; i++) proc.store32(buffer + i * PAGE_SIZE, i);
    warm(proc, buffer + PAGE_SIZE);
    const heard: string[] = [];
    machine.kernel.watch = {
      loaded: (_pid: number, va: number, value: number) =>
        heard.push(`load ${va - buffer} ${value}`),
      stored: (_pid: number, va: number, value: number) =>
        heard.push(`store ${va - buffer} ${value}`),
    } as never;
    proc.load32(buffer + PAGE_SIZE);
    proc.store32(buffer + PAGE_SIZE, 7);
    proc.load32(buffer + PAGE_SIZE);
    machine.kernel.watch = null;
    proc.load32(buffer + PAGE_SIZE);
    expect(heard).toEqual(['load 4096 1', 'store 4096 7', 'load 4096 7']);
  });

  it('share no words of pages that are not 4 KiB', () => {
    const machine = new Machine({ ramBytes: 64 * MiB, pageSize: 65_536 });
    const proc = machine.createProcess();
    const buffer = proc.mmap({ pages: 3 });
    for (let i = 0; i < 12; i++) proc.store32(buffer + i * 16_384, i);
    warm(proc, buffer);
    for (let i = 0; i < 12; i++) expect(proc.load32(buffer + i * 16_384)).toBe(i);
  });

  it.each([2, 3, 1.5, -4, Number.NaN, 2 ** 34, -(2 ** 34)])('refuse a word at +%d', (offset) => {
    const machine = new Machine({ ramBytes: 64 * MiB });
    const proc = machine.createProcess();
    const buffer = proc.mmap({ pages: 4 });
    for (let i = 0; i < 4; i++) proc.store32(buffer + i * PAGE_SIZE, i);
    warm(proc, buffer);
    expect(() => proc.load32(buffer + offset)).toThrow();
    expect(proc.load32(buffer)).toBe(0);
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
