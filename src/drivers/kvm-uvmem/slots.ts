/** Memory slots of a VM, and what the driver knows of each guest page in them. */

import type { StateHash } from '../../core/state-hash.ts';
import { NO_PAGE, type Page, type Va } from '../../core/units.ts';

// kvm->arch.secure_guest.
/** H_SVM_INIT_START was called: KVMPPC_SECURE_INIT_START. */
export const SECURE_INIT_START = 1;
/** H_SVM_INIT_DONE succeeded: KVMPPC_SECURE_INIT_DONE. */
export const SECURE_INIT_DONE = 2;

/** struct kvm_memory_slot: where a range of guest memory lies in the process that runs the VM. */
export interface MemorySlot {
  readonly id: number;
  /** First guest page. */
  readonly baseGfn: number;
  readonly npages: number;
  /** Where the first page is in the process. */
  readonly address: Va;
  /** Being taken away: KVM_MEMSLOT_INVALID. */
  invalid: boolean;
}

/** KVM_USER_MEM_SLOTS: numbers of slots are below. */
export const KVM_USER_MEM_SLOTS = 32_767;

const GOLDEN_RATIO_32 = 0x61c8_8647;

/** The bucket of `kvm_memslots.id_hash`, of 2^7, that has a slot. */
function bucketOf(id: number): number {
  return Math.imul(id, GOLDEN_RATIO_32) >>> 25;
}

/** struct kvm_memslots. */
export class MemorySlots implements Iterable<MemorySlot> {
  /** In the order in which kvm_for_each_memslot meets them. */
  #slots: readonly MemorySlot[] = [];

  /** By the bucket of their number; in one bucket, the newest first. A snapshot. */
  [Symbol.iterator](): Iterator<MemorySlot> {
    return this.#slots[Symbol.iterator]();
  }

  byId(id: number): MemorySlot | null {
    return this.#slots.find((slot) => slot.id === id) ?? null;
  }

  /** gfn_to_memslot. */
  byGfn(gfn: number): MemorySlot | null {
    const has = (slot: MemorySlot): boolean =>
      gfn >= slot.baseGfn && gfn < slot.baseGfn + slot.npages;
    return this.#slots.find(has) ?? null;
  }

  /** kvm_check_memslot_overlap. */
  overlaps(id: number, start: number, end: number): boolean {
    return this.#slots.some(
      (slot) => slot.id !== id && slot.baseGfn < end && start < slot.baseGfn + slot.npages,
    );
  }

  add(slot: MemorySlot): void {
    // Stable, so among equals the newest stays first.
    this.#slots = [slot, ...this.#slots].sort((a, b) => bucketOf(a.id) - bucketOf(b.id));
  }

  remove(slot: MemorySlot): void {
    this.#slots = this.#slots.filter((other) => other !== slot);
  }
}

// A word of a slot's table: the kernel's bits 63, 62 and 61 are the three highest of 32 here. Below
// them is the device page, which always fits: a machine has at most 2^26 pages.
/** Secure, in the ultravisor; the low bits are the device page: KVMPPC_GFN_UVMEM_PFN. */
export const GFN_UVMEM_PFN: number = 2 ** 31;
/** Secure, paged out: its contents lie sealed in RAM: KVMPPC_GFN_MEM_PFN. */
export const GFN_MEM_PFN: number = 2 ** 30;
/** Shared with the hypervisor: KVMPPC_GFN_SHARED. */
export const GFN_SHARED: number = 2 ** 29;
/** No flag: a normal page, or none. */
export const GFN_NORMAL = 0;

const GFN_PFN_MASK: number = 2 ** 29 - 1;

/** struct kvmppc_uvmem_slot. */
interface UvmemSlot {
  readonly basePfn: number;
  readonly pfns: Uint32Array;
}

/** The tables of one VM: `kvm->arch.uvmem_pfns`. Where two overlap, the newest is looked at. */
export class UvmemSlots {
  readonly #list: UvmemSlot[] = [];

  get length(): number {
    return this.#list.length;
  }

  /** kvmppc_uvmem_slot_init. */
  init(slot: MemorySlot): void {
    this.#list.unshift({ basePfn: slot.baseGfn, pfns: new Uint32Array(slot.npages) });
  }

  /** kvmppc_uvmem_slot_free: the newest table with that base goes. */
  free(slot: MemorySlot): void {
    const at = this.#list.findIndex(({ basePfn }) => basePfn === slot.baseGfn);
    if (at >= 0) this.#list.splice(at, 1);
  }

  /** kvmppc_mark_gfn: nothing happens where no table has the page. */
  mark(gfn: number, flag: number, page: Page = NO_PAGE): void {
    const table = this.#tableOf(gfn);
    if (table !== undefined) table.pfns[gfn - table.basePfn] = flag + page;
  }

  /** The word of a guest page, GFN_NORMAL where no table has it. */
  word(gfn: number): number {
    const table = this.#tableOf(gfn);
    return table === undefined ? GFN_NORMAL : table.pfns[gfn - table.basePfn]!;
  }

  /** kvmppc_gfn_is_uvmem_pfn: the device page, or NO_PAGE. */
  uvmemPage(gfn: number): Page {
    const word = this.word(gfn);
    return word >= GFN_UVMEM_PFN ? word & GFN_PFN_MASK : NO_PAGE;
  }

  isUvmem(gfn: number): boolean {
    return this.word(gfn) >= GFN_UVMEM_PFN;
  }

  /** kvmppc_next_nontransitioned_gfn: the first page from `gfn` on without a flag, or -1. */
  nextNontransitioned(gfn: number): number {
    const table = this.#tableOf(gfn);
    const at = table === undefined ? -1 : table.pfns.indexOf(GFN_NORMAL, gfn - table.basePfn);
    return at < 0 ? -1 : table!.basePfn + at;
  }

  fingerprint(hash: StateHash): void {
    for (const { basePfn, pfns } of this.#list) {
      hash.add(basePfn);
      for (const word of pfns) hash.add(word);
    }
  }

  #tableOf(gfn: number): UvmemSlot | undefined {
    return this.#list.find(({ basePfn, pfns }) => gfn >= basePfn && gfn < basePfn + pfns.length);
  }
}

/** The letter of a word, for people: normal, secure, paged out (encrypted), shared (host). */
export function gfnLetter(word: number): '.' | 'S' | 'E' | 'H' {
  if (word >= GFN_UVMEM_PFN) return 'S';
  if (word >= GFN_MEM_PFN) return 'E';
  return word >= GFN_SHARED ? 'H' : '.';
}
