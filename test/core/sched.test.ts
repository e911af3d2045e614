import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EventQueue } from '../../src/core/sched/event-queue.ts';
import { Scheduler, type Strategy } from '../../src/core/sched/scheduler.ts';
import { Delay, RESCHEDULE, type Task, type Wait } from '../../src/core/sched/task.ts';
import { WaitQueue } from '../../src/core/sched/wait-queue.ts';
import { codeOf, fail, later, sleep } from './tasks.ts';

describe('EventQueue', () => {
  it('gives items by time, and at equal times in the order they were pushed', () => {
    const times = fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 200 });
    fc.assert(
      fc.property(times, (pushed) => {
        const queue = new EventQueue<number>();
        for (const [seq, time] of pushed.entries()) queue.push(time, seq);
        const popped = pushed.map(() => queue.pop());
        // Array.prototype.sort is stable.
        const expected = [...pushed.keys()].sort((a, b) => pushed[a]! - pushed[b]!);
        expect(popped).toEqual(expected);
        expect(queue.pop()).toBeUndefined();
      }),
    );
  });

  it('keeps that order while items come and go', () => {
    const step = fc.oneof(
      fc.record({ push: fc.integer({ min: 0, max: 9 }) }),
      fc.constant({ push: null }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const queue = new EventQueue<number>();
        const model: { time: number; seq: number }[] = [];
        for (const [seq, { push }] of steps.entries()) {
          if (push === null) expect(queue.pop()).toBe(model.shift()?.seq);
          else {
            queue.push(push, seq);
            model.push({ time: push, seq });
            model.sort((a, b) => a.time - b.time);
          }
          expect(queue.length).toBe(model.length);
          expect(queue.earliestNs).toBe(model[0]?.time ?? Number.POSITIVE_INFINITY);
        }
      }),
    );
  });
});

describe('virtual time', () => {
  it('moves only when nothing can run, and then to the next timer', () => {
    const scheduler = new Scheduler();
    const seen: [string, number][] = [];
    function* sleeper(name: string, ...delays: number[]): Task<void> {
      for (const ns of delays) {
        yield new Delay(ns);
        seen.push([name, scheduler.nowNs]);
      }
    }
    scheduler.spawn('a', sleeper('a', 30, 30));
    scheduler.spawn('b', sleeper('b', 10, 20, 5));
    scheduler.runAll();
    expect(seen).toEqual([
      ['b', 10],
      ['a', 30],
      ['b', 30],
      ['b', 35],
      ['a', 60],
    ]);
    expect(scheduler.nowNs).toBe(60);
  });

  it('stands still for a task that only lets others run', () => {
    const scheduler = new Scheduler();
    const seen: string[] = [];
    function* polite(name: string): Task<void> {
      for (let i = 0; i < 2; i++) {
        seen.push(name);
        yield RESCHEDULE;
      }
    }
    scheduler.spawn('a', polite('a'));
    scheduler.spawn('b', polite('b'));
    scheduler.runAll();
    expect(seen).toEqual(['a', 'b', 'a', 'b']);
    expect(scheduler.nowNs).toBe(0);
  });

  it('goes on from one run to the next', () => {
    const scheduler = new Scheduler();
    scheduler.run(sleep(7));
    scheduler.run(sleep(0));
    scheduler.run(sleep(5));
    expect(scheduler.nowNs).toBe(12);
  });
});

describe('the choice point', () => {
  function orderUnder(strategy?: Strategy): string[] {
    const scheduler = new Scheduler({ strategy });
    const seen: string[] = [];
    function* twice(name: string): Task<void> {
      seen.push(`${name}1`);
      yield RESCHEDULE;
      seen.push(`${name}2`);
    }
    for (const name of ['a', 'b', 'c']) scheduler.spawn(name, twice(name));
    scheduler.runAll();
    return seen;
  }

  it('takes the first in line unless told otherwise', () => {
    expect(orderUnder()).toEqual(['a1', 'b1', 'c1', 'a2', 'b2', 'c2']);
  });

  it('asks the strategy, which sees who could run', () => {
    const choices: string[] = [];
    const order = orderUnder((runnable) => {
      choices.push(runnable.map(({ name }) => name).join(''));
      return runnable.length - 1;
    });
    expect(order).toEqual(['c1', 'c2', 'b1', 'b2', 'a1', 'a2']);
    // One thread that can run is no choice.
    expect(choices).toEqual(['abc', 'abc', 'ab', 'ab']);
  });

  it('refuses an answer that names nobody', () => {
    expect(codeOf(() => orderUnder((runnable) => runnable.length))).toBe('bad-argument');
  });

  it('gives the same run for the same answers', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const strategyOf = () => {
          let state = seed >>> 0;
          return (runnable: readonly unknown[]) => {
            state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
            return (state >>> 8) % runnable.length;
          };
        };
        const order = orderUnder(strategyOf());
        expect(orderUnder(strategyOf())).toEqual(order);
        expect([...order].sort()).toEqual(['a1', 'a2', 'b1', 'b2', 'c1', 'c2']);
      }),
    );
  });
});

