/** One of pgmaplab's four device-private regions. */
import { chargeCopy } from '../../core/charge.ts';
import type { Kernel } from '../../core/kernel.ts';
import {
  FaultWordsPool,
  MIGRATE_PFN_LOCKED,
  MIGRATE_PFN_MIGRATE,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MigrateVma,
  migratePfn,
  migratePfnPage,
  migrateVmaFinalizeStep,
  migrateVmaPagesStep,
  migrateVmaSetupStep,
} from '../../core/migrate/index.ts';
import { VM_FAULT_SIGBUS } from '../../core/mm/fault-flags.ts';
import {
  type DeviceFault,
  type DevPagemap,
  type DevPagemapOps,
  FreePages,
  memremapPages,
  type Owner,
} from '../../core/pagemap/pagemap.ts';
import { after, type MaybeTask } from '../../core/sched/task.ts';
import type { StateHash } from '../../core/state-hash.ts';
import { NO_PAGE, type Page, type Va } from '../../core/units.ts';

/** Pages of each lab. */
export const LAB_PAGES = 4096;

/** A lab that forgets fault_page gives up at the next fault after so many in a row. */
const TRIES_MAX = 5;

/**
 * How a lab answers CPU faults. `refuse`: with SIGBUS. `forget`: it leaves fault_page unset, so the
 * reference that the fault holds keeps the page from moving, and gives up after a while.
 */
export type LabMode = 'normal' | 'refuse' | 'forget';

export class Lab implements DevPagemapOps {
  /** 0 to 3. */
  readonly index: number;
  readonly owner: Owner;
  mode: LabMode = 'normal';
  readonly #kernel: Kernel;
  readonly #freePages: FreePages;
  readonly #faultWords: FaultWordsPool = new FaultWordsPool();
  #pagemap: DevPagemap | null = null;
  #lastVa: Va = 0;
  #tries = 0;

  constructor(kernel: Kernel, index: number, owner: Owner) {
    this.#kernel = kernel;
    this.#freePages = new FreePages(kernel);
    this.index = index;
    this.owner = owner;
  }

  get pagemap(): DevPagemap {
    return this.#pagemap!;
  }

  /** Registers the region: 0 or -errno. */
  register(): number {
    const pagemap = memremapPages(this.#kernel, {
      type: 'private',
      owner: this.owner,
      ops: this,
      bytes: LAB_PAGES * this.#kernel.pageSize,
      name: `lab ${this.index}`,
    });
    if (typeof pagemap === 'number') return pagemap;
    this.#pagemap = pagemap;
    this.#freePages.addRegion(pagemap.firstPage, pagemap.pageCount);
    return 0;
  }

  /** A page with one reference, locked, or NO_PAGE: lab_alloc. */
  allocatePage(): Page {
    return this.#freePages.take();
  }

  fingerprint(hash: StateHash): void {
    hash.addText(this.mode);
    hash.add(this.#lastVa);
    hash.add(this.#tries);
  }

  /** lab_page_free. */
  pageFree(page: Page): void {
    this.#freePages.push(page);
  }

  /** lab_migrate_to_ram. */
  migrateToRam({ vma, address, page }: DeviceFault): MaybeTask<number> {
    if (this.mode === 'refuse') return VM_FAULT_SIGBUS;
    this.#tries = this.#lastVa === address ? this.#tries + 1 : 1;
    this.#lastVa = address;
    if (this.#tries > TRIES_MAX) {
      this.#tries = 0;
      return VM_FAULT_SIGBUS;
    }
    const { era, pageSize } = this.#kernel;
    const { src, dst } = this.#faultWords.take();
    const args = new MigrateVma({
      vma,
      start: address,
      end: address + pageSize,
      src,
      dst,
      pgmapOwner: this.owner,
      flags: MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
      faultPage: this.mode === 'forget' || !era.faultPage ? NO_PAGE : page,
      cause: 'cpu_fault',
    });
    return after(migrateVmaSetupStep(args), (ret) => this.#moveHome(args, ret));
  }

  /** What follows setup, which answered `ret`. */
  #moveHome(args: MigrateVma, ret: number): MaybeTask<number> {
    if (ret !== 0) return this.#endHome(args, VM_FAULT_SIGBUS);
    const { pages } = this.#kernel;
    const { src, dst } = args;
    const from = migratePfnPage(src[0]!);
    if (from !== NO_PAGE && (src[0]! & MIGRATE_PFN_MIGRATE) !== 0) {
      const to = pages.allocateLocked();
      if (to !== NO_PAGE) {
        pages.copyContents(to, from);
        chargeCopy(this.#kernel);
        dst[0] = (migratePfn(to) | MIGRATE_PFN_LOCKED) >>> 0;
      }
    }
    return after(migrateVmaPagesStep(args), () => {
      if ((src[0]! & MIGRATE_PFN_MIGRATE) !== 0) this.#lastVa = 0;
      return after(migrateVmaFinalizeStep(args), () => this.#endHome(args, 0));
    });
  }

  #endHome(args: MigrateVma, result: number): number {
    this.#faultWords.give(args);
    return result;
  }
}
