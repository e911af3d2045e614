// Notifiers that doze against notifiers that are always told: nobody can tell, but by asking who was called.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IntervalList } from '../../src/core/hmm/interval-list.ts';
import {
  IntervalNotifier,
  type IntervalNotifierOps,
  mmuIntervalDoze,
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
  mmuIntervalWake,
  type NotifierRange,
} from '../../src/core/hmm/notifier.ts';
import { Machine, type MachineOptions } from '../../src/core/machine.ts';
import type { Mm } from '../../src/core/mm/mm.ts';
import type { Owner } from '../../src/core/pagemap/pagemap.ts';
import { Mutex } from '../../src/core/sched/locks.ts';
import { Delay, type MaybeTask, type Task } from '../../src/core/sched/task.ts';
import { NO_TIME } from '../../src/core/timing.ts';
import { PAGE_SIZE, TASK_SIZE } from '../../src/core/units.ts';
import { codeOf } from './tasks.ts';

const PAGES = 24;

/** A driver that maps pages one by one, and says what it did and when. */
class Mirror implements Owner, IntervalNotifierOps {
  readonly name: string;
  readonly mm: Mm;
  readonly lock: Mutex;
  readonly mapped: Set<number> = new Set();
  notifier!: IntervalNotifier;
  calls = 0;
  told = 0;
  closed = false;
  readonly #log: string[];

  constructor(mm: Mm, name: string, log: string[]) {
    this.mm = mm;
    this.name = name;
    this.lock = new Mutex(mm.kernel.scheduler, name);
    this.#log = log;
  }

  say(what: string): void {
    this.#log.push(`${this.mm.kernel.scheduler.nowNs} ${this.name} ${what}`);
  }

  insert(): void {
    this.notifier = mmuIntervalNotifierInsert(this.mm, this) as IntervalNotifier;
    this.doze();
  }

  doze(): void {
    if (this.calls > 0 || this.closed) return;
    const pages = [...this.mapped];
    const from = Math.min(...pages) * PAGE_SIZE;
    mmuIntervalDoze(this.notifier, from, (Math.max(...pages) + 1) * PAGE_SIZE);
  }

  ignores({ event, owner }: NotifierRange): boolean {
    return event === 'migrate' && owner === this;
  }

  invalidate(_: IntervalNotifier, range: NotifierRange, seq: number): MaybeTask<boolean> {
    this.told++;
    if (this.ignores(range)) return true;
    if (this.lock.tryLock()) return this.#erase(range, seq);
    return range.blockable === false ? false : this.#eraseLater(range, seq);
  }

  *#eraseLater(range: NotifierRange, seq: number): Task<boolean> {
    this.say('waits for its lock');
    yield* this.lock.lock();
    return this.#erase(range, seq);
  }

  #erase({ start, end }: NotifierRange, seq: number): boolean {
    mmuIntervalSetSeq(this.notifier, seq);
    const gone = [...this.mapped].filter((p) => p * PAGE_SIZE >= start && p * PAGE_SIZE < end);
    for (const page of gone) this.mapped.delete(page);
    if (gone.length > 0) this.say(`drops ${gone}`);
    this.lock.unlock();
    return true;
  }

  /** Maps a page as drivers do; each part takes time. */
  *map(page: number, reading: number, holding: number): Task<undefined> {
    if (this.closed) return undefined;
    this.calls++;
    mmuIntervalWake(this.notifier);
    for (let round = 1; ; round++) {
      const seq = yield* mmuIntervalReadBegin(this.notifier);
      this.say(`reads, round ${round}`);
      yield new Delay(reading);
      if (!this.lock.tryLock()) yield* this.lock.lock();
      if (!mmuIntervalReadRetry(this.notifier, seq)) break;
      this.lock.unlock();
    }
    this.mapped.add(page);
    this.say(`maps ${page}`);
    if (holding > 0) yield new Delay(holding);
    this.lock.unlock();
    this.calls--;
    this.doze();
    return undefined;
  }

  /** Closes it for a while, if it is not at work. */
  *reopen(ns: number): Task<undefined> {
    if (this.closed || this.calls > 0) return undefined;
    this.closed = true;
    yield* mmuIntervalNotifierRemove(this.notifier);
    this.say(`closed with ${[...this.mapped]}`);
    this.mapped.clear();
    if (ns > 0) yield new Delay(ns);
    this.closed = false;
    this.insert();
    return undefined;
  }

  /** A call in which nothing is read. */
  *idle(ns: number): Task<undefined> {
    if (this.closed) return undefined;
    this.calls++;
    mmuIntervalWake(this.notifier);
    yield new Delay(ns);
    this.calls--;
    this.doze();
    return undefined;
  }
}

