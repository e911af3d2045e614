// Random mmap, munmap, mprotect, madvise and mremap calls against a model that knows pages only.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EFAULT, EINVAL, ENOMEM } from '../../src/core/errno.ts';
import { Machine } from '../../src/core/machine.ts';
import type { MemoryFile } from '../../src/core/mm/memory-file.ts';
import { pageVa, rmapVmas } from '../../src/core/mm/rmap.ts';
import { VM_ACCESS_FLAGS, VM_READ, VM_SHARED, VM_WRITE } from '../../src/core/mm/vma.ts';
import { ACCESS_SIGSEGV, type Process, type Prot } from '../../src/core/process.ts';
import { NO_PAGE, PAGE_SIZE } from '../../src/core/units.ts';

/** The window lies across the boundary between two leaves of the page table. */
const WINDOW = 24;
const BASE = 0x1_0020_0000 - 8 * PAGE_SIZE;
const FILE_PAGES = WINDOW;

type Kind = 'anon' | 'shared' | 'file' | 'fileshared';
type Op =
  | { readonly op: 'mmap'; at: number; pages: number; prot: Prot; kind: Kind }
  | { readonly op: 'munmap' | 'dontneed'; at: number; pages: number }
  | { readonly op: 'mprotect'; at: number; pages: number; prot: Prot }
  | { readonly op: 'mremap'; at: number; pages: number; to: number }
  | { readonly op: 'store'; at: number; value: number }
  | { readonly op: 'load'; at: number };

/** What one page is: its rights, what it shows when untouched or shared, and its own value. */
interface PageModel {
  prot: Prot;
  readonly shared: boolean;
  /** Contents behind it, by index; null for private anonymous memory, which begins as zeros. */
  readonly store: number[] | null;
  readonly index: number;
  own: number | null;
}

const pageCount = fc.integer({ min: 1, max: 9 });
const position = fc.integer({ min: 0, max: WINDOW - 9 });
const prot = fc.constantFrom<Prot>('rw', 'r', 'n');
const range = { at: position, pages: pageCount };
const operation: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant('mmap' as const),
      ...range,
      prot,
      kind: fc.constantFrom<Kind>('anon', 'anon', 'anon', 'shared', 'file', 'fileshared'),
    }),
  },
  fc.record({ op: fc.constantFrom('munmap' as const, 'dontneed' as const), ...range }),
  { weight: 3, arbitrary: fc.record({ op: fc.constant('mprotect' as const), ...range, prot }) },
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constant('mremap' as const), ...range, to: position }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant('store' as const),
      at: fc.integer({ min: 0, max: WINDOW - 1 }),
      value: fc.integer({ min: 1, max: 999 }),
    }),
  },
  fc.record({ op: fc.constant('load' as const), at: fc.integer({ min: 0, max: WINDOW - 1 }) }),
);

class Model {
  readonly pages: (PageModel | null)[] = new Array<PageModel | null>(WINDOW).fill(null);
  readonly file: number[] = Array.from({ length: FILE_PAGES }, (_, i) => 7000 + i);

  mmap(at: number, count: number, rights: Prot, kind: Kind): void {
    const fresh = new Array<number>(count).fill(0);
    const store = { anon: null, shared: fresh, file: this.file, fileshared: this.file }[kind];
    const shared = kind === 'shared' || kind === 'fileshared';
    for (let i = 0; i < count; i++) {
      this.pages[at + i] = { prot: rights, shared, store, index: i, own: null };
    }
  }

  mprotect(at: number, count: number, rights: Prot): number {
    for (let i = at; i < at + count; i++) {
      const page = this.pages[i];
      if (page == null) return -ENOMEM;
      page.prot = rights;
    }
    return 0;
  }

  dontneed(at: number, count: number): number {
    const part = this.pages.slice(at, at + count);
    for (const page of part) if (page !== null) page.own = null;
    return part.includes(null) ? -ENOMEM : 0;
  }

  move(at: number, count: number, to: number): void {
    const moved = this.pages.slice(at, at + count);
    this.pages.fill(null, at, at + count);
    for (let i = 0; i < count; i++) this.pages[to + i] = moved[i]!;
  }

  store(at: number, value: number): number {
    const page = this.pages[at];
    if (page == null || page.prot !== 'rw') return ACCESS_SIGSEGV;
    if (page.shared) page.store![page.index] = value;
    else page.own = value;
    return 0;
  }

  load(at: number): number {
    const page = this.pages[at];
    if (page == null || page.prot === 'n') return ACCESS_SIGSEGV;
    return page.own ?? page.store?.[page.index] ?? 0;
  }
}

