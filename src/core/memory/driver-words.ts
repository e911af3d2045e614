/** The drivers' own words of device pages: page->zone_device_data. */

type Words = Uint8Array<ArrayBuffer> | Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

/** Of as many bits each as the largest word needed so far: mostly they number a few files or guests. */
export class DriverWords {
  #words: Words = new Uint8Array(0);
  /** The largest word that fits. */
  #max = 0xff;
  #used = 0;

  get(at: number): number {
    return this.#words[at]!;
  }

  /** @param word 0 to 2^32 - 1 */
  set(at: number, word: number): void {
    if (word > this.#max) this.#widen(word);
    this.#words[at] = word;
  }

  clear(first: number, count: number): void {
    this.#words.fill(0, first, first + count);
  }

  /** Words for `count` more pages, all 0; returns where they begin. `growth`: how much room there is then. */
  add(count: number, growth: number): number {
    const first = this.#used;
    this.#used += count;
    if (this.#used > this.#words.length) {
      const length = Math.max(this.#used, Math.ceil(this.#words.length * growth));
      this.#copyTo(new (this.#words.constructor as new (length: number) => Words)(length));
    }
    return first;
  }

  #widen(word: number): void {
    const Wider = word > 0xffff ? Uint32Array : Uint16Array;
    this.#copyTo(new Wider(this.#words.length));
    this.#max = word > 0xffff ? 0xffff_ffff : 0xffff;
  }

  #copyTo(words: Words): void {
    words.set(this.#words);
    this.#words = words;
  }
}