type Step = readonly [what: number, who: number, page: number, ns: number, holding: number];

const step: fc.Arbitrary<Step> = fc.tuple(
  fc.nat(11),
  fc.nat(9),
  fc.nat(PAGES - 1),
  fc.nat(7),
  fc.nat(3),
);
const threads = fc.array(fc.array(step, { maxLength: 12 }), { minLength: 1, maxLength: 4 });

/** What the mirrors did, and how often they were told. */
function play(plan: readonly (readonly Step[])[], heard: boolean): { log: string[]; told: number } {
  const machine = new Machine();
  const { mm } = machine.createProcess();
  const log: string[] = [];
  const mirrors = Array.from({ length: 10 }, (_, i) => new Mirror(mm, `mirror${i}`, log));
  for (const mirror of mirrors) mirror.insert();
  if (heard) machine.events.on('*', () => {});
  for (const [i, steps] of plan.entries()) machine.scheduler.spawn(`t${i}`, perform(steps));
  machine.scheduler.runAll();
  expect(mm.notifiers.isInvalidating).toBe(false);
  for (const { name, mapped, lock, notifier } of mirrors) {
    expect(notifier.dozes).toBe(true);
    log.push(`${name} has ${[...mapped]}`);
    expect(lock.tryLock()).toBe(true);
  }
  return { log, told: mirrors.reduce((sum, { told }) => sum + told, 0) };

  function* perform(steps: readonly Step[]): Task<undefined> {
    for (const [what, who, page, ns, holding] of steps) {
      const mirror = mirrors[who]!;
      if (what < 4) yield* mirror.map(page, ns, holding);
      else if (what < 5) yield* mirror.idle(ns);
      else if (what > 9) yield* mirror.reopen(ns >> 1);
      else yield* change(mirror, what, page, holding + 1, ns);
      yield new Delay(holding);
    }
    return undefined;
  }

  function* change(by: Mirror, what: number, page: number, n: number, ns: number): Task<undefined> {
    const own = what === 5 || what === 6;
    const blockable = what !== 7;
    const range: NotifierRange = {
      mm,
      start: page * PAGE_SIZE,
      end: (page + n) * PAGE_SIZE,
      event: own ? 'migrate' : 'clear',
      owner: own ? by : null,
      blockable,
    };
    if (!blockable && mm.notifiers.startNonblock(range) !== 0) {
      by.say('would have to wait');
      return undefined;
    }
    const waiting = blockable ? mm.notifiers.start(range) : undefined;
    if (waiting !== undefined) yield* waiting;
    by.say(`changes ${page} and ${n - 1} more`);
    if (ns > 0) yield new Delay(ns);
    mm.notifiers.end(range);
    return undefined;
  }
}

