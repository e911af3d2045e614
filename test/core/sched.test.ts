import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SimError, type SimErrorCode } from '../../src/core/errors.ts';
import { EventQueue } from '../../src/core/sched/event-queue.ts';
import { Mutex, RwSemaphore } from '../../src/core/sched/locks.ts';
import { type DeadlockReport, Scheduler } from '../../src/core/sched/scheduler.ts';
import { Delay, RESCHEDULE, type Task } from '../../src/core/sched/task.ts';
import { WaitQueue } from '../../src/core/sched/wait-queue.ts';

function errorOf(action: () => unknown): SimError {
  try {
    action();
  } catch (error) {
    if (error instanceof SimError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

function codeOf(action: () => unknown): SimErrorCode {
  return errorOf(action).code;
}

function* sleep(ns: number): Task<void> {
  yield new Delay(ns);
}

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
  function orderUnder(strategy?: ConstructorParameters<typeof Scheduler>[0]): string[] {
    const scheduler = new Scheduler(strategy);
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
      fc.property(fc.infiniteStream(fc.nat()), fc.integer(), (_stream, seed) => {
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
    function* answer(ns: number): Task<string> {
      if (ns > 0) yield new Delay(ns);
      return `after ${ns}`;
    }
    expect(scheduler.run(answer(0))).toBe('after 0');
    expect(scheduler.run(answer(3))).toBe('after 3');
  });

  it('throws what the task throws, whether it waits or not', () => {
    const scheduler = new Scheduler();
    function* fail(ns: number): Task<void> {
      if (ns > 0) yield new Delay(ns);
      throw new RangeError(`at ${ns}`);
    }
    expect(() => scheduler.run(fail(0))).toThrow('at 0');
    expect(() => scheduler.run(fail(3))).toThrow('at 3');
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
    function* nothing(): Task<number> {
      return 5;
    }
    function* outer(inner: () => Task<number | undefined>): Task<number | undefined> {
      yield new Delay(1);
      return scheduler.run(inner());
    }
    expect(scheduler.run(outer(nothing))).toBe(5);
    let cleaned = false;
    function* waits(): Task<undefined> {
      try {
        yield new Delay(1);
      } finally {
        cleaned = true;
      }
    }
    expect(codeOf(() => scheduler.run(outer(waits)))).toBe('nested-run');
    expect(cleaned).toBe(true);
    function* all(): Task<void> {
      scheduler.runAll();
    }
    expect(codeOf(() => scheduler.run(all()))).toBe('nested-run');
  });

  it('leaves a scheduler that goes on after a thread failed beside it', () => {
    const scheduler = new Scheduler();
    function* fail(): Task<void> {
      yield new Delay(5);
      throw new RangeError('beside');
    }
    const waits = { delayed: new Delay(9), runnable: RESCHEDULE } as const;
    for (const wait of Object.values(waits)) {
      let resumed = false;
      function* interrupted(): Task<void> {
        while (scheduler.nowNs < 1000) yield wait;
        resumed = true;
      }
      scheduler.spawn('failing', wait === RESCHEDULE ? failNow() : fail());
      expect(() => scheduler.run(interrupted())).toThrow('beside');
      scheduler.run(sleep(1000 - (scheduler.nowNs % 1000)));
      expect(resumed).toBe(false);
      scheduler.nowNs = 0;
    }
    function* failNow(): Task<void> {
      throw new RangeError('beside');
    }
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
    function* fail(): Task<void> {
      throw new RangeError('no');
    }
    scheduler.spawn('failing', fail());
    expect(() => scheduler.runAll()).toThrow('no');
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

describe('Mutex', () => {
  it('is held by one at a time, first come first served', () => {
    const scheduler = new Scheduler();
    const mutex = new Mutex(scheduler, 'm');
    const seen: string[] = [];
    function* user(name: string): Task<void> {
      for (let round = 1; round <= 2; round++) {
        yield* mutex.lock();
        seen.push(`${name}${round}`);
        yield new Delay(5);
        mutex.unlock();
      }
    }
    for (const name of ['a', 'b', 'c']) scheduler.spawn(name, user(name));
    scheduler.runAll();
    // Whoever unlocks and locks again at once goes to the end of the line.
    expect(seen).toEqual(['a1', 'b1', 'c1', 'a2', 'b2', 'c2']);
    expect(scheduler.nowNs).toBe(30);
    expect(mutex.locked).toBe(false);
  });

  it('cannot be taken past those who wait', () => {
    const scheduler = new Scheduler();
    const mutex = new Mutex(scheduler, 'm');
    expect(mutex.tryLock()).toBe(true);
    expect(mutex.tryLock()).toBe(false);
    scheduler.spawn('waiter', mutex.lock());
    scheduler.run(sleep(1));
    mutex.unlock();
    expect(mutex.tryLock()).toBe(false);
  });

  it('may not be unlocked by nobody', () => {
    expect(codeOf(() => new Mutex(new Scheduler(), 'm').unlock())).toBe('lock-misuse');
  });

  it('excludes under every strategy', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(), { minLength: 1 }), (choices) => {
        let at = 0;
        const scheduler = new Scheduler(
          (runnable) => choices[at++ % choices.length]! % runnable.length,
        );
        const mutex = new Mutex(scheduler, 'm');
        let inside = 0;
        let rounds = 0;
        function* user(): Task<void> {
          for (let round = 0; round < 3; round++) {
            yield* mutex.lock();
            expect(++inside).toBe(1);
            yield RESCHEDULE;
            inside--;
            rounds++;
            mutex.unlock();
            yield RESCHEDULE;
          }
        }
        for (let i = 0; i < 4; i++) scheduler.spawn(`user${i}`, user());
        scheduler.runAll();
        expect(rounds).toBe(12);
      }),
    );
  });
});

describe('RwSemaphore', () => {
  type Step = readonly [name: string, kind: 'read' | 'write', atNs: number, heldNs: number];

  /** When each got in and out. */
  function play(...steps: Step[]): string[] {
    const scheduler = new Scheduler();
    const lock = new RwSemaphore(scheduler, 'rw');
    const seen: string[] = [];
    function* user([name, kind, atNs, heldNs]: Step): Task<void> {
      yield new Delay(atNs);
      yield* kind === 'read' ? lock.read() : lock.write();
      seen.push(`${name} in ${scheduler.nowNs}`);
      yield new Delay(heldNs);
      seen.push(`${name} out ${scheduler.nowNs}`);
      if (kind === 'read') lock.unlockRead();
      else lock.unlockWrite();
    }
    for (const step of steps) scheduler.spawn(step[0], user(step));
    scheduler.runAll();
    expect(lock.locked).toBe(false);
    return seen;
  }

  it('lets readers share', () => {
    const seen = play(['r1', 'read', 0, 10], ['r2', 'read', 5, 10]);
    expect(seen).toEqual(['r1 in 0', 'r2 in 5', 'r1 out 10', 'r2 out 15']);
  });

  it('keeps everybody out while a writer holds it', () => {
    const seen = play(['w1', 'write', 0, 10], ['r', 'read', 1, 10], ['w2', 'write', 2, 10]);
    expect(seen).toEqual(['w1 in 0', 'w1 out 10', 'r in 10', 'r out 20', 'w2 in 20', 'w2 out 30']);
  });

  it('lets a waiting writer hold off new readers', () => {
    const seen = play(['r1', 'read', 0, 10], ['w', 'write', 1, 10], ['r2', 'read', 2, 10]);
    expect(seen).toEqual(['r1 in 0', 'r1 out 10', 'w in 10', 'w out 20', 'r2 in 20', 'r2 out 30']);
  });

  it('lets readers in together, but not those behind the next writer', () => {
    const seen = play(
      ['w1', 'write', 0, 10],
      ['r1', 'read', 1, 10],
      ['r2', 'read', 2, 10],
      ['w2', 'write', 3, 10],
      ['r3', 'read', 4, 10],
    );
    expect(seen.filter((line) => line.includes(' in '))).toEqual([
      'w1 in 0',
      'r1 in 10',
      'r2 in 10',
      'w2 in 20',
      'r3 in 30',
    ]);
  });

  it('answers the tries, which never wait', () => {
    const scheduler = new Scheduler();
    const lock = new RwSemaphore(scheduler, 'rw');
    expect(lock.tryRead()).toBe(true);
    expect(lock.tryRead()).toBe(true);
    expect(lock.tryWrite()).toBe(false);
    scheduler.spawn('writer', lock.write());
    scheduler.run(sleep(1));
    expect(lock.tryRead()).toBe(false);
    lock.unlockRead();
    lock.unlockRead();
    // The writer has it already, though it has not run since.
    expect(lock.tryRead()).toBe(false);
    scheduler.runAll();
    lock.unlockWrite();
    expect(lock.locked).toBe(false);
    expect(codeOf(() => lock.unlockRead())).toBe('lock-misuse');
    expect(codeOf(() => lock.unlockWrite())).toBe('lock-misuse');
  });

  it('forgets a nested call that would have had to wait', () => {
    const scheduler = new Scheduler();
    const lock = new RwSemaphore(scheduler, 'rw');
    function* outer(): Task<void> {
      yield* lock.read();
      expect(codeOf(() => scheduler.run(lock.write()))).toBe('nested-run');
      lock.unlockRead();
    }
    scheduler.run(outer());
    expect(lock.tryRead()).toBe(true);
  });
});

describe('a deadlock', () => {
  it('is reported with who waits for what, and who holds it', () => {
    const scheduler = new Scheduler();
    const first = new Mutex(scheduler, 'first');
    const second = new Mutex(scheduler, 'second');
    const rw = new RwSemaphore(scheduler, 'mmap_lock of process 1');
    function* both(one: Mutex, other: Mutex): Task<void> {
      yield* one.lock();
      yield new Delay(1);
      yield* other.lock();
    }
    scheduler.spawn('a', both(first, second));
    scheduler.spawn('b', both(second, first));
    expect(rw.tryWrite()).toBe(true);
    scheduler.spawn('c', rw.read());
    const error = errorOf(() => scheduler.runAll());
    expect(error.code).toBe('deadlock');
    const report = error.detail['report'] as readonly DeadlockReport[];
    expect([...report].sort((x, y) => (x.thread < y.thread ? -1 : 1))).toEqual([
      { thread: 'a', waitsFor: 'mutex second', heldBy: ['b'] },
      { thread: 'b', waitsFor: 'mutex first', heldBy: ['a'] },
      { thread: 'c', waitsFor: 'mmap_lock of process 1 (a writer)', heldBy: ['caller'] },
    ]);
    expect(error.message).toContain('a waits for mutex second, held by b');
  });

  it('is also one thread that locks twice', () => {
    const scheduler = new Scheduler();
    const mutex = new Mutex(scheduler, 'm');
    function* twice(): Task<void> {
      yield* mutex.lock();
      yield* mutex.lock();
    }
    const error = errorOf(() => scheduler.run(twice()));
    expect(error.message).toContain('caller waits for mutex m, held by caller');
  });

  it('is none while a timer runs', () => {
    const scheduler = new Scheduler();
    const queue = new WaitQueue(scheduler, () => 'a bell');
    function* ringer(): Task<void> {
      yield new Delay(100);
      queue.wakeAll();
    }
    function* waiter(): Task<number> {
      yield queue;
      return scheduler.nowNs;
    }
    scheduler.spawn('ringer', ringer());
    expect(scheduler.run(waiter())).toBe(100);
  });
});
