/** What a player asks of a device, whichever driver it has. */

import type { Machine } from '../../core/machine.ts';
import type { Owner } from '../../core/pagemap/pagemap.ts';
import type { Process } from '../../core/process.ts';
import type { Va } from '../../core/units.ts';
import { Dmirror, type DmirrorFile } from '../../drivers/dmirror/index.ts';
import { Nouveau, type NouveauFile } from '../../drivers/nouveau/index.ts';

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
  /** The device reads pages that it has not mapped: whoever else has them gives them back first. */
  faultIn(va: Va, pages: number): void;
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

  faultIn(va: Va, pages: number): void {
    this.#file.read(va, pages);
  }

  fault(va: Va, write: boolean, value: number): number {
    if (write) return this.#file.write(va, [value]).ret === 0 ? value : -1;
    const { ret, data } = this.#file.read(va, 1);
    return ret === 0 ? data[0]! : -1;
  }

  evict(va: Va, pages: number): void {
    if (this.#file.migrateToSys(va, pages).ret !== 0) touch(this.#proc, va, pages);
  }
}

class NouveauPlayer implements PlayDevice {
  readonly owner: Nouveau;
  readonly #file: NouveauFile;
  readonly #proc: Process;

  constructor(machine: Machine, proc: Process, index: number, memoryPages: number) {
    const vramBytes = Math.ceil(memoryPages / CHUNK_PAGES) * CHUNK_PAGES * machine.pageSize;
    this.owner = machine.attach(new Nouveau({ name: `gpu${index}`, vramBytes }));
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
    this.#file.svmBind(va, pages * this.#proc.mm.pageSize);
  }

  faultIn(va: Va, pages: number): void {
    const { pageSize } = this.#proc.mm;
    const reads = Array.from({ length: pages }, (_, i) => ({
      kind: 'read' as const,
      va: va + i * pageSize,
    }));
    this.#file.execute(reads);
    this.#file.revive();
  }

  fault(va: Va, write: boolean, value: number): number {
    const { results } = this.#file.execute([{ kind: write ? 'write' : 'read', va, value }]);
    if (this.#file.revive() && results[0]! >= 0) return write ? value : results[0]!;
    return -1;
  }

  /** The driver has no call for this: pages come home when the CPU touches them. */
  evict(va: Va, pages: number): void {
    touch(this.#proc, va, pages);
  }
}

function touch(proc: Process, va: Va, pages: number): void {
  const { pageSize } = proc.mm;
  for (let i = 0; i < pages; i++) proc.tryLoad32(va + i * pageSize);
}
