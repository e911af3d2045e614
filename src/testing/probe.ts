/**
 * The stranger: a small device with memory of its own, which does to other drivers' address spaces
 * what a second device does. It is also the shortest complete device there is, for tests of the core.
 */
import type { Driver } from '../core/driver.ts';
import { EINVAL, errnoName } from '../core/errno.ts';
import { SimError } from '../core/errors.ts';
import { makeDeviceExclusiveRange } from '../core/hmm/exclusive.ts';
import {
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalSetSeq,
} from '../core/hmm/notifier.ts';
import { hmmPopulate } from '../core/hmm/populate.ts';
import { HMM_PFN_REQ_FAULT } from '../core/hmm/range-fault.ts';
import type { Kernel } from '../core/kernel.ts';
import type { Machine } from '../core/machine.ts';
import { PIN_BIAS } from '../core/memory/pages.ts';
import {
  countMigrated,
  MIGRATE_PFN_MIGRATE,
  MIGRATE_VMA_SELECT_DEVICE_COHERENT,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  MigrateVma,
  migratePfn,
  migratePfnPage,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from '../core/migrate/index.ts';
import { VM_FAULT_SIGBUS } from '../core/mm/fault-flags.ts';
import { FOLL_PIN, FOLL_WRITE, getUserPagesFast, putUserPage } from '../core/mm/gup.ts';
import type { Vma } from '../core/mm/vma.ts';
import {
  type DeviceFault,
  DevPagemap,
  type DevPagemapOps,
  FreePages,
  type Owner,
  type PagemapType,
} from '../core/pagemap/pagemap.ts';
import type { Process } from '../core/process.ts';
import type { Task } from '../core/sched/task.ts';
import { NO_PAGE, type Page, type Va } from '../core/units.ts';

export interface ProbeOptions {
  /** 'probe' unless given. */
  readonly name?: string;
  /** 'private' unless given. */
  readonly type?: PagemapType;
  /** Pages of device memory; 512 unless given. */
  readonly pages?: number;
}

export class Probe implements Driver, Owner, DevPagemapOps {
  readonly name: string;
  readonly type: PagemapType;
  readonly #pageCount: number;
  readonly #pinned: Page[] = [];
  #machine: Machine | null = null;
  #pagemap: DevPagemap | null = null;
  #free: FreePages | null = null;
  /** CPU faults answered. */
  faults = 0;

  constructor(options: ProbeOptions = {}) {
    this.name = options.name ?? 'probe';
    this.type = options.type ?? 'private';
    this.#pageCount = options.pages ?? 512;
  }

  get machine(): Machine {
    if (this.#machine === null) {
      throw new SimError('bad-argument', `${this.name} is not attached to a machine`);
    }
    return this.#machine;
  }

  get pagemap(): DevPagemap {
    return this.#pagemap!;
  }

  /** Device pages that are not in use. */
  get freePages(): number {
    return this.#free!.count;
  }

  attach(machine: Machine): void {
    this.#machine = machine;
    const bytes = this.#pageCount * machine.pageSize;
    const { name, type } = this;
    const made = machine.memremapPages({ type, owner: this, ops: this, bytes, name });
    if (!(made instanceof DevPagemap)) {
      throw new SimError('limit', `${name}: no device memory (${errnoName(made)})`);
    }
    this.#pagemap = made;
    this.#free = new FreePages(machine.kernel, made);
  }

  heldReferences(): Map<Page, number> {
    const held: Map<Page, number> = new Map();
    for (const page of this.#pinned) held.set(page, (held.get(page) ?? 0) + PIN_BIAS);
    return held;
  }

  pageFree(page: Page): void {
    this.#free!.push(page);
  }

  *migrateToRam({ vma, address, page }: DeviceFault): Task<number> {
    this.faults++;
    const end = address + vma.mm.pageSize;
    const moved = yield* this.#move(vma, address, end, this.#select, page, () =>
      this.#kernel.pages.allocateLocked(),
    );
    return moved < 0 ? VM_FAULT_SIGBUS : 0;
  }

  /** Moves pages from RAM into this device. Returns how many went, or -errno. */
  take(proc: Process, va: Va, pages: number): number {
    return this.machine.run(this.takeTask(proc, va, pages));
  }

  *takeTask(proc: Process, va: Va, pages: number): Task<number> {
    const flags = MIGRATE_VMA_SELECT_SYSTEM;
    return yield* this.#locked(proc, va, pages, flags, () => this.#free!.take());
  }

  /**
   * The same, but asks for device pages too, as a greedy driver does: its own are all it may get.
   * Returns how many pages went, or -errno.
   */
  grab(proc: Process, va: Va, pages: number): number {
    const flags = MIGRATE_VMA_SELECT_SYSTEM | this.#select;
    return this.machine.run(this.#locked(proc, va, pages, flags, () => this.#free!.take()));
  }

  /** Brings its own pages home. Returns how many went, or -errno. */
  sendHome(proc: Process, va: Va, pages: number): number {
    return this.machine.run(
      this.#locked(proc, va, pages, this.#select, () => this.#kernel.pages.allocateLocked()),
    );
  }

  /** Asks hmm_range_fault for pages, as a device that wants to read them. Returns 0 or -errno. */
  look(proc: Process, va: Va, pages: number): number {
    return this.machine.run(this.#look(proc, va, pages));
  }

  /** pin_user_pages_fast for writing: how many pages, or -errno. */
  pin(proc: Process, va: Va, pages: number): number {
    const flags = FOLL_PIN | FOLL_WRITE;
    const taken = this.machine.run(getUserPagesFast(proc.mm, va, pages, flags));
    if (typeof taken === 'number') return taken;
    this.#pinned.push(...taken);
    return taken.length;
  }

  /** Lets go of every page it pinned. */
  unpin(): void {
    const { kernel } = this.machine;
    for (const page of this.#pinned.splice(0)) putUserPage(kernel, page, true);
  }

  /** Takes pages of RAM for itself until the CPU touches them. Returns how many, or -errno. */
  exclusive(proc: Process, va: Va, pages: number): number {
    return this.machine.run(this.#exclusive(proc, va, pages));
  }

  get #kernel(): Kernel {
    return this.machine.kernel;
  }

  get #select(): number {
    return this.type === 'private'
      ? MIGRATE_VMA_SELECT_DEVICE_PRIVATE
      : MIGRATE_VMA_SELECT_DEVICE_COHERENT;
  }

  *#locked(
    proc: Process,
    va: Va,
    pages: number,
    flags: number,
    allocate: () => Page,
  ): Task<number> {
    const { mmapLock, vmas, pageSize } = proc.mm;
    if (!mmapLock.tryRead()) yield* mmapLock.read();
    try {
      const vma = vmas.find(va);
      if (vma === null) return -EINVAL;
      return yield* this.#move(vma, va, va + pages * pageSize, flags, NO_PAGE, allocate);
    } finally {
      mmapLock.unlockRead();
    }
  }

  *#move(
    vma: Vma,
    start: Va,
    end: Va,
    flags: number,
    faultPage: Page,
    allocate: () => Page,
  ): Task<number> {
    const { pages, era } = this.#kernel;
    const count = (end - start) / vma.mm.pageSize;
    // In v5.7 ordinary pages are collected for nobody only.
    const nobody = era.selection === 'src-owner' && (flags & MIGRATE_VMA_SELECT_SYSTEM) !== 0;
    const migrate = new MigrateVma({
      vma,
      start,
      end,
      src: new Uint32Array(count),
      dst: new Uint32Array(count),
      pgmapOwner: nobody ? null : this,
      flags,
      faultPage: era.faultPage ? faultPage : NO_PAGE,
      cause: faultPage === NO_PAGE ? 'driver' : 'cpu_fault',
    });
    const result = yield* migrateVmaSetup(migrate);
    if (result !== 0) return result;
    const { src, dst } = migrate;
    for (let i = 0; i < count; i++) {
      if ((src[i]! & MIGRATE_PFN_MIGRATE) === 0) continue;
      const to = allocate();
      if (to === NO_PAGE) continue;
      pages.copyContents(to, migratePfnPage(src[i]!));
      dst[i] = migratePfn(to);
    }
    yield* migrateVmaPages(migrate);
    const moved = countMigrated(src, count);
    migrateVmaFinalize(migrate);
    return moved;
  }

  *#look(proc: Process, va: Va, pages: number): Task<number> {
    const { mm } = proc;
    const notifier = mmuIntervalNotifierInsert(mm, {
      name: this.name,
      invalidate: (changed, _, seq) => {
        mmuIntervalSetSeq(changed, seq);
        return true;
      },
    });
    if (typeof notifier === 'number') return notifier;
    const end = va + pages * mm.pageSize;
    const asks = { notifier, start: va, end, request: HMM_PFN_REQ_FAULT, owner: this };
    const result = yield* hmmPopulate(asks, () => {});
    yield* mmuIntervalNotifierRemove(notifier);
    return result;
  }

  *#exclusive(proc: Process, va: Va, pages: number): Task<number> {
    const { mm } = proc;
    if (!mm.mmapLock.tryRead()) yield* mm.mmapLock.read();
    try {
      const end = va + pages * mm.pageSize;
      const taken = yield* makeDeviceExclusiveRange(mm, va, end, this);
      if (typeof taken === 'number') return taken;
      const got = taken.pages.filter((page) => page !== null);
      for (const page of got) {
        mm.pages.unlock(page);
        mm.pages.put(page);
      }
      return got.length;
    } finally {
      mm.mmapLock.unlockRead();
    }
  }
}
