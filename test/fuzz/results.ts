/** What each operation must answer, and what it does to the model. */

import type { Page } from '../../src/core/units.ts';
import { MASTER_ABORT } from '../../src/hw/bus.ts';
import {
  type Call,
  checkWalk,
  expectRet,
  MAPPING_HANDLERS,
  pagesOf,
  type Range,
  rangeAt,
} from './calls.ts';
import { BUFFER_STRIDE_PAGES, type Cell, type ModelPage, mayRead, mayWrite } from './model.ts';
import type { Home, Place } from './view.ts';

type Words = readonly (string | number)[];

/** What operations answer, each some of it. */
export interface Answer {
  readonly ret?: string;
  readonly cpages?: number;
  readonly data?: Words;
  readonly ptes?: string;
  readonly setup?: Words;
  /** Words, or of lab_pin a count. */
  readonly pages?: Words | number;
  readonly where?: readonly string[];
}

/** An operation that has run, and the state it found. */
export interface Done extends Call {
  readonly result: Answer;
  /** By lab. */
  readonly labModes: string[];
  /** What an address of the process had before; undefined if nothing was mapped. */
  before(pageNumber: number): Place | undefined;
  /** The page that the device wrongly believes to be there, as the kernel's dmirror may. */
  stale(device: number, pageNumber: number): Page | undefined;
  /** The cell may have changed to `value`, or not: the operation failed half-way. */
  mayBe(cell: Cell, value: number): void;
  /** The page may have been scribbled on. */
  mayBeAnything(page: Page): void;
}

/** Where `buffer offset pages` stand among the arguments. */
const RANGE_AT: Readonly<Record<string, number>> = {
  munmap: 0,
  dontneed: 0,
  mprotect: 0,
  mremap: 0,
  cpu_read: 0,
  cpu_write: 0,
  pagemap: 0,
  lab_where: 0,
  lab_pin: 0,
  dev_read: 1,
  dev_write: 1,
  migrate_to_dev: 1,
  migrate_to_sys: 1,
  snapshot: 1,
  exclusive: 1,
  check_exclusive: 1,
  lab_migrate: 3,
};

export function rangeOf(done: Pick<Done, 'name' | 'values'>): Range {
  const at = RANGE_AT[done.name];
  if (at === undefined) return { first: 0, count: 0 };
  return rangeAt(done.values, at);
}

/** Checks the answer and brings the model up to date. */
export function checkResult(done: Done): void {
  HANDLERS[done.name]?.(done, rangeOf(done));
}

type Handler = (done: Done, range: Range) => void;

/** A lab that does not answer faults well: the only source of SIGBUS here. */
function labsMayFail({ labModes }: Done): boolean {
  return labModes.some((mode) => mode !== 'normal');
}

const HANDLERS: Readonly<Record<string, Handler>> = {
  ...MAPPING_HANDLERS,
  mremap: checkMremap,
  cpu_read: (done, range) => checkCpu(done, range, null),
  cpu_write: (done, range) => checkCpu(done, range, done.values[3] as number),
  fork: (done) => {
    expectRet(done, '0');
    done.model.fork(done.values[0] as number);
  },
  pagemap: (done, range) => {
    const { ptes } = done.result;
    if (typeof ptes !== 'string') {
      done.found('answered no entries');
      return;
    }
    const entries = ptes.match(/[.PS]f?x?/g) ?? [];
    pagesOf(done, range).forEach((page, i) => {
      if (page === undefined && entries[i] !== '.') done.found(`an entry where nothing is mapped`);
    });
  },
  dev_read: (done, range) => {
    checkDeviceAccess(done, range, mayRead, []);
    if (done.result.ret === '0') checkData(done, range);
  },
  dev_write: checkDeviceWrite,
  migrate_to_dev: (done, range) => {
    checkWalk(done, range, ['ENOENT']);
    if (done.result.ret === '0') checkData(done, range);
  },
  migrate_to_sys: (done, range) => checkWalk(done, range, []),
  exclusive: (done, range) => {
    if (done.result.ret !== '0') return;
    if (!pagesOf(done, range).every(mayWrite)) done.found('took pages it may not write');
    checkData(done, range);
  },
  check_exclusive: (done) => {
    if (done.era.deviceExclusive && !['0', 'EPERM'].includes(String(done.result.ret))) {
      done.found(`answered ${done.result.ret}`);
    }
  },
  release: (done) => expectRet(done, done.era.migrateDeviceRange ? '0' : 'EINVAL'),
  lab_migrate: checkLabMigrate,
  lab_where: checkLabWhere,
  lab_pin: checkLabPin,
  lab_unpin: (done) => expectRet(done, '0'),
  lab_evict: (done) => expectRet(done, done.era.migrateDeviceRange ? '0' : 'ENOSYS'),
  lab_mode: (done) => {
    expectRet(done, '0');
    const [lab, mode] = done.values as [number, string];
    done.labModes[lab] = mode;
  },
};

