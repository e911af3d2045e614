/**
 * pgmaplab: the kernel's page-migration interface, bare.
 *
 * Four device-private regions, of which the first and the last share an owner, as two GPUs do that
 * reach each other's memory. Its calls run migrate_vma with any flags, any owner and any
 * destination, and tell what each step answered. A lab has no page table of its own.
 */
import type { Driver } from '../../core/driver.ts';
import { EINVAL, ENOSYS, errnoName } from '../../core/errno.ts';
import { SimError } from '../../core/errors.ts';
import { userCall } from '../../core/events/call.ts';
import type { Kernel } from '../../core/kernel.ts';
import type { Machine } from '../../core/machine.ts';
import { PIN_BIAS } from '../../core/memory/pages.ts';
import {
  countMovedPages,
  migrateDeviceFinalize,
  migrateDevicePages,
  migrateDeviceRange,
} from '../../core/migrate/index.ts';
import type { Owner } from '../../core/pagemap/pagemap.ts';
import type { Process } from '../../core/process.ts';
import type { Task } from '../../core/sched/task.ts';
import type { StateHash } from '../../core/state-hash.ts';
import { NO_PAGE, type Page } from '../../core/units.ts';
import { LabFile } from './file.ts';
import { giveDestinations } from './give.ts';
import { LAB_PAGES, Lab, type LabMode } from './lab.ts';

/** Owner, by lab. */
const OWNER_OF_LAB: readonly number[] = [0, 1, 2, 0];

export const LAB_COUNT: number = OWNER_OF_LAB.length;
/** Owners one can name in a migration; the last one owns nothing. */
export const OWNER_COUNT = 4;

export interface EvictResult {
  readonly ret: number;
  /** How many pages went home. */
  readonly pages: number;
}

export class Pgmaplab implements Driver {
  readonly name = 'pgmaplab';
  readonly labs: Lab[] = [];
  /** Owners 0 to 2 own labs; owner 3 owns nothing. */
  readonly owners: readonly Owner[];
  /** Those that own labs, each once. */
  readonly labOwners: readonly Owner[];
  #machine: Machine | null = null;
  readonly #files: Set<LabFile> = new Set();

  constructor() {
    this.owners = Array.from({ length: OWNER_COUNT }, (_, i) => ({ name: `lab owner ${i}` }));
    this.labOwners = [...new Set(OWNER_OF_LAB)].map((owner) => this.owners[owner]!);
  }

  get machine(): Machine {
    if (this.#machine === null) {
      throw new SimError('bad-argument', 'this pgmaplab is not attached to a machine');
    }
    return this.#machine;
  }

  get kernel(): Kernel {
    return this.machine.kernel;
  }

  /** lab_init. */
  attach(machine: Machine): void {
    if (this.#machine !== null) {
      throw new SimError('bad-argument', 'this pgmaplab is attached to a machine already');
    }
    this.#machine = machine;
    OWNER_OF_LAB.forEach((owner, index) => {
      const lab = new Lab(machine.kernel, index, this.owners[owner]!);
      const result = lab.register();
      if (result < 0) {
        throw new SimError('limit', `pgmaplab: no device memory (${errnoName(result)})`, {
          result,
        });
      }
      this.labs.push(lab);
    });
  }

  /** Opens the driver for `proc`, until it is closed or the process ends. */
  open(proc: Process): LabFile {
    const file = new LabFile(this, proc);
    this.#files.add(file);
    proc.openFiles.add(file);
    return file;
  }

  /** Called by a file that was closed. */
  forgetFile(file: LabFile): void {
    this.#files.delete(file);
  }

  /** The lab a page belongs to, or null. */
  labOf(page: Page): Lab | null {
    const pagemap = this.kernel.pages.pagemapOf(page);
    // Of no lab is a page of RAM, as most are.
    if (pagemap === null) return null;
    return this.labs.find((lab) => lab.pagemap === pagemap) ?? null;
  }

  /** Sends every page of a lab home to RAM, whoever maps it. */
  evict(lab: number): EvictResult {
    return this.machine.run(this.evictTask(lab));
  }

  /** -EINVAL for a lab that is none, -ENOSYS before migrate_device_range (v6.1). */
  evictTask(index: number): Task<EvictResult> {
    const call = { actor: this.name, name: `EVICT ${index}`, mm: null, start: 0, end: 0 };
    return userCall(this.kernel, call, this.#evict(index), ({ ret }) => ret);
  }

  *#evict(index: number): Task<EvictResult> {
    const lab = this.labs[index];
    if (lab === undefined) return { ret: -EINVAL, pages: 0 };
    const { kernel } = this;
    if (!kernel.era.migrateDeviceRange) return { ret: -ENOSYS, pages: 0 };
    if (lab.pagemap.pagesInUse === 0) return { ret: 0, pages: 0 };
    const src = kernel.words.take(LAB_PAGES);
    const dst = kernel.words.take(LAB_PAGES);
    yield* migrateDeviceRange(kernel, src, lab.pagemap.firstPage, LAB_PAGES);
    giveDestinations(kernel, src, dst, LAB_PAGES, 'ram', NOTHING_SKIPPED);
    yield* migrateDevicePages(kernel, src, dst, LAB_PAGES);
    const pages = countMovedPages(src, LAB_PAGES);
    migrateDeviceFinalize(kernel, src, dst, LAB_PAGES);
    kernel.words.give(src);
    kernel.words.give(dst);
    return { ret: 0, pages };
  }

  /** How a lab answers CPU faults from now on: 0, or -EINVAL for a lab that is none. */
  setMode(index: number, mode: LabMode): number {
    const lab = this.labs[index];
    if (lab === undefined) return -EINVAL;
    lab.mode = mode;
    return 0;
  }

  fingerprint(hash: StateHash): void {
    for (const lab of this.labs) lab.fingerprint(hash);
    for (const { held } of this.#files) {
      hash.add(held.length);
      for (const { page, pinned } of held) hash.add(pinned ? -page : page);
    }
  }

  /** What processes have pinned or hold through `pin`. */
  heldReferences(): Map<Page, number> {
    const held: Map<Page, number> = new Map();
    for (const file of this.#files) {
      for (const { page, pinned } of file.held) {
        if (page === NO_PAGE) continue;
        held.set(page, (held.get(page) ?? 0) + (pinned ? PIN_BIAS : 1));
      }
    }
    return held;
  }
}

const NOTHING_SKIPPED: ReadonlySet<number> = new Set();
