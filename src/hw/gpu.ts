/**
 * A GPU that shares address spaces with processes: its units access memory through page tables
 * that the driver fills, and what those do not allow waits until the driver has seen to it.
 *
 * An access that is not allowed writes an entry into the fault buffer, raises the interrupt and
 * stalls. The driver maps what it needs and replays: every stalled access is tried again, in the
 * order of issue, and may fault anew. Or it cancels a fault, and the channel dies. An access that
 * found the buffer full stalls as well, without an entry; the next replay reports it again.
 */
import { SimError } from '../core/errors.ts';
import type { Kernel } from '../core/kernel.ts';
import type { Task } from '../core/sched/task.ts';
import type { StateHash } from '../core/state-hash.ts';
import { hex, type Page, type Va } from '../core/units.ts';
import type { BusMaster } from './bus.ts';
import type { DeviceTime } from './device-time.ts';
import { FaultBuffer, type FaultEntry } from './fault-buffer.ts';
import {
  accessOfFault,
  checkAccesses,
  faultAccess,
  faultReason,
  GPU_ACCESS_BYTES,
  GPU_CANCELLED,
  type GpuAccess,
  type GpuResult,
  neededFlags,
} from './gpu-access.ts';
import { Batch, GpuInstance, type Stalled } from './gpu-instance.ts';
import { insideSpan } from './inside-span.ts';

export type { GpuAccess, GpuAccessKind, GpuResult } from './gpu-access.ts';
export { GPU_CANCELLED } from './gpu-access.ts';
export type { GpuInstance } from './gpu-instance.ts';

export interface GpuOptions {
  /** For people and events. */
  readonly name: string;
  readonly bus: BusMaster;
  /** Places in the fault buffer, at least 2; it holds one entry fewer. */
  readonly faultEntries: number;
  /**
   * The interrupt: entries were written, or stalled accesses without an entry are left with nobody
   * who would replay. May not sleep: the driver wakes its fault worker. An interrupt that arrives
   * while the worker runs may be ignored if the worker ends only when `interruptPending` is false.
   */
  readonly onInterrupt: () => void;
  /** What accesses take; they take no time unless given. */
  readonly time?: DeviceTime | null;
}

/** Clusters that share the accesses of one `execute` among their units. */
const CLUSTERS = 4;
const CLIENTS = 128;
/** Instance pointers are addresses of blocks this far apart. */
const INSTANCE_BYTES = 4096;

const READ_FLAGS: number = neededFlags('read');
const WRITE_FLAGS: number = neededFlags('write');

export class Gpu {
  readonly name: string;
  readonly faultBuffer: FaultBuffer;
  readonly #kernel: Kernel;
  readonly #pageSize: number;
  readonly #bus: BusMaster;
  readonly #onInterrupt: () => void;
  readonly #time: DeviceTime | null;
  /** Those not destroyed, by instance pointer. */
  readonly #instances: Map<number, GpuInstance> = new Map();
  #nextInst = INSTANCE_BYTES;
  /** Issued, and not yet back at who issued them. */
  readonly #batches: Set<Batch> = new Set();
  /** Accesses that wait, in the order of issue. */
  #stalled: Stalled[] = [];
  /** Those of them that have no entry, because the buffer was full. */
  #lost = 0;
  /** By place in the fault buffer: ids of the `gpu_fault` records. */
  readonly #records: (number | undefined)[] = [];
  /** Entries were written since the interrupt was raised last. */
  #written = false;

