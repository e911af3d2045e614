/**
 * The fault worker of a GPU: struct nouveau_svm and nouveau_svm_fault. Reference: nouveau_svm.c of
 * Linux 6.1.
 *
 * The hardware raises an interrupt when it has written an entry into its fault buffer. The worker
 * empties the buffer, serves what it found, and asks for one replay of all stalled accesses.
 */
import { EBUSY, EINVAL, ENOENT, ENOMEM, errnoName } from '../../core/errno.ts';
import { HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE } from '../../core/hmm/range-fault.ts';
import type { Kernel } from '../../core/kernel.ts';
import { Mutex } from '../../core/sched/locks.ts';
import { Delay, type Task } from '../../core/sched/task.ts';
import { WaitQueue } from '../../core/sched/wait-queue.ts';
import type { StateHash } from '../../core/state-hash.ts';
import type { Va } from '../../core/units.ts';
import {
  FAULT_ACCESS_ATOMIC,
  FAULT_ACCESS_PREFETCH,
  FAULT_ACCESS_READ,
} from '../../hw/fault-buffer.ts';
import type { GpuInstance } from '../../hw/gpu.ts';
import { accessOfFault } from '../../hw/gpu-access.ts';
import type { Nouveau } from './device.ts';
import { atomicFault, type FaultAnswer, rangeFault } from './fault.ts';
import { type CachedFault, groupEnd, sortFaults } from './fault-batch.ts';
import type { Svmm } from './svmm.ts';

/** A page that faults so often in one job takes a little time each further time... */
const ROUNDS_AT_ONCE = 16;
const ROUND_NS = 1000;
/** ...and in the end its channel. */
const ROUNDS_MAX = 256;

/** A channel that may fault: what `svm->inst` lists. */
export interface Channel {
  readonly instance: GpuInstance;
  readonly svmm: Svmm;
  /** Why its faults could not be served, as -errno; 0 while all is well. */
  error: number;
  /** How often each page faulted in the job that runs, by address. */
  readonly rounds: Map<Va, number>;
}

export class Svm {
  readonly #device: Nouveau;
  /** nouveau_ivmm by instance pointer. */
  readonly #channels: Map<number, Channel> = new Map();
  readonly #mutex: Mutex;
  readonly #idle: WaitQueue;
  /**
   * GET and PUT as the driver knows them. The registers are read again only when these two are
   * equal, so a batch is what was there at that time.
   */
  #get = 0;
  #put = 0;
  /** Faults that there is memory to copy at a time: as many as the longest batch so far had. */
  #cacheSize = 0;
  #pending = false;
  #running = false;
  /** The batch that was copied last: what the worker goes by while it serves it. */
  #serving: readonly CachedFault[] = [];
  /** False while the GPU is suspended or gone: the interrupt is masked. */
  #enabled = true;

  constructor(device: Nouveau, { scheduler }: Kernel) {
    this.#device = device;
    this.#mutex = new Mutex(scheduler, `svm mutex of ${device.name}`);
    this.#idle = new WaitQueue(scheduler, () => `the fault worker of ${device.name}`);
  }

