/** What device pages leave behind: the drivers' own words of them, page->zone_device_data. */
import type { Page } from '../units.ts';

type Words = Uint8Array<ArrayBuffer> | Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

/**
 * A word a device page, by sections of pages. Of as many bits each as the largest word needed so far:
 * mostly they number a few files or guests.
 */
export class DriverWords {
  #words: Words = new Uint8Array(0);
  /** The largest word that fits. */
  #max = 0xff;
  #used = 0;
  /** By section: where its words begin, and 1 where something was written since it was cleared. */
  #starts: Uint32Array<ArrayBuffer> = new Uint32Array(0);
  #written: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  readonly #shift: number;
  readonly #mask: number;

  /** @param shift a section has 2 to the power of so many pages */
  constructor(shift: number) {
    this.#shift = shift;
    this.#mask = (1 << shift) - 1;
  }

  get(page: Page): number {
    return this.#words[this.#starts[page >>> this.#shift]! + (page & this.#mask)]!;
  }

  /** @param value 0 to 2^32 - 1; of others, their lowest 32 bits */
  set(page: Page, value: number): void {
    const word = value >>> 0;
    if (word > this.#max) this.#widen(word);
    const section = page >>> this.#shift;
    this.#written[section] = 1;
    this.#words[this.#starts[section]! + (page & this.#mask)] = word;
  }

  /** Something else of the page was written that goes with its section. */
  touch(page: Page): void {
    this.#written[page >>> this.#shift] = 1;
  }

  /**
   * Words for `count` pages from `first` on, whole sections, all 0. `growth`: by how much there is more
   * room then, where it has to grow.
   */
  add(first: Page, count: number, growth: number): void {
    const from = first >>> this.#shift;
    const to = (first + count) >>> this.#shift;
    if (to > this.#starts.length) {
      const sections = Math.max(to, Math.ceil(this.#starts.length * growth));
      this.#starts = copied(this.#starts, new Uint32Array(sections));
      this.#written = copied(this.#written, new Uint8Array(sections));
    }
    for (let section = from; section < to; section++) {
      this.#starts[section] = this.#used;
      this.#used += this.#mask + 1;
    }
    if (this.#used > this.#words.length) {
      const length = Math.max(this.#used, Math.ceil(this.#words.length * growth));
      const Words = this.#words.constructor as new (length: number) => Words;
      this.#words = copied(this.#words, new Words(length));
    }
  }

  /** Clears the section that begins with `first`. False where nothing was written. */
  clearSection(first: Page): boolean {
    const section = first >>> this.#shift;
    if (this.#written[section] === 0) return false;
    this.#written[section] = 0;
    const start = this.#starts[section]!;
    this.#words.fill(0, start, start + this.#mask + 1);
    return true;
  }

  #widen(word: number): void {
    const Wider = word > 0xffff ? Uint32Array : Uint16Array;
    this.#words = copied(this.#words, new Wider(this.#words.length));
    this.#max = word > 0xffff ? 0xffff_ffff : 0xffff;
  }
}

function copied<T extends Words>(from: Words, to: T): T {
  to.set(from);
  return to;
}
