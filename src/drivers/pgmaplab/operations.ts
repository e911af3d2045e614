/** What pgmaplab adds to the program language: the `lab_` operations. */
import { errnoName } from '../../core/errno.ts';
import {
  MIGRATE_VMA_SELECT_DEVICE_COHERENT,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
} from '../../core/migrate/index.ts';
import {
  bufferArg,
  intArg,
  lettersArg,
  listArg,
  offsetArg,
  optional,
  pagesArg,
  parseInteger,
  wordArg,
} from '../../program/args.ts';
import {
  type ArgSpec,
  type DriverFactory,
  type Operation,
  operation,
  type ProgramContext,
} from '../../program/types.ts';
import { LAB_COUNT, OWNER_COUNT, Pgmaplab } from './device.ts';
import type { LabFile, LabWord } from './file.ts';

const NOTHING_SKIPPED: ReadonlySet<number> = new Set();

type DestinationWord = number | 'ram' | 'none';

/** An owner by number, or `null`. */
function ownerArg(): ArgSpec<number | null> {
  return {
    name: 'owner',
    parse: (word) => (word === 'null' ? null : numberBelow(word, OWNER_COUNT)),
    expected: () => `owner: 0 to ${OWNER_COUNT - 1}, or null`,
  };
}

function destinationArg(): ArgSpec<DestinationWord> {
  return {
    name: 'to',
    parse: (word) => (word === 'ram' || word === 'none' ? word : numberBelow(word, LAB_COUNT)),
    expected: () => `to: a lab, 0 to ${LAB_COUNT - 1}, or ram, or none`,
  };
}

function labArg(): ArgSpec<number> {
  return intArg('lab', 0, LAB_COUNT - 1);
}

function numberBelow(word: string, limit: number): number | undefined {
  const number = parseInteger(word);
  return number !== undefined && number < limit ? number : undefined;
}

function driverOf(ctx: ProgramContext): Pgmaplab {
  return ctx.devices(Pgmaplab)[0]!;
}

function fileOf(ctx: ProgramContext): LabFile {
  return ctx.file(driverOf(ctx));
}

function selectFlags(letters: string): number {
  return (
    (letters.includes('S') ? MIGRATE_VMA_SELECT_SYSTEM : 0) |
    (letters.includes('P') ? MIGRATE_VMA_SELECT_DEVICE_PRIVATE : 0) |
    (letters.includes('C') ? MIGRATE_VMA_SELECT_DEVICE_COHERENT : 0)
  );
}

/** `VMW:R`: a word's bits, and after a colon where its page is; `-` for no bits. */
function wordText({ valid, migrate, write, at }: LabWord): string {
  const bits = BITS_TEXT[(valid ? 4 : 0) + (migrate ? 2 : 0) + (write ? 1 : 0)]!;
  return at === null ? bits : `${bits}:${at}`;
}

const BITS_TEXT = ['-', 'W', 'M', 'MW', 'V', 'VW', 'VM', 'VMW'] as const;

const operations: readonly Operation[] = [
  operation({
    name: 'lab_migrate',
    summary: 'migrate_vma with these flags and this owner; tells what each step answered',
    args: [
      ownerArg(),
      lettersArg('flags', 'SPC', '-'),
      destinationArg(),
      bufferArg(),
      offsetArg(),
      pagesArg(),
      optional(listArg('skip', 0, 63)),
    ],
    *run(ctx, [owner, flags, to, buffer, offset, npages, skip]) {
      const driver = driverOf(ctx);
      const result = yield* fileOf(ctx).migrateTask({
        start: ctx.address(buffer, offset),
        npages,
        flags: selectFlags(flags),
        owner: owner === null ? null : driver.owners[owner]!,
        to: typeof to === 'number' ? driver.labs[to]! : to,
        skip: skip === undefined ? NOTHING_SKIPPED : new Set(skip),
      });
      if (result.ret !== 0) return { ret: errnoName(result.ret) };
      const { cpages, setup, pages } = result;
      return { ret: '0', cpages, setup: setup.map(wordText), pages: pages.map(wordText) };
    },
  }),
  operation({
    name: 'lab_where',
    summary: "where each page is, as the labs' owners see it in turn, and how often it is used",
    args: [bufferArg(), offsetArg(), pagesArg()],
    *run(ctx, [buffer, offset, npages]) {
      const { ret, places } = yield* fileOf(ctx).whereTask(ctx.address(buffer, offset), npages);
      if (ret !== 0) return { ret: errnoName(ret) };
      const where = new Array<string>(npages);
      const refs = new Array<number>(npages);
      const maps = new Array<number>(npages);
      for (let i = 0; i < npages; i++) {
        const { place, access, refs: references, maps: mappings } = places[i]!;
        where[i] = access === null ? place : place + access;
        refs[i] = references;
        maps[i] = mappings;
      }
      return { ret: '0', where, refs, maps };
    },
  }),
  operation({
    name: 'lab_pin',
    summary: 'takes references on pages (get) or pins them (pin), to read or to write them',
    args: [
      bufferArg(),
      offsetArg(),
      pagesArg(1),
      wordArg('access', ['r', 'w']),
      wordArg('how', ['get', 'pin']),
    ],
    *run(ctx, [buffer, offset, npages, access, how]) {
      const start = ctx.address(buffer, offset);
      const { ret, pages } = yield* fileOf(ctx).pinTask(start, npages, access, how);
      return ret === 0 ? { ret: '0', pages } : { ret: errnoName(ret) };
    },
  }),
  operation({
    name: 'lab_unpin',
    summary: 'lets go of all pages that this process holds',
    args: [],
    // biome-ignore lint/correctness/useYield: an operation is a task, also one that never sleeps
    *run(ctx) {
      return { ret: '0', pages: fileOf(ctx).unpin() };
    },
  }),
  operation({
    name: 'lab_evict',
    summary: 'sends every page of a lab home to RAM, of every process',
    args: [labArg()],
    *run(ctx, [lab]) {
      const { ret, pages } = yield* driverOf(ctx).evictTask(lab);
      return ret === 0 ? { ret: '0', pages } : { ret: errnoName(ret) };
    },
  }),
  operation({
    name: 'lab_mode',
    summary: 'how a lab answers CPU faults: not at all, without fault_page, or well',
    args: [labArg(), wordArg('mode', ['refuse', 'forget', 'normal'])],
    // biome-ignore lint/correctness/useYield: an operation is a task, also one that never sleeps
    *run(ctx, [lab, mode]) {
      return { ret: errnoName(driverOf(ctx).setMode(lab, mode)) };
    },
  }),
];

export const pgmaplabFactory: DriverFactory<Pgmaplab> = {
  name: 'pgmaplab',
  summary: 'four device-private regions of which two share an owner, and migrate_vma itself',
  options: [],
  max: 1,
  create: () => new Pgmaplab(),
  operations,
};