  /** @throws SimError `bad-argument` where the fault buffer is too small */
  constructor(kernel: Kernel, options: GpuOptions) {
    this.name = options.name;
    this.#kernel = kernel;
    this.#pageSize = kernel.pageSize;
    this.#bus = options.bus;
    this.#onInterrupt = options.onInterrupt;
    this.#time = options.time ?? null;
    this.faultBuffer = new FaultBuffer(options.faultEntries, () => this.#raiseForLost());
  }

  /** The interrupt line: there are entries to read, or stalled accesses without one to replay. */
  get interruptPending(): boolean {
    return this.#lost > 0 || this.faultBuffer.get !== this.faultBuffer.put;
  }

  /** Accesses that wait for a replay. */
  get stalled(): number {
    return this.#stalled.length;
  }

  /** Stalled accesses without an entry: the fault buffer was full. */
  get lost(): number {
    return this.#lost;
  }

  /**
   * Id of the `gpu_fault` record of the entry in place `at`, for what it causes on other threads;
   * undefined where nobody listened. Ask before moving GET beyond it.
   */
  recordOf(at: number): number | undefined {
    return this.#records[at];
  }

  fingerprint(hash: StateHash): void {
    this.faultBuffer.fingerprint(hash);
    hash.add(this.#written ? 1 : 0);
    for (const { inst, dead, pageTable } of this.#instances.values()) {
      hash.add(dead ? -inst : inst);
      pageTable.fingerprint(hash);
    }
    for (const batch of this.#batches) batch.fingerprint(hash);
    for (const { at, lost } of this.#stalled) hash.add(lost ? -1 - at : at);
  }

  // Instances --------------------------------------------------------------------------------

  /** A channel with an address space of its own; `pid` is for events. */
  createInstance(pid: number | null = null): GpuInstance {
    const instance = new GpuInstance(this.#nextInst, pid);
    this.#nextInst += INSTANCE_BYTES;
    this.#instances.set(instance.inst, instance);
    return instance;
  }

  /** The instance is one of this GPU and was not destroyed. */
  hasInstance(instance: GpuInstance): boolean {
    return this.#instances.get(instance.inst) === instance;
  }

  /** Takes the channel away; accesses of it that wait end with GPU_CANCELLED. */
  destroyInstance(instance: GpuInstance): void {
    if (this.#instances.get(instance.inst) !== instance) {
      throw new SimError('bad-argument', `${this.name} has no instance ${hex(instance.inst)}`);
    }
    this.#instances.delete(instance.inst);
    this.#kill(instance);
  }

  // Accesses ---------------------------------------------------------------------------------

  /**
   * Issues all `accesses` at once, in order, and sleeps until none of them waits. Results stand in
   * the same order; see `GpuResult`. A prefetch that misses faults but does not wait.
   *
   * @throws SimError `bad-argument` where an address is not a multiple of 4
   */
  *execute(instance: GpuInstance, accesses: readonly GpuAccess[]): Task<GpuResult[]> {
    checkAccesses(this.name, accesses);
    if (instance.dead) return accesses.map(() => GPU_CANCELLED);
    if (this.#instances.get(instance.inst) !== instance) {
      throw new SimError('bad-argument', `the instance is not one of ${this.name}`);
    }
    const batch = new Batch(this.#kernel.scheduler, this.name, instance, accesses);
    this.#batches.add(batch);
    for (let at = 0; at < accesses.length; at++) {
      // A listener to what went before may have let the channel die.
      if (instance.dead) batch.results[at] = GPU_CANCELLED;
      else if (!this.#perform(batch, at)) this.#fault(batch, at);
    }
    this.#raiseForWritten();
    // Where the buffer only seemed full, nobody is at work who would replay.
    this.#raiseForLost();
    try {
      while (batch.waiting > 0) yield batch.queue;
    } finally {
      if (batch.waiting > 0) this.#forget(batch);
      this.#batches.delete(batch);
    }
    if (this.#time !== null) {
      const rest = batch.rest(this.#kernel.scheduler.nowNs, this.name);
      if (rest !== null) yield rest;
    }
    return batch.results;
  }

  /**
   * A load of what is mapped, at once: -1 where it would fault, where the channel is dead, and where
   * accesses take time.
   */
  tryLoad32(instance: GpuInstance, va: Va): number {
    if (instance.dead || this.#time !== null) return -1;
    const vpn = Math.floor(va / this.#pageSize);
    const page = instance.pageTable.pageFor(vpn, READ_FLAGS);
    if (page < 0) return -1;
    return this.#bus.read32(page, (va - vpn * this.#pageSize) / 4, instance.pid, va);
  }

  /** The same for a store. False: not done. */
  tryStore32(instance: GpuInstance, va: Va, value: number): boolean {
    if (instance.dead || this.#time !== null) return false;
    const vpn = Math.floor(va / this.#pageSize);
    const page = instance.pageTable.pageFor(vpn, WRITE_FLAGS);
    if (page < 0) return false;
    this.#bus.write32(page, (va - vpn * this.#pageSize) / 4, value, instance.pid, va);
    return true;
  }

  /** Tries every stalled access again. Those still not allowed fault anew: FAULT_REPLAY. */
  replay(): void {
    const { events, scheduler } = this.#kernel;
    const stalled = this.#stalled.slice();
    if (events.listening) events.faultReplay({ device: this.name, faults: stalled.length });
    for (const waiting of stalled) {
      const { batch, at } = waiting;
      insideSpan(scheduler, batch.span, () => {
        // As above: it may wait no longer.
        if (!batch.waits(at)) return;
        if (this.#perform(batch, at)) batch.finish(at);
        else waiting.lost = !this.#report(batch, at);
      });
    }
    this.#keepWaiting();
    this.#raiseForWritten();
    this.#raiseForLost();
  }

  /**
   * The channel that `entry` names dies: FAULT_CANCEL. Its accesses that wait end with
   * GPU_CANCELLED, and so do later ones, at once. A channel that is dead or gone stays so.
   */
  cancel(entry: FaultEntry, reason: string = 'cancelled by the driver'): void {
    const instance = this.#instances.get(entry.inst);
    if (instance === undefined || instance.dead) {
      this.#raiseForLost();
      return;
    }
    const { events } = this.#kernel;
    if (events.listening) {
      const access = accessOfFault(entry.access);
      events.fatalFault({
        device: this.name,
        pid: instance.pid,
        va: entry.addr,
        access,
        reason,
      });
    }
    this.#kill(instance);
  }

  /** Does the access if the page table allows it. */
  #perform(batch: Batch, at: number): boolean {
    const { kind, va, value = 0 } = batch.accesses[at]!;
    const { pageTable, pid } = batch.instance;
    const offset = va % this.#pageSize;
    const page = pageTable.pageFor((va - offset) / this.#pageSize, neededFlags(kind));
    if (page < 0) return false;
    const bus = this.#bus;
    const word = offset / 4;
    if (kind === 'read' || kind === 'atomic') {
      const old = bus.read32(page, word, pid, va);
      batch.results[at] = old;
      if (kind === 'atomic') bus.write32(page, word, old + value, pid, va);
    } else if (kind === 'write') {
      bus.write32(page, word, value, pid, va);
    }
    if (this.#time !== null) this.#takeTime(this.#time, batch, at, page);
    return true;
  }

  /** Accesses overlap: what link and memory let through at a time decides how long they take. */
  #takeTime(time: DeviceTime, batch: Batch, at: number, page: Page): void {
    const { kind, bytes = GPU_ACCESS_BYTES } = batch.accesses[at]!;
    if (this.#kernel.pages.isZoneDevice(page)) batch.ready(time.access('local', bytes), 'work');
    else {
      const way = kind === 'write' ? 'write' : 'read';
      batch.ready(time.access(way, bytes), time.link === null ? 'work' : 'link');
      // An atomic access of the device to memory of the CPU goes there and back.
      if (kind === 'atomic') batch.ready(time.access('write', bytes), 'link');
    }
  }

  /** Reports an access that is not allowed, and stalls it unless it is a mere hint. */
  #fault(batch: Batch, at: number): void {
    if (batch.accesses[at]!.kind === 'prefetch') {
      this.#report(batch, at);
      return;
    }
    const stalled: Stalled = { batch, at, lost: false };
    batch.stall(at);
    this.#stalled.push(stalled);
    if (this.#report(batch, at)) return;
    stalled.lost = true;
    if (batch.waits(at)) this.#lost++;
  }

  /** Writes an entry. False: the buffer is full. */
  #report(batch: Batch, at: number): boolean {
    const { kind, va } = batch.accesses[at]!;
    const { inst, pageTable, pid } = batch.instance;
    const { faultBuffer } = this;
    const { events, scheduler, faults } = this.#kernel;
    const device = this.name;
    // Asked first: where many accesses wait, most of them find it full, at every replay.
    if (faultBuffer.full || faults?.fails('fault_buffer') === true) {
      faultBuffer.overflows++;
      if (events.listening) events.faultBufferOverflow({ device, pid, va, access: kind });
      return false;
    }
    const vpn = Math.floor(va / this.#pageSize);
    const client = Math.floor(at / CLUSTERS) % CLIENTS;
    const entry = faultBuffer.put;
    faultBuffer.push({
      inst,
      addr: vpn * this.#pageSize,
      timeNs: Math.floor(scheduler.nowNs),
      engine: 0,
      gpc: at % CLUSTERS,
      hub: false,
      access: faultAccess(kind),
      client,
      fault: faultReason(pageTable, vpn),
      valid: true,
    });
    this.#written = true;
    this.#records[entry] = events.listening
      ? events.gpuFault({ device, pid, va, access: kind, client, entry })
      : undefined;
    return true;
  }

  #kill(instance: GpuInstance): void {
    instance.dead = true;
    for (const { batch, at } of this.#stalled) {
      if (batch.instance !== instance) continue;
      batch.results[at] = GPU_CANCELLED;
      batch.finish(at);
    }
    this.#keepWaiting();
    this.#raiseForLost();
  }

  /** Whoever issued the batch was abandoned while it waited. */
  #forget(batch: Batch): void {
    for (const stalled of this.#stalled) if (stalled.batch === batch) batch.finish(stalled.at);
    this.#keepWaiting();
  }

  #keepWaiting(): void {
    this.#stalled = this.#stalled.filter(({ batch, at }) => batch.waits(at));
    this.#lost = this.#stalled.filter(({ lost }) => lost).length;
  }

  // Interrupts -------------------------------------------------------------------------------

  /** Once for all entries of an issue or a replay: the driver can run only afterwards anyway. */
  #raiseForWritten(): void {
    if (!this.#written) return;
    this.#written = false;
    this.#onInterrupt();
  }

  /**
   * The driver has read all there is, or let a channel die. It may end there without a replay, and
   * stalled accesses without an entry would wait for ever.
   */
  #raiseForLost(): void {
    if (this.#lost > 0 && this.faultBuffer.get === this.faultBuffer.put) this.#onInterrupt();
  }
}
