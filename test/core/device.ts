// The smallest device there is, for tests of the core: memory, an owner, and a way in and out.

import type { Machine } from '../../src/core/machine.ts';
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  MigrateVma,
  migratePfn,
  migratePfnPage,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from '../../src/core/migrate/index.ts';
import type { Vma } from '../../src/core/mm/vma.ts';
import {
  type DeviceFault,
  DevPagemap,
  type DevPagemapOps,
  FreePages,
  type PagemapType,
} from '../../src/core/pagemap/pagemap.ts';
import type { Process } from '../../src/core/process.ts';
import type { Task } from '../../src/core/sched/task.ts';
import { MiB, NO_PAGE, type Page, type Va } from '../../src/core/units.ts';

export class SmallDevice implements DevPagemapOps {
  readonly name: string;
  readonly machine: Machine;
  readonly pagemap: DevPagemap;
  readonly free: FreePages;
  /** CPU faults answered. */
  faults = 0;

  constructor(machine: Machine, name: string, type: PagemapType = 'private') {
    this.machine = machine;
    this.name = name;
    this.free = new FreePages(machine.kernel);
    const made = machine.memremapPages({ type, owner: this, ops: this, bytes: 2 * MiB, name });
    if (!(made instanceof DevPagemap)) throw new Error(`no region: ${made}`);
    this.pagemap = made;
    this.free.addRegion(made.firstPage, made.pageCount);
  }

  pageFree(page: Page): void {
    this.free.push(page);
  }

  *migrateToRam({ vma, address, page }: DeviceFault): Task<number> {
    this.faults++;
    const end = address + this.machine.pageSize;
    const select = MIGRATE_VMA_SELECT_DEVICE_PRIVATE;
    yield* this.#move(vma, address, end, select, page, () => {
      const fresh = this.machine.kernel.pages.allocate();
      this.machine.kernel.pages.tryLock(fresh);
      return fresh;
    });
    return 0;
  }

  /** Moves `count` pages of a process into this device; returns how many went. */
  take(proc: Process, va: Va, count: number): number {
    return this.machine.run(this.#take(proc, va, count));
  }

  *#take(proc: Process, va: Va, count: number): Task<number> {
    const { mm } = proc;
    yield* mm.mmapLock.read();
    const vma = mm.vmas.find(va)!;
    const end = va + count * mm.pageSize;
    const select = MIGRATE_VMA_SELECT_SYSTEM;
    const moved = yield* this.#move(vma, va, end, select, NO_PAGE, () => {
      const page = this.free.pop();
      this.pagemap.initPage(page);
      return page;
    });
    mm.mmapLock.unlockRead();
    return moved;
  }

  *#move(
    vma: Vma,
    start: Va,
    end: Va,
    flags: number,
    faultPage: Page,
    allocate: () => Page,
  ): Task<number> {
    const { pages } = this.machine.kernel;
    const count = (end - start) / this.machine.pageSize;
    const src = new Uint32Array(count);
    const dst = new Uint32Array(count);
    const args = { vma, start, end, src, dst, pgmapOwner: this, flags, faultPage };
    const migrate = new MigrateVma(args);
    if ((yield* migrateVmaSetup(migrate)) !== 0) throw new Error('setup refused');
    for (let i = 0; i < count; i++) {
      if ((src[i]! & MIGRATE_PFN_MIGRATE) === 0) continue;
      const to = allocate();
      pages.copyContents(to, migratePfnPage(src[i]!));
      dst[i] = migratePfn(to);
    }
    yield* migrateVmaPages(migrate);
    migrateVmaFinalize(migrate);
    return src.filter((word) => (word & MIGRATE_PFN_MIGRATE) !== 0).length;
  }
}
