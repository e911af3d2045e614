import type { FigureSpec, Sampled } from './figure.ts';
import type { Context } from './measure.ts';

/** What the process of a measurement prints. */
export interface ChildAnswer {
  readonly sampled: readonly Sampled[];
  /** The part of its time in which other programs had the processor it was ready for. */
  readonly waited: number;
}

/** Figures that come of one run. Each runs in a process of its own, so that none disturbs another. */
export interface Measurement {
  /** For --only, and to name it to the process that runs it. */
  readonly name: string;
  /** Number of the target, or "also". */
  readonly section: string;
  readonly figures: readonly FigureSpec[];
  /** Run it on one processor, helpers of the JavaScript engine included. */
  readonly oneCore?: boolean;
  /** One answer for each of `figures`. */
  run(context: Context): Promise<Sampled[]> | Sampled[];
}
