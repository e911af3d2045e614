/**
 * Runs tasks one at a time on a virtual clock.
 *
 * A task runs until it waits or ends. Virtual time moves only when no task can run. Which runnable
 * task goes next is a choice point, answered by a `Strategy` (first in, first out by default);
 * nothing else influences a run, so the same inputs give the same events.
 */
import { SimError } from '../errors.ts';
import { TimeAccounts } from './accounts.ts';
import { EventQueue } from './event-queue.ts';
import type { Explorer } from './explorer.ts';
import { LockOrder } from './lock-order.ts';
import type { Mutex, RwSemaphore } from './locks.ts';
import { Delay, type MaybeTask, PREEMPT, RESCHEDULE, type Task, type Wait } from './task.ts';
import { Thread } from './thread.ts';
import type { WaitQueue } from './wait-queue.ts';

/** Answers the choice point: the index, in `runnable`, of the thread to resume. */
export type Strategy = (runnable: readonly Thread[]) => number;

export const firstInFirstOut: Strategy = () => 0;

export interface SchedulerOptions {
  /** First in, first out unless given. Not asked where there is an explorer. */
  readonly strategy?: Strategy | undefined;
  /** Makes every place where a task could be overtaken a choice point, and answers it. */
  readonly explorer?: Explorer | undefined;
  /** Locks taken in orders that could deadlock are an error: `lock-order`. */
  readonly checkLockOrder?: boolean | undefined;
  /** Adds up what virtual time is spent on. */
  readonly accounts?: boolean | undefined;
}

/** What a machine tells of a task that can never be woken: who waits for what, held by whom. */
export interface DeadlockReport {
  readonly thread: string;
  readonly waitsFor: string;
  readonly heldBy: readonly string[];
}

export class Scheduler {
  /** Virtual time since the machine was made, in nanoseconds. */
  nowNs = 0;
  /** The thread that is running; outside of any task, the machine's own. */
  current: Thread;
  readonly explorer: Explorer | null;
  /** There is an explorer: code that could be overtaken asks `overtaken` and yields PREEMPT. */
  readonly preempts: boolean;
  readonly lockOrder: LockOrder | null;
  /** Locks do not take their fast path: somebody wants to know of each. */
  readonly slowLocks: boolean;
  readonly accounts: TimeAccounts | null;
  /** Every lock that was made, where there is an explorer: whoever compares states asks them. */
  readonly locks: (Mutex | RwSemaphore)[] | null;
  readonly #strategy: Strategy;
  /** Whose task `run` runs. */
  #boot: Thread;
  /** Threads that have not ended. */
  readonly #live: Set<Thread> = new Set();
  readonly #runnable: Thread[] = [];
  readonly #timers: EventQueue<Thread> = new EventQueue();
  readonly #sleeping: Set<Thread> = new Set();
  #nextThreadId = 1;
  #running = false;
  #atomicDepth = 0;
  /** Calls of `run` from inside a task: nobody can be let go first there. */
  #nestedRuns = 0;
  /** Who goes on after a PREEMPT. */
  #chosen: Thread | null = null;

  constructor(options: SchedulerOptions = {}) {
    const { strategy, explorer, checkLockOrder, accounts } = options;
    this.#strategy = strategy ?? firstInFirstOut;
    this.explorer = explorer ?? null;
    this.preempts = this.explorer !== null;
    this.lockOrder = checkLockOrder === true ? new LockOrder() : null;
    this.slowLocks = this.preempts || this.lockOrder !== null;
    this.accounts = accounts === true ? new TimeAccounts() : null;
    this.locks = this.preempts ? [] : null;
    this.#boot = this.#newBoot();
    this.current = this.#boot;
  }

  /** True while a callback that may not sleep is running. */
  get inAtomic(): boolean {
    return this.#atomicDepth > 0;
  }

  /** From here to `leaveAtomic`, sleeping is an error: page_free and its like. */
  enterAtomic(): void {
    this.#atomicDepth++;
  }

  leaveAtomic(): void {
    if (this.#atomicDepth === 0) {
      throw new SimError('lock-misuse', 'leaveAtomic without enterAtomic');
    }
    this.#atomicDepth--;
  }

