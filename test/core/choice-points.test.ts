// What a search for races is built on: choice points, and what they let one see.

import { describe, expect, it } from 'vitest';
import { type Era, eraNamed } from '../../src/core/era.ts';
import { CountedFaults } from '../../src/core/fault-plan.ts';
import { Machine } from '../../src/core/machine.ts';
import type { Explorer } from '../../src/core/sched/explorer.ts';
import { Mutex, RwSemaphore } from '../../src/core/sched/locks.ts';
import { Scheduler } from '../../src/core/sched/scheduler.ts';
import { Delay, PREEMPT, type Task } from '../../src/core/sched/task.ts';
import type { Thread } from '../../src/core/sched/thread.ts';
import { MiB, PAGE_SIZE } from '../../src/core/units.ts';
import { Dmirror } from '../../src/drivers/dmirror/index.ts';
import { codeOf, errorOf } from './tasks.ts';

/** Keeps the running thread going except where `overtake` names another. */
class Script implements Explorer {
  readonly seen: string[] = [];
  readonly #overtake: (point: string, current: Thread, others: readonly Thread[]) => Thread | null;

  constructor(
    overtake: (point: string, current: Thread, others: readonly Thread[]) => Thread | null,
  ) {
    this.#overtake = overtake;
  }

  next(current: Thread | null, others: readonly Thread[], point: string): Thread {
    if (current === null) return others[0]!;
    this.seen.push(`${current.name}: ${point}`);
    return this.#overtake(point, current, others) ?? current;
  }
}

/** At the first `point` of thread `of`, thread `by` goes on. */
function once(of: string, point: string, by: string): Script {
  let done = false;
  return new Script((at, current, others) => {
    const other = others.find(({ name }) => name === by);
    if (done || at !== point || current.name !== of || other === undefined) return null;
    done = true;
    return other;
  });
}

describe('a choice point', () => {
  it('lets another thread go first, and costs nothing where the answer is to go on', () => {
    const log: string[] = [];
    const explorer = once('a', 'middle', 'b');
    const scheduler = new Scheduler({ explorer });
    function* worker(name: string): Task<void> {
      log.push(`${name} begins`);
      if (scheduler.overtaken('middle', 0)) yield PREEMPT;
      log.push(`${name} ends`);
    }
    scheduler.spawn('a', worker('a'));
    scheduler.spawn('b', worker('b'));
    scheduler.runAll();
    expect(log).toEqual(['a begins', 'b begins', 'b ends', 'a ends']);
    expect(explorer.seen).toEqual(['a: middle', 'b: middle']);
  });

  it('refuses an explorer that names a thread which cannot run', () => {
    const stranger = new Scheduler().spawn('stranger', nothing());
    const scheduler = new Scheduler({ explorer: new Script(() => stranger) });
    function* worker(): Task<void> {
      if (scheduler.overtaken('here', 0)) yield PREEMPT;
    }
    scheduler.spawn('a', worker());
    expect(codeOf(() => scheduler.runAll())).toBe('bad-argument');
  });

  it('is before every lock, whose fast path is closed', () => {
    const explorer = new Script(() => null);
    const scheduler = new Scheduler({ explorer });
    const mutex = new Mutex(scheduler, 'm');
    const lock = new RwSemaphore(scheduler, 'rw');
    expect([mutex.tryLock(), lock.tryRead(), lock.tryWrite()]).toEqual([false, false, false]);
    function* worker(): Task<void> {
      yield* mutex.lock();
      yield* lock.read();
      lock.unlockRead();
      yield* lock.write();
      lock.unlockWrite();
      mutex.unlock();
    }
    scheduler.spawn('a', worker());
    scheduler.runAll();
    expect(explorer.seen).toEqual(['a: m', 'a: rw', 'a: rw']);
    expect(mutex.locked || lock.locked).toBe(false);
  });

  it('is none inside a call that could not wait', () => {
    const explorer = new Script((_point, current, others) => others[0] ?? current);
    const machine = new Machine({ ramBytes: MiB, explorer });
    const proc = machine.createProcess();
    const buffer = proc.mmap({ pages: 1 });
    let value = -1;
    // biome-ignore lint/correctness/useYield: it calls what might wait, and must not
    function* nested(): Task<void> {
      proc.store32(buffer, 5);
      value = proc.load32(buffer);
    }
    machine.spawn('nested', nested());
    machine.spawn('other', nothing());
    machine.runAll();
    expect(value).toBe(5);
  });
});

