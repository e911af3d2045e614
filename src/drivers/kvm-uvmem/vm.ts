/** A virtual machine: its memory slots, its way into and out of secure mode, and its guest. */
import type { OpenFile } from '../../core/driver.ts';
import { EBUSY, EFAULT, EINVAL } from '../../core/errno.ts';
import { SimError } from '../../core/errors.ts';
import { toldCall, userCall } from '../../core/events/call.ts';
import type { CallInfo } from '../../core/events/types.ts';
import {
  type IntervalNotifier,
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalSetSeq,
} from '../../core/hmm/notifier.ts';
import type { Mm } from '../../core/mm/mm.ts';
import type { Process } from '../../core/process.ts';
import { Mutex } from '../../core/sched/locks.ts';
import type { Task } from '../../core/sched/task.ts';
import type { StateHash } from '../../core/state-hash.ts';
import type { Page, Va } from '../../core/units.ts';
import {
  H_SVM_INIT_ABORT,
  H_SVM_INIT_DONE,
  H_SVM_INIT_START,
  H_SVM_PAGE_IN,
  H_SVM_PAGE_OUT,
  U_SUCCESS,
} from '../../hw/svm-codes.ts';
import type { Ultravisor } from '../../hw/ultravisor.ts';
import type { KvmUvmem } from './device.ts';
import { GuestPages } from './guest-pages.ts';
import { svmHcall } from './hcalls.ts';
import { type MemoryRegion, setMemoryRegion, svmOff } from './ioctls.ts';
import {
  gfnLetter,
  type MemorySlot,
  MemorySlots,
  SECURE_INIT_DONE,
  SECURE_INIT_START,
  UvmemSlots,
} from './slots.ts';

export interface KvmVmOptions {
  /** The guest translates by radix trees (the default), not by a hashed page table (HPT). */
  readonly radix?: boolean;
  /** KVM_CAP_PPC_SECURE_GUEST is enabled at once where that is possible: the default. */
  readonly secureGuest?: boolean;
}

/** Normal, on its way from H_SVM_INIT_START to H_SVM_INIT_DONE, or secure. */
export type VmState = 'normal' | 'transient' | 'secure';

/** Who makes a hypercall: the guest, or the ultravisor, whose calls have MSR_S set. */
export type HcallSource = 'guest' | 'ultravisor';

/**
 * struct kvm. `KvmUvmem.open` makes one. Each call has a twin that is a task, for code that is one
 * itself. Hypercalls return H_* codes, ultracalls U_* codes, ioctls 0 or -errno.
 */
export class KvmVm implements OpenFile {
  readonly device: KvmUvmem;
  /** The process whose memory the guest has. */
  readonly process: Process;
  readonly mm: Mm;
  /** Number of the partition, never used again. */
  readonly lpid: number;
  readonly radix: boolean;
  readonly pageShift: number;
  readonly slots: MemorySlots = new MemorySlots();
  readonly uvmemSlots: UvmemSlots = new UvmemSlots();
  /** Protects the tables and every move between normal and secure memory. */
  readonly uvmemLock: Mutex;
  /** Serialises changes of memory slots. */
  readonly slotsLock: Mutex;
  /** Held while the VM leaves secure mode: no vCPU runs then. */
  readonly mmuSetupLock: Mutex;
  /** SECURE_INIT_* bits. */
  secureGuest = 0;
  svmEnabled = false;
  /** Told of the process's entries as soon as there is a memory slot. */
  notifier: IntervalNotifier | null = null;
  /** The partition-scoped page table of a guest that is not secure. */
  readonly guestPages: GuestPages;
  #vcpusRunning = 0;
  #closed = false;

