/**
 * Contents of pages.
 *
 * A frame is one page's worth of bytes, reference-counted. Copying a page shares its frame; the
 * first store to a shared frame splits it. So moving a page costs no copy, and a page that was
 * never written has no frame at all (frame 0, which reads as zeros).
 */

import type { Tlbs } from '../mm/tlb.ts';

/** A handle of page contents: where they begin, in units of 4 KiB. */
export type Frame = number;

/** The contents of every untouched page: zeros, never written, not counted. */
export const ZERO_FRAME: Frame = 0;

// Constants of this file alone: V8 knows their values, but not those of what other files export.
/** Words of a unit are 2 to the power of so many. */
const UNIT_SHIFT = 10;
/**
 * Units of a whole slab, which has 1 GiB. So there are few, mostly one, and finding a word takes no
 * look-up; what of a slab is untouched costs no memory.
 */
const SLAB_SHIFT = 18;
const SLAB_MASK: number = (1 << SLAB_SHIFT) - 1;
/** The first slab begins with room for so many frames and doubles: a small machine costs little. */
const FIRST_SLAB_FRAMES = 8;
/** A frame that so many pages share is copied for the next one. */
const REFS_MAX = 0xffff;
const FIRST_REFS = 256;
const REFS_GROWTH = 1.25;

export class Frames {
  /** Length of a frame in 32-bit words. */
  readonly words: number;
  /** How many pages share each frame. Frame 0 is not counted. */
  refs: Uint16Array<ArrayBuffer> = new Uint16Array(FIRST_REFS);
  /** Units of a frame. */
  readonly #units: number;
  /** Slab 0, which most frames are in; replaced as it grows. */
  first: Uint32Array<ArrayBuffer>;
  readonly #slabs: Uint32Array<ArrayBuffer>[];
  readonly #free: Frame[] = [];
  #next: Frame;
  /** The frame taken last was never used before: it is zeros. */
  #fresh = false;

  readonly #tlbs: Tlbs;

  /**
   * @param pageSize bytes of a page, a power of two from 4096 on
   * @param tlbs remember where frames lie
   */
  constructor(pageSize: number, tlbs: Tlbs) {
    this.#tlbs = tlbs;
    this.words = pageSize / 4;
    this.#units = this.words >>> UNIT_SHIFT;
    this.#next = this.#units;
    this.first = new Uint32Array(FIRST_SLAB_FRAMES * this.words);
    this.#slabs = [this.first];
  }

  /** Frames in use. */
  get used(): number {
    return this.#next / this.#units - 1 - this.#free.length;
  }

  /** The 32-bit word at `word` (0 <= word < words). */
  read(frame: Frame, word: number): number {
    // The frame of zeros lies there, too.
    if (frame <= SLAB_MASK) return this.first[(frame << UNIT_SHIFT) + word]!;
    return this.#slabOf(frame)[startOf(frame) + word]!;
  }

  /** Writes a word of a frame that is not shared. */
  write(frame: Frame, word: number, value: number): void {
    if (frame <= SLAB_MASK) this.first[(frame << UNIT_SHIFT) + word] = value;
    else this.#slabOf(frame)[startOf(frame) + word] = value;
  }

  /** One more page has these contents. */
  share(frame: Frame): Frame {
    if (frame === ZERO_FRAME) return frame;
    const refs = this.refs[frame]!;
    if (refs === REFS_MAX) return this.#copy(frame);
    this.refs[frame] = refs + 1;
    return frame;
  }

  /** One page fewer has these contents. */
  release(frame: Frame): void {
    if (frame === ZERO_FRAME) return;
    const left = this.refs[frame]! - 1;
    this.refs[frame] = left;
    if (left === 0) this.#free.push(frame);
  }

  /**
   * A frame with the same contents that only the caller holds; takes over the caller's share of
   * `frame`. Call before a write unless `refs[frame]` is 1.
   */
  split(frame: Frame): Frame {
    const copy = this.#copy(frame);
    this.release(frame);
    return copy;
  }

  #copy(frame: Frame): Frame {
    // First, since it may replace the slab.
    const copy = this.#allocate();
    const words = this.words;
    const to = this.#slabOf(copy);
    const at = startOf(copy);
    if (frame === ZERO_FRAME) {
      // Writing what is zeros already would make it cost memory.
      if (!this.#fresh) to.fill(0, at, at + words);
      return copy;
    }
    const start = startOf(frame);
    to.set(this.#slabOf(frame).subarray(start, start + words), at);
    return copy;
  }

  /** A frame of zeros except for its first word, held by the caller alone. */
  withFirstWord(value: number): Frame {
    const frame = this.split(ZERO_FRAME);
    this.write(frame, 0, value);
    return frame;
  }

  /**
   * The words of a frame, read-only by convention and until the next write to any frame; null for
   * the frame of zeros.
   */
  view(frame: Frame): Uint32Array | null {
    if (frame === ZERO_FRAME) return null;
    const start = startOf(frame);
    return this.#slabOf(frame).subarray(start, start + this.words);
  }

  #slabOf(frame: Frame): Uint32Array<ArrayBuffer> {
    return this.#slabs[frame >>> SLAB_SHIFT]!;
  }

  #allocate(): Frame {
    const free = this.#free.pop();
    const frame = free ?? this.#next;
    this.#fresh = free === undefined;
    if (this.#fresh) this.#next += this.#units;
    if (frame > SLAB_MASK) {
      const slab = frame >>> SLAB_SHIFT;
      if (slab === this.#slabs.length)
        this.#slabs.push(new Uint32Array(1 << (SLAB_SHIFT + UNIT_SHIFT)));
    } else if (frame << UNIT_SHIFT >= this.first.length) {
      const grown = new Uint32Array(this.first.length * 2);
      grown.set(this.first);
      this.#tlbs.flush();
      this.first = grown;
      this.#slabs[0] = grown;
    }
    if (frame >= this.refs.length) {
      const refs = new Uint16Array(Math.ceil(Math.max(frame + 1, this.refs.length * REFS_GROWTH)));
      refs.set(this.refs);
      this.refs = refs;
    }
    this.refs[frame] = 1;
    return frame;
  }
}

/** Where a frame begins in its slab, in words. */
function startOf(frame: Frame): number {
  return (frame & SLAB_MASK) << UNIT_SHIFT;
}