describe('the order of locks', () => {
  function* takes(first: Mutex, second: Mutex): Task<void> {
    yield* first.lock();
    yield* second.lock();
    second.unlock();
    first.unlock();
  }

  it('tells both chains of two locks that are taken in both orders, though nothing hangs', () => {
    const scheduler = new Scheduler({ checkLockOrder: true });
    const one = new Mutex(scheduler, 'svmm 1');
    const two = new Mutex(scheduler, 'mmap_lock');
    scheduler.spawn('a', takes(one, two)).doing = 'line 3';
    scheduler.spawn('b', takes(two, one)).doing = 'line 7';
    const { code, message } = errorOf(() => scheduler.runAll());
    expect(code).toBe('lock-order');
    expect(message).toContain('a (line 3) holds svmm 1 and wants mmap_lock');
    expect(message).toContain('b (line 7) holds mmap_lock and wants svmm 1');
  });

  it('takes locks of one kind for one class, and finds longer cycles', () => {
    const scheduler = new Scheduler({ checkLockOrder: true });
    const names = ['a 1', 'b 1', 'c 1', 'a 2'];
    const [a1, b, c, a2] = names.map((name) => new Mutex(scheduler, name));
    scheduler.spawn('one', takes(a1!, b!));
    scheduler.spawn('two', takes(b!, c!));
    scheduler.spawn('three', takes(c!, a2!));
    expect(codeOf(() => scheduler.runAll())).toBe('lock-order');
  });

  it('allows two locks of one class in one order, and not in both', () => {
    const inOrder = (pairs: readonly (readonly [number, number])[]): (() => void) => {
      const scheduler = new Scheduler({ checkLockOrder: true });
      const locks = [0, 1].map((i) => new Mutex(scheduler, `lock ${i}`));
      for (const [i, j] of pairs) scheduler.spawn('x', takes(locks[i]!, locks[j]!));
      return () => scheduler.runAll();
    };
    expect(
      inOrder([
        [0, 1],
        [0, 1],
      ]),
    ).not.toThrow();
    expect(
      codeOf(
        inOrder([
          [0, 1],
          [1, 0],
        ]),
      ),
    ).toBe('lock-order');
  });

  it('forgets a lock when it is given back', () => {
    const scheduler = new Scheduler({ checkLockOrder: true });
    const [one, two] = ['one', 'two'].map((name) => new Mutex(scheduler, name));
    function* apart(first: Mutex, second: Mutex): Task<void> {
      yield* first.lock();
      first.unlock();
      yield* second.lock();
      second.unlock();
    }
    scheduler.spawn('a', apart(one!, two!));
    scheduler.spawn('b', apart(two!, one!));
    expect(() => scheduler.runAll()).not.toThrow();
  });
});

