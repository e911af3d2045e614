/**
 * Page-table entries: a page and a byte of bits.
 *
 * The kind of an entry stands in the low three bits. What the kernel encodes as swap types
 * (migration entries in three forms, device-private, device-exclusive) are kinds here.
 */
import type { Page } from '../units.ts';

export const PTE_KIND = 0x07;
export const PTE_NONE = 0;
/** Maps RAM, the zero page (row 0) or coherent device memory. */
export const PTE_PRESENT = 1;
/** A page under migration; who faults waits for its lock. Holds no reference. */
export const PTE_MIGRATION = 2;
/** Memory of a device that the CPU cannot address. */
export const PTE_DEVICE_PRIVATE = 3;
/** RAM that a device has to itself; a CPU access takes it back. */
export const PTE_DEVICE_EXCLUSIVE = 4;

/** The entry, or what it will be again after the migration, may be written. */
export const PTE_WRITE = 0x08;
export const PTE_DIRTY = 0x10;
/** Present, but the mapping allows no access: _PAGE_PROTNONE. */
export const PTE_PROTNONE = 0x20;
/** Of a read-only migration entry: the page was exclusive (SWP_MIGRATION_READ_EXCLUSIVE). */
export const PTE_EXCLUSIVE = 0x40;

/** The migration entry that keeps the rights of an entry; `exclusive` tells of its page. */
export function migrationEntry(bits: number, exclusive: boolean): number {
  const write = bits & PTE_WRITE;
  const dirty = (bits & PTE_KIND) === PTE_PRESENT ? bits & PTE_DIRTY : 0;
  return PTE_MIGRATION | write | dirty | (exclusive && write === 0 ? PTE_EXCLUSIVE : 0);
}

/** Entries of one table: 2 MiB of addresses with 4 KiB pages. */
export const PTRS_PER_PTE = 512;

/** The last level of a page table. Allocated as a whole; its presence is what pmd_none asks for. */
export class Leaf {
  readonly page: Uint32Array<ArrayBuffer> = new Uint32Array(PTRS_PER_PTE);
  readonly bits: Uint8Array<ArrayBuffer> = new Uint8Array(PTRS_PER_PTE);

  kind(index: number): number {
    return this.bits[index]! & PTE_KIND;
  }

  set(index: number, page: Page, bits: number): void {
    this.page[index] = page;
    this.bits[index] = bits;
  }

  clear(index: number): void {
    this.page[index] = 0;
    this.bits[index] = 0;
  }

  /** The entry maps `page` for the CPU or as device-private memory, so it counts in its mapcount. */
  maps(index: number, page: Page): boolean {
    const kind = this.bits[index]! & PTE_KIND;
    return (kind === PTE_PRESENT || kind === PTE_DEVICE_PRIVATE) && this.page[index] === page;
  }

  isEmpty(): boolean {
    return this.bits.every((bits) => bits === 0);
  }
}
