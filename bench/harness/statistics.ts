/** What several measurements of one thing say together. */

/** Half of `samples` lie above it, half below; of an even number, the mean of the middle two. */
export function median(samples: readonly number[]): number {
  if (samples.length === 0) throw new RangeError('no samples');
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/**
 * How far the samples lie from their median, as a part of it: the median of the distances, so that
 * one round that was disturbed does not count. 0.02 is two percent.
 */
export function spreadOf(samples: readonly number[]): number {
  const middle = median(samples);
  if (middle === 0) return 0;
  return median(samples.map((one) => Math.abs(one - middle))) / Math.abs(middle);
}

/**
 * How many times `yardstick` the samples are. Rounds that ran side by side are compared with each
 * other, since what disturbs one disturbs its neighbour too.
 */
export function ratioOf(samples: readonly number[], yardstick: readonly number[]): number {
  if (samples.length !== yardstick.length) return median(samples) / median(yardstick);
  return median(samples.map((one, i) => one / yardstick[i]!));
}