function checkMremap(done: Done, range: Range): void {
  const { first, count } = range;
  const target = (done.values[3] as number) * BUFFER_STRIDE_PAGES;
  const pages = pagesOf(done, range);
  if (pages[0] === undefined) {
    expectRet(done, 'EFAULT');
    return;
  }
  if (first < target + count && target < first + count) {
    expectRet(done, 'EINVAL');
    return;
  }
  if (done.result.ret === '0') {
    if (pages.includes(undefined)) done.found('moved a range with a hole');
    done.model.move(done.process, first, count, target);
    return;
  }
  expectRet(done, 'EFAULT');
  // Where the range is not one mapping, the target is gone all the same.
  done.model.munmap(done.process, target, count);
  const alike = pages.every((page) => page !== undefined && sameMapping(page, pages[0]!));
  const inOne = done.before(first)?.vma === done.before(first + count - 1)?.vma;
  if (alike && inOne) done.found('refused to move one mapping');
}

function sameMapping(a: ModelPage, b: ModelPage): boolean {
  return a.prot === b.prot && a.shared === b.shared;
}

function checkCpu(done: Done, range: Range, base: number | null): void {
  const { data } = done.result;
  if (!Array.isArray(data)) {
    done.found('answered no data');
    return;
  }
  pagesOf(done, range).forEach((page, i) => {
    const got = data[i];
    const may = base === null ? mayRead(page) : mayWrite(page);
    if (!may) {
      if (got !== 'SIGSEGV') done.found(`page ${i}: ${got}, expected SIGSEGV`);
      return;
    }
    if (got === 'SIGBUS') {
      const home = done.before(range.first + i)?.home ?? 'none';
      if (home.startsWith('lab') && labsMayFail(done)) return;
    }
    const expected = base === null ? page!.cell.value : 'ok';
    if (got !== expected) {
      done.found(`page ${i}: ${got}, expected ${expected}`);
      return;
    }
    if (base !== null) page!.cell.value = (base + i) >>> 0;
  });
}

/** The data that came back with a device's call. */
function checkData(done: Done, range: Range): void {
  const { data } = done.result;
  if (!Array.isArray(data) || data.length !== range.count) {
    done.found('answered no data');
    return;
  }
  pagesOf(done, range).forEach((page, i) => {
    const at = range.first + i;
    const device = done.values[0] as number;
    if (done.stale(device, at) !== undefined) return;
    // Unless a fault of a neighbour brought it home meanwhile.
    if (isForeign(done, device, at) && data[i] === MASTER_ABORT) return;
    if (page === undefined) done.found(`page ${i}: read where nothing is mapped`);
    else if (data[i] !== page.cell.value) {
      done.found(`page ${i}: ${data[i]}, expected ${page.cell.value}`);
    }
  });
}

/** Until v5.6 a device is told of other devices' pages, and cannot reach them. */
function isForeign(done: Done, device: number, at: number): boolean {
  const home = done.before(at)?.home ?? 'none';
  return !done.era.hmmChecksOwner && /^(dev|lab)/.test(home) && home !== `dev${device}`;
}

