// A machine of a few variables and locks, small enough to know every schedule of it.

import { Mutex } from '../../src/core/sched/locks.ts';
import { Scheduler } from '../../src/core/sched/scheduler.ts';
import { PREEMPT, type Task } from '../../src/core/sched/task.ts';
import type { RunContext, Scenario, Verdict } from '../../src/explore/types.ts';

export type ToyOp =
  | { readonly op: 'load'; readonly from: number; readonly to: number }
  | { readonly op: 'store'; readonly to: number; readonly from: number }
  | { readonly op: 'add'; readonly to: number; readonly value: number }
  | { readonly op: 'lock'; readonly lock: number }
  | { readonly op: 'unlock'; readonly lock: number }
  | { readonly op: 'spin'; readonly until: number; readonly value: number };

export interface Toy {
  readonly name: string;
  readonly threads: readonly (readonly ToyOp[])[];
  /** Variables that must not end so. */
  readonly wrong?: (variables: readonly number[]) => string | null;
  readonly variables?: number;
  /** Leaves what the threads carry out of the points: pruning is then wrong. */
  readonly forgetful?: boolean;
  /** Its answers do not depend on the schedule alone. */
  readonly flaky?: boolean;
}

let flakes = 0;

/** Each operation is one step; before each but a thread's first it may be overtaken. */
export function toyScenario(toy: Toy): Scenario {
  const numbered = numberedOps(toy);
  return {
    name: toy.name,
    identity: JSON.stringify([toy.name, toy.threads]),
    operations: numbered.reduce((sum, ops) => sum + ops.length, 0),
    cannotPrune: null,
    execute: (run) => executeToy(toy, numbered, run),
  };
}

type Numbered = readonly (readonly { readonly index: number; readonly op: ToyOp }[])[];

function numberedOps({ threads }: Toy): Numbered {
  let index = 0;
  return threads.map((ops) => ops.map((op) => ({ index: index++, op })));
}

function executeToy(toy: Toy, threads: Numbered, run: RunContext): Verdict {
  const scheduler = new Scheduler({ explorer: run.explorer });
  const variables = new Array<number>(toy.variables ?? 3).fill(0);
  const locks = [new Mutex(scheduler, 'lock 0'), new Mutex(scheduler, 'lock 1')];
  run.watch((hash) => {
    for (const value of variables) hash.add(value);
    for (const lock of locks) {
      hash.add(lock.holder?.id ?? -1);
      for (const { id } of lock.waiting) hash.add(id);
      hash.add(-2);
    }
  });
  const registers = threads.map(() => [0, 0]);
  threads.forEach((ops, t) => {
    const left = ops.filter(({ index }) => !run.omitted.has(index));
    const task = toyThread({ toy, scheduler, variables, locks, run }, left, registers[t]!);
    scheduler.spawn(`T${t}`, task);
  });
  scheduler.runAll();
  const state = JSON.stringify([variables, registers]);
  const wrong = toy.wrong?.(variables) ?? null;
  const failures = wrong === null ? [] : [{ kind: 'verify', message: wrong, detail: [] } as const];
  return { failures, state, points: run.points };
}

interface ToyState {
  readonly toy: Toy;
  readonly scheduler: Scheduler;
  readonly variables: number[];
  readonly locks: readonly Mutex[];
  readonly run: RunContext;
}

function* toyThread(
  { toy, scheduler, variables, locks, run }: ToyState,
  ops: Numbered[number],
  registers: number[],
): Task<void> {
  const thread = scheduler.current;
  for (let i = 0; i < ops.length; i++) {
    const { index, op } = ops[i]!;
    thread.doing = `op ${index}: ${op.op}`;
    const local = toy.forgetful ? 0 : registers[0]! * 31 + registers[1]!;
    if (i > 0 && scheduler.overtaken(`before ${op.op}`, local)) yield PREEMPT;
    if (op.op === 'load') registers[op.to] = variables[op.from]!;
    else if (op.op === 'store') variables[op.to] = registers[op.from]!;
    else if (op.op === 'add') registers[op.to] = registers[op.to]! + op.value;
    else if (op.op === 'spin') {
      while (variables[op.until] !== op.value) {
        if (scheduler.overtaken('spins', 0)) yield PREEMPT;
      }
    } else if (op.op === 'lock') yield* locks[op.lock]!.lock();
    else if (locks[op.lock]!.holder === thread) locks[op.lock]!.unlock();
    const flake = toy.flaky ? flakes++ : 0;
    run.ended(thread, flake === 0 ? 'done' : `done ${flake}`);
  }
}

/** Two threads add to a variable, each by a load, an addition and a store: one may be lost. */
export function lostUpdate(extra: readonly ToyOp[] = []): Toy {
  const increment = (value: number): readonly ToyOp[] => [
    { op: 'load', from: 0, to: 0 },
    { op: 'add', to: 0, value },
    { op: 'store', to: 0, from: 0 },
  ];
  return {
    name: 'lost update',
    threads: [
      [...extra, ...increment(1)],
      [...increment(2), ...extra],
    ],
    wrong: (variables) => (variables[0] === 3 ? null : `variable 0 is ${variables[0]}`),
  };
}

/** Two threads take two locks in opposite orders. */
export const EMBRACE: Toy = {
  name: 'deadly embrace',
  threads: [
    [
      { op: 'lock', lock: 0 },
      { op: 'lock', lock: 1 },
      { op: 'unlock', lock: 1 },
      { op: 'unlock', lock: 0 },
    ],
    [
      { op: 'lock', lock: 1 },
      { op: 'lock', lock: 0 },
      { op: 'unlock', lock: 0 },
      { op: 'unlock', lock: 1 },
    ],
  ],
};