  /** Use `KvmUvmem.open`. */
  constructor(device: KvmUvmem, proc: Process, lpid: number, options: KvmVmOptions) {
    const { kernel } = device;
    this.device = device;
    this.process = proc;
    this.mm = proc.mm;
    this.lpid = lpid;
    this.radix = options.radix ?? true;
    this.pageShift = Math.log2(kernel.pageSize);
    this.uvmemLock = new Mutex(kernel.scheduler, `uvmem_lock of VM ${lpid}`);
    this.slotsLock = new Mutex(kernel.scheduler, `slots_lock of VM ${lpid}`);
    this.mmuSetupLock = new Mutex(kernel.scheduler, `mmu_setup_lock of VM ${lpid}`);
    this.guestPages = new GuestPages(this);
    this.#uv.writePate(lpid, true);
    if (options.secureGuest ?? true) this.enableSecureGuest();
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** vCPUs that are in the guest now, or in a call of the guest. */
  get vcpusRunning(): number {
    return this.#vcpusRunning;
  }

  get state(): VmState {
    if ((this.secureGuest & SECURE_INIT_DONE) !== 0) return 'secure';
    return (this.secureGuest & SECURE_INIT_START) !== 0 ? 'transient' : 'normal';
  }

  get #uv(): Ultravisor {
    return this.device.ultravisor;
  }

  /**
   * The state of the guest page `gfn`: `.` normal, `S` secure, in the ultravisor, `E` secure, paged
   * out (its contents lie encrypted in RAM), `H` shared with the hypervisor.
   */
  gfnState(gfn: number): '.' | 'S' | 'E' | 'H' {
    return gfnLetter(this.uvmemSlots.word(gfn));
  }

  /** The states of all guest pages, slot by slot in the order of their addresses. */
  gfnStates(): readonly string[] {
    const byAddress = [...this.slots].sort((a, b) => a.baseGfn - b.baseGfn);
    return byAddress.map(({ baseGfn, npages }) =>
      Array.from({ length: npages }, (_, i) => this.gfnState(baseGfn + i)).join(''),
    );
  }