describe('notifiers that doze', () => {
  it('do what those do that are always told, whoever waits for whom', () => {
    let [told, heard, waits, rounds] = [0, 0, 0, 0];
    fc.assert(
      fc.property(threads, (plan) => {
        const dozing = play(plan, false);
        const awake = play(plan, true);
        expect(dozing.log).toEqual(awake.log);
        told += dozing.told;
        heard += awake.told;
        waits += dozing.log.filter((line) => line.includes('waits for its lock')).length;
        rounds += dozing.log.filter((line) => line.endsWith('round 2')).length;
      }),
      { numRuns: 3000, seed: 7 },
    );
    expect(told).toBeLessThan(heard / 2);
    expect(waits).toBeGreaterThan(20);
    expect(rounds).toBeGreaterThan(100);
  });

  it('wait, where they wake during a change of which they were not told', () => {
    const plan: Step[][] = [
      [[9, 9, 0, 7, 0]],
      [
        [9, 9, 0, 0, 0],
        [0, 3, 20, 0, 0],
      ],
    ];
    const { log } = play(plan, false);
    expect(log.filter((line) => line.includes('mirror3'))).toEqual([
      '7 mirror3 reads, round 1',
      '7 mirror3 maps 20',
      'mirror3 has 20',
    ]);
    expect(log).toEqual(play(plan, true).log);
  });

  it('are those of whole address spaces alone', () => {
    const { mm } = new Machine().createProcess();
    const ops = { name: 'part', invalidate: () => true };
    const notifier = mmuIntervalNotifierInsert(mm, ops, 0, PAGE_SIZE) as IntervalNotifier;
    expect(codeOf(() => mmuIntervalDoze(notifier, 0, 0))).toBe('invariant');
  });

  it('hear of everything where somebody can tell', () => {
    const noticed: MachineOptions[] = [
      { checkLockOrder: true },
      { explorer: { next: (current, others) => current ?? others[0]! } },
      { timing: NO_TIME },
    ];
    for (const options of [{}, ...noticed]) {
      const { mm } = new Machine(options).createProcess();
      const mirror = new Mirror(mm, 'one', []);
      mirror.insert();
      const range = { mm, start: 0, end: PAGE_SIZE, event: 'clear', owner: null } as const;
      mm.notifiers.start(range);
      expect(mirror.told).toBe(noticed.includes(options) ? 1 : 0);
      mm.notifiers.end(range);
    }
  });

  it('fall asleep after a change only, so that one that comes and goes meanwhile is forgotten', () => {
    const machine = new Machine();
    const { mm } = machine.createProcess();
    const [one, two] = [new Mirror(mm, 'one', []), new Mirror(mm, 'two', [])];
    one.insert();
    mmuIntervalWake(one.notifier);
    const range = { mm, start: 0, end: PAGE_SIZE, event: 'clear', owner: null } as const;
    mm.notifiers.start(range);
    one.doze();
    two.insert();
    machine.run(mmuIntervalNotifierRemove(two.notifier));
    mm.notifiers.end(range);
    expect([one.notifier.dozes, two.notifier.dozes]).toEqual([true, false]);
    mm.notifiers.start(range);
    expect([one.told, two.told]).toEqual([1, 0]);
    mm.notifiers.end(range);
    mmuIntervalWake(one.notifier);
    mm.notifiers.start(range);
    expect([one.told, two.told]).toEqual([2, 0]);
    mm.notifiers.end(range);
  });

  it('doze on after an invalidation that waited, or that somebody heard', () => {
    const machine = new Machine();
    const { scheduler } = machine;
    const { mm } = machine.createProcess();
    const mirrors = Array.from({ length: 12 }, (_, i) => new Mirror(mm, `m${i}`, []));
    for (const mirror of mirrors) mirror.insert();
    const busy = mirrors[5]!;
    const range = { mm, start: 0, end: PAGE_SIZE, event: 'clear', owner: null } as const;
    function* change(): Task<undefined> {
      yield new Delay(3);
      const waiting = mm.notifiers.start(range);
      expect(waiting).toBeDefined();
      yield* waiting!;
      mm.notifiers.end(range);
      return undefined;
    }
    const dozing = (): number => mirrors.filter(({ notifier }) => notifier.dozes).length;
    scheduler.spawn('busy', busy.map(0, 2, 5));
    scheduler.spawn('change', change());
    scheduler.runAll();
    expect(dozing()).toBe(12);
    const listener = (): void => {};
    machine.events.on('*', listener);
    mm.notifiers.start(range);
    expect(dozing()).toBe(0);
    mm.notifiers.end(range);
    machine.events.off('*', listener);
    expect(dozing()).toBe(12);
    expect(mm.notifiers.isInvalidating).toBe(false);
  });

  it('are heard of from when somebody listens on', () => {
    const heard = (dozing: boolean): string[] => {
      const machine = new Machine();
      const { mm } = machine.createProcess();
      const events: string[] = [];
      const listen = (): void => {
        machine.events.on('invalidate_call', ({ notifier, ignored }) => {
          events.push(`${notifier} ${ignored}`);
        });
      };
      const mirrors = Array.from({ length: 4 }, (_, i) => new Mirror(mm, `m${i}`, []));
      for (const mirror of mirrors) mirror.insert();
      if (!dozing) for (const { notifier } of mirrors) mmuIntervalWake(notifier);
      mmuIntervalWake(mirrors[1]!.notifier);
      const [own, other] = [mirrors[2]!, mirrors[3]!].map(
        (owner) => ({ mm, start: 0, end: PAGE_SIZE, event: 'migrate', owner }) as const,
      );
      mm.notifiers.start(other!);
      const { invalidate } = mirrors[1]!;
      mirrors[1]!.invalidate = (...args) => {
        listen();
        return invalidate.apply(mirrors[1]!, args);
      };
      mm.notifiers.start(own!);
      mm.notifiers.end(own!);
      mm.notifiers.end(other!);
      return events;
    };
    expect(heard(true)).toEqual(heard(false));
    expect(heard(true)).toEqual(['m1 false', 'm2 false', 'm3 false']);
  });

  it('may be removed', () => {
    const machine = new Machine();
    const { mm } = machine.createProcess();
    const log: string[] = [];
    const [one, two] = [new Mirror(mm, 'one', log), new Mirror(mm, 'two', log)];
    one.insert();
    two.insert();
    machine.run(mmuIntervalNotifierRemove(one.notifier));
    expect(mm.notifiers.intervals).toEqual([two.notifier]);
    // To let one doze that is gone means nothing.
    mmuIntervalDoze(one.notifier, 0, 0);
    expect([one.notifier.dozes, two.notifier.dozes]).toEqual([false, true]);
    const range = { mm, start: 0, end: PAGE_SIZE, event: 'clear', owner: null } as const;
    expect(mm.notifiers.start(range)).toBeUndefined();
    expect([one.told, two.told]).toEqual([0, 0]);
    expect(mm.notifiers.isInvalidating).toBe(true);
    mm.notifiers.end(range);
  });
});

