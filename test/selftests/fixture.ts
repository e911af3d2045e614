// The fixtures of the kernel's HMM self-tests (tools/testing/selftests, hmm-tests): a process with
// open dmirror devices, and buffers that the CPU and the devices compare.

import { expect } from 'vitest';
import { Machine } from '../../src/core/machine.ts';
import type { PagemapType } from '../../src/core/pagemap/pagemap.ts';
import type { MmapOptions, Process } from '../../src/core/process.ts';
import { PAGE_SIZE, type Va } from '../../src/core/units.ts';
import { Dmirror, type DmirrorFile } from '../../src/drivers/dmirror/index.ts';

/** HMM_BUFFER_SIZE, in pages. */
export const BUFFER_PAGES = 1024;
/** How often the tests with "multiple" in their name go round. */
export const NTIMES = 10;

const LAST_WORD: number = PAGE_SIZE - 4;
const PAST_FIRST_WORD = 0x8000_0000;

/** What the tests write: the number of each page. */
export function ascending(count: number = BUFFER_PAGES, from = 0): Uint32Array {
  return Uint32Array.from({ length: count }, (_, i) => from + i);
}

/** The numbers that differ from those in every page but the first. */
export function descending(count: number = BUFFER_PAGES): Uint32Array {
  return Uint32Array.from({ length: count }, (_, i) => -i);
}

export class HmmFixture {
  readonly type: PagemapType;
  readonly machine: Machine;
  readonly proc: Process;
  readonly devices: readonly Dmirror[];
  /** The first device, open: `self->fd`, and `self->fd0` of the fixture with two. */
  readonly fd: DmirrorFile;
  /** The second device, open: `self->fd1`. */
  readonly fd1: DmirrorFile;

  constructor(type: PagemapType) {
    this.type = type;
    this.machine = new Machine();
    this.devices = [type, type].map((one) => this.machine.attach(new Dmirror({ type: one })));
    this.proc = this.machine.createProcess();
    this.fd = this.devices[0]!.open(this.proc);
    this.fd1 = this.devices[1]!.open(this.proc);
  }

  get isCoherent(): boolean {
    return this.type === 'coherent';
  }

  map(pages: number = BUFFER_PAGES, options: Omit<MmapOptions, 'pages'> = {}): Va {
    return this.proc.mmap({ ...options, pages });
  }

  /** A private buffer that the CPU has written: page i holds `from + i`. */
  filled(pages: number = BUFFER_PAGES, from = 0, options: Omit<MmapOptions, 'pages'> = {}): Va {
    const va = this.map(pages, options);
    this.store(va, ascending(pages, from));
    return va;
  }

  /** The CPU writes the first and the last word of each page. */
  store(va: Va, values: Uint32Array, proc: Process = this.proc): void {
    values.forEach((value, i) => {
      proc.store32(va + i * PAGE_SIZE, value);
      proc.store32(va + i * PAGE_SIZE + LAST_WORD, (value ^ PAST_FIRST_WORD) >>> 0);
    });
  }

  /** The CPU reads what `store` wrote. */
  expectStored(va: Va, values: Uint32Array, proc: Process = this.proc): void {
    this.expectWords(va, values, proc);
    const last = values.map((_, i) => proc.load32(va + i * PAGE_SIZE + LAST_WORD));
    expect(last).toEqual(values.map((value) => value ^ PAST_FIRST_WORD));
  }

  /** The CPU reads these first words. A device writes zeros after the first. */
  expectWords(va: Va, values: Uint32Array, proc: Process = this.proc): void {
    expect(values.map((_, i) => proc.load32(va + i * PAGE_SIZE))).toEqual(values);
  }

  /** The device takes a buffer and reads from its own memory what was in it. */
  expectMigrates(va: Va, values: Uint32Array, file: DmirrorFile = this.fd): void {
    const { ret, cpages, data } = file.migrateToDev(va, values.length);
    expect({ ret, cpages }).toEqual({ ret: 0, cpages: values.length });
    expect(data).toEqual(values);
  }

  /** The device reads a buffer that it has to fault in, in one go. */
  expectReads(va: Va, values: Uint32Array, file: DmirrorFile = this.fd): void {
    const result = file.read(va, values.length);
    expect(result).toEqual({ ret: 0, cpages: values.length, faults: 1, data: values });
  }

  expectWrites(va: Va, values: Uint32Array, file: DmirrorFile = this.fd): void {
    const result = file.write(va, values);
    expect(result).toEqual({ ret: 0, cpages: values.length, faults: 1 });
  }

  /** hmm_buffer_free. */
  free(va: Va, pages: number = BUFFER_PAGES): void {
    expect(this.proc.munmap(va, pages * PAGE_SIZE)).toBe(0);
  }

  tearDown(): void {
    const { machine, proc, devices } = this;
    expect(machine.verify()).toEqual([]);
    this.fd.close();
    this.fd1.close();
    expect(devices.map(({ pagesInUse }) => pagesInUse)).toEqual([0, 0]);
    expect(machine.verify()).toEqual([]);
    for (const each of [...machine.processes.values()]) each.exit();
    expect(proc.alive).toBe(false);
    expect(machine.kernel.pages.ramUsed).toBe(0);
    expect(machine.verify({ full: true })).toEqual([]);
  }
}
