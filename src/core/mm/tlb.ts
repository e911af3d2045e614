/**
 * What the CPUs of an address space remember of where its words lie.
 *
 * A load or store that hits needs one look-up here, instead of one each in the page table, in the columns of
 * its page and in its contents. As with the TLB of a processor, what is remembered must not outlive what it
 * was made of: whoever takes rights or a page from an entry, or gives a mapped page other contents, calls
 * `Tlbs.flush`. That is cheap where nothing was remembered since the last time.
 */
import { type Frame, type Frames, ZERO_FRAME } from '../memory/frames.ts';
import type { Pages } from '../memory/pages.ts';
import { NO_PAGE, PAGE_SIZE, type Page, type Va, type Vpn } from '../units.ts';
import { PTE_DIRTY, PTE_WRITE } from './pte.ts';

/** Bits of a slot that name a frame; the epoch stands above them. */
const FRAME_BITS = 18;
const FRAME_MASK: number = (1 << FRAME_BITS) - 1;
const EPOCH_STEP: number = 1 << FRAME_BITS;
/** Above it is READ_ONLY alone. */
const EPOCH_LAST = 0x7ffc_0000;
const READ_ONLY = 0x8000_0000;
/** Pages of the window: 1 GiB of addresses, so that words in it have numbers of 28 bits. */
const WINDOW_PAGES: number = 2 ** 18;
const SLOTS_MIN = 64;
/** The window starts here where it can: a mapping often goes on above what is touched first. */
const WINDOW_ALIGN_PAGES = 512;
/** So many accesses elsewhere turn the window; two buffers far apart would turn it all the time. */
const TURN_AFTER = 8;
/** Accesses before the first is remembered: address spaces of short programs never pay for slots. */
const BEGIN_AFTER = 1024;

/** Of a slot and the epoch, exclusive or: a load may use the frame. */
export const TLB_NO_LOAD: number = EPOCH_LAST;
/** A store may use it. */
export const TLB_NO_STORE: number = READ_ONLY | EPOCH_LAST;

const NO_WORDS: Uint32Array<ArrayBuffer> = new Uint32Array(0);

/** The TLBs of a machine. */
export class Tlbs {
  /** The first of those that remember something; each knows the next. */
  #first: Tlb | null = null;

  /** An entry lost its page or a right, or a mapped page got other contents. */
  flush(): void {
    if (this.#first !== null) this.#flushFilled();
  }

  /** Called by a TLB that begins to remember. */
  filled(tlb: Tlb): void {
    tlb.next = this.#first;
    this.#first = tlb;
  }

  #flushFilled(): void {
    for (let tlb = this.#first; tlb !== null; tlb = tlb.next) tlb.forget();
    this.#first = null;
  }
}

export class Tlb {
  /** First address of the window; NaN where there is none, so that nothing is ever found. */
  baseVa: Va = Number.NaN;
  /** By page of the window: frame, epoch and READ_ONLY. What has another epoch is forgotten. */
  slots: Int32Array<ArrayBuffer> = new Int32Array(0);
  epoch: number = EPOCH_STEP;
  /** Where frames lie, as long as anything is remembered: `Frames.first`. */
  words: Uint32Array<ArrayBuffer> = NO_WORDS;
  readonly #frames: Frames;
  readonly #pages: Pages;
  readonly #isUsed: boolean;
  /** Of the list of `Tlbs`. */
  next: Tlb | null = null;
  #isFilled = false;
  #elsewhere = 0;
  #seen = 0;

  /** @param pageSize bytes; where they are not 4096, nothing is remembered */
  constructor(pages: Pages, frames: Frames, pageSize: number) {
    this.#pages = pages;
    this.#frames = frames;
    this.#isUsed = pageSize === PAGE_SIZE;
  }

  /** A CPU has just used the present entry of `vpn`, which maps `page`. */
  fill(vpn: Vpn, page: Page, bits: number): void {
    if (this.#seen < BEGIN_AFTER) {
      this.#seen++;
      return;
    }
    const pages = this.#pages;
    const frame = pages.frame[page]!;
    // Mappings of the zero page come and go uncounted, and so without a flush.
    if (page === NO_PAGE || frame > FRAME_MASK || pages.watch !== null) return;
    let slot = vpn - this.baseVa / PAGE_SIZE;
    if (!(slot >= 0 && slot < WINDOW_PAGES)) {
      if (!this.#turnTo(vpn)) return;
      slot = vpn - this.baseVa / PAGE_SIZE;
    }
    if (slot >= this.slots.length) this.#grow(slot);
    const dirty = PTE_WRITE | PTE_DIRTY;
    const canStore =
      (bits & dirty) === dirty && frame !== ZERO_FRAME && this.#frames.refs[frame] === 1;
    this.slots[slot] = this.epoch | frame | (canStore ? 0 : READ_ONLY);
    if (!this.#isFilled) {
      this.#isFilled = true;
      this.words = this.#frames.first;
      pages.tlbs.filled(this);
    }
  }

  /** Nothing is remembered any more. For `Tlbs`, which takes it off its list. */
  forget(): void {
    this.#isFilled = false;
    this.#beginEpoch();
  }

  #beginEpoch(): void {
    if (this.epoch === EPOCH_LAST) {
      this.epoch = EPOCH_STEP;
      this.slots.fill(0);
    } else this.epoch += EPOCH_STEP;
  }

  /** Calls `visit` for each page that is remembered, for checks. */
  forEach(visit: (vpn: Vpn, frame: Frame, canStore: boolean) => void): void {
    if (!this.#isFilled) return;
    const first = this.baseVa / PAGE_SIZE;
    this.slots.forEach((slot, i) => {
      if (((slot ^ this.epoch) & TLB_NO_LOAD) !== 0) return;
      visit(first + i, slot & FRAME_MASK, slot >= 0);
    });
  }

  /** False where the window stays, and the page is not remembered. */
  #turnTo(vpn: Vpn): boolean {
    if (!this.#isUsed) return false;
    const first = this.baseVa / PAGE_SIZE;
    if (!Number.isNaN(first) && ++this.#elsewhere < TURN_AFTER) return false;
    this.#elsewhere = 0;
    this.#beginEpoch();
    // Whoever went below it may go on downwards.
    const align = vpn < first ? WINDOW_PAGES : WINDOW_ALIGN_PAGES;
    this.baseVa = Math.floor(vpn / align) * align * PAGE_SIZE;
    return true;
  }

  #grow(slot: number): void {
    let length = Math.max(SLOTS_MIN, this.slots.length);
    while (length <= slot) length *= 2;
    const slots = new Int32Array(length);
    slots.set(this.slots);
    this.slots = slots;
  }
}
