import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Mutex, RwSemaphore } from '../../src/core/sched/locks.ts';
import { type DeadlockReport, Scheduler } from '../../src/core/sched/scheduler.ts';
import { Delay, RESCHEDULE, type Task } from '../../src/core/sched/task.ts';
import { WaitQueue } from '../../src/core/sched/wait-queue.ts';
import { codeOf, errorOf, sleep } from './tasks.ts';

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
        const scheduler = new Scheduler({
          strategy: (runnable) => choices[at++ % choices.length]! % runnable.length,
        });
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
    const { report } = error.detail as { report: readonly DeadlockReport[] };
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