/** Does one operation on the process and on the model; the answers must agree. */
function step(proc: Process, file: MemoryFile, model: Model, op: Op): void {
  const va = BASE + op.at * PAGE_SIZE;
  switch (op.op) {
    case 'mmap': {
      const shared = op.kind === 'shared' || op.kind === 'fileshared';
      const options = { addr: va, pages: op.pages, prot: op.prot, shared };
      const withFile = op.kind === 'file' || op.kind === 'fileshared';
      expect(proc.mmap(withFile ? { ...options, file } : options)).toBe(va);
      model.mmap(op.at, op.pages, op.prot, op.kind);
      return;
    }
    case 'munmap':
      expect(proc.munmap(va, op.pages * PAGE_SIZE)).toBe(0);
      model.pages.fill(null, op.at, op.at + op.pages);
      return;
    case 'dontneed':
      expect(proc.dontneed(va, op.pages * PAGE_SIZE)).toBe(model.dontneed(op.at, op.pages));
      return;
    case 'mprotect': {
      const expected = model.mprotect(op.at, op.pages, op.prot);
      expect(proc.mprotect(va, op.pages * PAGE_SIZE, op.prot)).toBe(expected);
      return;
    }
    case 'mremap':
      stepMremap(proc, model, op.at, op.pages, op.to);
      return;
    case 'store':
      expect(proc.tryStore32(va, op.value)).toBe(model.store(op.at, op.value));
      return;
    case 'load':
      expect(proc.tryLoad32(va)).toBe(model.load(op.at));
  }
}

function stepMremap(proc: Process, model: Model, at: number, pages: number, to: number): void {
  const va = BASE + at * PAGE_SIZE;
  const target = BASE + to * PAGE_SIZE;
  const bytes = pages * PAGE_SIZE;
  const vma = proc.mm.vmas.find(va);
  const overlaps = at + pages > to && to + pages > at;
  // Where one VMA ends the model does not know; the entries of the old range stay until then.
  const fits = vma !== null && vma.end - va >= bytes;
  let expected = target;
  if (vma === null) expected = -EFAULT;
  else if (overlaps) expected = -EINVAL;
  else if (!fits) expected = -EFAULT;
  expect(proc.mremap(va, bytes, target)).toBe(expected);
  if (vma === null || overlaps) return;
  model.pages.fill(null, to, to + pages);
  if (fits) model.move(at, pages, to);
}

/** VMAs cover exactly the model's pages with their rights, in order, merged where they must be. */
function checkVmas(proc: Process, model: Model): void {
  const seen = new Array<string | null>(WINDOW).fill(null);
  let previous = null;
  for (const vma of proc.mm.vmas) {
    expect(vma.start).toBeLessThan(vma.end);
    for (let va = vma.start; va < vma.end; va += PAGE_SIZE) {
      const sharing = (vma.flags & VM_SHARED) !== 0 ? 'shared' : 'private';
      seen[(va - BASE) / PAGE_SIZE] = `${vma.flags & VM_ACCESS_FLAGS} ${sharing}`;
    }
    if (previous !== null) {
      expect(previous.end).toBeLessThanOrEqual(vma.start);
      const mergeable =
        previous.end === vma.start &&
        previous.flags === vma.flags &&
        previous.file === vma.file &&
        previous.pgoff + previous.pages === vma.pgoff &&
        previous.anonVma === null &&
        vma.anonVma === null;
      expect(mergeable).toBe(false);
    }
    for (const anonVma of vma.chain) {
      expect(anonVma.vmas.filter((other) => other === vma)).toHaveLength(1);
    }
    if (vma.file !== null) {
      const offsets = vma.file.vmas.map((other) => other.pgoff);
      expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
      expect(vma.file.vmas.filter((other) => other === vma)).toHaveLength(1);
    }
    previous = vma;
  }
  const bits = { rw: VM_READ | VM_WRITE, r: VM_READ, n: 0 };
  const expected = model.pages.map((page) =>
    page === null ? null : `${bits[page.prot]} ${page.shared ? 'shared' : 'private'}`,
  );
  expect(seen).toEqual(expected);
}

/** Every page that is mapped finds its VMA again through its reverse map. */
function checkReverseMap(machine: Machine, proc: Process): void {
  for (const vma of proc.mm.vmas) {
    for (let va = vma.start; va < vma.end; va += PAGE_SIZE) {
      const page = machine.pageAt(proc, va);
      if (page === null || page === NO_PAGE) continue;
      expect(rmapVmas(machine.kernel, page)).toContain(vma);
      expect(pageVa(vma, page)).toBe(va);
    }
  }
}

describe('address spaces', () => {
  it('agree with a model of pages', () => {
    fc.assert(
      fc.property(fc.array(operation, { minLength: 1, maxLength: 40 }), (ops) => {
        const machine = new Machine();
        const proc = machine.createProcess();
        const file = proc.createFile(FILE_PAGES, (index) => 7000 + index);
        const model = new Model();
        for (const op of ops) {
          step(proc, file, model, op);
          checkVmas(proc, model);
        }
        for (let at = 0; at < WINDOW; at++) {
          expect(proc.tryLoad32(BASE + at * PAGE_SIZE)).toBe(model.load(at));
        }
        checkReverseMap(machine, proc);
        expect(machine.verify()).toEqual([]);
        proc.munmap(BASE, WINDOW * PAGE_SIZE);
        expect(proc.mm.vmas.length).toBe(0);
        expect(proc.mm.pageTable.leafCount).toBe(0);
        expect([proc.mm.rssAnon, proc.mm.rssFile]).toEqual([0, 0]);
        file.drop();
        expect(machine.kernel.pages.ramUsed).toBe(0);
      }),
      { numRuns: 500 },
    );
  });
});
