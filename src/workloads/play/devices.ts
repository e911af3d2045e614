/** What a player asks of a device, whichever driver it has. */

import { SimError } from '../../core/errors.ts';
import type { Machine } from '../../core/machine.ts';
import type { Owner } from '../../core/pagemap/pagemap.ts';
import type { Process } from '../../core/process.ts';
import type { Va } from '../../core/units.ts';
import { Dmirror, type DmirrorFile } from '../../drivers/dmirror/index.ts';
import { Nouveau, type NouveauFile } from '../../drivers/nouveau/index.ts';
import type { Gpu, GpuInstance } from '../../hw/gpu.ts';

export interface PlayDevice {
  readonly name: string;
  readonly owner: Owner;
  /** Pages of its memory that are in use. */
  readonly pagesInUse: number;
  /** The word at `va` where the device has mapped it; -1 where it would fault. */
  tryLoad32(va: Va): number;
  /** False where it would fault. */
  tryStore32(va: Va, value: number): boolean;
  /** Moves what it can of RAM pages to its memory, and maps it. */
  migrate(va: Va, pages: number): void;
  /** The device reads a page that it has not mapped: whoever else has it gives it back first. */
  faultIn(va: Va): void;
  /** One access by the way of a fault; the word read, or -1 where it failed. */
  fault(va: Va, write: boolean, value: number): number;
  /** Sends pages of its memory home. */
  evict(va: Va, pages: number): void;
}

export type PlayDriver = 'nouveau' | 'dmirror';

/** @param memoryPages what its memory holds at the most */
export function attachDevice(
  machine: Machine,
  proc: Process,
  driver: PlayDriver,
  index: number,
  memoryPages: number,
): PlayDevice {
  return driver === 'nouveau'
    ? new NouveauPlayer(machine, proc, index, memoryPages)
    : new DmirrorPlayer(machine, proc, index, memoryPages);
}

/** Chunks of device memory are whole sections. */
const CHUNK_PAGES = 512;
const CHUNK_PAGES_MAX = 65_536;

function chunkPages(memoryPages: number): number {
  const chunks = Math.ceil(memoryPages / CHUNK_PAGES) * CHUNK_PAGES;
  return Math.min(chunks, CHUNK_PAGES_MAX);
}

class DmirrorPlayer implements PlayDevice {
  readonly owner: Dmirror;
  readonly #file: DmirrorFile;
  readonly #proc: Process;

  constructor(machine: Machine, proc: Process, index: number, memoryPages: number) {
    const chunkBytes = chunkPages(memoryPages) * machine.pageSize;
    this.owner = machine.attach(new Dmirror({ name: `gpu${index}`, chunkBytes }));
    this.#file = this.owner.open(proc);
    this.#proc = proc;
  }

  get name(): string {
    return this.owner.name;
  }

  get pagesInUse(): number {
    return this.owner.pagesInUse;
  }

  tryLoad32(va: Va): number {
    return this.#file.tryLoad32(va);
  }

  tryStore32(va: Va, value: number): boolean {
    return this.#file.tryStore32(va, value);
  }

  migrate(va: Va, pages: number): void {
    this.#file.migrateToDev(va, pages);
  }

  faultIn(va: Va): void {
    this.#file.read(va, 1);
  }

  /** Its calls know whole pages, and the first word of each: they map the page, then comes the access. */
  fault(va: Va, write: boolean, value: number): number {
    const first = va - (va % this.#proc.mm.pageSize);
    const { ret } = write ? this.#file.write(first, [0]) : this.#file.read(first, 1);
    if (ret !== 0) return -1;
    if (write) return this.#file.tryStore32(va, value) ? value : -1;
    return this.#file.tryLoad32(va);
  }

  evict(va: Va, pages: number): void {
    if (this.#file.migrateToSys(va, pages).ret !== 0) touch(this.#proc, va, pages);
  }
}

class NouveauPlayer implements PlayDevice {
  readonly owner: Nouveau;
  readonly #file: NouveauFile;
  readonly #proc: Process;
  readonly #gpu: Gpu;
  /** Of the channel that lives: asked for once, not at every access. */
  #instance: GpuInstance;

  constructor(machine: Machine, proc: Process, index: number, memoryPages: number) {
    const vramBytes = Math.ceil(memoryPages / CHUNK_PAGES) * CHUNK_PAGES * machine.pageSize;
    this.owner = machine.attach(new Nouveau({ name: `gpu${index}`, vramBytes }));
    this.#file = this.owner.open(proc);
    this.#proc = proc;
    this.#gpu = this.owner.gpu;
    this.#instance = this.#file.channel!.instance;
  }

  get name(): string {
    return this.owner.name;
  }

  get pagesInUse(): number {
    return this.owner.pagesInUse;
  }

  tryLoad32(va: Va): number {
    return this.#gpu.tryLoad32(this.#instance, va);
  }

  tryStore32(va: Va, value: number): boolean {
    return this.#gpu.tryStore32(this.#instance, va, value);
  }

  migrate(va: Va, pages: number): void {
    this.#file.svmBind(va, pages * this.#proc.mm.pageSize);
  }

  faultIn(va: Va): void {
    this.#file.execute([{ kind: 'read', va }]);
    this.#revive();
  }

  fault(va: Va, write: boolean, value: number): number {
    const { results } = this.#file.execute([{ kind: write ? 'write' : 'read', va, value }]);
    const found = results[0]!;
    if (!this.#revive() || found < 0) return -1;
    return write ? value : found;
  }

  /** A fault that cannot be served takes the channel with it, and all that it had mapped. */
  #revive(): boolean {
    if (!this.#instance.dead) return true;
    if (!this.#file.revive()) return false;
    this.#instance = this.#file.channel!.instance;
    return true;
  }

  /** The driver has no call for this: pages come home when the CPU touches them. */
  evict(va: Va, pages: number): void {
    touch(this.#proc, va, pages);
  }
}

/**
 * The CPU touches pages that are mapped, so that they come home.
 *
 * @throws SimError `limit` where RAM is full
 */
export function touch(proc: Process, va: Va, pages: number): void {
  const { pageSize } = proc.mm;
  for (let i = 0; i < pages; i++) {
    if (proc.tryLoad32(va + i * pageSize) < 0) throw ramFull(proc.machine);
  }
}

export function ramFull({ kernel }: Machine): SimError {
  return new SimError('limit', `RAM of ${kernel.pages.ramPages} pages is full`);
}
