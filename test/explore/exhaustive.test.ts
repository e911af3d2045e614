// Exhaustive search visits every outcome, with pruning and without.

import { describe, expect, it } from 'vitest';
import { Random } from '../../src/explore/random.ts';
import { explore } from '../../src/explore/search.ts';
import type { Scenario, Search, SearchOptions } from '../../src/explore/types.ts';
import { lostUpdate, type Toy, type ToyOp, toyScenario } from './toy.ts';

function searched(scenario: Scenario, options: SearchOptions): Search {
  const search = explore(scenario, {
    strategy: 'exhaustive',
    keepGoing: true,
    outcomes: true,
    ...options,
  });
  while (search.step());
  return search;
}

function endings({ outcomes }: Search): string[] {
  return outcomes.map(({ state }) => state).sort();
}

/** The number of ways to interleave threads of so many steps. */
function interleavings(steps: readonly number[]): number {
  let ways = 1;
  let done = 0;
  for (const count of steps) {
    for (let i = 1; i <= count; i++) ways = (ways * ++done) / i;
  }
  return Math.round(ways);
}

describe('without pruning', () => {
  it.each([
    [1, 1],
    [2, 2],
    [3, 3],
    [4, 3],
    [2, 2, 2],
  ])('runs each interleaving once: %o %o', (...steps: (number | undefined)[]) => {
    const counts = steps.filter((count) => count !== undefined);
    const threads = counts.map((count) =>
      Array.from({ length: count }, (): ToyOp => ({ op: 'add', to: 0, value: 1 })),
    );
    const search = searched(toyScenario({ name: 'steps', threads }), { prune: false });
    expect(search.complete).toBe(true);
    expect(search.progress.runs).toBe(interleavings(counts));
  });
});

/** Random threads of up to `steps` steps that use three variables and a lock. */
function randomToy(seed: number, threads: number, steps: number): Toy {
  const random = new Random(seed, threads);
  const draw = (): ToyOp => {
    switch (random.below(5)) {
      case 0:
      case 1:
        return { op: 'load', from: random.below(3), to: random.below(2) };
      case 2:
      case 3:
        return { op: 'store', to: random.below(3), from: random.below(2) };
      default:
        return { op: 'add', to: random.below(2), value: 1 + random.below(3) };
    }
  };
  const thread = (): ToyOp[] => {
    const ops = Array.from({ length: 1 + random.below(steps) }, draw);
    if (ops.length < 3 || random.below(3) > 0) return ops;
    // A stretch of it under a lock.
    const from = random.below(ops.length - 1);
    return [
      ...ops.slice(0, from),
      { op: 'lock', lock: 0 },
      ...ops.slice(from, from + 2),
      { op: 'unlock', lock: 0 },
      ...ops.slice(from + 2),
    ];
  };
  return { name: `toy ${seed}`, threads: Array.from({ length: threads }, thread) };
}

describe('pruning', () => {
  it('keeps every outcome of two threads of up to six steps', () => {
    let cut = 0;
    for (let seed = 0; seed < 120; seed++) {
      const scenario = toyScenario(randomToy(seed, 2, 4));
      const brute = searched(scenario, { prune: false });
      const pruned = searched(scenario, {});
      expect(endings(pruned), scenario.identity).toEqual(endings(brute));
      expect(pruned.progress.runs).toBeLessThanOrEqual(brute.progress.runs);
      cut += brute.progress.runs - pruned.progress.runs;
    }
    expect(cut).toBeGreaterThan(1_000);
  });

  it('keeps every outcome of three threads', () => {
    for (let seed = 0; seed < 40; seed++) {
      const scenario = toyScenario(randomToy(seed, 3, 2));
      const brute = searched(scenario, { prune: false });
      expect(endings(searched(scenario, {})), scenario.identity).toEqual(endings(brute));
    }
  });

  it.each([0, 1, 2])('keeps every outcome within a bound of %i', (bound) => {
    for (let seed = 0; seed < 60; seed++) {
      const scenario = toyScenario(randomToy(seed, 2, 4));
      const brute = searched(scenario, { bound, prune: false });
      expect(endings(searched(scenario, { bound })), scenario.identity).toEqual(endings(brute));
    }
  });

  it('would lose outcomes if threads did not say what they carry', () => {
    // Variable 0 is 1 for a while; whether T0 saw that only its register tells.
    const toy: Toy = {
      name: 'for a while',
      threads: [
        [
          { op: 'load', from: 0, to: 0 },
          { op: 'store', to: 1, from: 0 },
        ],
        [
          { op: 'add', to: 0, value: 1 },
          { op: 'store', to: 0, from: 0 },
          { op: 'add', to: 0, value: -1 },
          { op: 'store', to: 0, from: 0 },
          { op: 'add', to: 1, value: 5 },
          { op: 'store', to: 1, from: 1 },
        ],
      ],
    };
    const all = endings(searched(toyScenario(toy), { prune: false }));
    expect(endings(searched(toyScenario(toy), {}))).toEqual(all);
    const lossy = endings(searched(toyScenario({ ...toy, forgetful: true }), {}));
    expect(lossy.length).toBeLessThan(all.length);
  });

  it('is not done, and says why, where a state cannot be told', () => {
    const scenario = { ...toyScenario(lostUpdate()), cannotPrune: 'nobody knows' };
    const search = searched(scenario, {});
    expect(search.notes).toEqual(['equal states are not recognised: nobody knows']);
    expect(search.progress.cut).toBe(0);
    expect(search.complete).toBe(true);
  });
});

describe('a preemption bound', () => {
  it('of 0 runs every order of whole threads', () => {
    const search = searched(toyScenario(lostUpdate()), { bound: 0, prune: false });
    expect(search.progress.runs).toBe(2);
    expect(search.findings).toEqual([]);
  });

  it('of 1 finds what needs one', () => {
    const { findings } = searched(toyScenario(lostUpdate()), { bound: 1 });
    expect(findings.length).toBeGreaterThan(0);
  });

  it('grows until nothing is cut off', () => {
    const scenario = toyScenario(lostUpdate());
    const search = searched(scenario, { bound: 'iterative', prune: false });
    expect(search.complete).toBe(true);
    expect(search.progress.bound).toBe(4);
    expect(endings(search)).toEqual(endings(searched(scenario, { prune: false })));
  });
});

describe('a machine that is not deterministic', () => {
  it('is told, and not searched any further', () => {
    const scenario = toyScenario(lostUpdate());
    let runs = 0;
    const moody: Scenario = {
      ...scenario,
      execute: (run) =>
        (runs++ % 2 === 0
          ? scenario
          : toyScenario({ name: 'other', threads: [[], [], []] })
        ).execute(run),
    };
    const search = explore(moody, { strategy: 'exhaustive', prune: false });
    while (search.step());
    expect(search.findings[0]?.failure.kind).toBe('nondeterminism');
    expect(search.findings[0]?.failure.message).toMatch(
      /^decision 0 had 2 alternatives and has 3 under the same schedule$/,
    );
  });
});