  fingerprint(hash: StateHash): void {
    hash.add(this.#closed ? -this.lpid : this.lpid);
    hash.add(this.secureGuest);
    hash.add(this.#vcpusRunning);
    for (const { id, address, npages, baseGfn, invalid } of this.slots) {
      for (const part of [id, address, npages, baseGfn, invalid ? 1 : 0]) hash.add(part);
    }
    this.uvmemSlots.fingerprint(hash);
    this.guestPages.fingerprint(hash);
  }

  // Addresses ----------------------------------------------------------------------------------

  gfnOf(gpa: number): number {
    return Math.floor(gpa / this.mm.pageSize);
  }

  /** gfn_to_hva: where a guest page is in the process; null where no slot has it. */
  gfnToHva(gfn: number): Va | null {
    const slot = this.slots.byGfn(gfn);
    if (slot === null || slot.invalid) return null;
    return slot.address + (gfn - slot.baseGfn) * this.mm.pageSize;
  }

  /** How the guest has the page at `va` of the process: see `KvmUvmem.mappingOf`. */
  mappingAt(va: Va): string | null {
    const { pageSize } = this.mm;
    for (const { address, npages, baseGfn } of this.slots) {
      if (va < address || va >= address + npages * pageSize) continue;
      const gfn = baseGfn + Math.floor((va - address) / pageSize);
      const letter = this.gfnState(gfn);
      return letter === '.' ? this.guestPages.mapping(gfn) : letter.toLowerCase();
    }
    return null;
  }

  // ioctls -------------------------------------------------------------------------------------

  /**
   * KVM_ENABLE_CAP of KVM_CAP_PPC_SECURE_GUEST: -EINVAL without an ultravisor. A guest with a hash
   * page table may have it, and learns in INIT_START that it is of no use.
   */
  enableSecureGuest(): number {
    if (!this.device.available) return -EINVAL;
    this.svmEnabled = true;
    return 0;
  }

  /**
   * KVM_SET_USER_MEMORY_REGION. -EINVAL for what is no region, for a slot that is to go and is not
   * there, for one that is to change in more than its guest address, and when the VM is closed;
   * -EEXIST where another slot has guest pages of it.
   */
  setMemoryRegion(region: MemoryRegion): number {
    return this.device.machine.run(this.setMemoryRegionTask(region));
  }

  setMemoryRegionTask(region: MemoryRegion): Task<number> {
    const { address, pages } = region;
    const name = pages === 0 ? 'KVM_SET_USER_MEMORY_REGION (delete)' : 'KVM_SET_USER_MEMORY_REGION';
    const info = { ...this.callInfo(name, null), start: address };
    const told = { ...info, end: address + pages * this.mm.pageSize };
    return userCall(this.mm.kernel, told, setMemoryRegion(this, region));
  }

  /**
   * KVM_PPC_SVM_OFF: -EBUSY while a vCPU runs, -EINVAL where the ultravisor does not end it, and when
   * the VM is closed.
   */
  svmOff(): number {
    return this.device.machine.run(this.svmOffTask());
  }

  svmOffTask(): Task<number> {
    return userCall(this.mm.kernel, this.callInfo('KVM_PPC_SVM_OFF', null), svmOff(this));
  }

  // Hypercalls ---------------------------------------------------------------------------------

  /** A hypercall by its number; see src/hw/svm-codes.ts. */
  hcall(call: number, args: readonly number[] = [], from: HcallSource = 'ultravisor'): number {
    return this.device.machine.run(this.hcallTask(call, args, from));
  }

  hcallTask(
    call: number,
    args: readonly number[] = [],
    from: HcallSource = 'ultravisor',
  ): Task<number> {
    if (from === 'guest') return this.#onVcpu(svmHcall(this, call, args, false));
    return this.#onVcpu(this.#uv.hcall(this.lpid, call, args));
  }

  /** H_SVM_INIT_START. */
  svmInitStart(): number {
    return this.hcall(H_SVM_INIT_START);
  }

  /** H_SVM_INIT_DONE. */
  svmInitDone(): number {
    return this.hcall(H_SVM_INIT_DONE);
  }

  /** H_SVM_INIT_ABORT. */
  svmInitAbort(): number {
    return this.hcall(H_SVM_INIT_ABORT);
  }

  /** H_SVM_PAGE_IN of the guest page `gfn`. `flags`: H_PAGE_IN_SHARED or 0. */
  svmPageIn(gfn: number, flags = 0, shift: number = this.pageShift): number {
    return this.hcall(H_SVM_PAGE_IN, [gfn * this.mm.pageSize, flags, shift]);
  }

  /** H_SVM_PAGE_OUT of the guest page `gfn`. */
  svmPageOut(gfn: number, flags = 0, shift: number = this.pageShift): number {
    return this.hcall(H_SVM_PAGE_OUT, [gfn * this.mm.pageSize, flags, shift]);
  }

  // The guest ----------------------------------------------------------------------------------

  /** UV_ESM: the guest asks to become secure. An H_* code where it does not: see `Ultravisor.esm`. */
  esm(): number {
    return this.device.machine.run(this.esmTask());
  }

  esmTask(): Task<number> {
    return this.#asked('UV_ESM', null, this.#uv.esm(this.lpid));
  }

  /** UV_SHARE_PAGE: the hypervisor may see `pages` guest pages, which are empty from then on. */
  share(gfn: number, pages = 1): number {
    return this.device.machine.run(this.shareTask(gfn, pages));
  }

  shareTask(gfn: number, pages = 1): Task<number> {
    return this.#asked('UV_SHARE_PAGE', gfn, this.#uv.sharePages(this.lpid, gfn, pages));
  }

  /** UV_UNSHARE_PAGE: `pages` guest pages are the guest's alone again, and empty. */
  unshare(gfn: number, pages = 1): number {
    return this.device.machine.run(this.unshareTask(gfn, pages));
  }

  unshareTask(gfn: number, pages = 1): Task<number> {
    return this.#asked('UV_UNSHARE_PAGE', gfn, this.#uv.unsharePages(this.lpid, gfn, pages));
  }

  /** UV_UNSHARE_ALL_PAGES. */
  unshareAll(): number {
    return this.device.machine.run(this.unshareAllTask());
  }

  unshareAllTask(): Task<number> {
    return this.#asked('UV_UNSHARE_ALL_PAGES', null, this.#uv.unshareAllPages(this.lpid));
  }

  /**
   * A load by the guest: the 32-bit value at `gpa` (bytes, a multiple of 4), or a negative number.
   * -EFAULT: there is no memory, or the process has none there. -EBUSY: the guest does not run, for
   * it is on its way to secure mode. H_* codes: the ultravisor did not get the page back, or not
   * unchanged. U_PERMISSION: there was nothing to get.
   */
  guestLoad32(gpa: number): number {
    return this.device.machine.run(this.guestLoadTask(gpa));
  }

  guestLoadTask(gpa: number): Task<number> {
    return this.#access(gpa, null);
  }

  /** A store by the guest: 0, or a negative number as of `guestLoad32`. */
  guestStore32(gpa: number, value: number): number {
    return this.device.machine.run(this.guestStoreTask(gpa, value));
  }

  guestStoreTask(gpa: number, value: number): Task<number> {
    return this.#access(gpa, value >>> 0);
  }

  // Ultracalls of the hypervisor -----------------------------------------------------------------

  uvPageIn(from: Page, gpa: number): number {
    const ra = from * this.mm.pageSize;
    return this.#ultracall('UV_PAGE_IN', this.gfnOf(gpa), () =>
      this.#uv.pageIn(this.lpid, ra, gpa, 0, this.pageShift),
    );
  }

  uvPageOut(to: Page, gpa: number): number {
    const ra = to * this.mm.pageSize;
    return this.#ultracall('UV_PAGE_OUT', this.gfnOf(gpa), () =>
      this.#uv.pageOut(this.lpid, ra, gpa, 0, this.pageShift),
    );
  }

