// A GPU whose driver is the test itself.

import { Machine, type MachineOptions } from '../../src/core/machine.ts';
import type { Owner } from '../../src/core/pagemap/pagemap.ts';
import { Delay, type Task } from '../../src/core/sched/task.ts';
import type { Page } from '../../src/core/units.ts';
import { BusMaster } from '../../src/hw/bus.ts';
import type { FaultEntry } from '../../src/hw/fault-buffer.ts';
import {
  Gpu,
  type GpuAccess,
  type GpuAccessKind,
  type GpuInstance,
  type GpuResult,
} from '../../src/hw/gpu.ts';
import { owner, ramPage } from './lab.ts';

export const PAGE = 4096;
export const KINDS: readonly GpuAccessKind[] = ['read', 'write', 'atomic', 'prefetch'];

export interface Lab {
  readonly machine: Machine;
  readonly gpu: Gpu;
  /** Whose memory the GPU reaches. */
  readonly self: Owner;
  /** A page of RAM whose first word is `value`. */
  ram(value: number): Page;
  /** How often the GPU interrupted. */
  interrupts(): number;
}

/** A GPU whose driver is the test: nothing happens at an interrupt but that it is counted. */
export function lab({ entries = 8, ...options }: MachineOptions & { entries?: number } = {}): Lab {
  const machine = new Machine(options);
  const self = owner('gpu0');
  let interrupts = 0;
  const gpu = new Gpu(machine.kernel, {
    name: 'gpu0',
    bus: new BusMaster(machine.kernel, self),
    faultEntries: entries,
    onInterrupt: () => interrupts++,
  });
  return {
    machine,
    gpu,
    self,
    ram: (value) => ramPage(machine, value),
    interrupts: () => interrupts,
  };
}

/** What came of accesses that were issued: null until all of them are done. */
export interface Issued {
  results: GpuResult[] | null;
}

/** Issues accesses on a thread of their own and lets it run until it waits. */
export function issue(
  { machine, gpu }: Lab,
  instance: GpuInstance,
  ...accesses: GpuAccess[]
): Issued {
  const issued: Issued = { results: null };
  machine.spawn('channel', fill(issued, gpu.execute(instance, accesses)));
  turn(machine);
  return issued;
}

function* fill(issued: Issued, task: Task<GpuResult[]>): Task<void> {
  issued.results = yield* task;
}

/** Lets all threads run until each of them waits. */
export function turn(machine: Machine): void {
  machine.run(
    (function* () {
      yield new Delay(1);
    })(),
  );
}

/** All entries the driver has not taken; takes them. */
export function take({ gpu }: Lab): FaultEntry[] {
  const { faultBuffer: buffer } = gpu;
  const taken: FaultEntry[] = [];
  while (buffer.get !== buffer.put) {
    taken.push(buffer.read(buffer.get));
    buffer.clearValid(buffer.get);
    buffer.get = (buffer.get + 1) % buffer.entries;
  }
  return taken;
}

export function replay({ machine, gpu }: Lab): void {
  gpu.replay();
  turn(machine);
}

export function access(kind: GpuAccessKind, va: number, value?: number): GpuAccess {
  return { kind, va, ...(value !== undefined && { value }) };
}
