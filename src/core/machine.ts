/** The composition root: one emulated machine with RAM, devices and processes. */
import type { Driver } from './driver.ts';
import { DEFAULT_ERA, type Era, type EraName, eraNamed } from './era.ts';
import { SimError } from './errors.ts';
import { EventBus } from './events/bus.ts';
import type { PageHome } from './events/types.ts';
import { Kernel } from './kernel.ts';
import { leafIndex } from './mm/page-table.ts';
import { PTE_NONE } from './mm/pte.ts';
import { type DevPagemap, type DevPagemapOptions, memremapPages } from './pagemap/pagemap.ts';
import { Process } from './process.ts';
import type { Explorer } from './sched/explorer.ts';
import { Scheduler, type Strategy } from './sched/scheduler.ts';
import type { Task } from './sched/task.ts';
import type { Thread } from './sched/thread.ts';
import type { Timing } from './timing.ts';
import { GiB, PAGE_SIZE, type Page, type Va } from './units.ts';
import { type Finding, verifyKernel } from './verify.ts';

export interface MachineOptions {
  /** Which kernel: its name, or a table of rules of one's own; 'v6.1' unless given. */
  readonly era?: EraName | Era;
  /** RAM in bytes, 2 GiB unless given. Costs what is used of it. */
  readonly ramBytes?: number;
  /** Bytes of a page: a power of two from 4096 (the default) to 65536. */
  readonly pageSize?: number;
  /** Answers which runnable task goes next; first in, first out unless given. */
  readonly strategy?: Strategy;
  /** Makes every place where a task could be overtaken a choice point, and answers it. */
  readonly explorer?: Explorer;
  /** Locks taken in orders that could deadlock are an error (`lock-order`). False unless given. */
  readonly checkLockOrder?: boolean;
  /** How long things take; no time passes unless given. */
  readonly timing?: Timing;
  /** Adds up what virtual time is spent on: `machine.scheduler.accounts`. False unless given. */
  readonly accounts?: boolean;
}

export class Machine {
  readonly era: Era;
  readonly pageSize: number;
  readonly kernel: Kernel;
  readonly scheduler: Scheduler;
  readonly events: EventBus;
  /** Processes alive, by pid. */
  readonly processes: Map<number, Process> = new Map();
  readonly drivers: Driver[] = [];
  #nextPid = 1;

  constructor(options: MachineOptions = {}) {
    const pageSize = options.pageSize ?? PAGE_SIZE;
    const ramBytes = options.ramBytes ?? 2 * GiB;
    if (pageSize < 4096 || pageSize > 65536 || (pageSize & (pageSize - 1)) !== 0) {
      throw new SimError(
        'bad-argument',
        `a page has ${pageSize} bytes; expected a power of two from 4096 to 65536`,
      );
    }
    if (!Number.isSafeInteger(ramBytes) || ramBytes < pageSize) {
      throw new SimError('bad-argument', `RAM of ${ramBytes} bytes; expected at least one page`);
    }
    const era = options.era ?? DEFAULT_ERA;
    this.era = typeof era === 'string' ? eraNamed(era) : era;
    this.pageSize = pageSize;
    const { strategy, explorer, checkLockOrder, accounts } = options;
    this.scheduler = new Scheduler({ strategy, explorer, checkLockOrder, accounts });
    this.events = new EventBus(this.scheduler);
    this.kernel = new Kernel({
      era: this.era,
      pageSize,
      ramBytes,
      scheduler: this.scheduler,
      events: this.events,
      timing: options.timing ?? null,
    });
  }

  /** Adds a device; its driver registers what it needs. Returns the driver. */
  attach<D extends Driver>(driver: D): D {
    if (this.drivers.some(({ name }) => name === driver.name)) {
      throw new SimError('bad-argument', `this machine already has a driver named ${driver.name}`);
    }
    driver.attach(this);
    this.drivers.push(driver);
    return driver;
  }

  createProcess(): Process {
    const proc = new Process(this, this.#nextPid++);
    this.processes.set(proc.pid, proc);
    return proc;
  }

  /** Runs a task to its end and returns its result. */
  run<T>(task: Task<T>): T {
    return this.scheduler.run(task);
  }

  /** Makes a thread of a task; `runAll` runs all of them, one step of one at a time. */
  spawn(name: string, task: Task<unknown>): Thread {
    return this.scheduler.spawn(name, task);
  }

  runAll(): void {
    this.scheduler.runAll();
  }

  /** memremap_pages: device memory with struct pages. Returns the pagemap or -errno. */
  memremapPages(options: DevPagemapOptions): DevPagemap | number {
    return memremapPages(this.kernel, options);
  }

  /**
   * Who owns what `va` maps: the owner of a device page, 'system' for RAM (also under exclusive
   * access by a device), null where nothing or only the zero page is mapped.
   */
  ownerOf(proc: Process, va: Va): PageHome {
    const page = this.pageAt(proc, va);
    return page === null ? null : this.kernel.pages.homeOf(page);
  }

  /** The page in the entry of `va`, 0 for the zero page, null where there is none. */
  pageAt(proc: Process, va: Va): Page | null {
    const vpn = Math.floor(va / this.pageSize);
    const leaf = proc.mm.pageTable.leaf(vpn);
    if (leaf === null) return null;
    const at = leafIndex(vpn);
    return leaf.kind(at) === PTE_NONE ? null : leaf.page[at]!;
  }

  /** Checks every invariant of the machine at rest; an empty list is good. */
  verify(options: { readonly full?: boolean } = {}): Finding[] {
    const held: Map<Page, number> = new Map();
    for (const driver of this.drivers) {
      for (const [page, count] of driver.heldReferences?.() ?? []) {
        held.set(page, (held.get(page) ?? 0) + count);
      }
    }
    return verifyKernel(this.kernel, held, options);
  }
}
