/**
 * The partition-scoped page table of a guest that is not secure: which page of the process each
 * guest page is.
 *
 * Reference: arch/powerpc/kvm/book3s_64_mmu_radix.c of Linux 6.1. It holds no references: the
 * notifier of the address space takes entries away before their pages go.
 */

import { EFAULT } from '../../core/errno.ts';
import { toldDeviceFault } from '../../core/events/call.ts';
import { mmuIntervalReadBegin, mmuIntervalReadRetry } from '../../core/hmm/notifier.ts';
import { FOLL_GET, FOLL_WRITE, getUserPagesFast, putUserPage } from '../../core/mm/gup.ts';
import type { Mm } from '../../core/mm/mm.ts';
import { leafIndex } from '../../core/mm/page-table.ts';
import { PTE_KIND, PTE_PRESENT, PTE_PROTNONE, PTE_WRITE } from '../../core/mm/pte.ts';
import type { Task } from '../../core/sched/task.ts';
import type { StateHash } from '../../core/state-hash.ts';
import type { Page, Va } from '../../core/units.ts';
import type { KvmVm } from './vm.ts';

interface GuestEntry {
  readonly page: Page;
  readonly writable: boolean;
}

export class GuestPages {
  readonly #vm: KvmVm;
  readonly #entries: Map<number, GuestEntry> = new Map();

  constructor(vm: KvmVm) {
    this.#vm = vm;
  }

  /** "rw" or "r", or null where the guest page is not mapped. */
  mapping(gfn: number): 'rw' | 'r' | null {
    const entry = this.#entries.get(gfn);
    if (entry === undefined) return null;
    return entry.writable ? 'rw' : 'r';
  }

  /** Removes the entries of guest pages in [from, to). */
  remove(from: number, to: number): void {
    if (to - from <= this.#entries.size) {
      for (let gfn = from; gfn < to; gfn++) this.#entries.delete(gfn);
      return;
    }
    for (const gfn of this.#entries.keys()) {
      if (gfn >= from && gfn < to) this.#entries.delete(gfn);
    }
  }

  fingerprint(hash: StateHash): void {
    for (const [gfn, { page, writable }] of this.#entries) {
      hash.add(gfn);
      hash.add(writable ? page : -page);
    }
  }

  clear(): void {
    this.#entries.clear();
  }

  /** A load (`store` null) or store of a word: the value or 0; null where it takes a fault first. */
  access(gpa: number, store: number | null): number | null {
    const { mm } = this.#vm;
    const gfn = this.#vm.gfnOf(gpa);
    const entry = this.#entries.get(gfn);
    if (entry === undefined || (store !== null && !entry.writable)) return null;
    const offset = gpa - gfn * mm.pageSize;
    const { watch } = mm.kernel;
    const value = store ?? mm.pages.read32(entry.page, offset / 4);
    if (store !== null) mm.pages.write32(entry.page, offset / 4, store);
    if (watch !== null) {
      const va = this.#vm.gfnToHva(gfn)! + offset;
      if (store === null) watch.loaded(mm.pid, va, value);
      else watch.stored(mm.pid, va, value);
    }
    return store === null ? value : 0;
  }

  /** Maps the page at `gpa`: 0, or -EFAULT. */
  *fault(gpa: number, write: boolean): Task<number> {
    const { mm, device } = this.#vm;
    const gfn = this.#vm.gfnOf(gpa);
    const start = this.#vm.gfnToHva(gfn);
    if (start === null) return -EFAULT;
    const end = start + mm.pageSize;
    const access = write ? 'write' : 'read';
    const fault = { mm, start, end, device: device.name, access } as const;
    return yield* toldDeviceFault(fault, this.#instantiate(gfn, start, write));
  }

  /**
   * kvmppc_book3s_instantiate_page. A page that is only read is mapped for writing, too, where the
   * process could write to it at once.
   */
  *#instantiate(gfn: number, start: number, write: boolean): Task<number> {
    const { mm, notifier } = this.#vm;
    if (notifier === null) return -EFAULT;
    for (;;) {
      const seq = yield* mmuIntervalReadBegin(notifier);
      const flags = FOLL_GET | (write ? FOLL_WRITE : 0);
      const found = yield* getUserPagesFast(mm, start, 1, flags);
      if (typeof found === 'number') return -EFAULT;
      const page = found[0]!;
      const isStale = mmuIntervalReadRetry(notifier, seq);
      if (!isStale) this.#entries.set(gfn, { page, writable: write || isWritable(mm, start) });
      putUserPage(mm.kernel, page, false);
      if (!isStale) return 0;
    }
  }
}

/** Whether the process has a page at `va` that it writes to without a fault. */
function isWritable(mm: Mm, va: Va): boolean {
  const vpn = mm.vpn(va);
  const bits = mm.pageTable.leaf(vpn)?.bits[leafIndex(vpn)] ?? 0;
  return (bits & (PTE_KIND | PTE_PROTNONE | PTE_WRITE)) === (PTE_PRESENT | PTE_WRITE);
}
