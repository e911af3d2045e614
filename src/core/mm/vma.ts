/** Virtual memory areas of an address space: struct vm_area_struct. */
import type { Va } from '../units.ts';
import type { AnonVma } from './anon-vma.ts';
import type { MemoryFile } from './memory-file.ts';
import type { Mm } from './mm.ts';

// include/linux/mm.h
export const VM_READ = 0x1;
export const VM_WRITE = 0x2;
export const VM_EXEC = 0x4;
export const VM_SHARED = 0x8;
export const VM_PFNMAP = 0x400;
export const VM_IO = 0x4000;
export const VM_DONTEXPAND = 0x4_0000;
/** Its pages count against the commit limit; a mapping keeps it when it loses write permission. */
export const VM_ACCOUNT = 0x10_0000;
export const VM_MIXEDMAP = 0x1000_0000;
/** KSM may merge its pages with equal ones: MADV_MERGEABLE. Bit 31, so negative in JavaScript. */
export const VM_MERGEABLE: number = 1 << 31;
export const VM_SPECIAL: number = VM_IO | VM_DONTEXPAND | VM_PFNMAP | VM_MIXEDMAP;
export const VM_ACCESS_FLAGS: number = VM_READ | VM_WRITE | VM_EXEC;

/** [start, end) of one address space, mapped in one way. */
export class Vma {
  readonly mm: Mm;
  /** First byte, a multiple of the page size. */
  start: Va;
  /** First byte after it. */
  end: Va;
  /** VM_* bits. */
  flags: number;
  /** Offset of `start` in the file, or, for anonymous memory, in its anon_vma; in pages. */
  pgoff: number;
  /** The file mapped; null for private anonymous memory (vma_is_anonymous). */
  readonly file: MemoryFile | null;
  /** Where its own anonymous pages belong. */
  anonVma: AnonVma | null;
  /** Every anon_vma whose pages it may map: the anon_vma_chain. */
  readonly chain: AnonVma[];

  constructor(mm: Mm, start: Va, end: Va, flags: number, pgoff: number, file: MemoryFile | null) {
    this.mm = mm;
    this.start = start;
    this.end = end;
    this.flags = flags;
    this.pgoff = pgoff;
    this.file = file;
    this.anonVma = null;
    this.chain = [];
  }

  get pages(): number {
    return (this.end - this.start) / this.mm.pageSize;
  }

  /** Private and may become writable, so pages are copied on write: is_cow_mapping. */
  get isCow(): boolean {
    return (this.flags & VM_SHARED) === 0;
  }

  /** Bits of a fresh present entry: vm_page_prot. Shared memory files are writable at once. */
  get pageProt(): number {
    return this.mm.protBits(this.flags);
  }

  /** Offset in the file or anon_vma of an address in this VMA: linear_page_index. */
  pgoffOf(va: Va): number {
    return this.pgoff + (va - this.start) / this.mm.pageSize;
  }
}

/** The VMAs of one address space, by address. */
export class VmaList implements Iterable<Vma> {
  readonly #vmas: Vma[] = [];
  #last: Vma | null = null;

  get length(): number {
    return this.#vmas.length;
  }

  [Symbol.iterator](): Iterator<Vma> {
    return this.#vmas[Symbol.iterator]();
  }

  /** The VMA that holds `va`, or null: vma_lookup. */
  find(va: Va): Vma | null {
    const last = this.#last;
    if (last !== null && va >= last.start && va < last.end) return last;
    const vma = this.firstEndingAfter(va);
    if (vma === null || vma.start > va) return null;
    this.#last = vma;
    return vma;
  }

  /** The first VMA that ends after `va`: find_vma. */
  firstEndingAfter(va: Va): Vma | null {
    return this.#vmas[this.#indexEndingAfter(va)] ?? null;
  }

  /** The VMA before `vma`, or before the place where it would stand. */
  previous(vma: { readonly start: Va }): Vma | null {
    return this.#vmas[this.#indexEndingAfter(vma.start) - 1] ?? null;
  }

  next(vma: Vma): Vma | null {
    return this.firstEndingAfter(vma.end);
  }

  /** VMAs that overlap [start, end). A copy: they may change while you look at them. */
  overlapping(start: Va, end: Va): Vma[] {
    const found: Vma[] = [];
    for (let i = this.#indexEndingAfter(start); i < this.#vmas.length; i++) {
      if (this.#vmas[i]!.start >= end) break;
      found.push(this.#vmas[i]!);
    }
    return found;
  }

  insert(vma: Vma): void {
    this.#vmas.splice(this.#indexEndingAfter(vma.start), 0, vma);
  }

  remove(vma: Vma): void {
    this.#last = null;
    this.#vmas.splice(this.#vmas.indexOf(vma), 1);
  }

  /** Called when a VMA's bounds changed. */
  forgetLast(): void {
    this.#last = null;
  }

  #indexEndingAfter(va: Va): number {
    let low = 0;
    let high = this.#vmas.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#vmas[middle]!.end <= va) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
