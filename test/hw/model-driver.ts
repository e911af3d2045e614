// The simplest driver there is of a GPU's faults, in the ways in which a worker may be woken.

import type { Machine } from '../../src/core/machine.ts';
import { Mutex } from '../../src/core/sched/locks.ts';
import { Delay, type Task } from '../../src/core/sched/task.ts';
import type { Page, Vpn } from '../../src/core/units.ts';
import { BusMaster } from '../../src/hw/bus.ts';
import {
  FAULT_ACCESS_ATOMIC,
  FAULT_ACCESS_WRITE,
  type FaultEntry,
} from '../../src/hw/fault-buffer.ts';
import { Gpu, type GpuInstance } from '../../src/hw/gpu.ts';
import { GPU_PTE_ATOMIC, GPU_PTE_VALID, GPU_PTE_WRITE } from '../../src/hw/gpu-page-table.ts';
import { owner } from './lab.ts';

/**
 * `level`: one worker, which an interrupt starts if it is not there, and which looks at the
 * interrupt line before it ends. `edge`: one worker, which an interrupt starts or sends round once
 * more. `threads`: every interrupt starts a worker; they take turns.
 */
export type Waking = 'level' | 'edge' | 'threads';

export interface ModelOptions {
  readonly entries: number;
  readonly waking: Waking;
  /** Virtual time that serving an entry takes, in ns. */
  readonly serveNs: number;
  /** An entry adds to what its page allows already, rather than replacing it. */
  readonly merge: boolean;
  /** Pages whose faults cannot be served, by channel. */
  readonly fatal: readonly ReadonlySet<Vpn>[];
}

export class ModelDriver {
  readonly gpu: Gpu;
  readonly channels: readonly GpuInstance[];
  /** Entries read so far. */
  taken = 0;
  readonly #machine: Machine;
  readonly #options: ModelOptions;
  readonly #pages: readonly Page[];
  readonly #turn: Mutex;
  #running = false;
  #again = false;

  /** All channels share `pages`: page number n is `pages[n]`. */
  constructor(machine: Machine, pages: readonly Page[], options: ModelOptions) {
    this.#machine = machine;
    this.#options = options;
    this.#pages = pages;
    this.#turn = new Mutex(machine.scheduler, 'turn of the workers');
    this.gpu = new Gpu(machine.kernel, {
      name: 'gpu0',
      bus: new BusMaster(machine.kernel, owner('gpu0')),
      faultEntries: options.entries,
      onInterrupt: () => this.#interrupt(),
    });
    this.channels = options.fatal.map((_, i) => this.gpu.createInstance(i + 1));
  }

  #interrupt(): void {
    if (this.#options.waking === 'threads') {
      this.#machine.spawn('worker', this.#oneTurn());
      return;
    }
    this.#again = true;
    if (this.#running) return;
    this.#running = true;
    this.#machine.spawn('worker', this.#rounds());
  }

  *#oneTurn(): Task<void> {
    yield* this.#turn.lock();
    yield* this.#round();
    this.#turn.unlock();
  }

  *#rounds(): Task<void> {
    const level = this.#options.waking === 'level';
    while (level ? this.gpu.interruptPending : this.#again) {
      this.#again = false;
      yield* this.#round();
    }
    this.#running = false;
  }

  /** Empties the buffer, serves what was in it, and replays if anything was mapped. */
  *#round(): Task<void> {
    const entries = this.#take();
    let mapped = entries.length === 0 && this.gpu.lost > 0;
    for (const entry of entries) {
      if (this.#options.serveNs > 0) yield new Delay(this.#options.serveNs);
      if (this.#serve(entry)) mapped = true;
    }
    if (mapped) this.gpu.replay();
  }

  #take(): FaultEntry[] {
    const buffer = this.gpu.faultBuffer;
    const entries: FaultEntry[] = [];
    for (let at = buffer.get; at !== buffer.put; at = (at + 1) % buffer.entries) {
      const entry = buffer.read(at);
      if (!entry.valid) throw new Error(`entry ${at} was written but is not valid`);
      buffer.clearValid(at);
      entries.push(entry);
    }
    this.taken += entries.length;
    if (entries.length > 0) buffer.get = buffer.put;
    return entries;
  }

  #serve(entry: FaultEntry): boolean {
    const channel = this.channels.findIndex(({ inst }) => inst === entry.inst);
    const vpn = entry.addr / this.#machine.pageSize;
    if (this.#options.fatal[channel]!.has(vpn)) {
      this.gpu.cancel(entry);
      return false;
    }
    const { pageTable } = this.channels[channel]!;
    const had = this.#options.merge ? (pageTable.entry(vpn)?.flags ?? 0) : 0;
    pageTable.map(vpn, this.#pages[vpn]!, had | flagsFor(entry));
    return true;
  }
}

function flagsFor({ access }: FaultEntry): number {
  if (access === FAULT_ACCESS_ATOMIC) return GPU_PTE_VALID | GPU_PTE_WRITE | GPU_PTE_ATOMIC;
  return access === FAULT_ACCESS_WRITE ? GPU_PTE_VALID | GPU_PTE_WRITE : GPU_PTE_VALID;
}
