/** Target 4: what the emulator keeps about pages beside their contents. */
import { userFault } from '../../src/core/mm/fault.ts';
import { Dmirror } from '../../src/drivers/dmirror/index.ts';
import { GiB, Machine, MiB, PAGE_SIZE } from '../../src/index.ts';
import { bytesInUse, expectEqual, interleave } from '../harness/measure.ts';
import type { Measurement } from '../harness/types.ts';
import { newMachine } from './lab.ts';

/** A little more than a power of two, where columns that double would be half empty. */
const PAGES = 1_100_000;
const TERABYTE_PAGES = 2 ** 40 / PAGE_SIZE;
const DEVICES = 64;
const PAGES_A_DEVICE = 2 ** 18;

const IN_RAM = 'bookkeeping of a page in RAM';
const ON_DEVICE = 'bookkeeping of a page on a device';
const TERABYTE = 'an untouched mapping of 2^40 bytes';
const SIXTEEN_MILLION = 'process with 2^24 pages on 64 devices, at its peak';

const PAGE_TARGETS = [{ bound: 32, on: 'value' }] as const;

const ROUNDS_MAX = 3;

/** Kept until the next one is measured, so that it is not collected before. */
const kept: unknown[] = [];

/** Bytes that what `make` returns keeps. */
function bytesOf(make: () => unknown): number {
  kept.length = 0;
  const before = bytesInUse();
  kept.push(make());
  return Math.max(0, bytesInUse() - before);
}

function pagesInRam(): Machine {
  const machine = newMachine();
  const proc = machine.createProcess();
  const buffer = proc.mmap({ pages: PAGES });
  // A store would give a page contents; the fault that it takes makes it resident.
  for (let i = 0; i < PAGES; i++) {
    expectEqual('fault', userFault(proc.mm, buffer + i * PAGE_SIZE, true), 'ok');
  }
  expectEqual('resident pages', proc.mm.rssAnon, PAGES);
  return machine;
}

function pagesOnDevice(): Machine {
  const machine = newMachine();
  const proc = machine.createProcess();
  const file = machine.attach(new Dmirror()).open(proc);
  const buffer = proc.mmap({ pages: PAGES });
  // What nobody touched becomes pages of the device, without contents.
  expectEqual('pages migrated', file.migrateToDev(buffer, PAGES).cpages, PAGES);
  return machine;
}

/** So many of them, since what one keeps is less than what a heap varies by. */
const MAPPINGS = 64;

function mappings(pages: number): Machine {
  const machine = newMachine();
  for (let i = 0; i < MAPPINGS; i++) machine.createProcess().mmap({ pages });
  return machine;
}

/** What a page costs a program that has never thought of it. */
function mapOfObjects(): Map<number, { flags: number; readonly page: number }> {
  const map = new Map<number, { flags: number; readonly page: number }>();
  for (let page = 0; page < PAGES; page++) map.set(0x7f000 + page, { flags: 1, page });
  return map;
}

const MEMORY: Measurement = {
  name: 'memory',
  section: '4',
  figures: [
    {
      name: IN_RAM,
      unit: ' bytes',
      better: 'less',
      targets: PAGE_TARGETS,
      note: `${PAGES} pages made resident by write faults, without contents; heap and array buffers, page tables and machine included`,
    },
    {
      name: ON_DEVICE,
      unit: ' bytes',
      better: 'less',
      targets: PAGE_TARGETS,
      note: `${PAGES} pages of a dmirror, its own page table included`,
    },
    {
      name: TERABYTE,
      unit: ' bytes',
      better: 'less',
      targets: [{ bound: MiB, on: 'value' }],
      note: `${MAPPINGS} processes with such a mapping each, by ${MAPPINGS}`,
    },
  ],
  async run({ rounds }) {
    const got = await interleave(
      Math.min(rounds, ROUNDS_MAX),
      {
        ram: () => bytesOf(pagesInRam) / PAGES,
        device: () => bytesOf(pagesOnDevice) / PAGES,
        objects: () => bytesOf(mapOfObjects) / PAGES,
        terabyte: () => bytesOf(() => mappings(TERABYTE_PAGES)) / MAPPINGS,
        page: () => bytesOf(() => mappings(1)) / MAPPINGS,
      },
      // Once, so that code and what is known of it are not counted.
      1,
    );
    const objects = { name: 'bytes, an object in a Map', samples: got.objects };
    const onePage = { name: 'bytes, the same of one page', samples: got.page };
    return [
      { name: IN_RAM, samples: got.ram, yardstick: objects },
      { name: ON_DEVICE, samples: got.device, yardstick: objects },
      { name: TERABYTE, samples: got.terabyte, yardstick: onePage },
    ];
  },
};

const MEMORY_OF_MANY: Measurement = {
  name: 'memory-64-devices',
  section: '4',
  figures: [
    {
      name: SIXTEEN_MILLION,
      unit: ' MiB',
      better: 'less',
      targets: [{ bound: 1536, on: 'value' }],
      note: 'resident set of Node with one process of 2^24 pages, 2^18 on each of 64 dmirrors',
    },
  ],
  run({ quick }) {
    const pages = quick ? PAGES_A_DEVICE / 16 : PAGES_A_DEVICE;
    const atStart = process.memoryUsage.rss() / MiB;
    const machine = new Machine({ ramBytes: 8 * GiB });
    const proc = machine.createProcess();
    const bytes = pages * PAGE_SIZE;
    const buffer = proc.mmap({ pages: DEVICES * pages });
    for (let i = 0; i < DEVICES; i++) {
      const device = machine.attach(new Dmirror({ chunkBytes: bytes }));
      const { cpages } = device.open(proc).migrateToDev(buffer + i * bytes, pages);
      expectEqual('pages migrated', cpages, pages);
      expectEqual('owner', machine.ownerOf(proc, buffer + (i + 1) * bytes - PAGE_SIZE), device);
    }
    expectEqual('resident pages', proc.mm.rssAnon, DEVICES * pages);
    const peak = process.resourceUsage().maxRSS / 1024;
    const end = process.memoryUsage.rss() / MiB;
    const detail = `${Math.round(end)} MiB at the end`;
    const yardstick = { name: 'MiB, before there was a machine', samples: [atStart] };
    return [{ name: SIXTEEN_MILLION, samples: [peak], yardstick, detail, small: quick }];
  },
};

export const MEMORIES: readonly Measurement[] = [MEMORY, MEMORY_OF_MANY];