  uvRegisterMemSlot({ id, baseGfn, npages }: MemorySlot): number {
    const { pageSize } = this.mm;
    return this.#ultracall('UV_REGISTER_MEM_SLOT', null, () =>
      this.#uv.registerMemSlot(this.lpid, baseGfn * pageSize, npages * pageSize, 0, id),
    );
  }

  uvUnregisterMemSlot({ id }: MemorySlot): number {
    return this.#ultracall('UV_UNREGISTER_MEM_SLOT', null, () =>
      this.#uv.unregisterMemSlot(this.lpid, id),
    );
  }

  uvSvmTerminate(): number {
    return this.#ultracall('UV_SVM_TERMINATE', null, () => this.#uv.svmTerminate(this.lpid));
  }

  /** What a call is told with; `gfn` names the guest page it is about. */
  callInfo(name: string, gfn: number | null): CallInfo {
    const { mm, device } = this;
    const start = gfn === null ? null : this.gfnToHva(gfn);
    const end = start === null ? 0 : start + mm.pageSize;
    return { actor: device.name, name, mm, start: start ?? 0, end };
  }

  /** Takes the pages of a slot out of the guest's page table, whoever has that. */
  unmapSlot(slot: MemorySlot): void {
    this.#unmap(slot, slot.address, slot.address + slot.npages * this.mm.pageSize);
  }

  /** Forgets what a normal guest has mapped. */
  unmapAll(): void {
    this.guestPages.clear();
  }

  close(): void {
    this.device.machine.run(this.release());
  }

  /** The last reference to the VM is gone: kvm_destroy_vm. Its device pages go with the process. */
  *release(): Task<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.process.openFiles.delete(this);
    if (this.notifier !== null) yield* mmuIntervalNotifierRemove(this.notifier);
    if (this.secureGuest !== 0) this.uvSvmTerminate();
    this.#uv.writePate(this.lpid, false);
    this.device.forget(this);
  }

  #asked(name: string, gfn: number | null, task: Task<number>): Task<number> {
    this.#chargeUltracall();
    return toldCall(this.mm.kernel, this.callInfo(name, gfn), this.#onVcpu(task));
  }

  /** Runs what a vCPU does, once the VM is not on its way out of secure mode. */
  *#onVcpu(task: Task<number>): Task<number> {
    const { mmuSetupLock } = this;
    const { scheduler } = this.mm.kernel;
    this.#vcpusRunning++;
    try {
      if (!mmuSetupLock.tryLock()) yield* mmuSetupLock.lock();
      mmuSetupLock.unlock();
      const result = yield* task;
      if (scheduler.owing) yield* scheduler.pay();
      return result;
    } finally {
      this.#vcpusRunning--;
    }
  }

  #ultracall(name: string, gfn: number | null, call: () => number): number {
    const { events } = this.mm.kernel;
    this.#chargeUltracall();
    if (!events.listening) return call();
    const info = this.callInfo(name, gfn);
    events.callBegin(info);
    const result = call();
    events.callEnd(info, result);
    return result;
  }

  #chargeUltracall(): void {
    const { timing, scheduler } = this.mm.kernel;
    if (timing !== null) scheduler.charge(timing.secure.ultracallNs);
  }

  #access(gpa: number, store: number | null): Task<number> {
    if (!Number.isSafeInteger(gpa) || gpa < 0 || gpa % 4 !== 0) {
      throw new SimError('bad-argument', `guest address ${gpa} is not a multiple of 4`, { gpa });
    }
    return this.#onVcpu(this.#accessOnVcpu(gpa, store));
  }

  *#accessOnVcpu(gpa: number, store: number | null): Task<number> {
    const uv = this.#uv;
    const { lpid, guestPages } = this;
    // After a fault the guest may be another one: a secure one has its own page table.
    for (;;) {
      if (this.#closed || !this.mm.alive) return -EFAULT;
      if (uv.isStarting(lpid)) return -EBUSY;
      if (uv.isRunning(lpid)) {
        return yield* store === null ? uv.load32(lpid, gpa) : uv.store32(lpid, gpa, store);
      }
      const done = guestPages.access(gpa, store);
      if (done !== null) return done;
      const result = yield* guestPages.fault(gpa, store !== null);
      if (result < 0) return result;
    }
  }

  /** Most processes never have a memory slot; only those that do are worth telling. */
  watch(): number {
    if (this.notifier !== null) return 0;
    const notifier = mmuIntervalNotifierInsert(this.mm, {
      name: this.device.name,
      invalidate: (watcher, range, seq) => {
        mmuIntervalSetSeq(watcher, seq);
        for (const slot of this.slots) this.#unmap(slot, range.start, range.end);
        return true;
      },
    });
    if (typeof notifier === 'number') return notifier;
    this.notifier = notifier;
    return 0;
  }

  /**
   * kvm_unmap_radix for the pages of a slot in a range. Also where the ultravisor runs a guest that
   * is not secure in the hypervisor's eyes any more, which only a wrong call brings about.
   */
  #unmap(slot: MemorySlot, start: Va, end: Va): void {
    const { pageSize } = this.mm;
    const first = Math.max(0, Math.floor((start - slot.address) / pageSize));
    const last = Math.min(slot.npages, Math.ceil((end - slot.address) / pageSize));
    if (first >= last) return;
    const from = slot.baseGfn + first;
    const to = slot.baseGfn + last;
    const secure = (this.secureGuest & SECURE_INIT_DONE) !== 0 || this.#uv.isRunning(this.lpid);
    // The kernel looks at one or the other; what a fault mapped that a start overtook would stay.
    this.guestPages.remove(from, to);
    if (secure) for (let gfn = from; gfn < to; gfn++) this.#uvPageInval(gfn);
  }

  /** Told only where the ultravisor had the page mapped: of the others there are too many. */
  #uvPageInval(gfn: number): void {
    const result = this.#uv.pageInval(this.lpid, gfn * this.mm.pageSize, this.pageShift);
    const { events } = this.mm.kernel;
    if (result !== U_SUCCESS || !events.listening) return;
    const info = this.callInfo('UV_PAGE_INVAL', gfn);
    events.callBegin(info);
    events.callEnd(info, result);
  }
}
