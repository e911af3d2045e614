// Failing schedules become small, and stay the same failure.

import { describe, expect, it } from 'vitest';
import { replay } from '../../src/explore/run-once.ts';
import { explore } from '../../src/explore/search.ts';
import { shrink } from '../../src/explore/shrink.ts';
import { ORDINARY } from '../../src/explore/token.ts';
import type { FoundFailure, Scenario, SearchOptions } from '../../src/explore/types.ts';
import { EMBRACE, lostUpdate, type Toy, type ToyOp, toyScenario } from './toy.ts';

function found(scenario: Scenario, options: SearchOptions): FoundFailure {
  const search = explore(scenario, options);
  while (search.step());
  return search.findings[0]!;
}

const noise: readonly ToyOp[] = [
  { op: 'load', from: 1, to: 1 },
  { op: 'add', to: 1, value: 5 },
  { op: 'store', to: 2, from: 1 },
  { op: 'load', from: 2, to: 1 },
];

describe('shrinking', () => {
  const noisy: Toy = {
    ...lostUpdate(noise),
    // Only what the race is about counts, whatever was left out.
    wrong: ([value]) => (value === 1 || value === 2 ? `variable 0 is ${value}` : null),
  };

  it.each([1, 2, 3, 4, 5])('leaves out what has no part in it (seed %i)', (seed) => {
    const scenario = toyScenario(noisy);
    const { schedule, failure } = found(scenario, { strategy: 'random', seed });
    const shrunk = shrink(scenario, schedule, failure.kind)!;
    // One thread's addition alone makes 1 or 2, in any order: that would be no race any more.
    const { omitted } = shrunk.schedule;
    expect(omitted.length).toBe(scenario.operations - 5);
    expect(replay(scenario, { ...ORDINARY, omitted }).failures).toEqual([]);
    expect(shrunk.schedule.deviations).toHaveLength(1);
    expect(replay(scenario, shrunk.schedule).failures[0]).toEqual(shrunk.failure);
  });

  it.each([1, 2, 3, 4, 5])('keeps the fewest switches, as early as can be (seed %i)', (seed) => {
    const scenario = { ...toyScenario(lostUpdate(noise)), operations: 0 };
    const { schedule, failure } = found(scenario, { strategy: 'random', seed });
    const shrunk = shrink(scenario, schedule, failure.kind)!;
    expect(shrunk.schedule.deviations).toHaveLength(1);
    expect(shrunk.failure.kind).toBe('verify');
    const { position } = shrunk.schedule.deviations[0]!;
    for (let earlier = 0; earlier < position; earlier++) {
      const deviations = [{ position: earlier, alternative: 1 }];
      expect(replay(scenario, { ...ORDINARY, deviations }).failures).toEqual([]);
    }
  });

  it('keeps the kind of failure', () => {
    const scenario = toyScenario(EMBRACE);
    const { schedule, failure } = found(scenario, { strategy: 'random' });
    const shrunk = shrink(scenario, schedule, failure.kind)!;
    expect(shrunk.failure.kind).toBe('deadlock');
    // One thread keeps the lock that the other wants for a moment: it hangs if the keeper goes first.
    const { omitted } = shrunk.schedule;
    expect(replay(scenario, { ...ORDINARY, omitted }).failures).toEqual([]);
    expect(omitted).toEqual([0, 3, 5, 6, 7]);
  });

  it('is deterministic and bounded', () => {
    const scenario = toyScenario(noisy);
    const { schedule, failure } = found(scenario, { strategy: 'random', seed: 9 });
    const shrunk = shrink(scenario, schedule, failure.kind);
    expect(shrink(scenario, schedule, failure.kind)).toEqual(shrunk);
    expect(shrink(scenario, schedule, failure.kind, { runs: 10 })!.runs).toBeLessThanOrEqual(12);
  });

  it('cuts a lockstep tail down to where it begins to matter', () => {
    const spin: readonly ToyOp[] = [{ op: 'spin', until: 0, value: 1 }];
    const scenario = toyScenario({
      name: 'mutual',
      threads: [
        [...noise, ...spin],
        [...noise, ...spin],
      ],
    });
    const limits = { mostPoints: 300, livelockPoints: 100 };
    const { schedule, failure } = found(scenario, { strategy: 'random', ...limits });
    expect(failure.kind).toBe('livelock');
    const shrunk = shrink(scenario, schedule, 'livelock', limits)!;
    expect(shrunk.schedule.deviations).toEqual([]);
    expect(shrunk.schedule.omitted).toHaveLength(scenario.operations - 1);
  });

  it('answers null for a schedule that does not fail', () => {
    expect(shrink(toyScenario(EMBRACE), ORDINARY, 'deadlock')).toBeNull();
  });
});