  /** nouveau_svmm_join: from now on faults of `instance` are served from `svmm`. */
  *join(svmm: Svmm, instance: GpuInstance): Task<Channel> {
    const channel: Channel = { instance, svmm, error: 0, rounds: new Map() };
    if (!this.#mutex.tryLock()) yield* this.#mutex.lock();
    this.#channels.set(instance.inst, channel);
    this.#mutex.unlock();
    return channel;
  }

  /** nouveau_svmm_part: its faults are cancelled from now on. */
  *part(instance: GpuInstance): Task<void> {
    if (!this.#mutex.tryLock()) yield* this.#mutex.lock();
    this.#channels.delete(instance.inst);
    this.#mutex.unlock();
  }

  /** The hardware has entries. */
  interrupt(): void {
    this.#pending = true;
    if (this.#enabled) this.#start();
  }

  /** nouveau_svm_suspend. */
  disable(): void {
    this.#enabled = false;
  }

  /** nouveau_svm_resume: what came in meanwhile is a batch of its own. */
  enable(): void {
    this.#enabled = true;
    this.#readRegisters();
    if (this.#pending || this.#get !== this.#put) this.#start();
  }

  /** Waits until no fault is being served. */
  *idle(): Task<void> {
    while (this.#running) yield this.#idle;
  }

  fingerprint(hash: StateHash): void {
    hash.add(this.#get);
    hash.add(this.#put);
    hash.add(this.#cacheSize);
    hash.add((this.#pending ? 1 : 0) | (this.#running ? 2 : 0) | (this.#enabled ? 4 : 0));
    for (const { instance, svmm, error, rounds } of this.#channels.values()) {
      hash.add(instance.inst);
      hash.add(svmm.id);
      hash.add(error);
      hash.addPairs(rounds);
    }
    for (const { entry, svmm } of this.#serving) {
      hash.add(entry.inst);
      hash.add(entry.addr);
      hash.add(entry.access);
      hash.add(svmm?.id ?? -1);
    }
  }

  #start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#device.kernel.scheduler.spawn(`${this.#device.name} fault worker`, this.#work());
  }

  *#work(): Task<void> {
    const { time } = this.#device;
    try {
      if (time !== null) yield* this.#busy(time.timing.faultInterruptNs, 'interrupt');
      while (this.#mustServe()) {
        this.#pending = false;
        yield* this.#serveBuffer();
      }
    } finally {
      this.#running = false;
      this.#idle.wakeAll();
    }
  }

  /** The interrupt stays up as long as GET and PUT differ. */
  #mustServe(): boolean {
    const { faultBuffer } = this.#device.gpu;
    return this.#enabled && (this.#pending || faultBuffer.get !== faultBuffer.put);
  }

  #readRegisters(): void {
    const { faultBuffer } = this.#device.gpu;
    this.#put = faultBuffer.put;
    this.#get = faultBuffer.get;
  }

  /** nouveau_svm_fault. */
  *#serveBuffer(): Task<void> {
    const { gpu, rules } = this.#device;
    const faults = this.#cacheFaults();
    if (faults.length === 0) {
      // Accesses whose entries found no room wait for a replay all the same.
      if (gpu.lost > 0) yield* this.#replay();
      return;
    }
    sortFaults(faults, rules);
    this.#serving = faults;
    const { time } = this.#device;
    if (time !== null) yield* this.#busy(time.timing.faultBatchNs, 'batches');
    yield* this.#lookUp(faults);
    if ((yield* this.#serveAll(faults)) > 0) yield* this.#replay();
  }

  *#replay(): Task<void> {
    const { gpu, time } = this.#device;
    if (time !== null) yield* this.#busy(time.timing.replayNs, 'replays');
    gpu.replay();
  }

  /** The worker needs so long for something of its own. */
  *#busy(ns: number, what: string): Task<void> {
    if (ns > 0) yield new Delay(ns, 'work', `${this.#device.name}: ${what}`);
  }

  /**
   * nouveau_svm_fault_cache for all entries between GET and PUT, or as many as a batch may have. The
   * hardware may reuse them once the register says so, which is when all are copied.
   */
  #cacheFaults(): CachedFault[] {
    const { gpu } = this.#device;
    const { faultBuffer } = gpu;
    const faults: CachedFault[] = [];
    if (this.#get === this.#put) this.#readRegisters();
    if (this.#get === this.#put) return faults;
    const limit = this.#device.time?.timing.faultBatch || faultBuffer.entries;
    while (this.#get !== this.#put && faults.length < limit) {
      const at = this.#get;
      const entry = faultBuffer.read(at);
      if (entry.valid) {
        faultBuffer.clearValid(at);
        const fault = { entry, cause: gpu.recordOf(at), svmm: null };
        if (this.#hasRoom(faults.length)) faults.push(fault);
        else this.#cancel(fault, -ENOMEM);
      } else {
        this.#device.warn(`entry ${at} of the fault buffer is not valid`);
      }
      this.#get = at + 1 === faultBuffer.entries ? 0 : at + 1;
    }
    faultBuffer.get = this.#get;
    return faults;
  }

  /** Memory for one fault more than `count`. It is kept for later batches. */
  #hasRoom(count: number): boolean {
    if (count < this.#cacheSize) return true;
    if (!this.#device.allocates()) {
      this.#device.warn('there is no memory to copy a fault to');
      return false;
    }
    this.#cacheSize++;
    return true;
  }

  /** Finds the address space of each channel. */
  *#lookUp(faults: readonly CachedFault[]): Task<void> {
    if (!this.#mutex.tryLock()) yield* this.#mutex.lock();
    for (const fault of faults) fault.svmm = this.#channels.get(fault.entry.inst)?.svmm ?? null;
    this.#mutex.unlock();
  }

  /**
   * Serves a sorted batch; returns how many groups got their page. The kernel also works out how
   * far the unmanaged window lets a group reach, but then makes no use of it.
   */
  *#serveAll(faults: readonly CachedFault[]): Task<number> {
    const { kernel, rules, mended } = this.#device;
    let served = 0;
    // Never reset within a batch: what comes behind an atomic access is served as one, too.
    let atomic = false;
    // What the entry that was made last allows. Where a fault gets none, this decides on its group.
    let flags = 0;
    for (let first = 0, next = 1; first < faults.length; first = next) {
      const fault = faults[first]!;
      next = first + 1;
      if (mended) atomic = false;
      if (fault.svmm !== null && rules.atomics && fault.entry.access === FAULT_ACCESS_ATOMIC) {
        atomic = true;
      }
      if (fault.svmm === null || !fault.svmm.mm.alive) {
        this.#cancel(fault, fault.svmm === null ? -ENOENT : -EINVAL);
        continue;
      }
      const answer = yield* this.#serve(fault, fault.svmm, atomic);
      if (answer.result === 0) flags = answer.flags;
      next = groupEnd(faults, first, fault.entry.addr + kernel.pageSize, flags, rules);
      if (answer.result === 0) served++;
      else for (const one of faults.slice(first, next)) this.#cancel(one, answer.result);
    }
    return served;
  }

  /** One fault, as a span that leads back to the access. */
  *#serve(fault: CachedFault, svmm: Svmm, atomic: boolean): Task<FaultAnswer> {
    const { events, pageSize } = this.#device.kernel;
    const { addr, access } = fault.entry;
    const { mm } = svmm;
    const end = addr + pageSize;
    const { listening } = events;
    if (listening) {
      const name = accessOfFault(access);
      events.deviceFaultBegin(mm, addr, end, this.#device.name, name, fault.cause);
    }
    const { time } = this.#device;
    if (time !== null) yield* this.#busy(time.timing.faultNs, 'faults');
    const patience = yield* this.#countRound(fault);
    let answer: FaultAnswer = { result: -EBUSY, flags: 0 };
    if (patience) {
      answer = yield* atomic ? atomicFault(svmm, addr) : rangeFault(svmm, addr, requestOf(access));
    }
    // What the kernel did for it passes before the GPU hears of it.
    const { scheduler } = this.#device.kernel;
    if (scheduler.owing) yield* scheduler.pay();
    if (listening) events.deviceFaultEnd(mm, addr, end, answer.result);
    return answer;
  }

  /**
   * A fault can be served for ever without helping: hmm_range_fault finds nothing wrong with a
   * page of the GPU itself that is read-only, as after a fork, and the GPU's write faults again
   * after every replay. In a real machine a person ends that. False: it is time to.
   */
  *#countRound({ entry }: CachedFault): Task<boolean> {
    const rounds = this.#channels.get(entry.inst)?.rounds;
    const count = (rounds?.get(entry.addr) ?? 0) + 1;
    rounds?.set(entry.addr, count);
    if (count > ROUNDS_AT_ONCE) yield new Delay(ROUND_NS);
    return count <= ROUNDS_MAX;
  }

  /** nouveau_svm_fault_cancel: the channel dies. */
  #cancel({ entry }: CachedFault, error: number): void {
    const channel = this.#channels.get(entry.inst);
    if (channel !== undefined && channel.error === 0) channel.error = error;
    this.#device.gpu.cancel(entry, errnoName(error));
  }
}

/** What a GPU access asks hmm_range_fault for. A prefetch takes what is there. */
function requestOf(access: number): number {
  if (access === FAULT_ACCESS_PREFETCH) return 0;
  return access === FAULT_ACCESS_READ ? HMM_PFN_REQ_FAULT : HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
}
