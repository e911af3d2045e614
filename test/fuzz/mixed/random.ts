/** Numbers that look random and depend on a seed alone (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b_79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
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