/** A device access works where every page allows it, and nowhere else. */
function checkDeviceAccess(
  done: Done,
  range: Range,
  may: (page: ModelPage | undefined) => boolean,
  excusingHomes: readonly Home[],
): void {
  const { count, first } = range;
  const device = done.values[0] as number;
  const allowed = pagesOf(done, range).every(may);
  const numbers = Array.from({ length: count }, (_, i) => first + i);
  if (numbers.some((at) => done.stale(device, at) !== undefined)) return;
  if (done.result.ret === '0') {
    if (!allowed) done.found('the device reached a page that its process may not');
    return;
  }
  const excused =
    labsMayFail(done) ||
    !done.era.hmmFaultsForeign ||
    numbers.some((at) => excusingHomes.includes(done.before(at)?.home ?? 'none'));
  if (allowed && !excused) done.found(`answered ${done.result.ret} without a reason`);
}

function checkDeviceWrite(done: Done, range: Range): void {
  const device = done.values[0] as number;
  const base = done.values[4] as number;
  const ok = done.result.ret === '0';
  // The device's own private pages are not faulted for it when they are read-only.
  checkDeviceAccess(done, range, mayWrite, [`dev${device}`]);
  pagesOf(done, range).forEach((page, i) => {
    const value = (base + i) >>> 0;
    const stale = done.stale(device, range.first + i);
    if (stale !== undefined) {
      done.mayBeAnything(stale);
      if (page !== undefined) done.mayBe(page.cell, value);
    } else if (!mayWrite(page)) return;
    else if (ok && !isForeign(done, device, range.first + i)) page.cell.value = value;
    else done.mayBe(page.cell, value);
  });
}

function checkLabMigrate(done: Done, range: Range): void {
  const { ret, cpages, setup, pages } = done.result;
  const whole = !pagesOf(done, range).includes(undefined);
  if (ret !== '0') {
    if (ret !== 'EINVAL') done.found(`answered ${ret}`);
    const inOne = done.before(range.first)?.vma === done.before(range.first + range.count - 1)?.vma;
    if (whole && inOne) done.found('refused a range within one mapping');
    return;
  }
  if (!whole) done.found('migrated a range with a hole');
  if (!Array.isArray(setup) || !Array.isArray(pages)) {
    done.found('answered no words');
    return;
  }
  const chosen = setup.filter((word) => String(word).includes('M')).length;
  if (chosen !== cpages) done.found(`cpages ${cpages}, but ${chosen} words say MIGRATE`);
}

/** Letters are for RAM, digits for labs; what a lab's owner cannot see is left out. */
function checkLabWhere(done: Done, range: Range): void {
  const { ret, where } = done.result;
  if (ret !== '0') {
    done.found(`answered ${ret}`);
    return;
  }
  if (!Array.isArray(where)) {
    done.found('answered no places');
    return;
  }
  where.forEach((word, i) => {
    const letter = String(word)[0]!;
    const home = done.before(range.first + i)?.home ?? 'none';
    if (letter >= '0' && letter <= '3' && home !== `lab${letter}`) {
      done.found(`page ${i}: in lab ${letter}, expected ${home}`);
    }
    if (letter === 'R' && home !== 'ram' && !home.startsWith('dev')) {
      done.found(`page ${i}: in RAM, expected ${home}`);
    }
  });
}

function checkLabPin(done: Done, range: Range): void {
  const { ret, pages } = done.result;
  const may = done.values[3] === 'w' ? mayWrite : mayRead;
  const barrier = pagesOf(done, range).findIndex((page) => !may(page));
  const reachable = barrier < 0 ? range.count : barrier;
  if (ret !== '0') {
    if (reachable > 0 && !labsMayFail(done)) done.found(`answered ${ret} without a reason`);
    return;
  }
  if ((pages as number) > reachable) done.found(`pinned ${pages} pages, may pin ${reachable}`);
}
