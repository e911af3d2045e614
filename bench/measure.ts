// Timing for the benchmarks: whole rounds, the best of several, and beside each figure a yardstick of the same run.

/** Operations a second, the best of `rounds`; `round` does `count` operations. */
export function bestRate(rounds: number, count: number, round: () => void): number {
  round();
  let best = 0;
  for (let i = 0; i < rounds; i++) {
    const start = performance.now();
    round();
    best = Math.max(best, (count / (performance.now() - start)) * 1000);
  }
  return best;
}

/** Milliseconds of the fastest of `rounds`, where only part of a round counts: `round` returns it. */
export function bestMs(rounds: number, round: () => number): number {
  round();
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < rounds; i++) best = Math.min(best, round());
  return best;
}

/** Bytes in use after a collection, on the heap and in array buffers. Needs --expose-gc. */
export function bytesInUse(): number {
  if (globalThis.gc === undefined) throw new Error('run with --expose-gc: npm run bench');
  globalThis.gc();
  globalThis.gc();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** What it must reach: a rate at least, a cost at most. */
  readonly floor: number;
  readonly lowerIsBetter?: boolean;
  readonly yardstick: string;
  /** The figure divided by the yardstick's, in the same unit. */
  readonly ratio: number;
}

export function holds({ value, floor, lowerIsBetter }: Figure): boolean {
  return lowerIsBetter === true ? value <= floor : value >= floor;
}
