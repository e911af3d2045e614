/**
 * One address space that a GPU shares: struct nouveau_svmm. Reference: nouveau_svm.c of Linux 6.1.
 */
import { EAGAIN } from '../../core/errno.ts';
import { type MmuNotifier, NOTIFIER_IGNORED } from '../../core/hmm/mmu-notifier.ts';
import type { NotifierRange } from '../../core/hmm/notifier.ts';
import type { Mm } from '../../core/mm/mm.ts';
import { Mutex } from '../../core/sched/locks.ts';
import type { MaybeTask, Task } from '../../core/sched/task.ts';
import type { Page, Va } from '../../core/units.ts';
import type { GpuPageTable } from '../../hw/gpu-page-table.ts';
import type { Nouveau } from './device.ts';

/** Addresses that the client keeps for its own buffer objects: [start, limit) is not shared. */
export interface Unmanaged {
  readonly start: Va;
  readonly limit: Va;
}

/** Pages that this address space migrated carry its `id`. */
export class Svmm implements MmuNotifier {
  readonly device: Nouveau;
  readonly id: number;
  readonly mm: Mm;
  readonly unmanaged: Unmanaged;
  /** Held while the GPU's page table changes, and from reading to entering what is there. */
  readonly mutex: Mutex;
  /** The GPU's page table; null before there is a channel and once the client has gone. */
  vmm: GpuPageTable | null = null;

  constructor(device: Nouveau, id: number, mm: Mm, unmanaged: Unmanaged) {
    this.device = device;
    this.id = id;
    this.mm = mm;
    this.unmanaged = unmanaged;
    this.mutex = new Mutex(device.kernel.scheduler, `svmm ${id} of ${device.name}`);
  }

  get name(): string {
    return this.device.name;
  }

  /** nouveau_svmm_invalidate: the GPU forgets [start, limit). The caller holds the mutex. */
  invalidate(start: Va, limit: Va): void {
    if (limit <= start) return;
    const { pageSize } = this.mm;
    this.vmm?.unmap(Math.floor(start / pageSize), Math.ceil(limit / pageSize));
  }

  /**
   * NVIF_VMM_V0_PFNMAP of one page: maps it, or with flags 0 unmaps what is there. The caller holds
   * the mutex. Returns the flags now in force: 0 where the address is not managed.
   */
  pfnMap(va: Va, page: Page, flags: number): number {
    const { vmm, mm, unmanaged } = this;
    if (vmm === null || (va >= unmanaged.start && va < unmanaged.limit)) return 0;
    vmm.map(Math.floor(va / mm.pageSize), page, flags);
    return flags;
  }

  /** nouveau_svmm_invalidate_range_start. */
  invalidateRangeStart(range: NotifierRange): MaybeTask<number> {
    if (range.blockable === false) return -EAGAIN;
    if (!this.mutex.tryLock()) return this.#invalidateLater(range);
    const result = this.#forget(range);
    this.mutex.unlock();
    return result;
  }

  /** nouveau_svmm_fini: nothing is mapped for this address space any more. */
  *fini(): Task<void> {
    if (!this.mutex.tryLock()) yield* this.mutex.lock();
    this.vmm = null;
    this.mutex.unlock();
    this.mm.notifiers.wholeSpace.remove(this);
  }

  *#invalidateLater(range: NotifierRange): Task<number> {
    yield* this.mutex.lock();
    const result = this.#forget(range);
    this.mutex.unlock();
    return result;
  }

  #forget(range: NotifierRange): number {
    const { device, unmanaged } = this;
    if (this.vmm === null) return 0;
    // The migration itself sees to what the GPU has mapped there.
    const own = range.event === 'migrate' && range.owner === device;
    if (own && !device.mended) return NOTIFIER_IGNORED;
    let { start } = range;
    const { end } = range;
    if (end > unmanaged.start && start < unmanaged.limit) {
      if (start < unmanaged.start) this.invalidate(start, unmanaged.limit);
      start = unmanaged.limit;
    }
    this.invalidate(start, end);
    return 0;
  }
}
