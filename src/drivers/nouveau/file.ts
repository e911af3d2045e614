/** A client of the GPU: what a process that has opened it can ask for. */
import type { OpenFile } from '../../core/driver.ts';
import { EBUSY, EINVAL, EIO, ENODEV, ENOMEM, ENOSYS } from '../../core/errno.ts';
import type { Mm } from '../../core/mm/mm.ts';
import type { Process } from '../../core/process.ts';
import { Mutex } from '../../core/sched/locks.ts';
import type { Task } from '../../core/sched/task.ts';
import type { Va } from '../../core/units.ts';
import { GPU_CANCELLED, type GpuAccess, type GpuResult } from '../../hw/gpu.ts';
import { bindHeader, type SvmBind, svmBind } from './bind.ts';
import type { Nouveau } from './device.ts';
import type { Channel, Svm } from './svm.ts';
import { Svmm } from './svmm.ts';

/** struct drm_nouveau_svm_init: addresses that the client keeps for its own buffer objects. */
export interface SvmInit {
  readonly unmanagedAddr: Va;
  /** In bytes. */
  readonly unmanagedSize: number;
}

/** An address space of the GPU ends here: it has addresses of 49 bits since Pascal. */
const VMM_LIMIT: Va = 2 ** 49;

const NOTHING_UNMANAGED: SvmInit = { unmanagedAddr: 0, unmanagedSize: 0 };

/** What became of a job. */
export interface Execution {
  /** 0, or why its channel died or could not be used, as -errno. */
  readonly ret: number;
  /** An answer for each access, in order; GPU_CANCELLED for those that were not done. */
  readonly results: readonly GpuResult[];
}

/**
 * struct nouveau_cli, with one channel. Calls that a removed GPU refuses answer -ENODEV. Each call
 * has a twin that is a task, for code that is one itself.
 */
export class NouveauFile implements OpenFile {
  readonly device: Nouveau;
  /** Whose address space it shares: the process that opened it, for good. */
  readonly process: Process;
  readonly mm: Mm;
  #svmm: Svmm | null = null;
  #channel: Channel | null = null;
  #closed = false;
  /** Held by who puts a new channel in the place of one that died. */
  readonly #revival: Mutex;

