/**
 * An ultravisor: firmware above the hypervisor that keeps the memory of secure guests from it.
 *
 * It has memory of its own, into which the hypervisor moves a guest's pages (UV_PAGE_IN) and out of
 * which it gets them only sealed (UV_PAGE_OUT). What a page holds is kept here and nowhere else: a
 * page of the hypervisor's `dev_pagemap` only stands for it. Reference for the calls:
 * Documentation/powerpc/ultravisor.rst of Linux 6.1.
 */
import { EFAULT } from '../core/errno.ts';
import type { Kernel } from '../core/kernel.ts';
import { Delay, type Task } from '../core/sched/task.ts';
import type { StateHash } from '../core/state-hash.ts';
import type { Page } from '../core/units.ts';
import type { BusMaster } from './bus.ts';
import { chargeContents, SecureGuest, type SecurePage } from './secure-guest.ts';
import {
  H_PAGE_IN_SHARED,
  H_SUCCESS,
  H_SVM_INIT_ABORT,
  H_SVM_INIT_DONE,
  H_SVM_INIT_START,
  H_SVM_PAGE_IN,
  U_P2,
  U_P3,
  U_P4,
  U_P5,
  U_PARAMETER,
  U_PERMISSION,
  U_SUCCESS,
} from './svm-codes.ts';
import type { SvmHypervisor } from './svm-hypervisor.ts';

/** So often a page is asked for that the hypervisor cannot move just now. */
const PAGE_IN_TRIES = 4;
const PAGE_IN_PAUSE_NS = 10_000;
/** So often in a row an access may find that its page went away again. */
const ACCESS_TRIES = 64;

export class Ultravisor {
  readonly #kernel: Kernel;
  readonly #bus: BusMaster;
  readonly #hypervisor: SvmHypervisor;
  readonly #guests: Map<number, SecureGuest> = new Map();
  readonly #pageSize: number;
  readonly #pageShift: number;
  #generations = 0;

  /** @param bus how it reaches the pages of the hypervisor */
  constructor(kernel: Kernel, bus: BusMaster, hypervisor: SvmHypervisor) {
    this.#kernel = kernel;
    this.#bus = bus;
    this.#hypervisor = hypervisor;
    this.#pageSize = kernel.pageSize;
    this.#pageShift = Math.log2(kernel.pageSize);
  }

  /** The guest runs as a secure one. */
  isRunning(lpid: number): boolean {
    return this.#guests.get(lpid)?.stage === 'running';
  }

  /** The guest is between H_SVM_INIT_START and H_SVM_INIT_DONE, and does not run. */
  isStarting(lpid: number): boolean {
    return this.#guests.get(lpid)?.stage === 'starting';
  }

  /** Where the contents of a guest page are; null where none were ever here. */
  whereIs(lpid: number, gpa: number): SecurePage['state'] | null {
    return this.#guests.get(lpid)?.pages.get(gpa)?.state ?? null;
  }

