// A machine with GPUs and a process, and short ways to ask it things, for the tests of nouveau.

import { expect } from 'vitest';
import type { EraName } from '../../src/core/era.ts';
import type { SimEvent } from '../../src/core/events/types.ts';
import { Machine } from '../../src/core/machine.ts';
import { leafIndex } from '../../src/core/mm/page-table.ts';
import { PTE_KIND, PTE_WRITE } from '../../src/core/mm/pte.ts';
import type { Process } from '../../src/core/process.ts';
import { MiB, PAGE_SIZE, type Page, type Va } from '../../src/core/units.ts';
import { Nouveau, type NouveauFile, type NouveauOptions } from '../../src/drivers/nouveau/index.ts';
import type { GpuAccess } from '../../src/hw/gpu.ts';

export interface GpuLabOptions extends NouveauOptions {
  readonly era?: EraName;
  readonly ramBytes?: number;
  readonly pageSize?: number;
  /** How many GPUs, all alike; 1 unless given. */
  readonly gpus?: number;
}

/** Bits of an entry of the CPU's page table, without the rest. */
export const ENTRY_BITS: number = PTE_KIND | PTE_WRITE;

export class GpuLab {
  readonly machine: Machine;
  readonly gpus: readonly Nouveau[];
  readonly proc: Process;
  /** What process 1 has open, by GPU. */
  readonly files: readonly NouveauFile[];

  constructor(options: GpuLabOptions = {}) {
    const { era = 'v6.1', ramBytes = 16 * MiB, pageSize = PAGE_SIZE, gpus = 1 } = options;
    this.machine = new Machine({ era, ramBytes, pageSize });
    this.gpus = Array.from({ length: gpus }, () => this.machine.attach(new Nouveau(options)));
    this.proc = this.machine.createProcess();
    this.files = this.gpus.map((gpu) => gpu.open(this.proc));
  }

  get gpu(): Nouveau {
    return this.gpus[0]!;
  }

  get file(): NouveauFile {
    return this.files[0]!;
  }

  get pageSize(): number {
    return this.machine.pageSize;
  }

  /** A buffer whose page i starts with `first` + i; untouched without `first`. */
  buffer(pages: number, first?: number): Va {
    const va = this.proc.mmap({ pages });
    for (let i = 0; i < pages && first !== undefined; i++) {
      this.proc.store32(va + i * this.pageSize, first + i);
    }
    return va;
  }

  /** Address of page `i` of a buffer. */
  at(va: Va, i: number): Va {
    return va + i * this.pageSize;
  }

  /** Moves pages to VRAM; verifies. */
  bind(va: Va, pages: number, file: NouveauFile = this.file): void {
    expect(file.svmBind(va, pages * this.pageSize)).toBe(0);
    this.verify();
  }

  /** One job of the GPU that must succeed; its answers. */
  execute(accesses: readonly GpuAccess[], file: NouveauFile = this.file): readonly number[] {
    const { ret, results } = file.execute(accesses);
    expect(ret).toBe(0);
    this.verify();
    return results;
  }

  read(va: Va, pages = 1, file: NouveauFile = this.file): readonly number[] {
    const job = this.each(va, pages).map((at) => ({ kind: 'read', va: at }) as const);
    return this.execute(job, file);
  }

  /** Writes `value` + i to page i. */
  write(va: Va, pages: number, value: number, file: NouveauFile = this.file): void {
    const job = this.each(va, pages).map(
      (at, i) => ({ kind: 'write', va: at, value: value + i }) as const,
    );
    this.execute(job, file);
  }

  each(va: Va, pages: number): Va[] {
    return Array.from({ length: pages }, (_, i) => this.at(va, i));
  }

  /** Who owns each page: names of GPUs, "system", or null. */
  owners(va: Va, pages: number, proc: Process = this.proc): (string | null)[] {
    return this.each(va, pages).map((at) => {
      const home = this.machine.ownerOf(proc, at);
      return home === null || home === 'system' ? home : home.name;
    });
  }

  pageAt(va: Va, proc: Process = this.proc): Page {
    return this.machine.pageAt(proc, va)!;
  }

  /** Kind and write bit of the entry of the CPU. */
  entryAt(va: Va, proc: Process = this.proc): number {
    const vpn = va / this.pageSize;
    const leaf = proc.mm.pageTable.leaf(vpn);
    return leaf === null ? 0 : leaf.bits[leafIndex(vpn)]! & ENTRY_BITS;
  }

  /** How the GPU maps each page. */
  mappings(va: Va, pages: number, proc: Process = this.proc): (string | null)[] {
    return this.each(va, pages).map((at) => this.gpu.mappingOf(proc, at));
  }

  /** The machine is at rest and all its counts agree, and so do the GPUs' page tables. */
  verify(): void {
    expect(this.machine.verify({ full: true })).toEqual([]);
    for (const gpu of this.gpus) expect(gpu.staleMappings()).toEqual([]);
  }

  /** What the machine tells while `action` runs. */
  eventsOf(action: () => void): SimEvent[] {
    const events: SimEvent[] = [];
    const listener = (event: SimEvent): void => {
      events.push(event);
    };
    this.machine.events.on('*', listener);
    action();
    this.machine.events.off('*', listener);
    return events;
  }
}
