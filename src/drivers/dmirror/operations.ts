/** What dmirror adds to the program language: a device node a `device dmirror` line, and its ioctls. */
import { EINVAL, errnoName } from '../../core/errno.ts';
import { GiB, KiB, PAGE_SIZE, type Va } from '../../core/units.ts';
import {
  bufferArg,
  deviceArg,
  intArg,
  offsetArg,
  optional,
  PROCESSES_MAX,
  pagesArg,
  valueArg,
} from '../../program/args.ts';
import {
  type ArgSpec,
  type DriverFactory,
  type Operation,
  operation,
  type ProgramContext,
  type Result,
} from '../../program/types.ts';
import { DMIRROR_DEFECTS, type DmirrorDefect } from './defects.ts';
import { DEVMEM_CHUNK_BYTES, Dmirror } from './device.ts';
import type { DmirrorData, DmirrorFile, DmirrorResult } from './file.ts';

/** What a device number and a range of a buffer come to. */
interface Target {
  readonly file: DmirrorFile;
  readonly va: Va;
}

function target(ctx: ProgramContext, device: number, buffer: number, offset: number): Target {
  return { file: fileOf(ctx, device), va: ctx.address(buffer, offset) };
}

function fileOf(ctx: ProgramContext, device: number): DmirrorFile {
  return ctx.file(ctx.devices(Dmirror)[device]!);
}

function plain({ ret, cpages, faults }: DmirrorResult): Result {
  return { ret: errnoName(ret), cpages, faults };
}

function withData(result: DmirrorData): Result {
  if (result.ret !== 0) return plain(result);
  const { cpages, faults, data } = result;
  return { ret: '0', cpages, faults, data: listOf(data) };
}

/** As a plain array; spread, a typed array costs a step of an iterator for each number. */
function listOf(numbers: Uint32Array | Uint8Array): number[] {
  const list = new Array<number>(numbers.length);
  for (let i = 0; i < numbers.length; i++) list[i] = numbers[i]!;
  return list;
}

/** Whose open file: of a process that is or was. */
function ofArg(): ArgSpec<number> {
  const number = intArg('of', 0, PROCESSES_MAX - 1);
  return {
    name: 'of',
    parse: (word, scope) => {
      const process = number.parse(word, scope);
      return process === undefined || process === 0 || scope.wasForked(process)
        ? process
        : undefined;
    },
    expected: () => 'of: a process, whose open device is read through',
  };
}

/** The device as process `of` has it open, and passed it on; null where that process is gone. */
function fileOfProcess(ctx: ProgramContext, device: number, of: number): DmirrorFile | null {
  const file = ctx.processes.get(of)?.files.get(ctx.devices(Dmirror)[device]!);
  return (file as DmirrorFile | undefined) ?? null;
}

const rangeArgs = [deviceArg('dmirror'), bufferArg(), offsetArg(), pagesArg()] as const;

const operations: readonly Operation[] = [
  operation({
    name: 'dev_read',
    summary: 'the device reads the first word of each page through its own page table',
    args: [...rangeArgs, optional(ofArg())],
    *run(ctx, [device, buffer, offset, pages, of]) {
      const own = target(ctx, device, buffer, offset);
      const file = of === undefined ? own.file : fileOfProcess(ctx, device, of);
      if (file === null) return plain({ ret: -EINVAL, cpages: 0, faults: 0 });
      return withData(yield* file.readTask(own.va, pages));
    },
  }),
  operation({
    name: 'dev_write',
    summary: 'the device writes value + i to page i and zeros the rest of the page',
    args: [...rangeArgs, valueArg()],
    *run(ctx, [device, buffer, offset, pages, value]) {
      const { file, va } = target(ctx, device, buffer, offset);
      const values = new Uint32Array(pages);
      for (let i = 0; i < pages; i++) values[i] = value + i;
      return plain(yield* file.writeTask(va, values));
    },
  }),
  operation({
    name: 'migrate_to_dev',
    summary: 'moves pages to the device and reads them back through it',
    args: rangeArgs,
    *run(ctx, [device, buffer, offset, pages]) {
      const { file, va } = target(ctx, device, buffer, offset);
      return withData(yield* file.migrateToDevTask(va, pages));
    },
  }),
  operation({
    name: 'migrate_to_sys',
    summary: "brings the device's pages home to RAM",
    args: rangeArgs,
    *run(ctx, [device, buffer, offset, pages]) {
      const { file, va } = target(ctx, device, buffer, offset);
      return plain(yield* file.migrateToSysTask(va, pages));
    },
  }),
  operation({
    name: 'snapshot',
    summary: 'what the device could see of each page, as a byte of HMM_DMIRROR_PROT bits',
    args: rangeArgs,
    *run(ctx, [device, buffer, offset, pages]) {
      const { file, va } = target(ctx, device, buffer, offset);
      const result = yield* file.snapshotTask(va, pages);
      if (result.ret !== 0) return plain(result);
      const { cpages, faults, perms } = result;
      return { ret: '0', cpages, faults, perms: listOf(perms) };
    },
  }),
  operation({
    name: 'exclusive',
    summary: 'the device takes pages for itself until the CPU touches them',
    args: rangeArgs,
    *run(ctx, [device, buffer, offset, pages]) {
      const { file, va } = target(ctx, device, buffer, offset);
      return withData(yield* file.exclusiveTask(va, pages));
    },
  }),
  operation({
    name: 'check_exclusive',
    summary: 'EPERM while the device has one of the pages for itself',
    args: rangeArgs,
    // biome-ignore lint/correctness/useYield: an operation is a task, also one that never sleeps
    *run(ctx, [device, buffer, offset, pages]) {
      const { file, va } = target(ctx, device, buffer, offset);
      return plain(file.checkExclusive(va, pages));
    },
  }),
  operation({
    name: 'release',
    summary: 'every page of the device goes home, of every process, and its memory is given up',
    args: [deviceArg('dmirror')],
    *run(ctx, [device]) {
      const { ret, cpages } = yield* fileOf(ctx, device).releaseChunksTask();
      return { ret: errnoName(ret), cpages };
    },
  }),
];

export const dmirrorFactory: DriverFactory<Dmirror> = {
  name: 'dmirror',
  summary: "the kernel's HMM test device: it mirrors address spaces and has memory of its own",
  options: [
    { kind: 'choice', name: 'type', choices: ['private', 'coherent'], default: 'private' },
    {
      kind: 'size',
      name: 'chunk',
      min: 64 * KiB,
      max: GiB,
      multipleOf: PAGE_SIZE,
      default: DEVMEM_CHUNK_BYTES,
    },
    { kind: 'choice', name: 'faithful', choices: ['faithful', 'mended'], default: 'faithful' },
    { kind: 'flags', name: 'defects', choices: DMIRROR_DEFECTS.map(({ name }) => name) },
  ],
  max: 16,
  since: ({ type }) => (type === 'coherent' ? 'v6.1' : null),
  create: ({ type, chunk, faithful, defects }) =>
    new Dmirror({
      type: type === 'coherent' ? 'coherent' : 'private',
      chunkBytes: chunk as number,
      mended: faithful === 'mended',
      defects: defects as readonly DmirrorDefect[],
    }),
  operations,
};
