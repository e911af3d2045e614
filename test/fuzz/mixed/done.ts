/** An operation that has run, and what is needed to judge it. */
import { hex, type Page } from '../../../src/core/units.ts';
import { type Call, type Range, rangeAt } from '../calls.ts';
import { BUFFER_STRIDE_PAGES, type Cell } from '../model.ts';
import type { Home, Place } from '../view.ts';
import type { MirrorEntry } from './eye.ts';

type Words = readonly (string | number)[];

/** What operations answer, each some of it. */
export interface Answer {
  readonly ret?: string;
  readonly cpages?: number;
  readonly data?: Words;
}

/**
 * The contents of a cell that only hardware knows: what a secure page looks like from outside.
 * Whatever is seen there first counts from then on.
 */
export const UNKNOWN: number = Number.NaN;

/** What the judge knows of a GPU. */
export interface GpuFacts {
  readonly mended: boolean;
  removed: boolean;
  /** A copy of it was told to fail, and may not have failed yet. */
  failing: boolean;
}

export interface Done extends Call {
  readonly result: Answer;
  readonly gpus: readonly GpuFacts[];
  /** There was, or is, little RAM left: much may fail. */
  readonly lowRam: boolean;
  /** What guests wrote into secure pages. */
  readonly secrets: Set<number>;
  /** Cells that this operation wrote. */
  readonly written: Set<Cell>;
  /** What an address of the process had before; undefined if nothing was mapped. */
  before(pageNumber: number): Place | undefined;
  /** Where the page of an address of any process was before. */
  homeAt(process: number, pageNumber: number): Home;
  /** The page there; undefined where nothing was mapped. */
  pageAt(process: number, pageNumber: number): Page | null | undefined;
  /**
   * A device page stands for secure memory of which the ultravisor has nothing, as where the
   * hypervisor moved pages of a slot it never registered. Such a page cannot go out.
   */
  isNowhere(pageNumber: number): boolean;
  /** The cells of all addresses that had the page of this one before. */
  sharing(pageNumber: number): Cell[];
  /** What a device wrongly believed to be there before, as the kernel's drivers may. */
  stale(device: Home, pageNumber: number): MirrorEntry | undefined;
  /** The cell may have changed to `value`, or not: the operation failed half-way. */
  mayBe(cell: Cell, value: number): void;
}

const NOWHERE: Range = { first: 0, count: 0 };

/** Where `buffer offset pages` stand among the arguments. */
const RANGE_AT: Readonly<Record<string, number>> = {
  munmap: 0,
  dontneed: 0,
  mprotect: 0,
  cpu_read: 0,
  cpu_write: 0,
  dev_read: 1,
  dev_write: 1,
  migrate_to_dev: 1,
  migrate_to_sys: 1,
  snapshot: 1,
  exclusive: 1,
  check_exclusive: 1,
  gpu_bind: 1,
  gpu_read: 1,
  gpu_write: 1,
  gpu_atomic: 1,
};

/** One access of `gpu_access`. */
export interface Listed {
  readonly kind: string;
  readonly offset: number;
}

export function listOf({ values }: Pick<Done, 'values'>): readonly Listed[] {
  return values[2] as readonly Listed[];
}

/** The pages of a buffer that an operation names. */
export function rangeOf(done: Pick<Done, 'name' | 'values'>): Range {
  if (done.name === 'gpu_access') {
    const offsets = listOf(done).map(({ offset }) => offset);
    const first = Math.min(...offsets);
    const buffer = done.values[1] as number;
    return {
      first: buffer * BUFFER_STRIDE_PAGES + first,
      count: Math.max(...offsets) - first + 1,
    };
  }
  const at = RANGE_AT[done.name];
  if (at === undefined) return NOWHERE;
  return rangeAt(done.values, at);
}

/** Somebody read `got` from a cell. */
export function checkRead(done: Done, cell: Cell, got: unknown, what: string): void {
  if (Number.isNaN(cell.value) && typeof got === 'number') {
    if (done.secrets.has(got)) done.found(`${what}: read a secret, ${hex(got)}`);
    else cell.value = got;
  } else if (got !== cell.value) done.found(`${what}: read ${got}, expected ${cell.value}`);
}

export function write(done: Done, cell: Cell, value: number): void {
  cell.value = value >>> 0;
  done.written.add(cell);
  // Sums may hit upon what a guest wrote elsewhere; it tells nothing any more.
  done.secrets.delete(cell.value);
}
