// A machine whose devices a test moves step by step: nothing is migrated unless the test says so,
// and between any two steps it can look at every count or come in between.

import type { EraName } from '../../src/core/era.ts';
import type { Kernel } from '../../src/core/kernel.ts';
import { Machine } from '../../src/core/machine.ts';
import type { Pages } from '../../src/core/memory/pages.ts';
import {
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
} from '../../src/core/migrate/index.ts';
import { leafIndex } from '../../src/core/mm/page-table.ts';
import { PTE_NONE } from '../../src/core/mm/pte.ts';
import type { Vma } from '../../src/core/mm/vma.ts';
import {
  type DeviceFault,
  DevPagemap,
  type DevPagemapOps,
  FreePages,
  type Owner,
  type PagemapType,
} from '../../src/core/pagemap/pagemap.ts';
import type { Process } from '../../src/core/process.ts';
import type { Task } from '../../src/core/sched/task.ts';
import { MiB, NO_PAGE, PAGE_SIZE, type Page, type Va } from '../../src/core/units.ts';

export const SYSTEM: number = MIGRATE_VMA_SELECT_SYSTEM;
export const PRIVATE: number = MIGRATE_VMA_SELECT_DEVICE_PRIVATE;
export const COHERENT: number = MIGRATE_VMA_SELECT_DEVICE_COHERENT;

/** Where a CPU fault on device memory has got to. */
export type FaultStep = 'fault' | 'setup' | 'pages' | 'finalize';

/** Memory of one device. Answers CPU faults as a good driver does, and tells each step. */
export class Region implements DevPagemapOps {
  readonly lab: MigrationLab;
  readonly owner: Owner;
  readonly pagemap: DevPagemap;
  readonly free: FreePages;
  /** Every page that came back, in order. */
  readonly freed: Page[] = [];
  onStep: (step: FaultStep, migrate: MigrateVma | null) => void = () => undefined;
  /** The bug of drivers that were not changed for v6.1. */
  forgetsFaultPage = false;

  constructor(lab: MigrationLab, owner: Owner, type: PagemapType) {
    this.lab = lab;
    this.owner = owner;
    this.free = new FreePages(lab.kernel);
    const name = `${owner.name}, ${type}`;
    const made = lab.machine.memremapPages({ type, owner, ops: this, bytes: 2 * MiB, name });
    if (!(made instanceof DevPagemap)) throw new Error(`no region ${name}: ${made}`);
    this.pagemap = made;
    this.free.addRegion(made.firstPage, made.pageCount);
  }

  /** A page in use, locked, with a reference. */
  take(): Page {
    const page = this.free.pop();
    this.pagemap.initPage(page);
    return page;
  }

  pageFree(page: Page): void {
    this.freed.push(page);
    this.free.push(page);
  }

  *migrateToRam({ vma, address, page }: DeviceFault): Task<number> {
    const { era, pageSize } = this.lab.kernel;
    this.onStep('fault', null);
    const migrate = new MigrateVma({
      vma,
      start: address,
      end: address + pageSize,
      src: new Uint32Array(1),
      dst: new Uint32Array(1),
      pgmapOwner: this.owner,
      flags: PRIVATE,
      faultPage: era.faultPage && !this.forgetsFaultPage ? page : NO_PAGE,
      cause: 'cpu_fault',
    });
    if ((yield* migrateVmaSetup(migrate)) !== 0) throw new Error('setup refused a fault');
    this.onStep('setup', migrate);
    this.lab.giveRam(migrate);
    yield* migrateVmaPages(migrate);
    this.onStep('pages', migrate);
    migrateVmaFinalize(migrate);
    this.onStep('finalize', migrate);
    return 0;
  }
}

export interface SetupOptions {
  readonly flags: number;
  readonly owner?: Owner | null;
  readonly faultPage?: Page;
  readonly proc?: Process;
}

/** A migration between setup and finalize, with the mmap_lock held. */
export interface Migration {
  readonly ret: number;
  readonly args: MigrateVma;
  /** `src` and `cpages` as collect left them, before anything was unmapped. */
  readonly collected: { readonly src: readonly number[]; readonly cpages: number };
}

export class MigrationLab {
  readonly machine: Machine;
  readonly kernel: Kernel;
  readonly proc: Process;
  readonly x: Owner = { name: 'X' };
  readonly y: Owner = { name: 'Y' };
  readonly privateX: Region;
  readonly privateY: Region;
  /** Null in eras without coherent device memory. */
  readonly coherentX: Region | null;
  readonly coherentY: Region | null;

