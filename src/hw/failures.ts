/** Failures to order, of whatever hardware or a driver may fail at. */
import { SimError } from '../core/errors.ts';
import type { StateHash } from '../core/state-hash.ts';

/** Attempts of one kind, some of which are to fail. */
export class Failures {
  readonly #none: string;
  /** Attempts that are to fail, by their number. */
  readonly #due: Set<number> = new Set();
  #attempts = 0;

  /** @param none no attempt, for people: "no allocation" */
  constructor(none: string) {
    this.#none = none;
  }

  /**
   * The `n`-th attempt from now (1 is the next) fails, once. May be called for several of them.
   *
   * @throws SimError `bad-argument` unless `n` is a whole number from 1 on
   */
  after(n: number): void {
    if (!Number.isSafeInteger(n) || n < 1) {
      throw new SimError('bad-argument', `${this.#none} is number ${n} from now`);
    }
    this.#due.add(this.#attempts + n);
  }

  fingerprint(hash: StateHash): void {
    for (const due of this.#due) hash.add(due - this.#attempts);
    hash.add(0);
  }

  /** One attempt. True: it fails. */
  attempt(): boolean {
    this.#attempts++;
    return this.#due.size > 0 && this.#due.delete(this.#attempts);
  }
}
