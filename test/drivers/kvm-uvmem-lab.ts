// A machine with one VM, and what tests of kvm-uvmem ask again and again.
import { expect } from 'vitest';
import type { EraName } from '../../src/core/era.ts';
import { Machine } from '../../src/core/machine.ts';
import type { Process } from '../../src/core/process.ts';
import type { Strategy } from '../../src/core/sched/scheduler.ts';
import { KiB, MiB, NO_PAGE, type Page, type Va } from '../../src/core/units.ts';
import { KvmUvmem, type KvmVm, type KvmVmOptions } from '../../src/drivers/kvm-uvmem/index.ts';
import { hcallResultName } from '../../src/hw/svm-codes.ts';

export interface LabOptions extends KvmVmOptions {
  readonly era?: EraName;
  readonly pageSize?: number;
  readonly ramBytes?: number;
  /** Pages of secure memory; 64 by default. */
  readonly securePages?: number;
  /** Pages of the buffer and of memory slot 0, which has guest pages from 0 on; 8 by default. */
  readonly pages?: number;
  readonly strategy?: Strategy;
  /** Memory slot 0 is made at once: the default. */
  readonly slot?: boolean;
}

/** Page i of the buffer starts with this value plus i. */
export const MARK = 0x5ec2e700;

export class UvmemLab {
  readonly machine: Machine;
  readonly kvm: KvmUvmem;
  readonly proc: Process;
  readonly vm: KvmVm;
  readonly pages: number;
  readonly pageSize: number;
  readonly buffer: Va;

  constructor(options: LabOptions = {}) {
    this.pageSize = options.pageSize ?? 64 * KiB;
    this.pages = options.pages ?? 8;
    this.machine = new Machine({
      pageSize: this.pageSize,
      ramBytes: options.ramBytes ?? 64 * MiB,
      ...(options.era === undefined ? {} : { era: options.era }),
      ...(options.strategy === undefined ? {} : { strategy: options.strategy }),
    });
    const secureBytes = (options.securePages ?? 64) * this.pageSize;
    this.kvm = this.machine.attach(new KvmUvmem({ secureBytes }));
    this.proc = this.machine.createProcess();
    this.buffer = this.proc.mmap({ pages: this.pages });
    this.vm = this.kvm.open(this.proc, options);
    if (options.slot ?? true) this.addSlot(0, 0, this.pages);
  }

  /** Slot `id`: `pages` pages of the buffer from `gfn` on are guest pages of the same numbers. */
  addSlot(id: number, gfn: number, pages: number): void {
    const region = { slot: id, gfn, pages, address: this.at(gfn) };
    expect(this.vm.setMemoryRegion(region)).toBe(0);
  }

  /** Address of a page of the buffer. */
  at(page: number): Va {
    return this.buffer + page * this.pageSize;
  }

  gpa(gfn: number): number {
    return gfn * this.pageSize;
  }

  /** The process writes MARK + i to the first word of page i. */
  fill(from = 0, to: number = this.pages): void {
    for (let i = from; i < to; i++) this.proc.store32(this.at(i), MARK + i);
  }

  unmap(from: number, to: number): void {
    expect(this.proc.munmap(this.at(from), (to - from) * this.pageSize)).toBe(0);
  }

  /** The page of the process at a page of the buffer. */
  page(page: number): Page {
    return this.machine.pageAt(this.proc, this.at(page)) ?? NO_PAGE;
  }

  /** States of all guest pages: "SSEH..". */
  states(): string {
    return this.vm.gfnStates().join(' ');
  }

  /** Runs UV_ESM, which must succeed. */
  secure(): this {
    expect(hcallResultName(this.vm.esm())).toBe('H_SUCCESS');
    return this;
  }

  /** The machine is consistent, and all counts agree. */
  check(): void {
    expect(this.machine.verify({ full: true })).toEqual([]);
  }

  /** Names and results of the calls told while `run` runs: "UV_PAGE_IN H_SUCCESS". */
  calls(run: () => void): string[] {
    const told: string[] = [];
    const { events } = this.machine;
    const listener = (event: object): void => {
      const call = event as { phase: string; name: string; result: number };
      if (call.phase === 'end') told.push(`${call.name} ${call.result}`);
    };
    events.on('call', listener);
    try {
      run();
    } finally {
      events.off('call', listener);
    }
    return told;
  }

  /** Whether any page that is not the ultravisor's own holds a word from `MARK` to `MARK + 255`. */
  hostSees(value: (word: number) => boolean = isMark): boolean {
    const { pages } = this.machine.kernel;
    for (let page = 1; page < pages.rows; page++) {
      if (pages.frame[page] !== 0 && pages.readPage(page).some(value)) return true;
    }
    return false;
  }
}

export function isMark(word: number): boolean {
  return word >= MARK && word < MARK + 256;
}
