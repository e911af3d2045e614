/**
 * How secure pages are sealed before they leave secure memory: XChaCha20-Poly1305, an authenticated
 * cipher. A sealed page opens only unchanged, in the place it was taken from, and in its latest
 * version; so neither a tampered page, nor another page's, nor an old one of its own comes in.
 */
import { chacha20, xchacha20poly1305 } from '@noble/ciphers/chacha.js';

const KEY_BYTES = 32;
const NONCE_BYTES = 24;
const TAG_BYTES = 16;

/** Which page it is, and which of its versions. */
export interface SealedPlace {
  /** Guest physical address in bytes, a multiple of the page size. */
  readonly gpa: number;
  /** A number that this guest never used before. */
  readonly version: number;
}

export interface SealedPage {
  /** As many words as the page has. */
  readonly words: Uint32Array;
  /** What proves that the words are unchanged. Kept where the hypervisor cannot reach it. */
  readonly tag: Uint8Array;
}

/** Seals and opens the pages of one guest. */
export class PageCipher {
  readonly #lpid: number;
  readonly #key: Uint8Array;

  /**
   * A real ultravisor draws its keys at random. Here the key follows from who the guest is (its
   * LPID and how many guests came before it), because nothing random may influence a run: the same
   * program must give the same ciphertext. Secrets of the real world do not belong in here.
   */
  constructor(lpid: number, generation: number) {
    this.#lpid = lpid;
    const nonce = new Uint8Array(12);
    const view = new DataView(nonce.buffer);
    view.setUint32(0, lpid, true);
    setUint64(view, 4, generation);
    this.#key = chacha20(new Uint8Array(KEY_BYTES).fill(0x55), nonce, new Uint8Array(KEY_BYTES));
  }

  /** @param words the contents of a page; null stands for zeros, `count` of them */
  seal(words: Uint32Array | null, count: number, place: SealedPlace): SealedPage {
    const plain = words ?? new Uint32Array(count);
    const sealed = this.#cipher(place).encrypt(bytesOf(plain));
    const bytes = sealed.slice(0, sealed.length - TAG_BYTES);
    return { words: new Uint32Array(bytes.buffer), tag: sealed.slice(-TAG_BYTES) };
  }

  /** The contents; null where the page or the tag is not what was sealed for this place. */
  open({ words, tag }: SealedPage, place: SealedPlace): Uint32Array | null {
    const sealed = new Uint8Array(words.byteLength + TAG_BYTES);
    sealed.set(bytesOf(words));
    sealed.set(tag, words.byteLength);
    try {
      return new Uint32Array(this.#cipher(place).decrypt(sealed).slice().buffer);
    } catch {
      // The cipher has one way to say no: the tag does not fit.
      return null;
    }
  }

  #cipher(place: SealedPlace): ReturnType<typeof xchacha20poly1305> {
    // Versions are never used twice, so neither is a nonce; the same bytes are authenticated, too.
    const nonce = new Uint8Array(NONCE_BYTES);
    const view = new DataView(nonce.buffer);
    view.setUint32(0, this.#lpid, true);
    setUint64(view, 8, place.gpa);
    setUint64(view, 16, place.version);
    return xchacha20poly1305(this.#key, nonce, nonce);
  }
}

function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

/** Numbers are whole and below 2^53. */
function setUint64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 2 ** 32, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}
