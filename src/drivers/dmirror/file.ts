/** An open dmirror: its calls, its page table and the notifier that keeps the two honest. */
import type { OpenFile } from '../../core/driver.ts';
import { EINVAL, ENOMEM, EPERM, errnoName } from '../../core/errno.ts';
import { SimError } from '../../core/errors.ts';
import { isNoticed, userCall } from '../../core/events/call.ts';
import {
  type IntervalNotifier,
  type IntervalNotifierOps,
  mmuIntervalDoze,
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalSetSeq,
  mmuIntervalWake,
  type NotifierRange,
} from '../../core/hmm/notifier.ts';
import type { Mm } from '../../core/mm/mm.ts';
import type { Process } from '../../core/process.ts';
import { Mutex } from '../../core/sched/locks.ts';
import type { MaybeTask, Task } from '../../core/sched/task.ts';
import type { Va } from '../../core/units.ts';
import type { Dmirror } from './device.ts';
import { mapDeviceNode, type NodeMapping } from './device-node.ts';
import { exclusivePages } from './exclusive.ts';
import { mapOwnPages, migrateToDevice, migrateToSystem } from './migrate.ts';
import { MirrorPageTable } from './page-table.ts';
import { type Bounce, copyOut, copySlowly, readPages, writePages } from './read-write.ts';
import { snapshotPages } from './snapshot.ts';

/** struct hmm_dmirror_cmd as a call leaves it. A call that fails leaves cpages and faults at 0. */
export interface DmirrorResult {
  /** 0 or -errno. */
  readonly ret: number;
  /** Pages copied, migrated or looked at. */
  readonly cpages: number;
  /** Rounds of device page faults. */
  readonly faults: number;
}

export interface DmirrorData extends DmirrorResult {
  /** The first 32-bit word of each page; empty where the call failed. */
  readonly data: Uint32Array;
}

export interface DmirrorSnapshot extends DmirrorResult {
  /** A byte a page, of HMM_DMIRROR_PROT_* bits; empty where the call failed. */
  readonly perms: Uint8Array;
}

const NOTHING: Uint32Array = new Uint32Array(0);
const NO_PERMS: Uint8Array = new Uint8Array(0);

function failed(ret: number): DmirrorResult {
  return { ret, cpages: 0, faults: 0 };
}

/**
 * struct dmirror. Addresses are in bytes, lengths in pages. Each call has a twin that is a task,
 * for code that is one itself.
 */
export class DmirrorFile implements OpenFile {
  readonly device: Dmirror;
  /** Whose address space it mirrors: the process that opened it, for good. */
  readonly process: Process;
  readonly mm: Mm;
  /** What the device pages it migrates carry as driver data. */
  readonly id: number;
  readonly pageTable: MirrorPageTable;
  /** Protects the page table. */
  readonly mutex: Mutex;
  readonly notifier: IntervalNotifier;
  #closed = false;
  /** Calls that have begun and not ended. */
  #calls = 0;

  /** Use `Dmirror.open`. */
  constructor(device: Dmirror, proc: Process, id: number) {
    this.device = device;
    this.process = proc;
    this.mm = proc.mm;
    this.id = id;
    this.pageTable = new MirrorPageTable(device.kernel.words);
    this.mutex = new Mutex(device.kernel.scheduler, `mutex of ${device.name} file ${id}`);
    const ops: IntervalNotifierOps = {
      name: device.name,
      invalidate: (notifier, range, seq) => this.#invalidate(notifier, range, seq),
      ignores: (range) => this.#ignores(range),
    };
    const notifier = mmuIntervalNotifierInsert(proc.mm, ops);
    if (typeof notifier === 'number') {
      throw new SimError(
        'bad-argument',
        `process ${proc.pid} cannot open ${device.name}: ${errnoName(notifier)}`,
        { pid: proc.pid, ret: notifier },
      );
    }
    this.notifier = notifier;
    this.#doze();
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** HMM_DMIRROR_READ: the device reads pages, faulting those it has not mapped. */
  read(va: Va, npages: number): DmirrorData {
    return this.device.machine.run(this.readTask(va, npages));
  }

  readTask(va: Va, npages: number): Task<DmirrorData> {
    return this.#told('READ', va, npages, this.#read(va, npages));
  }

  *#read(va: Va, npages: number): Task<DmirrorData> {
    const refused = this.#refuse(va, npages) || this.#refuseBounce(npages);
    if (refused !== 0) return { ...failed(refused), data: NOTHING };
    const bounce: Bounce = { data: new Uint32Array(npages), cpages: 0, faults: 0 };
    const ret = yield* readPages(this, va, npages, bounce);
    return ret === 0 ? copied(bounce) : { ...failed(ret), data: NOTHING };
  }