  fingerprint(hash: StateHash): void {
    hash.add(this.#generations);
    for (const guest of this.#guests.values()) guest.fingerprint(hash);
  }

  // Ultracalls of the hypervisor -------------------------------------------------------------

  /**
   * UV_WRITE_PATE: the hypervisor has a partition `lpid`, or, with `valid` false, has it no more.
   * U_PERMISSION for a secure guest, whose entry is not the hypervisor's.
   */
  writePate(lpid: number, valid: boolean): number {
    const guest = this.#guests.get(lpid);
    if (guest !== undefined && guest.stage !== 'normal') return U_PERMISSION;
    if (!valid) this.#guests.delete(lpid);
    else if (guest === undefined) this.#enter(lpid);
    return U_SUCCESS;
  }

  /** UV_REGISTER_MEM_SLOT. */
  registerMemSlot(lpid: number, start: number, bytes: number, flags: number, id: number): number {
    if (this.#refusesOnPurpose()) return U_PARAMETER;
    const guest = this.#guests.get(lpid);
    if (guest === undefined) return U_PARAMETER;
    if (start % this.#pageSize !== 0 || guest.overlapsSlot(start, bytes)) return U_P2;
    if (bytes <= 0 || bytes % this.#pageSize !== 0) return U_P3;
    if (flags !== 0) return U_P4;
    if (guest.slots.has(id)) return U_P5;
    guest.slots.set(id, { start, bytes });
    return U_SUCCESS;
  }

  /** UV_UNREGISTER_MEM_SLOT: the contents of its pages are gone. */
  unregisterMemSlot(lpid: number, id: number): number {
    const guest = this.#guests.get(lpid);
    if (guest === undefined) return U_PARAMETER;
    const slot = guest.slots.get(id);
    if (slot === undefined) return U_P2;
    guest.slots.delete(id);
    guest.drop(slot);
    return U_SUCCESS;
  }

  /**
   * UV_PAGE_IN: takes the page at the real address `ra`. A shared page is mapped, a page that went
   * out is opened and checked, and before the guest runs plain contents are taken. U_PERMISSION
   * where the contents are not those that went out; U_P3 where the guest has the page already.
   */
  pageIn(lpid: number, ra: number, gpa: number, flags: number, order: number): number {
    if (this.#refusesOnPurpose()) return U_PARAMETER;
    const guest = this.#guests.get(lpid);
    if (guest === undefined) return U_PARAMETER;
    const page = this.#pageAt(ra);
    if (page === null) return U_P2;
    if (gpa % this.#pageSize !== 0 || !guest.hasMemoryAt(gpa)) return U_P3;
    if (flags !== 0) return U_P4;
    if (order !== this.#pageShift) return U_P5;
    return this.#take(guest, page, gpa);
  }

  /** UV_PAGE_OUT: writes the sealed contents to the page at `ra`; a shared page is left alone. */
  pageOut(lpid: number, ra: number, gpa: number, flags: number, order: number): number {
    if (this.#refusesOnPurpose()) return U_PARAMETER;
    const guest = this.#guests.get(lpid);
    if (guest === undefined) return U_PARAMETER;
    const page = this.#pageAt(ra);
    if (page === null || this.#kernel.pages.isDevicePrivate(page)) return U_P2;
    const known = guest.stage === 'normal' || guest.hasMemoryAt(gpa);
    if (gpa % this.#pageSize !== 0 || !known) return U_P3;
    if (flags !== 0) return U_P4;
    if (order !== this.#pageShift) return U_P5;
    this.#give(guest, page, gpa);
    return U_SUCCESS;
  }

  /** UV_PAGE_INVAL: the hypervisor's page changes. U_P2 where nothing of the guest's is mapped. */
  pageInval(lpid: number, gpa: number, order: number): number {
    const guest = this.#guests.get(lpid);
    if (guest === undefined) return U_PARAMETER;
    const held = guest.pages.get(gpa);
    if (held === undefined || held.state !== 'shared') return U_P2;
    if (order !== this.#pageShift) return U_P3;
    held.page = null;
    return U_SUCCESS;
  }

  /**
   * UV_SVM_TERMINATE: all that the guest had here is gone, its key too. U_PARAMETER where it has
   * nothing secure about it.
   */
  svmTerminate(lpid: number): number {
    const guest = this.#guests.get(lpid);
    if (guest === undefined) return U_PARAMETER;
    if (guest.stage === 'normal' && guest.slots.size === 0) return U_PARAMETER;
    this.#enter(lpid);
    return U_SUCCESS;
  }

  /**
   * The machine's plan of faults wants this call to be refused. Asked where the hypervisor looks at
   * the answer: for slots and pages that come, and pages that go.
   */
  #refusesOnPurpose(): boolean {
    const { faults } = this.#kernel;
    return faults?.fails('ultravisor') === true;
  }

  // Hypercalls to the hypervisor --------------------------------------------------------------

  /** Makes a hypercall and draws the conclusions from its outcome. Returns H_* codes. */
  *hcall(lpid: number, call: number, args: readonly number[]): Task<number> {
    switch (call) {
      case H_SVM_INIT_START:
        return yield* this.#inTurn(lpid, (guest) => this.#initStart(lpid, guest));
      case H_SVM_INIT_DONE:
        return yield* this.#inTurn(lpid, (guest) => this.#initDone(lpid, guest));
      case H_SVM_INIT_ABORT:
        return yield* this.#inTurn(lpid, (guest) => this.#initAbort(lpid, guest));
      case H_SVM_PAGE_IN:
        return yield* this.#pageInCall(lpid, args, false);
      default:
        return yield* this.#hypervisor.hcall(lpid, call, args);
    }
  }

  /**
   * One step of a start after the other, however many vCPUs ask. Were a guest to run before an abort
   * is through, the abort would give its secrets away.
   */
  *#inTurn(lpid: number, step: (guest: SecureGuest | undefined) => Task<number>): Task<number> {
    for (;;) {
      const guest = this.#guests.get(lpid);
      if (guest === undefined) return yield* step(guest);
      const { turn } = guest;
      if (!turn.tryLock()) yield* turn.lock();
      try {
        // An abort puts another guest in its place.
        if (this.#guests.get(lpid) === guest) return yield* step(guest);
      } finally {
        turn.unlock();
      }
    }
  }

  *#initStart(lpid: number, guest: SecureGuest | undefined): Task<number> {
    const before = guest?.stage ?? 'normal';
    if (guest !== undefined && before === 'normal') guest.stage = 'starting';
    const result = yield* this.#hypervisor.hcall(lpid, H_SVM_INIT_START, []);
    if (guest !== undefined && result !== H_SUCCESS) guest.stage = before;
    return result;
  }

  *#initDone(lpid: number, guest: SecureGuest | undefined): Task<number> {
    const result = yield* this.#hypervisor.hcall(lpid, H_SVM_INIT_DONE, []);
    if (result === H_SUCCESS && guest !== undefined && guest.stage !== 'running') {
      guest.stage = 'running';
      guest.unmapShared();
    }
    return result;
  }

  /** Pages that went out sealed come back first, so that the guest has all its memory afterwards. */
  *#initAbort(lpid: number, guest: SecureGuest | undefined): Task<number> {
    if (guest?.stage !== 'starting') {
      return yield* this.#hypervisor.hcall(lpid, H_SVM_INIT_ABORT, []);
    }
    const out = [...guest.pages].filter(([, held]) => held.state === 'out');
    for (const [gpa] of out) yield* this.#pageInCall(lpid, [gpa, 0, this.#pageShift], false);
    guest.aborting = true;
    try {
      return yield* this.#hypervisor.hcall(lpid, H_SVM_INIT_ABORT, []);
    } finally {
      guest.aborting = false;
    }
  }

  /** @param zero a page to share is to be empty */
  *#pageInCall(lpid: number, args: readonly number[], zero: boolean): Task<number> {
    const [gpa = 0, flags = 0] = args;
    const guest = this.#guests.get(lpid);
    if (guest === undefined) return yield* this.#hypervisor.hcall(lpid, H_SVM_PAGE_IN, args);
    if (flags === H_PAGE_IN_SHARED) guest.sharing.set(gpa, zero);
    else if (guest.pages.get(gpa)?.state === 'shared') guest.unsharing.add(gpa);
    try {
      const result = yield* this.#hypervisor.hcall(lpid, H_SVM_PAGE_IN, args);
      // Where the hypervisor had no page, it sent none: the guest's page is empty, if it has any.
      const isEmpty = guest.unsharing.has(gpa) || !guest.pages.has(gpa);
      // Until the start it is none of the ultravisor's business: the guest may still fill it.
      if (result === H_SUCCESS && isEmpty && guest.stage !== 'normal' && guest.hasMemoryAt(gpa)) {
        guest.pages.set(gpa, { state: 'secure', words: null });
      }
      return result;
    } finally {
      guest.sharing.delete(gpa);
      guest.unsharing.delete(gpa);
    }
  }

  // Ultracalls of the guest -------------------------------------------------------------------

  /**
   * UV_ESM: the guest becomes secure, or stays what it was: then the H_* code of the call that
   * failed, or what H_SVM_INIT_ABORT returned. U_SUCCESS also where it is secure already.
   */
  *esm(lpid: number): Task<number> {
    const guest = this.#guests.get(lpid);
    if (guest === undefined) return U_PARAMETER;
    if (guest.stage === 'running') return U_SUCCESS;
    const started = yield* this.hcall(lpid, H_SVM_INIT_START, []);
    if (started !== H_SUCCESS) return started;
    for (const { start, bytes } of [...guest.slots.values()]) {
      for (let gpa = start; gpa < start + bytes; gpa += this.#pageSize) {
        if (guest.pages.has(gpa)) continue;
        const result = yield* this.#pageInCall(lpid, [gpa, 0, this.#pageShift], false);
        if (result !== H_SUCCESS) return yield* this.hcall(lpid, H_SVM_INIT_ABORT, []);
      }
    }
    const done = yield* this.hcall(lpid, H_SVM_INIT_DONE, []);
    return done === H_SUCCESS ? U_SUCCESS : yield* this.hcall(lpid, H_SVM_INIT_ABORT, []);
  }

  /** UV_SHARE_PAGE: `count` pages from `gfn` on are the hypervisor's too, and empty. */
  *sharePages(lpid: number, gfn: number, count: number): Task<number> {
    const refused = this.#refuse(lpid, gfn, count);
    if (refused !== U_SUCCESS) return refused;
    for (let i = 0; i < count; i++) {
      const gpa = (gfn + i) * this.#pageSize;
      const held = this.#guests.get(lpid)?.pages.get(gpa);
      if (held?.state === 'shared' && held.page !== null) {
        this.#bus.clearPage(held.page);
        continue;
      }
      const args = [gpa, H_PAGE_IN_SHARED, this.#pageShift];
      if ((yield* this.#pageInCall(lpid, args, true)) !== H_SUCCESS) return U_PARAMETER;
    }
    return U_SUCCESS;
  }

  /** UV_UNSHARE_PAGE: `count` pages from `gfn` on are the guest's alone, and empty. */
  *unsharePages(lpid: number, gfn: number, count: number): Task<number> {
    const refused = this.#refuse(lpid, gfn, count);
    if (refused !== U_SUCCESS) return refused;
    for (let i = 0; i < count; i++) {
      const result = yield* this.#unshare(lpid, (gfn + i) * this.#pageSize);
      if (result !== U_SUCCESS) return result;
    }
    return U_SUCCESS;
  }

  /** UV_UNSHARE_ALL_PAGES. */
  *unshareAllPages(lpid: number): Task<number> {
    const guest = this.#guests.get(lpid);
    if (guest?.stage !== 'running') return U_PARAMETER;
    const shared = [...guest.pages].filter(([, held]) => held.state === 'shared');
    for (const [gpa] of shared) {
      const result = yield* this.#unshare(lpid, gpa);
      if (result !== U_SUCCESS) return result;
    }
    return U_SUCCESS;
  }

  *#unshare(lpid: number, gpa: number): Task<number> {
    const state = this.#guests.get(lpid)?.pages.get(gpa)?.state;
    if (state === 'shared' || state === 'out') {
      const result = yield* this.#pageInCall(lpid, [gpa, 0, this.#pageShift], false);
      if (result !== H_SUCCESS) return U_PARAMETER;
    }
    const guest = this.#guests.get(lpid);
    // A page that was out and did not come is not the guest's to empty.
    if (guest === undefined || guest.pages.get(gpa)?.state === 'out') return U_PARAMETER;
    guest.pages.set(gpa, { state: 'secure', words: null });
    return U_SUCCESS;
  }

  #refuse(lpid: number, gfn: number, count: number): number {
    const guest = this.#guests.get(lpid);
    if (guest?.stage !== 'running') return U_PARAMETER;
    if (!guest.hasMemoryAt(gfn * this.#pageSize)) return U_PARAMETER;
    for (let i = 0; i < count; i++) {
      if (!guest.hasMemoryAt((gfn + i) * this.#pageSize)) return U_P2;
    }
    return count > 0 ? U_SUCCESS : U_P2;
  }

  // The guest's loads and stores --------------------------------------------------------------

  /**
   * A load of the running guest: the 32-bit value at `gpa` (a multiple of 4), or a negative number:
   * -EFAULT where there is no memory, an H_* code where the hypervisor does not bring the page,
   * U_PERMISSION where it brought nothing.
   */
  load32(lpid: number, gpa: number): Task<number> {
    return this.#access(lpid, gpa, null);
  }

  /** A store of the running guest: 0, or a negative number as of `load32`. */
  store32(lpid: number, gpa: number, value: number): Task<number> {
    return this.#access(lpid, gpa, value >>> 0);
  }

  *#access(lpid: number, address: number, store: number | null): Task<number> {
    const gpa = address - (address % this.#pageSize);
    const word = (address - gpa) / 4;
    for (let tries = 0; tries < ACCESS_TRIES; tries++) {
      const guest = this.#guests.get(lpid);
      if (guest?.stage !== 'running' || !guest.hasMemoryAt(gpa)) return -EFAULT;
      const held = guest.pages.get(gpa);
      if (held === undefined) {
        guest.pages.set(gpa, { state: 'secure', words: null });
        continue;
      }
      if (held.state === 'secure') return guest.access(held, word, store, this.#pageSize);
      if (held.state === 'shared' && held.page !== null) {
        if (store === null) return this.#bus.read32(held.page, word);
        this.#bus.write32(held.page, word, store);
        return 0;
      }
      const result =
        held.state === 'shared'
          ? yield* this.#hypervisor.pageFault(lpid, gpa)
          : yield* this.#fetch(guest, gpa);
      if (result < 0) return result;
    }
    return -EFAULT;
  }

  /** Asks for a page that went out, a few times if it is somebody else's just now. */
  *#fetch(guest: SecureGuest, gpa: number): Task<number> {
    for (let tries = 1; ; tries++) {
      guest.refused.delete(gpa);
      const result = yield* this.#pageInCall(guest.lpid, [gpa, 0, this.#pageShift], false);
      if (guest.pages.get(gpa)?.state !== 'out') return 0;
      if (result === H_SUCCESS) return U_PERMISSION;
      if (guest.refused.has(gpa) || tries === PAGE_IN_TRIES) return result;
      yield new Delay(PAGE_IN_PAUSE_NS);
    }
  }

  // Contents ----------------------------------------------------------------------------------

  #enter(lpid: number): void {
    const guest = new SecureGuest(lpid, this.#generations++, this.#kernel.scheduler);
    this.#guests.set(lpid, guest);
  }

  /** The page at a real address; null where there is none. */
  #pageAt(ra: number): Page | null {
    const page = ra / this.#pageSize;
    return Number.isInteger(page) && page >= 0 && page < this.#kernel.pages.rows ? page : null;
  }

  #take(guest: SecureGuest, page: Page, gpa: number): number {
    const held = guest.pages.get(gpa);
    const zero = guest.sharing.get(gpa);
    if (zero !== undefined || (held?.state === 'shared' && !guest.unsharing.has(gpa))) {
      // What was secret may not show, and what the hypervisor has of it is of no use.
      const wasSecret = held !== undefined && held.state !== 'shared';
      if (zero === true || wasSecret) this.#bus.clearPage(page);
      guest.pages.set(gpa, { state: 'shared', page });
      return U_SUCCESS;
    }
    if (guest.unsharing.has(gpa)) {
      guest.pages.set(gpa, { state: 'secure', words: null });
      return U_SUCCESS;
    }
    if (held?.state === 'secure') return U_P3;
    if (held?.state === 'out') return this.#open(guest, page, gpa, held);
    // A running guest gets its memory from nobody but itself.
    if (guest.stage === 'running') return U_P3;
    guest.pages.set(gpa, { state: 'secure', words: this.#read(page) });
    return U_SUCCESS;
  }

  #open(
    guest: SecureGuest,
    page: Page,
    gpa: number,
    { version, tag }: { readonly version: number; readonly tag: Uint8Array },
  ): number {
    const sealed = this.#read(page) ?? new Uint32Array(this.#pageSize / 4);
    chargeContents(this.#kernel, 'decryptBytesPerSecond');
    const words = guest.cipher.open({ words: sealed, tag }, { gpa, version });
    if (words === null) {
      guest.refused.add(gpa);
      return U_PERMISSION;
    }
    guest.pages.set(gpa, { state: 'secure', words });
    return U_SUCCESS;
  }

  #give(guest: SecureGuest, page: Page, gpa: number): void {
    const held = guest.pages.get(gpa);
    if (held?.state === 'shared') return;
    const { pages } = this.#kernel;
    if (held?.state === 'out') {
      // There is nothing to give a second time; what went out stays what the guest waits for.
      pages.clearContents(page);
      return;
    }
    const words = held?.words ?? null;
    if (guest.stage === 'normal' || guest.aborting) {
      if (words === null) pages.clearContents(page);
      else pages.writePage(page, words);
      guest.pages.delete(gpa);
      return;
    }
    chargeContents(this.#kernel, 'encryptBytesPerSecond');
    const version = guest.nextVersion();
    const sealed = guest.cipher.seal(words, this.#pageSize / 4, { gpa, version });
    pages.writePage(page, sealed.words);
    guest.pages.set(gpa, { state: 'out', version, tag: sealed.tag });
  }

  /**
   * A copy of a page of the hypervisor; null where it is untouched. Memory of a device that is not
   * the ultravisor's does not answer: all ones.
   */
  #read(page: Page): Uint32Array | null {
    const { pages } = this.#kernel;
    if (!this.#bus.reaches(page)) {
      return new Uint32Array(this.#pageSize / 4).fill(this.#bus.read32(page, 0));
    }
    return pages.frame[page] === 0 ? null : pages.readPage(page);
  }
}
