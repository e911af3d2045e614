/** Calls (system calls, ioctls, hypercalls) and device faults as spans of the event stream. */
import type { Kernel } from '../kernel.ts';
import type { Mm } from '../mm/mm.ts';
import type { Task } from '../sched/task.ts';
import type { Timing } from '../timing.ts';
import type { Va } from '../units.ts';
import type { Access, CallInfo } from './types.ts';

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

/** Does anybody notice that a call is made: is it told, or does it take time? */
export function isNoticed(kernel: Kernel): boolean {
  return kernel.events.listening || kernel.timing !== null;
}

/** A call from user space, as of `toldCall`: the way into the kernel and back takes its time. */
export function userCall(kernel: Kernel, info: CallInfo, task: Task<number>): Task<number>;
export function userCall<T>(
  kernel: Kernel,
  info: CallInfo,
  task: Task<T>,
  resultOf: (value: T) => number,
): Task<T>;
export function userCall<T>(
  kernel: Kernel,
  info: CallInfo,
  task: Task<T>,
  resultOf: (value: T) => number = Number,
): Task<T> {
  const told = toldCall(kernel, info, task, resultOf);
  return kernel.timing === null ? told : inTime(kernel, kernel.timing, told);
}

function* inTime<T>({ scheduler }: Kernel, { cpu }: Timing, task: Task<T>): Task<T> {
  scheduler.charge(cpu.kernelEntryNs);
  const value = yield* task;
  if (scheduler.owing) yield* scheduler.pay();
  return value;
}

/** A range that a device misses in an address space. */
export interface DeviceFaultInfo {
  readonly mm: Mm;
  readonly start: Va;
  readonly end: Va;
  /** Name of the device. */
  readonly device: string;
  readonly access: Access;
}

/** The task that serves a device's fault, told as a `device_fault` span if somebody listens. */
export function toldDeviceFault(info: DeviceFaultInfo, task: Task<number>): Task<number> {
  return info.mm.kernel.events.listening ? tellDeviceFault(info, task) : task;
}

function* tellDeviceFault(info: DeviceFaultInfo, task: Task<number>): Task<number> {
  const { mm, start, end, device, access } = info;
  const { events } = mm.kernel;
  events.deviceFaultBegin(mm, start, end, device, access);
  const result = yield* task;
  events.deviceFaultEnd(mm, start, end, result);
  return result;
}