describe('accounts of time', () => {
  it('add up what a thread waited for, and for how long', () => {
    const scheduler = new Scheduler({ accounts: true });
    const mutex = new Mutex(scheduler, 'driver mutex');
    function* holder(): Task<void> {
      yield* mutex.lock();
      yield new Delay(70, 'work', 'copying');
      mutex.unlock();
    }
    scheduler.spawn('a', holder());
    scheduler.spawn('b', holder());
    scheduler.runAll();
    expect(scheduler.accounts!.entries).toEqual([
      { thread: 'a', reason: 'work', label: 'copying', ns: 70, times: 1 },
      { thread: 'b', reason: 'lock', label: 'driver mutex', ns: 70, times: 1 },
      { thread: 'b', reason: 'work', label: 'copying', ns: 70, times: 1 },
    ]);
  });

  it('let a debt pass when it is paid', () => {
    const scheduler = new Scheduler({ accounts: true });
    function* worker(): Task<void> {
      scheduler.charge(30);
      scheduler.charge(12);
      expect(scheduler.nowNs).toBe(0);
      if (scheduler.owing) yield* scheduler.pay();
      expect(scheduler.owing).toBe(false);
    }
    scheduler.spawn('a', worker());
    scheduler.runAll();
    expect(scheduler.nowNs).toBe(42);
  });
});

describe('faults on purpose', () => {
  it('hit the attempt that was named, once', () => {
    const faults = new CountedFaults();
    faults.after('ram', 2);
    faults.after('copy', 1);
    faults.after('ram', 3);
    const ram = [1, 2, 3, 4].map(() => faults.fails('ram'));
    expect(ram).toEqual([false, true, true, false]);
    expect([faults.fails('copy'), faults.fails('copy')]).toEqual([true, false]);
    faults.after('ram', 1);
    expect([faults.fails('ram'), faults.fails('ram')]).toEqual([true, false]);
    for (const n of [0, -1, 1.5, Number.NaN]) {
      expect(codeOf(() => faults.after('ram', n))).toBe('bad-argument');
    }
  });

  function touched(site: 'ram' | 'page_table', write: boolean): number {
    const machine = new Machine({ ramBytes: MiB });
    const proc = machine.createProcess();
    const buffer = proc.mmap({ pages: 1 });
    const faults = new CountedFaults();
    faults.after(site, 1);
    machine.kernel.faults = faults;
    const result = write ? proc.tryStore32(buffer, 1) : proc.tryLoad32(buffer);
    expect(machine.verify()).toEqual([]);
    // The next attempt succeeds.
    if (result < 0) expect(proc.tryStore32(buffer, 1)).toBe(0);
    return result;
  }

  it('end a process that gets no page, or no page table, as lack of memory does', () => {
    expect(touched('ram', true)).toBe(-3);
    expect(touched('ram', false)).toBe(0);
    expect(touched('page_table', true)).toBe(-3);
    expect(touched('page_table', false)).toBe(-3);
  });

  it('make fork fail, and leave nothing of the child', () => {
    const machine = new Machine({ ramBytes: MiB });
    const proc = machine.createProcess();
    proc.store32(proc.mmap({ pages: 1 }), 1);
    const faults = new CountedFaults();
    faults.after('page_table', 1);
    machine.kernel.faults = faults;
    expect(codeOf(() => proc.fork())).toBe('limit');
    expect(machine.processes.size).toBe(1);
    expect(machine.verify()).toEqual([]);
  });

  it('make a device page unavailable, and a device see its answer overtaken once', () => {
    const machine = new Machine({ ramBytes: MiB });
    const device = machine.attach(new Dmirror({ chunkBytes: 2 * MiB }));
    const proc = machine.createProcess();
    const file = device.open(proc);
    const buffer = proc.mmap({ pages: 2 });
    proc.store32(buffer, 7);
    expect(file.migrateToDev(buffer, 1).ret).toBe(0);
    const faults = new CountedFaults();
    machine.kernel.faults = faults;
    // The second is that of the chunk which the device adds when it has no page left.
    faults.after('device_page', 1);
    faults.after('device_page', 2);
    file.migrateToDev(buffer + PAGE_SIZE, 1);
    expect(machine.ownerOf(proc, buffer + PAGE_SIZE)).not.toBe(device);
    let begins = 0;
    const subscriptions = proc.mm.notifiers;
    const readBegin = subscriptions.readBegin.bind(subscriptions);
    subscriptions.readBegin = (notifier) => {
      begins++;
      return readBegin(notifier);
    };
    faults.after('read_retry', 1);
    expect([...file.read(buffer + PAGE_SIZE, 1).data]).toEqual([0]);
    expect(begins).toBe(2);
  });
});

