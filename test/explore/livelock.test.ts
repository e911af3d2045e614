// Nobody gets anywhere: everybody's fault, or only an unfair schedule's.

import { describe, expect, it } from 'vitest';
import { Scheduler } from '../../src/core/sched/scheduler.ts';
import { RESCHEDULE, type Task } from '../../src/core/sched/task.ts';
import { replay } from '../../src/explore/run-once.ts';
import { explore } from '../../src/explore/search.ts';
import { ORDINARY } from '../../src/explore/token.ts';
import type { Scenario, Search, SearchOptions } from '../../src/explore/types.ts';
import { type Toy, type ToyOp, toyScenario } from './toy.ts';

const limits = { mostPoints: 500, livelockPoints: 200 };

function searched(scenario: Scenario, options: SearchOptions): Search {
  const search = explore(scenario, { ...limits, ...options });
  while (search.step());
  return search;
}

/** T0 waits, without sleeping, for what T1 does last. */
const fair: Toy = {
  name: 'spin',
  threads: [
    [{ op: 'spin', until: 0, value: 1 }],
    [
      { op: 'add', to: 0, value: 1 },
      { op: 'store', to: 0, from: 0 },
    ],
  ],
};

/** Each waits for what the other would do after it. */
const mutual: Toy = {
  name: 'mutual',
  threads: [0, 1].map((t): readonly ToyOp[] => [
    { op: 'spin', until: 1 - t, value: 1 },
    { op: 'add', to: 0, value: 1 },
    { op: 'store', to: t, from: 0 },
  ]),
};

describe('livelock', () => {
  it.each(['random', 'pct', 'mix', 'exhaustive'] as const)('is found: %s', (strategy) => {
    const { findings } = searched(toyScenario(mutual), { strategy, schedules: 20 });
    const { failure, schedule } = findings[0]!;
    expect(failure.kind).toBe('livelock');
    expect(failure.message).toMatch(
      /^nobody gets anywhere: T0 \(op 0: spin\) and T1 \(op 3: spin\) repeat the same$/,
    );
    expect(failure.detail[0]).toMatch(/^no operation ended for \d+ points/);
    expect(failure.detail[1]).toMatch(/^T0 \(op 0: spin\) repeats spins \(\d+ times\)$/);
    expect(schedule.lockstep).not.toBeNull();
  });

  it('shows again under its schedule', () => {
    const scenario = toyScenario(mutual);
    const { schedule } = searched(scenario, { strategy: 'random' }).findings[0]!;
    expect(replay(scenario, schedule, limits).failures[0]?.kind).toBe('livelock');
    expect(replay(scenario, { ...ORDINARY, lockstep: 0 }, limits).failures[0]?.kind).toBe(
      'livelock',
    );
  });

  it('is also that all only ever let others go first', () => {
    function* politely(): Task<void> {
      while (true) yield RESCHEDULE;
    }
    const scenario: Scenario = {
      ...toyScenario(mutual),
      execute(run) {
        const scheduler = new Scheduler({ explorer: run.explorer });
        for (const name of ['T0', 'T1']) scheduler.spawn(name, politely());
        scheduler.runAll();
        return { failures: [], state: '', points: run.points };
      },
    };
    expect(replay(scenario, ORDINARY, limits).failures[0]).toMatchObject({
      kind: 'livelock',
      message: 'nobody gets anywhere: T0 and T1 repeat the same',
    });
  });

  it('of one thread alone is found', () => {
    const scenario = toyScenario({ ...fair, threads: [fair.threads[0]!] });
    expect(replay(scenario, ORDINARY, limits).failures[0]?.message).toMatch(
      /^nobody gets anywhere: T0 \(op 0: spin\) repeats the same/,
    );
  });

  it.each(['random', 'pct', 'mix'] as const)(
    'is not what an unfair schedule does: %s',
    (strategy) => {
      const { findings } = searched(toyScenario(fair), { strategy, schedules: 300 });
      expect(findings).toEqual([]);
    },
  );
});

describe('starvation', () => {
  it('is an unfair schedule, for those who want to know', () => {
    const scenario = toyScenario(fair);
    expect(replay(scenario, ORDINARY, limits).failures).toEqual([]);
    const { findings } = searched(scenario, { strategy: 'random', starvation: true });
    const { failure, token } = findings[0]!;
    expect(failure.kind).toBe('starvation');
    expect(failure.message).toMatch(
      /^after 501 points T0 \(op 0: spin\) still runs while others wait for their turn: T1/,
    );
    expect(token).toMatch(/-s/);
  });
});