  constructor(era: EraName = 'v6.1', ramBytes: number = 16 * MiB) {
    this.machine = new Machine({ era, ramBytes });
    this.kernel = this.machine.kernel;
    this.proc = this.machine.createProcess();
    this.privateX = new Region(this, this.x, 'private');
    this.privateY = new Region(this, this.y, 'private');
    const { deviceCoherent } = this.machine.era;
    this.coherentX = deviceCoherent ? new Region(this, this.x, 'coherent') : null;
    this.coherentY = deviceCoherent ? new Region(this, this.y, 'coherent') : null;
  }

  get pages(): Pages {
    return this.kernel.pages;
  }

  vmaOf(va: Va, proc: Process = this.proc): Vma {
    return proc.mm.vmas.find(va)!;
  }

  pageAt(va: Va, proc: Process = this.proc): Page {
    return this.machine.pageAt(proc, va)!;
  }

  /** Bits of an entry: its kind and rights. */
  bitsAt(va: Va, proc: Process = this.proc): number {
    const vpn = proc.mm.vpn(va);
    return proc.mm.pageTable.leaf(vpn)?.bits[leafIndex(vpn)] ?? PTE_NONE;
  }

  /** References and mappings of a page, in the words of the facts: [refcount, mapcount]. */
  counts(page: Page): [number, number] {
    return [this.pages.refcount[page]!, this.pages.mapcount[page]!];
  }

  /** Takes mmap_lock and sets a migration up; `finish` lets go of both. */
  setup(va: Va, count: number, options: SetupOptions): Migration {
    const { proc = this.proc, owner = null } = options;
    const args = new MigrateVma({
      vma: proc.mm.vmas.find(va),
      start: va,
      end: va + count * PAGE_SIZE,
      src: new Uint32Array(count),
      dst: new Uint32Array(count),
      pgmapOwner: owner,
      flags: options.flags,
      ...(options.faultPage === undefined ? {} : { faultPage: options.faultPage }),
    });
    let collected: Migration['collected'] = { src: [], cpages: 0 };
    const { events } = this.machine;
    const afterCollect = (event: { readonly step: string; readonly phase: string }): void => {
      if (event.step !== 'collect' || event.phase !== 'end') return;
      collected = { src: [...args.src], cpages: args.cpages };
    };
    events.on('migrate_phase', afterCollect);
    const ret = this.machine.run(
      (function* (): Task<number> {
        yield* proc.mm.mmapLock.read();
        return yield* migrateVmaSetup(args);
      })(),
    );
    events.off('migrate_phase', afterCollect);
    return { ret, args, collected };
  }

  /** Names a page of `region` for each word that can move, with the contents copied. */
  give(args: MigrateVma, region: Region): Page[] {
    return this.#give(args, () => region.take());
  }

  giveRam(args: MigrateVma): Page[] {
    const { pages } = this;
    return this.#give(args, () => {
      const page = pages.allocate();
      pages.tryLock(page);
      return page;
    });
  }

  movePages(args: MigrateVma): void {
    this.machine.run(migrateVmaPages(args));
  }

  /** Finalizes, and lets go of mmap_lock. */
  finalize(args: MigrateVma): void {
    migrateVmaFinalize(args);
    args.mm!.mmapLock.unlockRead();
  }

  /** The rest of a migration that gets no destinations: everything goes back to where it was. */
  giveUp({ args }: Migration): void {
    this.movePages(args);
    this.finalize(args);
  }

  /** A whole migration of system pages to a device. Throws if one of them does not go. */
  moveTo(region: Region, va: Va, count = 1, proc: Process = this.proc): void {
    // v5.7 takes system pages for nobody only.
    const owner = this.machine.era.selection === 'src-owner' ? null : region.owner;
    const { args } = this.setup(va, count, { flags: SYSTEM, owner, proc });
    this.give(args, region);
    this.movePages(args);
    const moved = args.src.every((word) => (word & MIGRATE_PFN_MIGRATE) !== 0);
    this.finalize(args);
    if (!moved) throw new Error('a page did not move');
  }

  #give(args: MigrateVma, take: () => Page): Page[] {
    const given: Page[] = [];
    args.src.forEach((word, i) => {
      if ((word & MIGRATE_PFN_MIGRATE) === 0) return;
      const page = take();
      this.pages.copyContents(page, migratePfnPage(word));
      args.dst[i] = migratePfn(page);
      given.push(page);
    });
    return given;
  }
}
