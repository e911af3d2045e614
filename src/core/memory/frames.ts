/**
 * Contents of pages.
 *
 * A frame is one page's worth of bytes, reference-counted. Copying a page shares its frame; the
 * first store to a shared frame splits it. So moving a page costs no copy, and a page that was
 * never written has no frame at all (frame 0, which reads as zeros).
 */

/** A handle of page contents. */
export type Frame = number;

/** The contents of every untouched page: zeros, never written, not counted. */
export const ZERO_FRAME: Frame = 0;

/** The first slab begins with room for so many frames and doubles: a small machine costs little. */
const FIRST_SLAB_FRAMES = 8;
const SLAB_SHIFT = 8;
const SLAB_FRAMES = 1 << SLAB_SHIFT;

export class Frames {
  /** Length of a frame in 32-bit words. */
  readonly words: number;
  /** How many pages share each frame. Frame 0 is not counted. */
  refs: Int32Array<ArrayBuffer> = new Int32Array(SLAB_FRAMES);
  readonly #slabs: Uint32Array<ArrayBuffer>[] = [];
  readonly #free: Frame[] = [];
  #next = 1;

  /** @param pageSize bytes of a page, a multiple of 4 */
  constructor(pageSize: number) {
    this.words = pageSize / 4;
  }

  /** Frames in use. */
  get used(): number {
    return this.#next - 1 - this.#free.length;
  }

  /** The 32-bit word at `word` (0 <= word < words). */
  read(frame: Frame, word: number): number {
    if (frame === ZERO_FRAME) return 0;
    return this.#slabs[frame >>> SLAB_SHIFT]![(frame & (SLAB_FRAMES - 1)) * this.words + word]!;
  }

  /** Writes a word of a frame that is not shared. */
  write(frame: Frame, word: number, value: number): void {
    this.#slabs[frame >>> SLAB_SHIFT]![(frame & (SLAB_FRAMES - 1)) * this.words + word] = value;
  }

  /** One more page has these contents. */
  share(frame: Frame): Frame {
    if (frame !== ZERO_FRAME) this.refs[frame] = this.refs[frame]! + 1;
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
    // First, since it may replace the slab.
    const copy = this.#allocate();
    const words = this.words;
    const to = this.#slabs[copy >>> SLAB_SHIFT]!;
    const at = (copy & (SLAB_FRAMES - 1)) * words;
    if (frame === ZERO_FRAME) {
      to.fill(0, at, at + words);
      return copy;
    }
    const from = this.#slabs[frame >>> SLAB_SHIFT]!;
    const start = (frame & (SLAB_FRAMES - 1)) * words;
    to.set(from.subarray(start, start + words), at);
    this.release(frame);
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
    const start = (frame & (SLAB_FRAMES - 1)) * this.words;
    return this.#slabs[frame >>> SLAB_SHIFT]!.subarray(start, start + this.words);
  }

  #allocate(): Frame {
    const frame = this.#free.pop() ?? this.#next++;
    const slab = frame >>> SLAB_SHIFT;
    if (slab === this.#slabs.length) {
      const frames = slab === 0 ? FIRST_SLAB_FRAMES : SLAB_FRAMES;
      this.#slabs.push(new Uint32Array(frames * this.words));
    } else if (slab === 0 && frame * this.words >= this.#slabs[0]!.length) {
      const grown = new Uint32Array(this.#slabs[0]!.length * 2);
      grown.set(this.#slabs[0]!);
      this.#slabs[0] = grown;
    }
    if (frame >= this.refs.length) {
      const refs = new Int32Array(this.refs.length * 2);
      refs.set(this.refs);
      this.refs = refs;
    }
    this.refs[frame] = 1;
    return frame;
  }
}
