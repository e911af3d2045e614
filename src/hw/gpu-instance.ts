/** A channel of a GPU, and the accesses it has under way. */
import type { Scheduler } from '../core/sched/scheduler.ts';
import { Delay, type WaitReason } from '../core/sched/task.ts';
import { WaitQueue } from '../core/sched/wait-queue.ts';
import type { StateHash } from '../core/state-hash.ts';
import { hex } from '../core/units.ts';
import type { GpuAccess, GpuResult } from './gpu-access.ts';
import { GpuPageTable } from './gpu-page-table.ts';

/** A channel and its address space. Made by `Gpu.createInstance`. */
export class GpuInstance {
  /** Instance pointer: what fault entries name it by. */
  readonly inst: number;
  /** The process whose address space it shares, for events; null where that is not known. */
  readonly pid: number | null;
  readonly pageTable: GpuPageTable;
  /** A fault of it was cancelled, or it was destroyed. */
  dead = false;

  constructor(inst: number, pid: number | null) {
    this.inst = inst;
    this.pid = pid;
    this.pageTable = new GpuPageTable();
  }
}

/** An access that waits. */
export interface Stalled {
  readonly batch: Batch;
  /** Its position in the batch. */
  readonly at: number;
  /** It found the fault buffer full, so nobody knows of it. */
  lost: boolean;
}

/** Accesses that were issued at once. */
export class Batch {
  readonly instance: GpuInstance;
  readonly accesses: readonly GpuAccess[];
  readonly results: GpuResult[];
  /** Where the issuer sleeps. */
  readonly queue: WaitQueue;
  /** Id of the event span in which they were issued. */
  readonly span: number | undefined;
  /** When the last access that was done has its data, where accesses take time... */
  #readyNs = 0;
  /** ...and what it waits for. */
  #readyReason: WaitReason = 'work';
  /** Positions of those that wait, in the order of issue. */
  readonly #waiting: Set<number> = new Set();

  /** @param device name of the GPU, for deadlock reports */
  constructor(
    scheduler: Scheduler,
    device: string,
    instance: GpuInstance,
    accesses: readonly GpuAccess[],
  ) {
    this.instance = instance;
    this.accesses = accesses;
    this.results = new Array<GpuResult>(accesses.length).fill(0);
    this.queue = new WaitQueue(
      scheduler,
      () => this.#describe(device),
      () => [],
      'fault_batch',
      device,
    );
    this.span = scheduler.current.spans.at(-1);
  }

  /** Accesses that wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  waits(at: number): boolean {
    return this.#waiting.has(at);
  }

  stall(at: number): void {
    this.#waiting.add(at);
  }

  /** The access waits no longer; the last one wakes the issuer. */
  finish(at: number): void {
    this.#waiting.delete(at);
    if (this.#waiting.size === 0) this.queue.wakeAll();
  }

  /** An access has its data at `doneNs`; `reason` is what takes so long. */
  ready(doneNs: number, reason: WaitReason): void {
    if (doneNs <= this.#readyNs) return;
    this.#readyNs = doneNs;
    this.#readyReason = reason;
  }

  /** What is left to wait for the data of all accesses; null where it is there. */
  rest(nowNs: number, label: string): Delay | null {
    const ns = this.#readyNs - nowNs;
    return ns > 0 ? new Delay(ns, this.#readyReason, label) : null;
  }

  /** Its accesses, which of them wait, and what came of the others. */
  fingerprint(hash: StateHash): void {
    hash.add(this.instance.inst);
    for (let at = 0; at < this.accesses.length; at++) {
      const { kind, va, value = 0 } = this.accesses[at]!;
      hash.addText(kind);
      hash.add(va);
      hash.add(value);
      hash.add(this.#waiting.has(at) ? -2 : this.results[at]!);
    }
  }

  #describe(device: string): string {
    const [first] = this.#waiting;
    if (first === undefined) return `GPU ${device}`;
    const { kind, va } = this.accesses[first]!;
    const more = this.#waiting.size - 1;
    const access = `a ${kind} of ${hex(va)}${more > 0 ? ` and ${more} more` : ''}`;
    return `GPU ${device}: replay of ${access}`;
  }
}
