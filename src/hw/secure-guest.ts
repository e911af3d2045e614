/** What an ultravisor keeps of one guest, in memory that only it can reach. */
import type { Kernel } from '../core/kernel.ts';
import { Mutex } from '../core/sched/locks.ts';
import type { Scheduler } from '../core/sched/scheduler.ts';
import type { StateHash } from '../core/state-hash.ts';
import { type SecureTiming, transferNs } from '../core/timing.ts';
import type { Page } from '../core/units.ts';
import { PageCipher } from './page-cipher.ts';

/**
 * A guest page as the ultravisor knows it:
 *   secure  its contents are here; null stands for zeros
 *   out     the hypervisor has them, sealed; here is what proves them unchanged
 *   shared  it is the hypervisor's page; null where none is mapped now
 */
export type SecurePage =
  | { readonly state: 'secure'; words: Uint32Array | null }
  | { readonly state: 'out'; readonly version: number; readonly tag: Uint8Array }
  | { readonly state: 'shared'; page: Page | null };

/**
 * `normal`: nothing secure about it. `starting`: on its way from H_SVM_INIT_START to
 * H_SVM_INIT_DONE; it does not run. `running`: secure.
 */
export type GuestStage = 'normal' | 'starting' | 'running';

/** A range of guest physical memory, in bytes. */
export interface GuestRange {
  readonly start: number;
  readonly bytes: number;
}

/** Sealing or opening a page takes the caller's time: the call comes back when it is done. */
export function chargeContents(
  { timing, scheduler, pageSize }: Kernel,
  rate: keyof SecureTiming & `${string}PerSecond`,
): void {
  if (timing !== null) scheduler.charge(transferNs(pageSize, timing.secure[rate]));
}

export class SecureGuest {
  readonly lpid: number;
  readonly cipher: PageCipher;
  /** Held by a step of the start, from H_SVM_INIT_START to H_SVM_INIT_DONE or H_SVM_INIT_ABORT. */
  readonly turn: Mutex;
  stage: GuestStage = 'normal';
  /** The start is being undone: pages go back as they came, for the guest goes on without secrets. */
  aborting = false;
  /** Memory slots by their number. */
  readonly slots: Map<number, GuestRange> = new Map();
  /** By guest physical address. A page that was never here has no entry: it reads as zeros. */
  readonly pages: Map<number, SecurePage> = new Map();
  /** Addresses for which a page to share was asked, and whether it is to be zeroed. */
  readonly sharing: Map<number, boolean> = new Map();
  /** Addresses for which a page came that was not the one that went out. */
  readonly refused: Set<number> = new Set();
  /** Shared addresses that are to be secure again. */
  readonly unsharing: Set<number> = new Set();
  #version = 0;
  /** Digest of what the guest has loaded from secure memory so far: it is in its hands. */
  #loaded = 0;

  /** @param generation how many guests there were before it, under whatever LPID */
  constructor(lpid: number, generation: number, scheduler: Scheduler) {
    this.lpid = lpid;
    this.cipher = new PageCipher(lpid, generation);
    this.turn = new Mutex(scheduler, `start of secure guest ${lpid}`);
  }

  /** A version that no page of this guest had before. */
  nextVersion(): number {
    return ++this.#version;
  }

  /** Loads (`store` null) or stores a word of a secure page: the value, or 0. */
  access(
    held: { words: Uint32Array | null },
    word: number,
    store: number | null,
    pageSize: number,
  ): number {
    if (store === null) {
      const value = held.words?.[word] ?? 0;
      this.#loaded = (Math.imul(this.#loaded, 31) + value + 1) | 0;
      return value;
    }
    held.words ??= new Uint32Array(pageSize / 4);
    held.words[word] = store;
    return 0;
  }

  /** Whether a registered slot has the page at `gpa`. */
  hasMemoryAt(gpa: number): boolean {
    for (const { start, bytes } of this.slots.values()) {
      if (gpa >= start && gpa < start + bytes) return true;
    }
    return false;
  }

  overlapsSlot(start: number, bytes: number): boolean {
    for (const slot of this.slots.values()) {
      if (start < slot.start + slot.bytes && slot.start < start + bytes) return true;
    }
    return false;
  }

  /** Forgets every page of a range. */
  drop({ start, bytes }: GuestRange): void {
    for (const gpa of this.pages.keys()) {
      if (gpa >= start && gpa < start + bytes) this.pages.delete(gpa);
    }
  }

  fingerprint(hash: StateHash): void {
    hash.add(this.lpid);
    hash.add(this.#loaded);
    hash.addText(this.stage);
    hash.add(this.aborting ? 1 : 0);
    hash.add(this.#version);
    for (const [id, { start, bytes }] of this.slots) {
      hash.add(id);
      hash.add(start);
      hash.add(bytes);
    }
    for (const [gpa, held] of this.pages) {
      hash.add(gpa);
      hash.addText(held.state);
      if (held.state === 'shared') hash.add(held.page ?? -1);
      else if (held.state === 'secure') for (const word of held.words ?? []) hash.add(word);
      // Version and place lead to the tag, but for a page that was tampered with.
      else for (const part of [held.version, ...held.tag]) hash.add(part);
    }
    for (const [gpa, zero] of this.sharing) hash.add(zero ? -gpa - 1 : gpa);
    for (const gpa of [...this.refused, -1, ...this.unsharing, -1]) hash.add(gpa);
  }

  /** Pages shared before the guest ran: the hypervisor tells of their changes only from then on. */
  unmapShared(): void {
    for (const held of this.pages.values()) if (held.state === 'shared') held.page = null;
  }
}
