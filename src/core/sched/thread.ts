import type { Task } from './task.ts';
import type { WaitQueue } from './wait-queue.ts';

export type ThreadState = 'runnable' | 'sleeping' | 'delayed' | 'done';

/** One flow of control: a CPU thread of a process, a device's fault handler, a kernel worker. */
export class Thread {
  readonly id: number;
  readonly name: string;
  state: ThreadState;
  /** What it sleeps on while `state` is `sleeping`. */
  waitingFor: WaitQueue | null;
  /** Ids of the event spans this thread is inside of, innermost last. */
  readonly spans: number[];
  /** The task's return value once `state` is `done` and `error` is null. */
  result: unknown;
  error: unknown;
  task: Task<unknown> | null;

  constructor(id: number, name: string) {
    this.id = id;
    this.name = name;
    this.state = 'runnable';
    this.waitingFor = null;
    this.spans = [];
    this.result = undefined;
    this.error = null;
    this.task = null;
  }
}
