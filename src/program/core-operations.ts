/** Operations of the CPU and of system calls, which every machine knows. */
import { ENOMEM, errnoName } from '../core/errno.ts';
import { FAULT_SITES } from '../core/fault-plan.ts';
import type { Mm } from '../core/mm/mm.ts';
import { leafIndex } from '../core/mm/page-table.ts';
import { PTE_NONE, PTE_PRESENT } from '../core/mm/pte.ts';
import { isAnon } from '../core/mm/rmap.ts';
import {
  ACCESS_SIGBUS,
  ACCESS_SIGKILL,
  ACCESS_SIGSEGV,
  type MmapOptions,
  type Prot,
} from '../core/process.ts';
import type { Task } from '../core/sched/task.ts';
import { NO_PAGE, type Va } from '../core/units.ts';
import {
  BUFFER_ID_MAX,
  BUFFER_PAGES_MAX,
  bufferArg,
  intArg,
  newBufferArg,
  offsetArg,
  PROCESSES_MAX,
  pagesArg,
  valueArg,
  wordArg,
} from './args.ts';
import { type ArgSpec, type Operation, operation, type ProgramContext } from './types.ts';

/** Page i of a file starts with this value plus i. */
const FILE_FIRST_VALUE = 7000;
const BUFFERS_BASE: Va = 0x1_0000_0000;

const KINDS = ['anon', 'shared', 'file', 'fileshared'] as const;
const PROTS = ['rw', 'r', 'n'] as const;

/** Where buffer `id` is mapped. */
function baseOf(ctx: ProgramContext, id: number): Va {
  return BUFFERS_BASE + id * bytesOf(ctx, BUFFER_PAGES_MAX);
}

/** Which page of which buffer a program's processes have at `va`; null where no buffer can be. */
export function bufferPageAt(
  va: Va,
  pageSize: number,
): { readonly buffer: number; readonly page: number } | null {
  const page = Math.floor((va - BUFFERS_BASE) / pageSize);
  const buffer = Math.floor(page / BUFFER_PAGES_MAX);
  if (buffer < 0 || buffer > BUFFER_ID_MAX) return null;
  return { buffer, page: page % BUFFER_PAGES_MAX };
}

function bytesOf(ctx: ProgramContext, pages: number): number {
  return pages * ctx.machine.pageSize;
}

function protArg(): ArgSpec<Prot> {
  return wordArg('prot', PROTS);
}

const ACCESS_NAMES: ReadonlyMap<number, string> = new Map([
  [ACCESS_SIGSEGV, 'SIGSEGV'],
  [ACCESS_SIGBUS, 'SIGBUS'],
  [ACCESS_SIGKILL, 'SIGKILL'],
]);

const mmapOperation: Operation = operation({
  name: 'mmap',
  summary: 'maps a buffer: private or shared memory, or a memory file',
  args: [newBufferArg(), pagesArg(), wordArg('kind', KINDS), protArg()],
  *run(ctx, [id, pages, kind, prot]) {
    const { current } = ctx;
    const address = baseOf(ctx, id);
    const { pages: memory } = ctx.machine.kernel;
    if (kind.startsWith('file') && memory.ramUsed + pages > memory.ramPages) {
      // The file does not fit, so there is nothing to map.
      current.buffers.delete(id);
      return { ret: errnoName(ENOMEM) };
    }
    const common: MmapOptions = { pages, prot, addr: address };
    const file = kind.startsWith('file')
      ? current.process.createFile(pages, (i) => FILE_FIRST_VALUE + i)
      : null;
    const shared = kind === 'shared' || kind === 'fileshared';
    const options = file === null ? { ...common, shared } : { ...common, shared, file };
    const result = yield* current.process.mmapTask(options);
    // The mapping holds the file; the descriptor stays open until the process ends.
    if (file !== null) current.process.openFiles.add(new FileHandle(file));
    if (result < 0) current.buffers.delete(id);
    else current.buffers.set(id, { address, pages });
    return { ret: errnoName(Math.min(result, 0)) };
  },
});

class FileHandle {
  readonly #file: { drop(): void };
  constructor(file: { drop(): void }) {
    this.#file = file;
  }

