/** The arrays of migrations of one page, which drivers need for every CPU fault. */

/** One word each. */
export interface FaultWords {
  readonly src: Uint32Array;
  readonly dst: Uint32Array;
}

function newWords(): FaultWords {
  return { src: new Uint32Array(1), dst: new Uint32Array(1) };
}

/**
 * Keeps a pair from fault to fault: a typed array costs more to make than such a migration. Faults
 * that overlap, because one of them sleeps, get pairs of their own.
 */
export class FaultWordsPool {
  readonly #words: FaultWords = newWords();
  #inUse = false;

  /** `dst` is 0. */
  take(): FaultWords {
    if (this.#inUse) return newWords();
    this.#inUse = true;
    this.#words.dst[0] = 0;
    return this.#words;
  }

  /** Nobody uses them any more. */
  give({ src }: FaultWords): void {
    if (src === this.#words.src) this.#inUse = false;
  }
}
