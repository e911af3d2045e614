/**
 * What may sleep, and what may not.
 *
 * Code that may sleep is a generator that yields what it waits for. Code that may not sleep is a
 * plain function. The types keep the kernel's deepest rule: a `pageFree` callback cannot
 * accidentally take a mutex, because it has nothing to yield with.
 */
import type { WaitQueue } from './wait-queue.ts';

/** What virtual time is spent on, for those who ask where it went. */
export type WaitReason =
  /** A CPU or a device is busy with what this task asked of it. */
  | 'work'
  /** A mutex or a semaphore that somebody else holds. */
  | 'lock'
  | 'page_lock'
  /** A fence of a copy engine. */
  | 'fence'
  /** A transfer has the link, or waits for its turn on it. */
  | 'link'
  /** An access of a GPU waits until its fault was served. */
  | 'fault_batch'
  /** The end of an invalidation. */
  | 'notifier'
  /** A pause before a further try. */
  | 'pause'
  | 'other';

/** Let virtual time pass, in nanoseconds (>= 0), before this task goes on. May be yielded again. */
export class Delay {
  readonly ns: number;
  readonly reason: WaitReason;
  /** What the time is spent on, for people: "hmm_dmirror0 copies". */
  readonly label: string;

  constructor(ns: number, reason: WaitReason = 'other', label: string = '') {
    this.ns = ns;
    this.reason = reason;
    this.label = label;
  }
}

/** Go to the end of the run queue: cond_resched(). */
export const RESCHEDULE: unique symbol = Symbol('reschedule');

/**
 * Somebody else goes first; this task can go on at any time. Yield it where
 * `scheduler.overtaken` says so, and only there.
 */
export const PREEMPT: unique symbol = Symbol('preempt');

/** What a task may wait for. */
export type Wait = WaitQueue | Delay | typeof RESCHEDULE | typeof PREEMPT;

/** Code that may sleep and in the end returns a T. */
export type Task<T> = Generator<Wait, T, undefined>;

/**
 * The result of a step that may sleep but usually does not: the value at once, or a task to be
 * finished with `yield* settle(...)`. Spares the hot paths a generator.
 */
export type MaybeTask<T extends AtOnce> = T | Task<T>;

/** What can be told from a task by its type alone. */
type AtOnce = number | boolean | string | undefined;

/** Finishes what a `MaybeTask` began. */
export function* settle<T extends AtOnce>(result: MaybeTask<T>): Task<T> {
  return typeof result === 'object' ? yield* result : result;
}

/**
 * Goes on with the result of a step: at once where the step was done at once, else in a task. So a
 * path is written once, and costs no task where nothing waits.
 */
export function after<A extends AtOnce, B extends AtOnce>(
  step: MaybeTask<A>,
  next: (value: A) => MaybeTask<B>,
): MaybeTask<B> {
  return typeof step === 'object' ? afterTask(step, next) : next(step);
}

function* afterTask<A extends AtOnce, B extends AtOnce>(
  step: Task<A>,
  next: (value: A) => MaybeTask<B>,
): Task<B> {
  const last = next(yield* step);
  return typeof last === 'object' ? yield* last : last;
}