describe('what a search sees of the TLBs', () => {
  function race(era: Era, overtakeAt: string): { late: number; final: number } {
    const explorer = once('migrator', overtakeAt, 'cpu');
    const machine = new Machine({ ramBytes: MiB, era, explorer });
    const device = machine.attach(new Dmirror({ chunkBytes: 2 * MiB }));
    const proc = machine.createProcess();
    const file = device.open(proc);
    const buffer = proc.mmap({ pages: 1 });
    proc.store32(buffer, 1);
    let late = -1;
    function* cpu(): Task<void> {
      yield* proc.dontneedTask(buffer, PAGE_SIZE);
      yield* proc.storeTask(buffer, 2);
      late = yield* proc.loadTask(buffer);
    }
    machine.spawn('migrator', file.migrateToDevTask(buffer, 1));
    machine.spawn('cpu', cpu());
    machine.runAll();
    return { late, final: proc.load32(buffer) };
  }

  it('a store through a translation that was not flushed is lost, until v6.0', () => {
    const lateFlush = { ...eraNamed('v6.1'), flushesTlbUnderLock: false };
    expect(race(lateFlush, 'migrate: TLB flush')).toEqual({ late: 2, final: 0 });
    expect(race(eraNamed('v6.1'), 'migrate: unmap')).toEqual({ late: 2, final: 2 });
  });

  it('madvise lets other CPUs go on with a page until it flushes', () => {
    const explorer = once('zapper', 'zap: TLB flush', 'cpu');
    const machine = new Machine({ ramBytes: MiB, explorer });
    const proc = machine.createProcess();
    const buffer = proc.mmap({ pages: 1 });
    proc.store32(buffer, 5);
    let seen = -1;
    function* cpu(): Task<void> {
      seen = yield* proc.loadTask(buffer);
    }
    machine.spawn('zapper', proc.dontneedTask(buffer, PAGE_SIZE));
    machine.spawn('cpu', cpu());
    machine.runAll();
    expect(seen).toBe(5);
    expect(proc.load32(buffer)).toBe(0);
    expect(machine.verify()).toEqual([]);
  });
});

describe('a CPU fault on a device page whose lock somebody holds', () => {
  function faultsOf(dpFaultLock: Era['dpFaultLock']): number {
    const machine = new Machine({ ramBytes: MiB, era: { ...eraNamed('v6.12'), dpFaultLock } });
    const device = machine.attach(new Dmirror({ chunkBytes: 2 * MiB }));
    const proc = machine.createProcess();
    const file = device.open(proc);
    const buffer = proc.mmap({ pages: 1 });
    proc.store32(buffer, 5);
    file.migrateToDev(buffer, 1);
    const page = machine.pageAt(proc, buffer)!;
    let faults = 0;
    machine.events.on('cpu_fault', ({ phase }) => {
      if (phase === 'begin') faults++;
    });
    function* holder(): Task<void> {
      yield* machine.kernel.pages.lock(page);
      yield new Delay(5000);
      machine.kernel.pages.unlock(page);
    }
    let value = -1;
    function* cpu(): Task<void> {
      value = yield* proc.loadTask(buffer);
    }
    machine.spawn('holder', holder());
    machine.spawn('cpu', cpu());
    machine.runAll();
    expect(value).toBe(5);
    expect(machine.ownerOf(proc, buffer)).toBe('system');
    expect(machine.verify()).toEqual([]);
    return faults;
  }

  it('faults again and again until v6.15, and sleeps since v7.0', () => {
    expect(faultsOf('none')).toBeGreaterThan(16);
    expect(faultsOf('trylock')).toBeGreaterThan(16);
    expect(faultsOf('wait')).toBe(2);
  });
});

function* nothing(): Task<void> {}
