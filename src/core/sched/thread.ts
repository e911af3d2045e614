import type { Holding } from './lock-order.ts';
import type { Task, WaitReason } from './task.ts';
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
  /** What it is at, for reports: "line 7: cpu_read 0 0 1". Set by whoever gives it work. */
  doing: string;
  /** For whoever explores: a digest of the way it took so far. */
  path: number;
  /** Locks it holds, the latest last; kept only where the order of locks is checked. */
  readonly held: Holding[];
  /** Virtual time it has spent on work and not yet waited for, in nanoseconds. */
  owedNs: number;
  /** While `state` is `delayed`: when it goes on, in virtual time. */
  dueNs: number;
  /** Where time is accounted: since when it waits, why, and for what. */
  waitStartNs: number;
  waitReason: WaitReason;
  waitLabel: string;

  constructor(id: number, name: string) {
    this.id = id;
    this.name = name;
    this.state = 'runnable';
    this.waitingFor = null;
    this.spans = [];
    this.result = undefined;
    this.error = null;
    this.task = null;
    this.doing = '';
    this.path = 0;
    this.held = [];
    this.owedNs = 0;
    this.dueNs = 0;
    this.waitStartNs = 0;
    this.waitReason = 'other';
    this.waitLabel = '';
  }
}
