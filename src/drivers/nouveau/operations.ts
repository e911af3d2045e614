/** What nouveau adds to the program language: a GPU a `device nouveau` line, and its jobs. */
import { EIO, errnoName } from '../../core/errno.ts';
import type { Task } from '../../core/sched/task.ts';
import { GiB, KiB, MiB, type Va } from '../../core/units.ts';
import type { GpuAccess } from '../../hw/gpu.ts';
import {
  BUFFER_PAGES_MAX,
  bufferArg,
  deviceArg,
  intArg,
  offsetArg,
  pagesArg,
  parseInteger,
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
import { NOUVEAU_DEFECTS, type NouveauDefect } from './defects.ts';
import { Nouveau } from './device.ts';
import type { Execution, NouveauFile } from './file.ts';

/** Accesses of one `gpu_access`. */
const ACCESSES_MAX = 1024;

const KINDS = { r: 'read', w: 'write', a: 'atomic', p: 'prefetch' } as const;

/** One access of `gpu_access`. */
interface ListedAccess {
  readonly kind: GpuAccess['kind'];
  /** In pages from the start of the buffer. */
  readonly offset: number;
}

function gpuOf(ctx: ProgramContext, device: number): Nouveau {
  return ctx.devices(Nouveau)[device]!;
}

function fileOf(ctx: ProgramContext, device: number): NouveauFile {
  return ctx.file(gpuOf(ctx, device));
}

function gpuArg(): ArgSpec<number> {
  return deviceArg('nouveau');
}

const rangeArgs = [gpuArg(), bufferArg(), offsetArg(), pagesArg()] as const;

/** "r0,w1,a2,p3": what to do, and the page. */
function accessesArg(): ArgSpec<readonly ListedAccess[]> {
  return {
    name: 'list',
    parse: (word) => {
      const accesses = word.split(',').map(parseAccess);
      const isGood = accesses.length <= ACCESSES_MAX && accesses.every((one) => one !== undefined);
      return isGood ? accesses : undefined;
    },
    expected: () =>
      `list: up to ${ACCESSES_MAX} accesses with commas between them, each r, w, a or p and a ` +
      'page of the buffer: r0,w1',
  };
}

function parseAccess(word: string): ListedAccess | undefined {
  const kind = KINDS[word[0] as keyof typeof KINDS] as GpuAccess['kind'] | undefined;
  const offset = parseInteger(word.slice(1));
  if (kind === undefined || offset === undefined || offset >= BUFFER_PAGES_MAX) return undefined;
  return { kind, offset };
}

/** Runs a job. A channel that died in an earlier one is replaced first, as a program would. */
function* execute(file: NouveauFile, accesses: readonly GpuAccess[]): Task<Execution> {
  yield* file.reviveTask();
  const done = yield* file.executeTask(accesses);
  // A channel can die without a word, where somebody else's fault was told as its own.
  const cancelled = done.ret === 0 && done.results.some((result) => result < 0);
  return cancelled ? { ...done, ret: -EIO } : done;
}

function withData({ ret, results }: Execution): Result {
  return ret === 0 ? { ret: '0', data: [...results] } : { ret: errnoName(ret) };
}

function pagesFrom(
  ctx: ProgramContext,
  buffer: number,
  offset: number,
  pages: number,
  accessAt: (va: Va, index: number) => GpuAccess,
): GpuAccess[] {
  return Array.from({ length: pages }, (_, i) => accessAt(ctx.address(buffer, offset + i), i));
}

/** Values are words of 32 bits. */
function wrapped(value: number): number {
  return value >>> 0;
}

const operations: readonly Operation[] = [
  operation({
    name: 'gpu_bind',
    summary: 'asks for pages to lie in VRAM: DRM_NOUVEAU_SVM_BIND. What does not fit stays',
    args: rangeArgs,
    *run(ctx, [device, buffer, offset, pages]) {
      const bytes = pages * ctx.machine.pageSize;
      const va = ctx.address(buffer, offset);
      return { ret: errnoName(yield* fileOf(ctx, device).svmBindTask(va, bytes)) };
    },
  }),
  operation({
    name: 'gpu_read',
    summary: 'the GPU reads the first word of each page, all at once',
    args: rangeArgs,
    *run(ctx, [device, buffer, offset, pages]) {
      const job = pagesFrom(ctx, buffer, offset, pages, (va) => ({ kind: 'read', va }));
      return withData(yield* execute(fileOf(ctx, device), job));
    },
  }),
  operation({
    name: 'gpu_write',
    summary: 'the GPU writes value + i to the first word of page i',
    args: [...rangeArgs, valueArg()],
    *run(ctx, [device, buffer, offset, pages, value]) {
      const job = pagesFrom(ctx, buffer, offset, pages, (va, i) => ({
        kind: 'write',
        va,
        value: wrapped(value + i),
      }));
      const { ret } = yield* execute(fileOf(ctx, device), job);
      return { ret: errnoName(ret) };
    },
  }),
  operation({
    name: 'gpu_atomic',
    summary: 'the GPU adds value to the first word of each page and answers what was there',
    args: [...rangeArgs, valueArg()],
    *run(ctx, [device, buffer, offset, pages, value]) {
      const job = pagesFrom(ctx, buffer, offset, pages, (va) => ({ kind: 'atomic', va, value }));
      return withData(yield* execute(fileOf(ctx, device), job));
    },
  }),
  operation({
    name: 'gpu_access',
    summary:
      'the GPU does a list of accesses at once: r0,w1,a2,p3 reads page 0, stores 1 in page 1…',
    args: [gpuArg(), bufferArg(), accessesArg()],
    *run(ctx, [device, buffer, list]) {
      const job = list.map(({ kind, offset }) => ({
        kind,
        va: ctx.address(buffer, offset),
        value: 1,
      }));
      return withData(yield* execute(fileOf(ctx, device), job));
    },
  }),
  operation({
    name: 'gpu_svm_init',
    summary: 'shares the address space with the GPU; every process has done so already',
    args: [gpuArg()],
    *run(ctx, [device]) {
      return { ret: errnoName(yield* fileOf(ctx, device).svmInitTask()) };
    },
  }),
  operation({
    name: 'gpu_suspend',
    summary:
      'the GPU sleeps until gpu_resume or until somebody needs it; RAM keeps what VRAM holds',
    args: [gpuArg()],
    *run(ctx, [device]) {
      return { ret: errnoName(yield* gpuOf(ctx, device).suspendTask()) };
    },
  }),
  operation({
    name: 'gpu_resume',
    summary: 'the GPU wakes up',
    args: [gpuArg()],
    *run(ctx, [device]) {
      return { ret: errnoName(yield* gpuOf(ctx, device).resumeTask()) };
    },
  }),
  operation({
    name: 'gpu_remove',
    summary: 'the GPU is taken away: every page comes home, later operations answer ENODEV',
    args: [gpuArg()],
    *run(ctx, [device]) {
      return { ret: errnoName(yield* gpuOf(ctx, device).removeTask()) };
    },
  }),
  operation({
    name: 'gpu_fail_copy',
    summary: 'the n-th next operation of the copy engine fails: 1 is the next',
    args: [gpuArg(), intArg('n', 1, 1_000_000)],
    // biome-ignore lint/correctness/useYield: an operation is a task, also one that never sleeps
    *run(ctx, [device, n]) {
      gpuOf(ctx, device).engine.failAfter(n);
      return { ret: '0' };
    },
  }),
  operation({
    name: 'gpu_fail_alloc',
    summary: "the n-th next allocation of the driver's own memory fails: 1 is the next",
    args: [gpuArg(), intArg('n', 1, 1_000_000)],
    // biome-ignore lint/correctness/useYield: as above
    *run(ctx, [device, n]) {
      gpuOf(ctx, device).failAllocationAfter(n);
      return { ret: '0' };
    },
  }),
];

export const nouveauFactory: DriverFactory<Nouveau> = {
  name: 'nouveau',
  summary: 'a GPU with memory of its own that shares address spaces, as nouveau drives it',
  options: [
    {
      kind: 'size',
      name: 'vram',
      min: 64 * KiB,
      max: 64 * GiB,
      multipleOf: 64 * KiB,
      default: 16 * MiB,
    },
    { kind: 'count', name: 'faults', min: 2, max: 65_536, default: 64 },
    { kind: 'choice', name: 'faithful', choices: ['faithful', 'mended'], default: 'faithful' },
    { kind: 'flags', name: 'defects', choices: NOUVEAU_DEFECTS.map(({ name }) => name) },
  ],
  max: 16,
  create: ({ vram, faults, faithful, defects }) =>
    new Nouveau({
      vramBytes: vram as number,
      faultEntries: faults as number,
      mended: faithful === 'mended',
      defects: defects as readonly NouveauDefect[],
    }),
  operations,
};
