// Small tasks and what they throw, for tests of the scheduler.

import { SimError, type SimErrorCode } from '../../src/core/errors.ts';
import { Delay, type Task } from '../../src/core/sched/task.ts';

export function errorOf(action: () => unknown): SimError {
  try {
    action();
  } catch (error) {
    if (error instanceof SimError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

export function codeOf(action: () => unknown): SimErrorCode {
  return errorOf(action).code;
}

export function* sleep(ns: number): Task<void> {
  yield new Delay(ns);
}

/** Does `action`, after some time if that is not 0. */
export function* later<T>(ns: number, action: () => T): Task<T> {
  if (ns > 0) yield new Delay(ns);
  return action();
}

export function fail(): never {
  throw new RangeError('failed');
}
