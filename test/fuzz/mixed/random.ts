import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';

/** Numbers that look random and depend on a seed alone. */
export class Random {
  readonly #generator: ReturnType<typeof xoroshiro128plus>;

  constructor(seed: number) {
    this.#generator = xoroshiro128plus(seed);
  }

  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    return uniformInt(this.#generator, 0, limit - 1);
  }

  /** True so many times out of a hundred. */
  percent(chance: number): boolean {
    return this.below(100) < chance;
  }

  one<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }
}

/** A name drawn as often as its weight says. */
export class Weighted {
  readonly #names: string[] = [];
  readonly #ends: number[] = [];
  #total = 0;

  constructor(weights: Readonly<Record<string, number>>) {
    for (const [name, weight] of Object.entries(weights)) {
      this.#total += weight;
      this.#names.push(name);
      this.#ends.push(this.#total);
    }
  }

  draw(random: Random): string {
    const at = random.below(this.#total);
    return this.#names[this.#ends.findIndex((end) => at < end)]!;
  }
}
