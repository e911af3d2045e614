/** What an ultravisor keeps of one guest, in memory that only it can reach. */
import { Mutex } from '../core/sched/locks.ts';
import type { Scheduler } from '../core/sched/scheduler.ts';
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

  /** Pages shared before the guest ran: the hypervisor tells of their changes only from then on. */
  unmapShared(): void {
    for (const held of this.pages.values()) if (held.state === 'shared') held.page = null;
  }
}
