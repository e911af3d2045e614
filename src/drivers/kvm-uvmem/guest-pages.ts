/**
 * The partition-scoped page table of a guest that is not secure: which page of the process each
 * guest page is.
 *
 * Reference: arch/powerpc/kvm/book3s_64_mmu_radix.c of Linux 6.1. It holds no references: the
 * notifier of the address space takes entries away before their pages go.
 */
import { EFAULT } from '../../core/errno.ts';
import { mmuIntervalReadBegin, mmuIntervalReadRetry } from '../../core/hmm/notifier.ts';
import { FOLL_GET, FOLL_WRITE, getUserPagesFast, putUserPage } from '../../core/mm/gup.ts';
import type { Task } from '../../core/sched/task.ts';
import type { Page } from '../../core/units.ts';
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

  clear(): void {
    this.#entries.clear();
  }

  /** A load (`store` null) or store of a word: the value, 0, or -EFAULT. */
  *access(gpa: number, store: number | null): Task<number> {
    const { mm } = this.#vm;
    const gfn = this.#vm.gfnOf(gpa);
    const word = (gpa - gfn * mm.pageSize) / 4;
    for (;;) {
      const entry = this.#entries.get(gfn);
      if (entry !== undefined && (store === null || entry.writable)) {
        if (store === null) return mm.pages.read32(entry.page, word);
        mm.pages.write32(entry.page, word, store);
        return 0;
      }
      const result = yield* this.#toldFault(gfn, store !== null);
      if (result < 0) return result;
    }
  }

  *#toldFault(gfn: number, write: boolean): Task<number> {
    const { mm, device } = this.#vm;
    const { events } = mm.kernel;
    const start = this.#vm.gfnToHva(gfn);
    if (start === null) return -EFAULT;
    const { listening } = events;
    const end = start + mm.pageSize;
    if (listening) events.deviceFaultBegin(mm, start, end, device.name, write ? 'write' : 'read');
    const result = yield* this.#fault(gfn, start, write);
    if (listening) events.deviceFaultEnd(mm, start, end, result);
    return result;
  }

  /** kvmppc_book3s_instantiate_page. */
  *#fault(gfn: number, start: number, write: boolean): Task<number> {
    const { mm, notifier } = this.#vm;
    if (notifier === null) return -EFAULT;
    for (;;) {
      const seq = yield* mmuIntervalReadBegin(notifier);
      const flags = FOLL_GET | (write ? FOLL_WRITE : 0);
      const found = yield* getUserPagesFast(mm, start, 1, flags);
      if (typeof found === 'number') return -EFAULT;
      const page = found[0]!;
      const isStale = mmuIntervalReadRetry(notifier, seq);
      if (!isStale) this.#entries.set(gfn, { page, writable: write });
      putUserPage(mm.kernel, page, false);
      if (!isStale) return 0;
    }
  }
}
