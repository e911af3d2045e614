/** Calls (system calls, ioctls, hypercalls) as spans of the event stream. */
import type { Kernel } from '../kernel.ts';
import type { Task } from '../sched/task.ts';
import type { CallInfo } from './types.ts';

/**
 * The task of a call, told as a `call` span if somebody listens; without a listener, the very task.
 * `resultOf` makes a number of what the task returns, where that is not a number itself.
 */
export function toldCall(kernel: Kernel, info: CallInfo, task: Task<number>): Task<number>;
export function toldCall<T>(
  kernel: Kernel,
  info: CallInfo,
  task: Task<T>,
  resultOf: (value: T) => number,
): Task<T>;
export function toldCall<T>(
  kernel: Kernel,
  info: CallInfo,
  task: Task<T>,
  resultOf: (value: T) => number = Number,
): Task<T> {
  return kernel.events.listening ? tell(kernel, info, task, resultOf) : task;
}

function* tell<T>(
  kernel: Kernel,
  info: CallInfo,
  task: Task<T>,
  resultOf: (value: T) => number,
): Task<T> {
  const { events } = kernel;
  events.callBegin(info);
  const value = yield* task;
  events.callEnd(info, resultOf(value));
  return value;
}
