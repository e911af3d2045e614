// Whatever two CPUs of a real kernel made of a program, the search finds possible.

import { describe, expect, it } from 'vitest';
import {
  type KernelOutcome,
  missingOutcomes,
  type OutcomeCase,
  outcomeCases,
  outcomesOf,
  type Results,
  resultsText,
  startSearch,
} from '../../bench/outcome-rows.ts';
import type { Search } from '../../src/explore/index.ts';

const CASES = outcomeCases();
const NAMES = CASES.map(({ kernel }) => kernel.program);
const LIMIT_MS = 60_000;

/** Threads that keep each other from a page make many schedules: with so many preemptions only. */
const BOUNDS: ReadonlyMap<string, number> = new Map([
  ['two-faults', 2],
  ['two-owners', 2],
]);

/** Without pruning a run that goes round in circles is to end soon. */
const SHORT = { bound: 2, mostPoints: 400, livelockPoints: 200 } as const;

function caseOf(name: string): OutcomeCase {
  return CASES.find(({ kernel }) => kernel.program === name)!;
}

function searched(one: OutcomeCase, options: Parameters<typeof startSearch>[1]): Search {
  const search = startSearch(one, options);
  while (search.step());
  expect(search.complete).toBe(true);
  return search;
}

function texts(outcomes: readonly KernelOutcome[]): string[] {
  return outcomes.map(({ results }) => resultsText(results));
}

describe('outcomes of a kernel on two CPUs', () => {
  it('are recorded for twelve programs, ten of them without an exemption', () => {
    expect(CASES).toHaveLength(12);
    const whole = CASES.filter(({ kernel }) => kernel.outcomes.every((one) => !one.exempt));
    expect(whole).toHaveLength(10);
    for (const { kernel } of CASES) {
      const counted = kernel.outcomes.reduce((sum, { count }) => sum + count, 0);
      expect(counted, kernel.program).toBe(kernel.runs);
    }
  });

  it.each(NAMES)(
    '%s: each is among ours',
    (name) => {
      const one = caseOf(name);
      const search = searched(one, { bound: BOUNDS.get(name) ?? null });
      const missing = missingOutcomes(one, outcomesOf(one, search));
      // An exemption that is no longer needed is to go.
      const exempt = one.kernel.outcomes.filter((outcome) => outcome.exempt !== undefined);
      expect(texts(missing)).toEqual(texts(exempt));
    },
    LIMIT_MS,
  );

  it.each(NAMES.filter((name) => !BOUNDS.has(name)))(
    '%s: none of ours is lost by leaving out states seen before',
    (name) => {
      const one = caseOf(name);
      const endings = (prune: boolean): string[] =>
        [...outcomesOf(one, searched(one, { ...SHORT, prune })).keys()].sort();
      expect(endings(true)).toEqual(endings(false));
    },
    LIMIT_MS,
  );

  it('tells of an outcome that is none of ours', () => {
    const one = caseOf('mprotect-vs-dev-write');
    const found = outcomesOf(one, searched(one, { bound: 1 }));
    const [first, ...others] = one.kernel.outcomes;
    const results = { ...first!.results, r2: { data: [50, 102] } };
    const changed = { ...one, kernel: { ...one.kernel, outcomes: [{ ...first!, results }] } };
    expect(texts(missingOutcomes(changed, found))).toEqual([resultsText(results)]);
    expect(others).toHaveLength(2);
  });

  it('takes no sound outcome for one that read freed memory', () => {
    const one = caseOf('device-vs-device');
    const found = outcomesOf(one, searched(one, {}));
    const freed = one.kernel.outcomes.filter((outcome) => outcome.freed !== undefined);
    const wordOf = ({ r2 }: Results): string => String((r2 as { data?: unknown }).data);
    expect(freed).toHaveLength(1);
    const sound = new Map([...found].filter(([, { results }]) => wordOf(results) !== '0'));
    expect(missingOutcomes(one, sound)).toEqual(freed);
  });
});
