/** Measuring: rounds that take turns, each on a clean heap, timed without the time others took. */
import { readFileSync } from 'node:fs';

export interface Context {
  /** How many samples of each thing; long measurements take fewer. */
  readonly rounds: number;
  /** Smaller sizes, for a first look; figures that need the full size have no target then. */
  readonly quick: boolean;
}

/** One sample: a rate, a cost, a size. */
export type Round = () => number | Promise<number>;

/**
 * Samples of several things in turn: A B C, C B A, A B C, … so that neither what happens to the
 * machine meanwhile nor who goes first favours one of them. `warmUps` turns come first and do not
 * count.
 */
export async function interleave<Name extends string>(
  rounds: number,
  things: Readonly<Record<Name, Round>>,
  warmUps = 2,
): Promise<Record<Name, number[]>> {
  const names = Object.keys(things) as Name[];
  const samples = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<
    Name,
    number[]
  >;
  for (let round = -warmUps; round < rounds; round++) {
    const turn = round % 2 === 0 ? names : names.toReversed();
    for (const name of turn) {
      collectYoung();
      const sample = await things[name]();
      if (round >= 0) samples[name].push(sample);
    }
  }
  return samples;
}

export function collectGarbage(): void {
  theCollector()();
}

/**
 * What a sample left behind is not the next one's. Only young objects: in a full collection V8 also throws away
 * code for kinds of objects of which there is none just then, and would compile in the midst of the next sample.
 */
function collectYoung(): void {
  theCollector()({ type: 'minor' });
}

function theCollector(): NonNullable<typeof globalThis.gc> {
  if (globalThis.gc === undefined) throw new Error('start node with --expose-gc');
  return globalThis.gc;
}

/**
 * Seconds that `work` takes, less those in which this thread was ready and another program had the
 * processor (Linux tells; elsewhere it is the time on the clock).
 */
export function secondsOf(work: () => void): number {
  const waited = waitedSeconds();
  const start = performance.now();
  work();
  const seconds = (performance.now() - start) / 1000;
  const waiting = waitedSeconds() - waited;
  return waiting < seconds ? seconds - waiting : seconds;
}

/** Things a second. */
export function rateOf(count: number, work: () => void): number {
  return count / secondsOf(work);
}

/** Nanoseconds each. */
export function costOf(count: number, work: () => void): number {
  return (secondsOf(work) * 1e9) / count;
}

const SCHEDSTAT = '/proc/thread-self/schedstat';
let hasSchedstat = true;

/** Seconds that this thread was ready and had to wait for a processor, since it began. */
export function waitedSeconds(): number {
  if (!hasSchedstat) return 0;
  try {
    // On the processor, waiting for it (both in ns), turns.
    return Number(readFileSync(SCHEDSTAT, 'latin1').split(' ')[1]) / 1e9;
  } catch {
    hasSchedstat = false;
    return 0;
  }
}

/** Heap and array buffers, after what is garbage has gone. */
export function bytesInUse(): number {
  for (let i = 0; i < 3; i++) collectGarbage();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
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

/** Spreads whole numbers evenly over 32 bits, always the same: the finalizer of MurmurHash3. */
export function scrambled(i: number): number {
  let h = i + 0x9e3779b9;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
