/** Does memory stay flat? */

export interface Sample {
  readonly seconds: number;
  /** Heap in use and array buffers after a collection, in bytes. */
  readonly bytes: number;
}

export interface Verdict {
  /** Bytes a minute, by the line that lies closest to the samples after the warm-up. */
  readonly bytesPerMinute: number;
  /** By how much that line rises over those samples, in bytes. */
  readonly growth: number;
  readonly allowed: number;
  readonly flat: boolean;
}

/** The first part of a run, in which pools and caches fill, and how many seconds that takes at least. */
const WARM_UP = 0.25;
const WARM_UP_SECONDS = 60;
const SAMPLES_MIN = 4;
/** What a flat run may seem to grow by: a collection leaves now more, now less. */
const NOISE_BYTES: number = 12 * 1024 * 1024;
const NOISE_PART = 0.05;

/** Null where there are too few samples to say anything. */
export function verdictOf(samples: readonly Sample[]): Verdict | null {
  const last = samples.at(-1);
  if (last === undefined) return null;
  const warm = Math.max(WARM_UP_SECONDS, last.seconds * WARM_UP);
  const judged = samples.filter(({ seconds }) => seconds >= warm);
  if (judged.length < SAMPLES_MIN) return null;
  const mean = (values: readonly number[]): number =>
    values.reduce((sum, value) => sum + value, 0) / values.length;
  const meanSeconds = mean(judged.map(({ seconds }) => seconds));
  const meanBytes = mean(judged.map(({ bytes }) => bytes));
  let above = 0;
  let below = 0;
  for (const { seconds, bytes } of judged) {
    above += (seconds - meanSeconds) * (bytes - meanBytes);
    below += (seconds - meanSeconds) ** 2;
  }
  const bytesPerSecond = below === 0 ? 0 : above / below;
  const growth = bytesPerSecond * (last.seconds - judged[0]!.seconds);
  const allowed = Math.max(NOISE_BYTES, meanBytes * NOISE_PART);
  return { bytesPerMinute: bytesPerSecond * 60, growth, allowed, flat: growth <= allowed };
}
