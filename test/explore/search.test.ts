// Searching schedules, on machines so small that every schedule is known.

import { describe, expect, it } from 'vitest';
import { Scheduler } from '../../src/core/sched/scheduler.ts';
import { PREEMPT, type Task } from '../../src/core/sched/task.ts';
import { replay } from '../../src/explore/run-once.ts';
import { explore } from '../../src/explore/search.ts';
import { parseToken } from '../../src/explore/token.ts';
import type { Scenario, Search, SearchOptions } from '../../src/explore/types.ts';
import { EMBRACE, lostUpdate, type ToyOp, toyScenario } from './toy.ts';

function searched(scenario: Scenario, options: SearchOptions): Search {
  const search = explore(scenario, options);
  while (search.step());
  return search;
}

describe('every strategy', () => {
  const options: readonly SearchOptions[] = [
    { strategy: 'random' },
    { strategy: 'pct' },
    { strategy: 'mix' },
    { strategy: 'exhaustive' },
    { strategy: 'exhaustive', prune: false },
    { strategy: 'exhaustive', bound: 'iterative' },
  ];

  it.each(options)('finds a lost update, and its token shows it again: %o', (one) => {
    const scenario = toyScenario(lostUpdate());
    const { findings } = searched(scenario, { schedules: 500, ...one });
    expect(findings).toHaveLength(1);
    const { failure, schedule, token } = findings[0]!;
    expect(failure.kind).toBe('verify');
    expect(parseToken(scenario, token)).toEqual(schedule);
    expect(replay(scenario, parseToken(scenario, token)).failures).toEqual([failure]);
  });

  it.each(options)('finds a deadlock, with who waits for whom: %o', (one) => {
    const { findings } = searched(toyScenario(EMBRACE), { schedules: 500, ...one });
    expect(findings[0]?.failure.kind).toBe('deadlock');
    expect([...findings[0]!.failure.detail].sort()).toEqual([
      'T0 (op 1: lock) waits for mutex lock 1, held by T1',
      'T1 (op 5: lock) waits for mutex lock 0, held by T0',
    ]);
  });

  it.each(options)('finds nothing where nothing can go wrong: %o', (one) => {
    const guarded = [{ op: 'lock', lock: 0 }, ...lostUpdate().threads[0]!] as const;
    const thread = [...guarded, { op: 'unlock', lock: 0 }] as const;
    const toy = { name: 'guarded', threads: [thread, thread], wrong: sumIs2 };
    const search = searched(toyScenario(toy), { schedules: 500, ...one });
    expect(search.findings).toEqual([]);
    expect(search.complete).toBe(one.strategy === 'exhaustive');
  });
});

function sumIs2(variables: readonly number[]): string | null {
  return variables[0] === 2 ? null : `variable 0 is ${variables[0]}`;
}

describe('random schedules', () => {
  const all = { schedules: 60, keepGoing: true, outcomes: true } as const;

  it('are the same for the same seed, others for another', () => {
    const scenario = toyScenario(lostUpdate());
    const tokens = (seed: number): string[] =>
      searched(scenario, { ...all, seed }).findings.map(({ token }) => token);
    expect(tokens(7)).toEqual(tokens(7));
    expect(tokens(7)).not.toEqual(tokens(8));
  });

  it.each(['random', 'pct', 'mix'] as const)(
    'do not depend on how they are shared out: %s',
    (strategy) => {
      const scenario = toyScenario(lostUpdate());
      const found = ({ findings }: Search): unknown => findings;
      const whole = searched(scenario, { strategy, schedules: 60, keepGoing: true });
      const parts = [0, 20, 40].map((first) =>
        searched(scenario, { strategy, first, schedules: 20, keepGoing: true }),
      );
      const first = (search: Search): unknown => search.findings[0];
      expect(first(parts.find(({ findings }) => findings.length > 0)!)).toEqual(first(whole));
      expect(found(parts[0]!)).toEqual(whole.findings.filter(({ index }) => index < 20));
    },
  );

  it('begin with the ordinary run', () => {
    const scenario = toyScenario({ ...lostUpdate(), wrong: () => 'always' });
    const { findings, progress } = searched(scenario, { schedules: 500 });
    expect(findings[0]?.schedule.deviations).toEqual([]);
    expect(progress.runs).toBe(1);
  });

  it('count how the runs end', () => {
    const { outcomes } = searched(toyScenario(lostUpdate()), { ...all, schedules: 200 });
    expect(outcomes.reduce((sum, { count }) => sum + count, 0)).toBe(200);
    const endings = outcomes.map(({ state }) => (JSON.parse(state) as number[][])[0]![0]);
    expect([...new Set(endings)].sort()).toEqual([1, 2, 3]);
  });
});