describe('IntervalList', () => {
  const ops = { name: 'any', invalidate: () => true };
  const change = fc.tuple(fc.nat(5), fc.nat(40), fc.nat(12), fc.nat(12));

  it('finds those that must hear of a range, in order', () => {
    const { mm } = new Machine().createProcess();
    fc.assert(
      fc.property(fc.array(change, { maxLength: 80 }), (changes) => {
        const list = new IntervalList();
        for (const [what, at, a, b] of changes) {
          const one = list.all[at % Math.max(list.all.length, 1)];
          if (what < 3 || one === undefined) {
            list.add(new IntervalNotifier(mm, 0, TASK_SIZE, ops, 1));
          } else if (what === 3) list.doze(one, { from: Math.min(a, b), to: Math.max(a, b) });
          else if (what === 4) list.wake(one);
          else if (at % 3 === 0) list.remove(one);
          const range: NotifierRange = {
            mm,
            start: a,
            end: a + b + 1,
            event: 'clear',
            owner: null,
          };
          const found: number[] = [];
          for (let i = list.next(0, range); i >= 0; i = list.next(i + 1, range)) found.push(i);
          const wanted = list.all.flatMap(({ toldFrom, toldTo }, i) =>
            toldFrom < range.end && toldTo > range.start ? [i] : [],
          );
          expect(found).toEqual(wanted);
          expect(list.someDoze).toBe(list.all.some(({ dozes }) => dozes));
        }
      }),
      { numRuns: 500, seed: 3 },
    );
  });
});
