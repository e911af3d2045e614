/** A figure: what was measured, what it is compared with, and what is asked of it. */
import { median, ratioOf, spreadOf } from './statistics.ts';

/** At least `bound` where more is better, at most where less is. */
export interface Target {
  readonly bound: number;
  /** The figure itself, or how many times its yardstick it is. */
  readonly on: 'value' | 'ratio';
}

/** What is known before anything is measured. */
export interface FigureSpec {
  readonly name: string;
  /** Written behind the number: "/s", " ns", " bytes". */
  readonly unit: string;
  readonly better: 'more' | 'less';
  /** Empty where nothing is asked. */
  readonly targets: readonly Target[];
  /** How it came about, for people. */
  readonly note: string;
}

export interface Series {
  readonly name: string;
  readonly samples: readonly number[];
}

/** What a measurement answers for one of its figures. */
export interface Sampled {
  /** Of the figure. */
  readonly name: string;
  readonly samples: readonly number[];
  readonly yardstick: Series | null;
  /** What only the run could tell, added to the note. */
  readonly detail?: string;
  /** Measured at a smaller size than the targets are about, so they do not apply. */
  readonly small?: boolean;
}

export interface Figure extends FigureSpec {
  /** Number of the target in the list that docs/performance.md explains, or "also". */
  readonly section: string;
  readonly samples: readonly number[];
  readonly median: number;
  /** Median distance from the median, as a part of it. */
  readonly spread: number;
  readonly yardstick: Series | null;
  readonly ratio: number | null;
  /** Null where nothing is asked. */
  readonly holds: boolean | null;
}

/** Throws where there are no samples, or a target is about a yardstick that is missing. */
export function makeFigure(section: string, given: FigureSpec, sampled: Sampled): Figure {
  const { samples, yardstick, detail, small = false } = sampled;
  const { name, unit, better } = given;
  const spec = { name, unit, better, targets: small ? [] : given.targets, note: given.note };
  const value = median(samples);
  const ratio = yardstick === null ? null : ratioOf(samples, yardstick.samples);
  const notes = [spec.note, ...(detail === undefined ? [] : [detail])];
  if (small) notes.push('SMALLER here than it says, so that no target applies');
  return {
    ...spec,
    note: notes.join('; '),
    section,
    samples,
    median: value,
    spread: spreadOf(samples),
    yardstick,
    ratio,
    holds: holdsOf(spec, value, ratio),
  };
}

function holdsOf(spec: FigureSpec, value: number, ratio: number | null): boolean | null {
  if (spec.targets.length === 0) return null;
  return spec.targets.every(({ bound, on }) => {
    const got = on === 'value' ? value : ratio;
    if (got === null) throw new Error(`${spec.name}: a target on a ratio to nothing`);
    return spec.better === 'more' ? got >= bound : got <= bound;
  });
}