  // biome-ignore lint/correctness/useYield: closing a memory file does not wait.
  *release(): Task<void> {
    this.#file.drop();
  }
}

const munmapOperation: Operation = operation({
  name: 'munmap',
  summary: 'unmaps pages',
  args: [bufferArg(), offsetArg(), pagesArg()],
  *run(ctx, [id, offset, pages]) {
    const proc = ctx.current.process;
    const result = yield* proc.munmapTask(ctx.address(id, offset), bytesOf(ctx, pages));
    return { ret: errnoName(result) };
  },
});

const dontneedOperation: Operation = operation({
  name: 'dontneed',
  summary: 'gives up the contents of pages: madvise(MADV_DONTNEED)',
  args: [bufferArg(), offsetArg(), pagesArg()],
  *run(ctx, [id, offset, pages]) {
    const proc = ctx.current.process;
    const result = yield* proc.dontneedTask(ctx.address(id, offset), bytesOf(ctx, pages));
    return { ret: errnoName(result) };
  },
});

const mprotectOperation: Operation = operation({
  name: 'mprotect',
  summary: 'changes the access rights of pages',
  args: [bufferArg(), offsetArg(), pagesArg(), protArg()],
  *run(ctx, [id, offset, pages, prot]) {
    const proc = ctx.current.process;
    const result = yield* proc.mprotectTask(ctx.address(id, offset), bytesOf(ctx, pages), prot);
    return { ret: errnoName(result) };
  },
});

const mremapOperation: Operation = operation({
  name: 'mremap',
  summary: 'moves pages to the place of another buffer',
  args: [bufferArg(), offsetArg(), pagesArg(), newBufferArg()],
  *run(ctx, [id, offset, pages, newId]) {
    const { process: proc, buffers } = ctx.current;
    const target = baseOf(ctx, newId);
    const bytes = bytesOf(ctx, pages);
    const result = yield* proc.mremapTask(ctx.address(id, offset), bytes, target);
    if (result >= 0) buffers.set(newId, { address: target, pages });
    return { ret: errnoName(Math.min(result, 0)) };
  },
});

const cpuReadOperation: Operation = operation({
  name: 'cpu_read',
  summary: 'the CPU reads the first word of each page',
  args: [bufferArg(), offsetArg(), pagesArg()],
  *run(ctx, [id, offset, pages]) {
    const proc = ctx.current.process;
    const data = new Array<number | string>(pages);
    const start = ctx.address(id, offset);
    for (let i = 0; i < pages; i++) {
      const step = proc.loadStep(start + i * proc.mm.pageSize);
      const value = typeof step === 'object' ? yield* step : step;
      data[i] = value >= 0 ? value : ACCESS_NAMES.get(value)!;
    }
    return { data };
  },
});

const cpuWriteOperation: Operation = operation({
  name: 'cpu_write',
  summary: 'the CPU writes value + i to the first word of page i',
  args: [bufferArg(), offsetArg(), pagesArg(), valueArg()],
  *run(ctx, [id, offset, pages, base]) {
    const proc = ctx.current.process;
    const data = new Array<string>(pages);
    const start = ctx.address(id, offset);
    for (let i = 0; i < pages; i++) {
      const step = proc.storeStep(start + i * proc.mm.pageSize, (base + i) >>> 0);
      const result = typeof step === 'object' ? yield* step : step;
      data[i] = result >= 0 ? 'ok' : ACCESS_NAMES.get(result)!;
    }
    return { data };
  },
});

const forkOperation: Operation = operation({
  name: 'fork',
  summary: 'makes a process as a child of process 0',
  args: [
    {
      name: 'process',
      parse: (word, scope) => {
        const number = intArg('process', 1, PROCESSES_MAX - 1).parse(word, scope);
        return number === undefined || scope.wasForked(number) ? undefined : number;
      },
      expected: () => `process: a number from 1 to ${PROCESSES_MAX - 1} that no process had yet`,
    },
  ],
  by: 'parent',
  effect: 'fork',
  *run(ctx, [number]) {
    return { ret: errnoName(yield* ctx.fork(number)) };
  },
});

