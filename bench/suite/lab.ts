/** Machines with a device and a buffer of pages with contents, to move about. */

import { Dmirror } from '../../src/drivers/dmirror/index.ts';
import { Nouveau } from '../../src/drivers/nouveau/index.ts';
import { GiB, Machine, MiB, PAGE_SIZE, type Process } from '../../src/index.ts';
import { expectEqual } from '../harness/measure.ts';

export interface Lab {
  readonly machine: Machine;
  readonly proc: Process;
  readonly buffer: number;
  readonly pages: number;
  /** All pages in one call. */
  toDevice(): void;
}

export type DriverName = 'dmirror' | 'nouveau';

export const DRIVER_NAMES: readonly DriverName[] = ['dmirror', 'nouveau'];

/** Bytes of the first and of the last word of a page. */
const LAST_WORD = PAGE_SIZE - 4;

export function newMachine(): Machine {
  return new Machine({ ramBytes: 128 * GiB });
}

export function makeLab(driver: DriverName, pages: number): Lab {
  return driver === 'dmirror' ? dmirrorLab(pages) : nouveauLab(pages);
}

export function dmirrorLab(pages: number): Lab & { home(): void } {
  const machine = newMachine();
  const device = machine.attach(new Dmirror({ chunkBytes: chunkFor(pages) }));
  const proc = machine.createProcess();
  const file = device.open(proc);
  const buffer = filledBuffer(proc, pages);
  const toDevice = (): void => {
    const { ret, cpages } = file.migrateToDev(buffer, pages);
    expectEqual('migrateToDev', ret, 0);
    expectEqual('pages migrated', cpages, pages);
  };
  const home = (): void => {
    const { ret, cpages } = file.migrateToSys(buffer, pages);
    expectEqual('migrateToSys', ret, 0);
    expectEqual('pages migrated', cpages, pages);
  };
  return { machine, proc, buffer, pages, toDevice, home };
}

/** A dmirror's memory grows by chunks; so much holds all of `pages`. */
export function chunkFor(pages: number): number {
  return Math.max(pages * PAGE_SIZE, 16 * MiB);
}

function nouveauLab(pages: number): Lab {
  const machine = newMachine();
  const gpu = machine.attach(new Nouveau({ vramBytes: vramFor(pages) }));
  const proc = machine.createProcess();
  const file = gpu.open(proc);
  const buffer = filledBuffer(proc, pages);
  const toDevice = (): void => expectEqual('svmBind', file.svmBind(buffer, pages * PAGE_SIZE), 0);
  return { machine, proc, buffer, pages, toDevice };
}

export function vramFor(pages: number): number {
  return pages * PAGE_SIZE + 16 * MiB;
}

/** Every page holds its number, from 1, in its first and its last word. */
export function filledBuffer(proc: Process, pages: number): number {
  const buffer = proc.mmap({ pages });
  for (let i = 0; i < pages; i++) {
    proc.store32(buffer + i * PAGE_SIZE, i + 1);
    proc.store32(buffer + i * PAGE_SIZE + LAST_WORD, i + 1);
  }
  return buffer;
}

/** Loads a word of each page, in order. Those on a device come home by a fault each. */
export function touchAll({ proc, buffer, pages }: Lab): void {
  let sum = 0;
  for (let i = 0; i < pages; i++) sum += proc.load32(buffer + i * PAGE_SIZE);
  expectEqual('sum of the pages', sum, (pages * (pages + 1)) / 2);
}

export function expectOnDevice({ machine, proc, buffer, pages }: Lab): void {
  for (const i of [0, pages >> 1, pages - 1]) {
    const owner = machine.ownerOf(proc, buffer + i * PAGE_SIZE);
    if (owner === null || owner === 'system') throw new Error(`page ${i} is not on the device`);
  }
}

/** Contents of every page, and every invariant of the machine. */
export function checkContents({ machine, proc, buffer, pages }: Lab): void {
  for (let i = 0; i < pages; i++) {
    expectEqual(`page ${i}`, proc.load32(buffer + i * PAGE_SIZE), i + 1);
    expectEqual(`page ${i}, end`, proc.load32(buffer + i * PAGE_SIZE + LAST_WORD), i + 1);
  }
  expectEqual('findings', machine.verify({ full: true }).length, 0);
}