  /** HMM_DMIRROR_WRITE: page i becomes `values[i]` in its first word and zeros after it. */
  write(va: Va, values: ArrayLike<number>): DmirrorResult {
    return this.device.machine.run(this.writeTask(va, values));
  }

  writeTask(va: Va, values: ArrayLike<number>): Task<DmirrorResult> {
    return this.#told('WRITE', va, values.length, this.#write(va, values));
  }

  *#write(va: Va, values: ArrayLike<number>): Task<DmirrorResult> {
    const refused = this.#refuse(va, values.length) || this.#refuseBounce(values.length);
    if (refused !== 0) return failed(refused);
    const bounce: Bounce = { data: Uint32Array.from(values), cpages: 0, faults: 0 };
    const ret = yield* writePages(this, va, values.length, bounce);
    return ret === 0 ? { ret, cpages: bounce.cpages, faults: bounce.faults } : failed(ret);
  }

  /**
   * A load of what the device has mapped, without a call: -1 where it would have to fault. `va` is a
   * multiple of 4.
   */
  tryLoad32(va: Va): number {
    const { pageSize, pid } = this.mm;
    const vpn = Math.floor(va / pageSize);
    const page = this.pageTable.page(vpn);
    return page < 0 ? -1 : this.device.bus.read32(page, (va - vpn * pageSize) / 4, pid, va);
  }

  /** The same for a store; other words of the page stay. False: not done. */
  tryStore32(va: Va, value: number): boolean {
    const { pageSize, pid } = this.mm;
    const vpn = Math.floor(va / pageSize);
    const page = this.pageTable.writablePage(vpn);
    if (page < 0) return false;
    this.device.bus.write32(page, (va - vpn * pageSize) / 4, value, pid, va);
    return true;
  }

  /**
   * HMM_DMIRROR_MIGRATE_TO_DEV, then reads the pages back through the device: -ENOENT if one of
   * them did not come and was not mapped before either.
   */
  migrateToDev(va: Va, npages: number): DmirrorData {
    return this.device.machine.run(this.migrateToDevTask(va, npages));
  }

  migrateToDevTask(va: Va, npages: number): Task<DmirrorData> {
    return this.#told('MIGRATE_TO_DEV', va, npages, this.#migrateToDev(va, npages));
  }

  *#migrateToDev(va: Va, npages: number): Task<DmirrorData> {
    const refused = this.#refuse(va, npages);
    if (refused !== 0) return { ...failed(refused), data: NOTHING };
    const end = va + npages * this.mm.pageSize;
    let ret = yield* migrateToDevice(this, va, end);
    if (ret === 0 && this.device.mended) ret = yield* mapOwnPages(this, va, end);
    return ret === 0 ? yield* this.#readBack(va, npages) : { ...failed(ret), data: NOTHING };
  }

  /** HMM_DMIRROR_MIGRATE_TO_SYS: `cpages` is how many came home. Other owners' pages stay. */
  migrateToSys(va: Va, npages: number): DmirrorResult {
    return this.device.machine.run(this.migrateToSysTask(va, npages));
  }

  migrateToSysTask(va: Va, npages: number): Task<DmirrorResult> {
    return this.#told('MIGRATE_TO_SYS', va, npages, this.#migrateToSys(va, npages));
  }

  *#migrateToSys(va: Va, npages: number): Task<DmirrorResult> {
    // The call is as old as device-coherent memory; before, only the CPU brought pages home.
    const known = this.mm.kernel.era.deviceCoherent;
    const refused = this.#refuse(va, npages, known);
    if (refused !== 0) return failed(refused);
    let cpages = 0;
    const end = va + npages * this.mm.pageSize;
    const ret = yield* migrateToSystem(this, va, end, (pages) => {
      cpages += pages;
    });
    return ret === 0 ? { ret, cpages, faults: 0 } : failed(ret);
  }

  /** HMM_DMIRROR_SNAPSHOT: what the device could see, without faulting anything. */
  snapshot(va: Va, npages: number): DmirrorSnapshot {
    return this.device.machine.run(this.snapshotTask(va, npages));
  }

  snapshotTask(va: Va, npages: number): Task<DmirrorSnapshot> {
    return this.#told('SNAPSHOT', va, npages, this.#snapshot(va, npages));
  }

  *#snapshot(va: Va, npages: number): Task<DmirrorSnapshot> {
    const refused = this.#refuse(va, npages) || this.#refuseBounce(npages);
    if (refused !== 0) return { ...failed(refused), perms: NO_PERMS };
    const perms = new Uint8Array(npages);
    const ret = yield* snapshotPages(this, va, npages, perms);
    if (ret !== 0) return { ...failed(ret), perms: NO_PERMS };
    return { ret, cpages: npages, faults: 0, perms };
  }

  /** HMM_DMIRROR_EXCLUSIVE: takes pages from the CPU until it touches them. */
  exclusive(va: Va, npages: number): DmirrorData {
    return this.device.machine.run(this.exclusiveTask(va, npages));
  }

  exclusiveTask(va: Va, npages: number): Task<DmirrorData> {
    return this.#told('EXCLUSIVE', va, npages, this.#exclusive(va, npages));
  }

  *#exclusive(va: Va, npages: number): Task<DmirrorData> {
    const refused = this.#refuse(va, npages, this.mm.kernel.era.deviceExclusive);
    if (refused !== 0) return { ...failed(refused), data: NOTHING };
    const ret = yield* exclusivePages(this, va, va + npages * this.mm.pageSize);
    return ret === 0 ? yield* this.#readBack(va, npages) : { ...failed(ret), data: NOTHING };
  }

  /** HMM_DMIRROR_CHECK_EXCLUSIVE: -EPERM while the device has any of the pages to itself. */
  checkExclusive(va: Va, npages: number): DmirrorResult {
    const refused = this.#refuse(va, npages, this.mm.kernel.era.deviceExclusive);
    if (refused !== 0) return failed(refused);
    const first = this.mm.vpn(va);
    return failed(this.pageTable.hasExclusive(first, first + npages) ? -EPERM : 0);
  }

  /** HMM_DMIRROR_RELEASE: all pages of the device go home, of every process, and its memory goes. */
  releaseChunks(): DmirrorResult {
    return this.device.machine.run(this.releaseChunksTask());
  }

  releaseChunksTask(): Task<DmirrorResult> {
    return this.#told('RELEASE', 0, 0, this.#releaseChunks());
  }

  *#releaseChunks(): Task<DmirrorResult> {
    if (this.#closed || !this.mm.kernel.era.migrateDeviceRange) return failed(-EINVAL);
    yield* this.device.removeChunks();
    return failed(0);
  }

  /** mmap of the device node: fresh kernel pages, which are mapped at once and never migrate. */
  mmap(mapping: NodeMapping): Va {
    const va = this.device.machine.run(this.mmapTask(mapping));
    if (va < 0) throw new SimError('bad-argument', `mmap of ${this.device.name}: ${errnoName(va)}`);
    return va;
  }

  /** The address, or -errno. */
  *mmapTask(mapping: NodeMapping): Task<number> {
    return yield* mapDeviceNode(this.process, mapping);
  }

  /** An ioctl, for those who listen. */
  #told<R extends DmirrorResult>(name: string, va: Va, npages: number, task: Task<R>): Task<R> {
    const { device, mm } = this;
    const awake = this.#awake(task);
    if (!isNoticed(device.kernel)) return awake;
    const end = va + npages * mm.pageSize;
    const call = { actor: device.name, name, mm, start: va, end };
    return userCall(device.kernel, call, awake, ({ ret }) => ret);
  }

  /** While a call runs, the notifier hears of everything. */
  *#awake<R>(task: Task<R>): Task<R> {
    this.#calls++;
    mmuIntervalWake(this.notifier);
    try {
      return yield* task;
    } finally {
      this.#calls--;
      this.#doze();
    }
  }

  /** Between calls, only of what the page table has. */
  #doze(): void {
    if (this.#calls > 0 || this.#closed) return;
    const { first, end } = this.pageTable.extent();
    const { pageSize } = this.mm;
    // A range that ends where a page begins takes that one, too.
    mmuIntervalDoze(this.notifier, (first - 1) * pageSize, end * pageSize);
  }

  close(): void {
    this.device.machine.run(this.release());
  }

  /** Closes the file, as a process does for those still open when it ends: dmirror_fops_release. */
  *release(): Task<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.process.openFiles.delete(this);
    yield* mmuIntervalNotifierRemove(this.notifier);
    yield* this.device.forgetFile(this);
    this.pageTable.clear();
  }

  /** What every call asks of its frame; `known`: this era has the call. */
  #refuse(va: Va, npages: number, known = true): number {
    const { pageSize } = this.mm;
    if (this.#closed) return -EINVAL;
    if (!Number.isSafeInteger(va) || va < 0 || va % pageSize !== 0) return -EINVAL;
    if (!Number.isInteger(npages) || npages <= 0) return -EINVAL;
    if (va + npages * pageSize >= 2 ** 64) return -EINVAL;
    return known ? 0 : -EINVAL;
  }

  /** dmirror_bounce_init: vmalloc refuses more than there is RAM. */
  #refuseBounce(npages: number): number {
    return npages > this.mm.pages.ramPages ? -ENOMEM : 0;
  }

  /** Reads what is mapped, without faulting. */
  *#readBack(va: Va, npages: number): Task<DmirrorData> {
    const refused = this.#refuseBounce(npages);
    if (refused !== 0) return { ...failed(refused), data: NOTHING };
    const bounce: Bounce = { data: new Uint32Array(npages), cpages: 0, faults: 0 };
    const { mutex } = this;
    if (!mutex.tryLock()) yield* mutex.lock();
    const ret = this.mm.kernel.scheduler.preempts
      ? yield* copySlowly(this, va, npages, bounce, false)
      : copyOut(this, va, npages, bounce);
    mutex.unlock();
    return ret === 0 ? copied(bounce) : { ...failed(ret), data: NOTHING };
  }

  /** dmirror_interval_invalidate. */
  #invalidate(notifier: IntervalNotifier, range: NotifierRange, seq: number): MaybeTask<boolean> {
    if (this.#ignores(range)) return true;
    if (!this.mutex.tryLock()) return this.#invalidateLater(notifier, range, seq);
    this.#erase(notifier, range, seq);
    this.mutex.unlock();
    return true;
  }

  /** As the reference driver, a migration by its own device. */
  #ignores({ event, owner }: NotifierRange): boolean {
    return event === 'migrate' && owner === this.device && !this.device.mended;
  }

  *#invalidateLater(notifier: IntervalNotifier, range: NotifierRange, seq: number): Task<boolean> {
    yield* this.mutex.lock();
    this.#erase(notifier, range, seq);
    this.mutex.unlock();
    return true;
  }

  #erase(notifier: IntervalNotifier, range: NotifierRange, seq: number): void {
    mmuIntervalSetSeq(notifier, seq);
    // As in the reference driver, the page that starts at the end of the range goes too.
    const { pageSize } = this.mm;
    this.pageTable.eraseRange(Math.floor(range.start / pageSize), Math.floor(range.end / pageSize));
  }
}

function copied(bounce: Bounce): DmirrorData {
  return { ret: 0, cpages: bounce.cpages, faults: bounce.faults, data: bounce.data };
}