  /**
   * The live threads whose id ends in these 16 bits. Usually one: who is to be blamed is for
   * people, so the holder of a page lock is kept in half a word.
   */
  threadsWithShortId(shortId: number): readonly Thread[] {
    return [...this.#live].filter((thread) => (thread.id & 0xffff) === shortId);
  }

  /** Live threads, the machine's own first. */
  get threads(): readonly Thread[] {
    return [...this.#live];
  }

  /**
   * The running thread stands where the kernel could be preempted. True: somebody else goes first,
   * and the task must yield PREEMPT at once. Ask only if `preempts`.
   *
   * @param point where it stands, for people and for digests: "migrate: unmap"
   * @param local a hash of what it carries with it there, beyond what the point says
   */
  overtaken(point: string, local: number): boolean {
    if (this.#nestedRuns > 0 || this.#atomicDepth > 0) return false;
    const { current } = this;
    const chosen = this.explorer!.next(current, this.#runnable, point, local);
    if (chosen === current) return false;
    this.#chosen = chosen;
    return true;
  }

  /** The same for a path that is no task: undefined to go on at once, or what to do first. */
  choicePoint(point: string, local: number): MaybeTask<undefined> {
    return this.overtaken(point, local) ? giveWay() : undefined;
  }

  /** The running thread was busy for so long: `ns` nanoseconds, to pass when it pays. */
  charge(ns: number): void {
    this.current.owedNs += ns;
  }

  /** The running thread owes time and may sleep, so that `pay` can let it pass. */
  get owing(): boolean {
    return this.current.owedNs > 0 && this.#nestedRuns === 0 && this.#atomicDepth === 0;
  }

  *pay(): Task<undefined> {
    const { current } = this;
    const ns = current.owedNs;
    current.owedNs = 0;
    yield new Delay(ns, 'work');
    return undefined;
  }

  /** Makes a thread of `task`; it starts when the scheduler runs. */
  spawn(name: string, task: Task<unknown>): Thread {
    const thread = new Thread(this.#nextThreadId++, name);
    thread.task = task;
    this.#live.add(thread);
    this.#runnable.push(thread);
    return thread;
  }

  /** Runs `task` to its end and returns its result; other threads run while it waits. */
  run<T>(task: Task<T>): T {
    if (this.#atomicDepth > 0) task.return(undefined as T);
    if (this.#running && this.#atomicDepth === 0) return this.#runNested(task);
    return this.runStep(() => task as never);
  }

  /** The same for a step that may be done at once, and then needs no task. */
  runStep<T extends number | boolean | string | undefined>(begin: () => MaybeTask<T>): T {
    if (this.#atomicDepth > 0) {
      throw new SimError('slept-in-atomic', 'a task was run from a callback that may not sleep');
    }
    if (this.#running) {
      this.#nestedRuns++;
      let nested: MaybeTask<T>;
      try {
        nested = begin();
      } finally {
        this.#nestedRuns--;
      }
      return typeof nested === 'object' ? this.#runNested(nested) : nested;
    }
    const thread = this.#boot;
    const depth = thread.spans.length;
    this.#running = true;
    try {
      const task = begin();
      if (typeof task !== 'object') return task;
      const step = task.next();
      if (step.done === true) return step.value;
      thread.task = task;
      this.#park(thread, step.value);
      this.#loop(thread);
      return this.#resultOf(thread) as T;
    } catch (error) {
      // Whatever the task was inside of will not be ended by it.
      thread.spans.length = depth;
      throw error;
    } finally {
      this.#running = false;
      if (thread.task === null) thread.state = 'runnable';
      else this.#abandonBoot();
      this.current = this.#boot;
    }
  }

  /** Runs every spawned thread to its end. Throws the first error that one of them threw. */
  runAll(): void {
    if (this.#running) throw new SimError('nested-run', 'runAll was called from inside a task');
    this.#running = true;
    try {
      this.#loop(null);
    } finally {
      this.#running = false;
      this.current = this.#boot;
    }
  }

  /** Called by wait queues. False if the thread did not sleep, as one that was abandoned. */
  wake(thread: Thread): boolean {
    if (thread.state !== 'sleeping') return false;
    thread.state = 'runnable';
    thread.waitingFor = null;
    this.#sleeping.delete(thread);
    if (this.accounts !== null) this.#account(thread);
    this.#runnable.push(thread);
    return true;
  }

  #newBoot(): Thread {
    const boot = new Thread(0, 'caller');
    this.#live.add(boot);
    return boot;
  }

  /** `run` failed while its task was waiting: nothing may resume that task in a later run. */
  #abandonBoot(): void {
    const boot = this.#boot;
    boot.state = 'done';
    try {
      // Lets it give back the locks it holds.
      boot.task?.return(undefined);
    } catch {
      // The error that led here is the one to tell.
    }
    boot.task = null;
    boot.waitingFor = null;
    this.#live.delete(boot);
    this.#sleeping.delete(boot);
    const at = this.#runnable.indexOf(boot);
    if (at >= 0) this.#runnable.splice(at, 1);
    this.#boot = this.#newBoot();
  }

  /**
   * A plain call from inside a task (say, `process.load32` in an event listener): fine as long as
   * it does not have to wait, for there is nobody to resume it.
   */
  #runNested<T>(task: Task<T>): T {
    this.#nestedRuns++;
    try {
      const step = task.next();
      if (step.done === true) return step.value;
    } finally {
      this.#nestedRuns--;
    }
    task.return(undefined as T);
    throw new SimError(
      'nested-run',
      'a call from inside a task had to wait; use its task form with yield* there',
    );
  }

  #loop(until: Thread | null): void {
    while (until === null || until.state !== 'done') {
      if (this.#runnable.length === 0) {
        const timeNs = this.#timers.earliestNs;
        const next = this.#timers.pop();
        if (next === undefined) {
          if (until === null && this.#sleeping.size === 0) return;
          throw this.#deadlock();
        }
        if (next.state !== 'delayed') continue;
        this.nowNs = timeNs;
        next.state = 'runnable';
        if (this.accounts !== null) this.#account(next);
        this.#resume(next);
        continue;
      }
      this.#resume(this.#choose());
    }
  }

  #account(thread: Thread): void {
    const ns = this.nowNs - thread.waitStartNs;
    if (ns > 0) this.accounts!.add(thread.name, thread.waitReason, thread.waitLabel, ns);
  }

  #choose(): Thread {
    const runnable = this.#runnable;
    if (this.#chosen !== null) {
      const chosen = this.#chosen;
      this.#chosen = null;
      return this.#takeRunnable(chosen);
    }
    // Told of every thread that sleeps or ends, even where there is no choice.
    if (this.explorer !== null) {
      return this.#takeRunnable(this.explorer.next(null, runnable, '', 0));
    }
    if (runnable.length === 1) return runnable.pop()!;
    const index = this.#strategy(runnable);
    const thread = runnable[index];
    if (thread === undefined) {
      throw new SimError(
        'bad-argument',
        `the strategy chose thread ${index} of ${runnable.length}`,
      );
    }
    runnable.splice(index, 1);
    return thread;
  }

  #takeRunnable(thread: Thread): Thread {
    const at = this.#runnable.indexOf(thread);
    if (at < 0) {
      throw new SimError('bad-argument', `the explorer chose ${thread.name}, which cannot run`);
    }
    this.#runnable.splice(at, 1);
    return thread;
  }

  #resume(thread: Thread): void {
    this.current = thread;
    try {
      let step = thread.task!.next();
      if (step.done === true && thread.owedNs > 0) {
        thread.task = this.#payAndReturn(step.value);
        step = thread.task.next();
      }
      if (step.done === true) {
        this.#finish(thread);
        thread.result = step.value;
      } else {
        this.#park(thread, step.value);
      }
    } catch (error) {
      this.#finish(thread);
      thread.error = error;
      if (thread !== this.#boot) throw error;
    }
  }

  /** What a thread that ends owing time does last, so that none of it is lost. */
  *#payAndReturn(result: unknown): Task<unknown> {
    yield* this.pay();
    return result;
  }

  #finish(thread: Thread): void {
    thread.state = 'done';
    thread.task = null;
    // The caller's thread ends with the machine only.
    if (thread !== this.#boot) this.#live.delete(thread);
  }

  #park(thread: Thread, wait: Wait): void {
    if (wait instanceof Delay) {
      thread.state = 'delayed';
      if (this.accounts !== null) this.#noteWait(thread, wait);
      thread.dueNs = this.nowNs + wait.ns;
      this.#timers.push(thread.dueNs, thread);
    } else if (wait === RESCHEDULE || wait === PREEMPT) {
      this.#runnable.push(thread);
    } else {
      thread.state = 'sleeping';
      if (this.accounts !== null) this.#noteWait(thread, wait);
      thread.waitingFor = wait;
      this.#sleeping.add(thread);
      wait.add(thread);
    }
  }

  #noteWait(thread: Thread, { reason, label }: Delay | WaitQueue): void {
    thread.waitStartNs = this.nowNs;
    thread.waitReason = reason;
    thread.waitLabel = label;
  }

  #resultOf(thread: Thread): unknown {
    const { error, result } = thread;
    thread.error = null;
    thread.result = undefined;
    if (error !== null) throw error;
    return result;
  }

  #deadlock(): SimError {
    const report: DeadlockReport[] = [...this.#sleeping].map((thread) => ({
      thread: thread.doing === '' ? thread.name : `${thread.name} (${thread.doing})`,
      waitsFor: thread.waitingFor?.what() ?? 'nothing',
      heldBy: thread.waitingFor?.holders().map((holder) => holder.name) ?? [],
    }));
    const lines = report.map(
      ({ thread, waitsFor, heldBy }) =>
        `  ${thread} waits for ${waitsFor}${heldBy.length > 0 ? `, held by ${heldBy.join(', ')}` : ''}`,
    );
    return new SimError('deadlock', `no task can ever run again:\n${lines.join('\n')}`, { report });
  }
}

function* giveWay(): Task<undefined> {
  yield PREEMPT;
  return undefined;
}