  /** Use `Nouveau.open`. */
  constructor(device: Nouveau, proc: Process) {
    this.#revival = new Mutex(proc.machine.scheduler, `revival of a channel of ${device.name}`);
    this.device = device;
    this.process = proc;
    this.mm = proc.mm;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The shared address space; null before `svmInit`. */
  get svmm(): Svmm | null {
    return this.#svmm;
  }

  /** Where its jobs run; null before `svmInit`. It dies with the first fault it cannot survive. */
  get channel(): Channel | null {
    return this.#channel;
  }

  /**
   * DRM_NOUVEAU_SVM_INIT: 0, -ENODEV, -ENOSYS where the GPU cannot, -ENOMEM where there is no
   * memory for the object (asked for first), -EBUSY the second time, -EINVAL where the window does
   * not fit into the GPU's address space or the process is gone.
   */
  svmInit(init: SvmInit = NOTHING_UNMANAGED): number {
    return this.device.machine.run(this.svmInitTask(init));
  }

  svmInitTask(init: SvmInit = NOTHING_UNMANAGED): Task<number> {
    const start = init.unmanagedAddr;
    const range = { mm: this.mm, start, end: start + init.unmanagedSize };
    return this.device.told('SVM_INIT', range, this.#svmInit(init), Number);
  }

  /** Moves what it can of [va, va + bytes) to VRAM: 0, -ENODEV, -EINVAL. */
  svmBind(va: Va, bytes: number): number {
    return this.device.machine.run(this.svmBindTask(va, bytes));
  }

  svmBindTask(va: Va, bytes: number): Task<number> {
    return this.svmBindIoctlTask({ header: bindHeader(), vaStart: va, vaEnd: va + bytes });
  }

  /** DRM_NOUVEAU_SVM_BIND, argument by argument. */
  svmBindIoctl(args: SvmBind): number {
    return this.device.machine.run(this.svmBindIoctlTask(args));
  }

  svmBindIoctlTask(args: SvmBind): Task<number> {
    const range = { mm: this.mm, start: args.vaStart, end: args.vaEnd };
    return this.device.told('SVM_BIND', range, this.#svmBind(args), Number);
  }

  /** A job: all accesses at once. */
  execute(accesses: readonly GpuAccess[]): Execution {
    return this.device.machine.run(this.executeTask(accesses));
  }

  /** Ends when every access is done or cancelled, and no fault is being served any more. */
  executeTask(accesses: readonly GpuAccess[]): Task<Execution> {
    const range = spanOf(this.mm, accesses);
    return this.device.told('execute', range, this.#execute(accesses), ({ ret }) => ret);
  }

  /** A load of what the GPU has mapped, without a job: -1 where it would have to fault. */
  tryLoad32(va: Va): number {
    const channel = this.#channel;
    return channel === null ? -1 : this.device.gpu.tryLoad32(channel.instance, va);
  }

  /** The same for a store. False: not done. */
  tryStore32(va: Va, value: number): boolean {
    const channel = this.#channel;
    return channel !== null && this.device.gpu.tryStore32(channel.instance, va, value);
  }

  /** A new channel in place of one that died. True if there is one that lives. */
  revive(): boolean {
    return this.device.machine.run(this.reviveTask());
  }

  *reviveTask(): Task<boolean> {
    const { svm } = this.device;
    const svmm = this.#svmm;
    const old = this.#channel;
    if (svm === null || svmm === null || old === null || this.#closed) return false;
    if (!old.instance.dead) return true;
    if (!this.#revival.tryLock()) yield* this.#revival.lock();
    try {
      // Another thread may have done it, or the channel hung up, while this one waited.
      const dead = this.#channel;
      if (dead === null || !dead.instance.dead) return dead !== null;
      yield* this.device.partChannel(dead);
      const fresh = yield* this.#newChannel(svm, svmm);
      if (this.#channel === dead) {
        this.#channel = fresh;
        return true;
      }
      yield* this.device.partChannel(fresh);
      return false;
    } finally {
      this.#revival.unlock();
    }
  }

  close(): void {
    this.device.machine.run(this.release());
  }

  /** Closes the file, as a process does for those still open when it ends: nouveau_cli_fini. */
  *release(): Task<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.process.openFiles.delete(this);
    yield* this.hangUp();
    const svmm = this.#svmm;
    if (svmm !== null) yield* svmm.fini();
    this.device.forget(this, svmm);
  }

  /** Ends the channel and what runs on it. For the device, when it goes. */
  *hangUp(): Task<void> {
    const channel = this.#channel;
    if (channel === null) return;
    this.#channel = null;
    channel.error ||= -ENODEV;
    yield* this.device.partChannel(channel);
  }

  *#svmInit(init: SvmInit): Task<number> {
    const { device, mm } = this;
    if (device.removed) return -ENODEV;
    const { svm } = device;
    if (svm === null) return -ENOSYS;
    if (!device.allocates()) return -ENOMEM;
    if (this.#svmm !== null) return -EBUSY;
    const { unmanagedAddr: start, unmanagedSize: size } = init;
    // nvkm_vmm_ctor.
    if (!(start >= 0 && size >= 0 && start + size <= VMM_LIMIT)) return -EINVAL;
    if (!mm.alive || this.#closed) return -EINVAL;
    const unmanaged = { start, limit: start + size };
    const svmm = new Svmm(device, device.takeSvmmId(), mm, unmanaged);
    this.#svmm = svmm;
    device.addSvmm(svmm);
    if (!mm.mmapLock.tryWrite()) yield* mm.mmapLock.write();
    mm.notifiers.wholeSpace.add(svmm);
    mm.mmapLock.unlockWrite();
    this.#channel = yield* this.#newChannel(svm, svmm);
    return 0;
  }

  /** In hardware here a page table belongs to a channel, so a new channel starts with none. */
  *#newChannel(svm: Svm, svmm: Svmm): Task<Channel> {
    const instance = this.device.gpu.createInstance(svmm.mm.pid);
    const channel = yield* svm.join(svmm, instance);
    if (!svmm.mutex.tryLock()) yield* svmm.mutex.lock();
    svmm.vmm = instance.pageTable;
    svmm.mutex.unlock();
    return channel;
  }

  #svmBind(args: SvmBind): Task<number> {
    const { device, mm } = this;
    const alive = mm.alive && !this.#closed;
    return device.whilePresent(svmBind(device, this.#svmm, alive, args));
  }

  *#execute(accesses: readonly GpuAccess[]): Task<Execution> {
    const { device } = this;
    const channel = this.#channel;
    if (device.removed) return refused(accesses, -ENODEV);
    if (channel === null || this.#closed) return refused(accesses, -EINVAL);
    if (channel.instance.dead) return refused(accesses, -EIO);
    device.wake();
    channel.rounds.clear();
    const results = yield* device.gpu.execute(channel.instance, accesses);
    if (device.svm !== null) yield* device.svm.idle();
    return { ret: channel.error, results };
  }
}

function refused(accesses: readonly GpuAccess[], ret: number): Execution {
  return { ret, results: accesses.map(() => GPU_CANCELLED) };
}

/** The range that a job touches, whole pages. */
function spanOf(
  mm: Mm,
  accesses: readonly GpuAccess[],
): { readonly mm: Mm; readonly start: Va; readonly end: Va } {
  if (accesses.length === 0) return { mm, start: 0, end: 0 };
  const { pageSize } = mm;
  let start = Number.POSITIVE_INFINITY;
  let last = 0;
  for (const { va } of accesses) {
    start = Math.min(start, va);
    last = Math.max(last, va);
  }
  const floor = (va: Va): Va => Math.floor(va / pageSize) * pageSize;
  return { mm, start: floor(start), end: floor(last) + pageSize };
}
