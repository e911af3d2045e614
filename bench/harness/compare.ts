/** Two runs side by side. */
import type { BenchDocument } from './document.ts';
import type { Figure } from './figure.ts';
import { median } from './statistics.ts';

export interface Comparison {
  readonly name: string;
  /** Times better than the old one: 1.2 is a fifth more a second, or 1.2 times less of a cost. */
  readonly better: number;
  /** How many times the old yardstick the new one is: what the machine did. Null without one. */
  readonly yardstick: number | null;
  /** The change is greater than what either run spread. */
  readonly certain: boolean;
}

export interface ComparedRuns {
  readonly figures: readonly Comparison[];
  /** Names that only one of them has. */
  readonly added: readonly string[];
  readonly gone: readonly string[];
  /** Why the two should not be compared; empty if nothing speaks against it. */
  readonly doubts: readonly string[];
}

/** Samples are this many times their spread apart before a change counts as one. */
const CERTAIN = 3;
/** No figure is taken to spread less. */
const SPREAD_MIN = 0.005;

export function compareRuns(before: BenchDocument, after: BenchDocument): ComparedRuns {
  const known = new Map(before.figures.map((one) => [one.name, one]));
  const figures = after.figures.flatMap((one) => {
    const old = known.get(one.name);
    return old === undefined || old.unit !== one.unit ? [] : [compareFigures(old, one)];
  });
  const compared = new Set(figures.map(({ name }) => name));
  const others = ({ name }: Figure): boolean => !compared.has(name);
  const doubts: string[] = [];
  for (const what of ['node', 'processor', 'cores', 'quick'] as const) {
    if (before[what] !== after[what]) doubts.push(`${what}: ${before[what]}, now ${after[what]}`);
  }
  return {
    figures,
    added: after.figures.filter(others).map(({ name }) => name),
    gone: before.figures.filter(others).map(({ name }) => name),
    doubts,
  };
}

function compareFigures(before: Figure, after: Figure): Comparison {
  const change = quotient(after.median, before.median);
  const spread = Math.max(before.spread, after.spread, SPREAD_MIN);
  const old = before.yardstick;
  const now = after.yardstick;
  return {
    name: after.name,
    better: after.better === 'more' ? change : 1 / change,
    yardstick:
      old === null || now === null || old.name !== now.name
        ? null
        : quotient(median(now.samples), median(old.samples)),
    certain: Math.abs(change - 1) > CERTAIN * spread,
  };
}

function quotient(a: number, b: number): number {
  return a === b ? 1 : a / b;
}