describe('run', () => {
  it('returns what the task returns, whether it waits or not', () => {
    const scheduler = new Scheduler();
    expect(scheduler.run(later(0, () => 'at once'))).toBe('at once');
    expect(scheduler.run(later(3, () => scheduler.nowNs))).toBe(3);
  });

  it('throws what the task throws, whether it waits or not', () => {
    const scheduler = new Scheduler();
    expect(() => scheduler.run(later(0, fail))).toThrow('failed');
    expect(() => scheduler.run(later(3, fail))).toThrow('failed');
    expect(scheduler.run(sleep(1))).toBeUndefined();
  });

  it('lets spawned threads run while it waits, and leaves the rest for later', () => {
    const scheduler = new Scheduler();
    const seen: number[] = [];
    function* ticker(): Task<void> {
      for (let i = 1; i <= 4; i++) {
        yield new Delay(10);
        seen.push(i);
      }
    }
    scheduler.spawn('ticker', ticker());
    scheduler.run(sleep(25));
    expect(seen).toEqual([1, 2]);
    scheduler.runAll();
    expect(seen).toEqual([1, 2, 3, 4]);
  });

  it('says which thread is running', () => {
    const scheduler = new Scheduler();
    const seen: string[] = [];
    function* look(): Task<void> {
      seen.push(scheduler.current.name);
      yield RESCHEDULE;
      seen.push(scheduler.current.name);
    }
    scheduler.spawn('worker', look());
    scheduler.run(look());
    expect(seen).toEqual(['caller', 'worker', 'caller']);
    expect(scheduler.current.name).toBe('caller');
  });

  it('may be called from inside a task as long as nothing has to wait', () => {
    const scheduler = new Scheduler();
    function* outer<T>(inner: () => Task<T>): Task<T> {
      yield new Delay(1);
      return scheduler.run(inner());
    }
    expect(scheduler.run(outer(() => later(0, () => 5)))).toBe(5);
    let cleaned = false;
    function* waits(): Task<void> {
      try {
        yield new Delay(1);
      } finally {
        cleaned = true;
      }
    }
    expect(codeOf(() => scheduler.run(outer(waits)))).toBe('nested-run');
    expect(cleaned).toBe(true);
    expect(codeOf(() => scheduler.run(later(0, () => scheduler.runAll())))).toBe('nested-run');
  });

  it.each<[string, Wait]>([
    ['has a timer', new Delay(9)],
    ['could run', RESCHEDULE],
  ])('that fails while its task %s never resumes that task', (_what, wait) => {
    const scheduler = new Scheduler();
    let resumed = 0;
    function* interrupted(): Task<void> {
      yield wait;
      resumed++;
    }
    scheduler.spawn('failing', later(0, fail));
    expect(() => scheduler.run(interrupted())).toThrow('failed');
    scheduler.run(sleep(100));
    scheduler.runAll();
    expect(resumed).toBe(0);
    expect(scheduler.nowNs).toBe(100);
  });
});

describe('atomic context', () => {
  it('is where running a task is an error', () => {
    const scheduler = new Scheduler();
    scheduler.enterAtomic();
    scheduler.enterAtomic();
    scheduler.leaveAtomic();
    expect(scheduler.inAtomic).toBe(true);
    expect(codeOf(() => scheduler.run(sleep(0)))).toBe('slept-in-atomic');
    scheduler.leaveAtomic();
    expect(scheduler.inAtomic).toBe(false);
    expect(() => scheduler.run(sleep(0))).not.toThrow();
    expect(codeOf(() => scheduler.leaveAtomic())).toBe('lock-misuse');
  });
});

describe('threadsWithShortId', () => {
  it('names the live threads whose id ends so, the caller included', () => {
    const scheduler = new Scheduler();
    const names = (id: number) => scheduler.threadsWithShortId(id).map(({ name }) => name);
    expect(names(0)).toEqual(['caller']);
    const short = scheduler.spawn('short', sleep(1));
    scheduler.spawn('long', sleep(9));
    expect(short.id).toBe(1);
    expect([names(1), names(2), names(3)]).toEqual([['short'], ['long'], []]);
    scheduler.run(sleep(5));
    expect([names(0), names(1), names(2)]).toEqual([['caller'], [], ['long']]);
  });

  it('drops a thread that threw', () => {
    const scheduler = new Scheduler();
    scheduler.spawn('failing', later(0, fail));
    expect(() => scheduler.runAll()).toThrow('failed');
    expect(scheduler.threadsWithShortId(1)).toEqual([]);
  });
});

describe('WaitQueue', () => {
  it('wakes in the order in which threads went to sleep', () => {
    const scheduler = new Scheduler();
    const queue = new WaitQueue(scheduler, () => 'a bell');
    const seen: string[] = [];
    function* waiter(name: string): Task<void> {
      yield queue;
      seen.push(name);
    }
    for (const name of ['a', 'b', 'c', 'd']) scheduler.spawn(name, waiter(name));
    scheduler.run(sleep(1));
    expect(queue.length).toBe(4);
    expect(queue.wakeOne()?.name).toBe('a');
    scheduler.run(sleep(1));
    expect(seen).toEqual(['a']);
    queue.wakeAll();
    scheduler.runAll();
    expect(seen).toEqual(['a', 'b', 'c', 'd']);
    expect(queue.wakeOne()).toBeNull();
  });

  it('passes over a caller whose run failed', () => {
    const scheduler = new Scheduler();
    const queue = new WaitQueue(scheduler, () => 'a bell');
    function* waiter(): Task<void> {
      yield queue;
    }
    expect(codeOf(() => scheduler.run(waiter()))).toBe('deadlock');
    scheduler.spawn('next', waiter());
    scheduler.run(sleep(1));
    expect(queue.wakeOne()?.name).toBe('next');
    scheduler.runAll();
  });
});
