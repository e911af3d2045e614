/** What the emulator keeps about a page beside its contents. */
import { userFault } from '../src/core/mm/fault.ts';
import { GiB, Machine, PAGE_SIZE } from '../src/index.ts';
import { expectEqual, type Figure } from './measure.ts';

/** A little more than a power of two, where columns that double would be half empty. */
const PAGES = 1_100_000;

/** Of a page-table entry: the page and its bits. */
const ENTRY_BYTES = 5;

function bytesInUse(): number {
  for (let i = 0; i < 3; i++) globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

export function memoryFigures(): Figure[] {
  if (globalThis.gc === undefined) throw new Error('start node with --expose-gc');
  const before = bytesInUse();
  const machine = new Machine({ ramBytes: 8 * GiB });
  const proc = machine.createProcess();
  const buffer = proc.mmap({ pages: PAGES });
  // A store would give a page contents; the fault that it takes makes it resident.
  for (let i = 0; i < PAGES; i++) userFault(proc.mm, buffer + i * PAGE_SIZE, true);
  const value = (bytesInUse() - before) / PAGES;
  const { pages } = machine.kernel;
  expectEqual('resident pages', proc.mm.rssAnon, PAGES);
  const counted = pages.bytesPerRow + ENTRY_BYTES;
  return [
    {
      name: 'bookkeeping of a resident page',
      unit: ' bytes',
      value,
      yardstick: { name: 'bytes by its columns', value: counted },
      floor: 64,
      lessIsBetter: true,
      note:
        `heap and array buffers, ${PAGES} pages that nobody wrote; by its columns ` +
        `${pages.bytesPerRow} for the page and ${ENTRY_BYTES} for its entry; contents that are ` +
        'written add a count of 4 to 8 bytes',
    },
  ];
}