const exitOperation: Operation = operation({
  name: 'exit',
  summary: 'the process ends',
  args: [],
  by: 'child',
  effect: 'exit',
  *run(ctx) {
    yield* ctx.exit();
    return { ret: '0' };
  },
});

const pagemapOperation: Operation = operation({
  name: 'pagemap',
  summary: 'what /proc/self/pagemap tells of each page',
  args: [bufferArg(), offsetArg(), pagesArg()],
  // biome-ignore lint/correctness/useYield: reading pagemap does not wait.
  *run(ctx, [id, offset, pages]) {
    const { mm } = ctx.current.process;
    let ptes = '';
    for (let i = 0; i < pages; i++) ptes += pagemapEntry(mm, ctx.address(id, offset + i));
    return { ptes };
  },
});

/** pte_to_pagemap_entry, as a letter and its marks. */
function pagemapEntry(mm: Mm, va: Va): string {
  const vpn = mm.vpn(va);
  const leaf = mm.pageTable.leaf(vpn);
  const at = leafIndex(vpn);
  const kind = leaf?.kind(at) ?? PTE_NONE;
  if (leaf === null || kind === PTE_NONE) return '.';
  const page = leaf.page[at]!;
  const letter = kind === PTE_PRESENT ? 'P' : 'S';
  if (page === NO_PAGE) return letter;
  const ofFile = isAnon(mm.pages, page) ? '' : 'f';
  const once = kind === PTE_PRESENT && mm.pages.mapcount[page] === 1 ? 'x' : '';
  return `${letter}${ofFile}${once}`;
}

/** Attempts that `fail` can count ahead. */
const ATTEMPTS_MAX = 1_000_000;

const failOperation: Operation = operation({
  name: 'fail',
  summary: 'the n-th attempt from now at something fails',
  args: [
    wordArg(
      'site',
      FAULT_SITES.map(({ site }) => site),
    ),
    intArg('n', 1, ATTEMPTS_MAX),
  ],
  // biome-ignore lint/correctness/useYield: setting up a fault does not wait.
  *run(ctx, [site, n]) {
    ctx.fail(site, n);
    return { ret: '0' };
  },
});

const pageLockOperation: Operation = operation({
  name: 'page_lock',
  summary: 'somebody takes the lock of a page, and a reference',
  args: [bufferArg(), offsetArg()],
  *run(ctx, [id, offset]) {
    const result = yield* ctx.held.lock(ctx.current.process, ctx.address(id, offset));
    return { ret: errnoName(result) };
  },
});

const pageUnlockOperation: Operation = operation({
  name: 'page_unlock',
  summary: 'gives back what page_lock took there',
  args: [bufferArg(), offsetArg()],
  // biome-ignore lint/correctness/useYield: unlocking does not wait.
  *run(ctx, [id, offset]) {
    return { ret: errnoName(ctx.held.unlock(ctx.current.process, ctx.address(id, offset))) };
  },
});

const pagePinOperation: Operation = operation({
  name: 'page_pin',
  summary: 'somebody pins pages for writing: pin_user_pages_fast',
  args: [bufferArg(), offsetArg(), pagesArg(1)],
  *run(ctx, [id, offset, pages]) {
    const result = yield* ctx.held.pin(ctx.current.process, ctx.address(id, offset), pages);
    return { ret: errnoName(result) };
  },
});

const pageUnpinOperation: Operation = operation({
  name: 'page_unpin',
  summary: 'lets go of all that page_pin took in this program',
  args: [],
  // biome-ignore lint/correctness/useYield: letting go does not wait.
  *run(ctx) {
    ctx.held.unpin();
    return { ret: '0' };
  },
});

export const CORE_OPERATIONS: readonly Operation[] = [
  mmapOperation,
  munmapOperation,
  dontneedOperation,
  mprotectOperation,
  mremapOperation,
  cpuReadOperation,
  cpuWriteOperation,
  forkOperation,
  exitOperation,
  pagemapOperation,
  failOperation,
  pageLockOperation,
  pageUnlockOperation,
  pagePinOperation,
  pageUnpinOperation,
];
