/**
 * Runs tasks one at a time on a virtual clock.
 *
 * A task runs until it waits or ends. Virtual time moves only when no task can run. Which runnable
 * task goes next is a choice point, answered by a `Strategy` (first in, first out by default);
 * nothing else influences a run, so the same inputs give the same events.
 */
import { SimError } from '../errors.ts';
import { EventQueue } from './event-queue.ts';
import { Delay, RESCHEDULE, type Task, type Wait } from './task.ts';
import { Thread } from './thread.ts';

/** Answers the choice point: the index, in `runnable`, of the thread to resume. */
export type Strategy = (runnable: readonly Thread[]) => number;

export const firstInFirstOut: Strategy = () => 0;

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

  constructor(strategy: Strategy = firstInFirstOut) {
    this.#strategy = strategy;
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
    if (this.#atomicDepth > 0) {
      task.return(undefined as T);
      throw new SimError('slept-in-atomic', 'a task was run from a callback that may not sleep');
    }
    if (this.#running) return this.#runNested(task);
    const thread = this.#boot;
    const depth = thread.spans.length;
    this.#running = true;
    try {
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
    const step = task.next();
    if (step.done === true) return step.value;
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
        this.#runnable.push(next);
        continue;
      }
      this.#resume(this.#choose());
    }
  }

  #choose(): Thread {
    const runnable = this.#runnable;
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

  #resume(thread: Thread): void {
    this.current = thread;
    try {
      const step = thread.task!.next();
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

  #finish(thread: Thread): void {
    thread.state = 'done';
    thread.task = null;
    // The caller's thread ends with the machine only.
    if (thread !== this.#boot) this.#live.delete(thread);
  }

  #park(thread: Thread, wait: Wait): void {
    if (wait === RESCHEDULE) {
      this.#runnable.push(thread);
    } else if (wait instanceof Delay) {
      thread.state = 'delayed';
      this.#timers.push(this.nowNs + wait.ns, thread);
    } else {
      thread.state = 'sleeping';
      thread.waitingFor = wait;
      this.#sleeping.add(thread);
      wait.add(thread);
    }
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
      thread: thread.name,
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
