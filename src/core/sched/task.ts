/**
 * What may sleep, and what may not.
 *
 * Code that may sleep is a generator that yields what it waits for. Code that may not sleep is a
 * plain function. The types keep the kernel's deepest rule: a `pageFree` callback cannot
 * accidentally take a mutex, because it has nothing to yield with.
 */
import type { WaitQueue } from './wait-queue.ts';

/** Let virtual time pass, in nanoseconds (>= 0), before this task goes on. */
export class Delay {
  readonly ns: number;
  constructor(ns: number) {
    this.ns = ns;
  }
}

/** Go to the end of the run queue: cond_resched(). */
export const RESCHEDULE: unique symbol = Symbol('reschedule');

/** What a task may wait for. */
export type Wait = WaitQueue | Delay | typeof RESCHEDULE;

/** Code that may sleep and in the end returns a T. */
export type Task<T> = Generator<Wait, T, undefined>;

/**
 * The result of a callback that may sleep but usually does not: the value at once, or a task to
 * be finished with `yield* settle(...)`. Spares the hot paths a generator.
 */
export type MaybeTask<T extends number | boolean | undefined> = T | Task<T>;

/** Finishes what a `MaybeTask` began. */
export function* settle<T extends number | boolean | undefined>(result: MaybeTask<T>): Task<T> {
  return typeof result === 'object' ? yield* result : result;
}
