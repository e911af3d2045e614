/** Numbers that look random and depend on a seed alone. */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { StateHash } from '../core/state-hash.ts';

export class Random {
  readonly #generator: ReturnType<typeof xoroshiro128plus>;

  /** The generator of schedule `index` of a search with `seed`. */
  constructor(seed: number, index: number) {
    const hash = new StateHash();
    hash.add(seed);
    hash.add(index);
    this.#generator = xoroshiro128plus(hash.value | 0);
  }

  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    return uniformInt(this.#generator, 0, limit - 1);
  }

  /** True once in `times`, on average. */
  oneIn(times: number): boolean {
    return uniformInt(this.#generator, 1, times) === 1;
  }
}
