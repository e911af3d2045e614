/**
 * What every part of the emulated kernel can reach: the rules of its era, memory, the scheduler,
 * address spaces and pagemaps. The machine makes one; code below takes it as an argument.
 */
import type { Era } from './era.ts';
import type { EventBus } from './events/bus.ts';
import type { MigrateInfo, TrespassInfo } from './events/types.ts';
import type { FaultPlan } from './fault-plan.ts';
import { Frames } from './memory/frames.ts';
import { Pages } from './memory/pages.ts';
import { WordPool } from './memory/word-pool.ts';
import type { MemoryWatch } from './memory-watch.ts';
import type { MigrateVma } from './migrate/migrate-vma.ts';
import { Mappings } from './mm/mapping.ts';
import type { Mm } from './mm/mm.ts';
import { SpareTables } from './mm/page-table.ts';
import { Tlbs } from './mm/tlb.ts';
import type { DevPagemap } from './pagemap/pagemap.ts';
import type { Scheduler } from './sched/scheduler.ts';
import type { Timing } from './timing.ts';
import type { Page } from './units.ts';

export interface KernelOptions {
  readonly era: Era;
  readonly pageSize: number;
  readonly ramBytes: number;
  readonly scheduler: Scheduler;
  readonly events: EventBus;
  readonly timing: Timing | null;
}

export class Kernel {
  readonly era: Era;
  /** Bytes of a page. */
  readonly pageSize: number;
  readonly scheduler: Scheduler;
  readonly events: EventBus;
  readonly frames: Frames;
  readonly pages: Pages;
  readonly mappings: Mappings;
  /** For calls that need arrays of words. */
  readonly words: WordPool = new WordPool();
  /**
   * For page tables. Null where a search for races lets others go first anywhere: who was overtaken may
   * hold a leaf that its process gave back.
   */
  readonly spareTables: SpareTables | null;
  /** Address spaces that are alive. */
  readonly mms: Set<Mm>;
  readonly pagemaps: DevPagemap[];
  /** How often somebody touched device memory of somebody else. */
  trespasses = 0;
  /** How long things take; null where no time passes. */
  readonly timing: Timing | null;
  /** Migrations by page that somebody listens to, by their `src` array. */
  readonly deviceMigrations: WeakMap<Uint32Array, MigrateInfo>;
  /**
   * Kept for V8 alone: where a full garbage collection finds no object of a kind, it throws away the code
   * that was compiled for the kind, here most of what a fault runs through.
   */
  lastMigration: MigrateVma | null = null;

  constructor(options: KernelOptions) {
    this.era = options.era;
    this.pageSize = options.pageSize;
    this.scheduler = options.scheduler;
    this.events = options.events;
    this.timing = options.timing;
    this.spareTables = options.scheduler.preempts ? null : new SpareTables();
    const tlbs = new Tlbs();
    this.frames = new Frames(options.pageSize, tlbs);
    this.mappings = new Mappings();
    this.mms = new Set();
    this.pagemaps = [];
    this.deviceMigrations = new WeakMap();
    this.pages = new Pages({
      ramPages: Math.floor(options.ramBytes / options.pageSize),
      freeDevicePageRefs: options.era.freeDevicePageRefs,
      scheduler: options.scheduler,
      frames: this.frames,
      tlbs,
      onFree: (page: Page) => {
        if (this.events.listening) this.events.pageFree(page, this.pages.pagemapOf(page));
      },
    });
  }

  /** Which attempts fail on purpose; null where none does. */
  get faults(): FaultPlan | null {
    return this.pages.faults;
  }

  set faults(plan: FaultPlan | null) {
    this.pages.faults = plan;
  }

  /** Who watches the contents of memory; null where nobody does. */
  get watch(): MemoryWatch | null {
    return this.pages.watch;
  }

  set watch(watch: MemoryWatch | null) {
    this.pages.watch = watch;
    // Loads and stores that hit a TLB tell nobody.
    this.pages.tlbs.flush();
  }

  /** Somebody touches device memory that is not his. */
  trespass(info: TrespassInfo): void {
    this.trespasses++;
    if (this.events.listening) this.events.trespass(info);
  }

  forgetPagemap(pagemap: DevPagemap): void {
    this.pagemaps.splice(this.pagemaps.indexOf(pagemap), 1);
  }
}
