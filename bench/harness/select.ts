/** Which measurements --only means. */
import { UsageError } from './options.ts';
import type { Measurement } from './types.ts';

/** Measurements to run, and the names of their figures to show. */
export type Choice = readonly {
  readonly measurement: Measurement;
  readonly names: ReadonlySet<string>;
}[];

/**
 * A part of a measurement's name chooses all of its figures, a part of a figure's name that one; no
 * parts choose everything. Throws a `UsageError` for a part that no name has.
 */
export function choose(suite: readonly Measurement[], parts: readonly string[]): Choice {
  const wanted = parts.map((part) => part.toLowerCase());
  const used = new Set<string>();
  const has = (name: string): boolean => {
    const found = wanted.filter((part) => name.toLowerCase().includes(part));
    for (const part of found) used.add(part);
    return found.length > 0;
  };
  const choice = suite.map((measurement) => {
    const all = wanted.length === 0 || has(measurement.name);
    const names = measurement.figures.map(({ name }) => name).filter((name) => has(name) || all);
    return { measurement, names: new Set(names) };
  });
  const unknown = wanted.find((part) => !used.has(part));
  if (unknown !== undefined) {
    const names = suite.map(({ name }) => name).join(', ');
    throw new UsageError(`--only ${unknown}: no such name; measurements are ${names}`);
  }
  return choice.filter(({ names }) => names.size > 0);
}
