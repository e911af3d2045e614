/** Measuring: the best of several rounds, next to a yardstick that ran in the same minute. */

/** What a figure is compared with, so that it means something on another computer, too. */
export interface Yardstick {
  readonly name: string;
  readonly value: number;
}

export interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly value: number;
  readonly yardstick: Yardstick | null;
  /** At least this, or at most if less is better; null where nothing is asked. */
  readonly floor: number | null;
  readonly lessIsBetter: boolean;
  /** How it came about. */
  readonly note: string;
}

export function ratioOf({ value, yardstick }: Figure): number | null {
  return yardstick === null ? null : value / yardstick.value;
}

/** Null where nothing is asked. */
export function passes({ value, floor, lessIsBetter }: Figure): boolean | null {
  if (floor === null) return null;
  return lessIsBetter ? value <= floor : value >= floor;
}

/** Seconds that `work` takes. */
export function secondsOf(work: () => void): number {
  const start = performance.now();
  work();
  return (performance.now() - start) / 1000;
}

/** The highest of `rounds` rates; `round` answers how many things it did in how many seconds. */
export function bestRate(
  rounds: number,
  round: () => { readonly count: number; readonly seconds: number },
): number {
  let best = 0;
  for (let i = 0; i < rounds; i++) {
    const { count, seconds } = round();
    best = Math.max(best, count / seconds);
  }
  return best;
}

/** Fails loudly: a figure about wrong results is worth nothing. */
export function expectEqual(what: string, got: unknown, expected: unknown): void {
  if (got !== expected) throw new Error(`${what}: ${got}, expected ${expected}`);
}

/** Keeps results alive, so that no compiler removes the work. */
export let sink = 0;

export function keep(value: number): void {
  sink = (sink + value) % 1_000_003;
}