describe('PCT', () => {
  const busy = (count: number): ToyOp[] =>
    Array.from({ length: count }, () => ({ op: 'add', to: 1, value: 1 }));
  /** T0 must be overtaken after its first step, and T1 must get through all of its own. */
  const early: readonly (readonly ToyOp[])[] = [
    [
      { op: 'add', to: 0, value: 1 },
      { op: 'load', from: 1, to: 0 },
      { op: 'store', to: 2, from: 0 },
    ],
    [...busy(40), { op: 'add', to: 0, value: 9 }, { op: 'store', to: 1, from: 0 }],
  ];
  /** T1 must be overtaken in the middle, which it comes to only if it goes before T0. */
  const late: readonly (readonly ToyOp[])[] = [
    [
      { op: 'load', from: 0, to: 0 },
      { op: 'store', to: 2, from: 0 },
    ],
    [
      ...busy(30),
      { op: 'add', to: 0, value: 9 },
      { op: 'store', to: 0, from: 0 },
      { op: 'add', to: 0, value: -9 },
      { op: 'store', to: 0, from: 0 },
      ...busy(30),
    ],
  ];

  it.each([
    ['early', early],
    ['late', late],
  ])(
    'finds a bug of two orderings soon, where random switching often does not: %s',
    (name, threads) => {
      const wrong = (variables: readonly number[]): string | null =>
        variables[2] === 9 ? 'the needle' : null;
      const scenario = toyScenario({ name, threads, wrong });
      const found = (strategy: 'pct' | 'random'): number => {
        let count = 0;
        for (let seed = 1; seed <= 20; seed++) {
          const options = { strategy, seed, depth: 2, schedules: 200 } as const;
          count += searched(scenario, options).findings.length;
        }
        return count;
      };
      expect(found('pct')).toBe(20);
      expect(found('random')).toBeLessThan(15);
    },
  );

  it('lets who fell last go on before who fell first, too', () => {
    const scenario: Scenario = {
      name: 'three',
      identity: 'three',
      operations: 0,
      cannotPrune: null,
      execute(run) {
        const scheduler = new Scheduler({ explorer: run.explorer });
        const log: string[] = [];
        for (const name of ['A', 'B', 'C']) scheduler.spawn(name, twice(scheduler, name, log));
        scheduler.runAll();
        return { failures: [], state: log.join(' '), points: run.points };
      },
    };
    const options = { strategy: 'pct', depth: 3, schedules: 1_000, outcomes: true } as const;
    const states = searched(scenario, options).outcomes.map(({ state }) => state);
    expect(states).toContain('A B C C B A');
    expect(states).toContain('A B C C A B');
  });
});

function* twice(scheduler: Scheduler, name: string, log: string[]): Task<void> {
  log.push(name);
  if (scheduler.overtaken('half way', 0)) yield PREEMPT;
  log.push(name);
}

describe('the self-check', () => {
  it('tells the first difference between two runs of the same schedule', () => {
    const scenario = toyScenario({ ...lostUpdate(), flaky: true, wrong: () => null });
    const { findings } = searched(scenario, { schedules: 20, selfCheck: true });
    expect(findings[0]?.failure.kind).toBe('nondeterminism');
    expect(findings[0]?.failure.detail[0]).toMatch(/^first: T0 ended op 0: load: done/);
  });

  it('has nothing to say of a deterministic machine', () => {
    const scenario = toyScenario({ ...lostUpdate(), wrong: () => null });
    expect(searched(scenario, { schedules: 50, selfCheck: true }).findings).toEqual([]);
  });
});

describe('options', () => {
  it.each([
    [{ seed: -1 }, 'seed is -1; expected a whole number from 0 on'],
    [{ seed: 0.5 }, 'seed is 0.5'],
    [{ schedules: Number.NaN }, 'schedules is NaN'],
    [{ depth: 0 }, 'depth is 0; expected a whole number from 1 on'],
    [{ bound: -1 }, 'bound is -1'],
    [{ faults: { sites: [] } }, 'faults.sites is empty'],
    [{ faults: { sites: ['ram'], most: 0 } }, 'faults.most is 0'],
  ] as const)('out of range are refused: %o', (options, message) => {
    expect(() => explore(toyScenario(EMBRACE), options)).toThrow(message);
  });
});
