/** What the CPU, dmirrors and GPUs must answer, and what that does to the model. */
import { checkWalk, expectRet, MAPPING_HANDLERS, pagesOf, type Range } from '../calls.ts';
import { BUFFER_STRIDE_PAGES, type Cell, type ModelPage, mayRead, mayWrite } from '../model.ts';
import type { Home } from '../view.ts';
import { checkRead, type Done, listOf, UNKNOWN, write } from './done.ts';

type Handler = (done: Done, range: Range) => void;
type May = (page: ModelPage | undefined) => boolean;

const HANDLERS: Readonly<Record<string, Handler>> = {
  ...MAPPING_HANDLERS,
  fork: (done) => {
    if (done.lowRam && done.result.ret === 'ENOMEM') return;
    expectRet(done, '0');
    done.model.fork(done.values[0] as number);
  },
  cpu_read: (done, range) => checkCpu(done, range, null),
  cpu_write: (done, range) => checkCpu(done, range, done.values[3] as number),
  dev_read: (done, range) => {
    checkDmirrorAccess(done, range, mayRead);
    if (done.result.ret === '0') checkData(done, range, dmirror(done));
  },
  dev_write: (done, range) => {
    checkDmirrorAccess(done, range, mayWrite);
    storeAll(done, range, done.values[4] as number);
  },
  migrate_to_dev: (done, range) => {
    checkWalk(done, range, ['ENOENT']);
    if (done.result.ret === '0') checkData(done, range, dmirror(done));
  },
  migrate_to_sys: (done, range) => checkWalk(done, range, []),
  exclusive: (done, range) => {
    if (done.result.ret !== '0') return;
    if (!pagesOf(done, range).every(mayWrite)) done.found('took pages it may not write');
    checkData(done, range, dmirror(done));
  },
  release: (done) => expectRet(done, done.era.migrateDeviceRange ? '0' : 'EINVAL'),
  gpu_bind: (done) => expectRet(done, gpuFacts(done).removed ? 'ENODEV' : '0'),
  gpu_suspend: expectAlive,
  gpu_resume: expectAlive,
  gpu_fail_copy: (done) => {
    expectRet(done, '0');
    gpuFacts(done).failing = true;
  },
  gpu_remove: checkRemove,
  gpu_read: (done, range) => {
    checkGpuAccess(done, range, mayRead, false);
    if (done.result.ret === '0') checkData(done, range, gpu(done));
  },
  gpu_write: (done, range) => {
    checkGpuAccess(done, range, mayWrite, false);
    storeAll(done, range, done.values[4] as number);
  },
  gpu_atomic: checkGpuAtomic,
  gpu_access: checkGpuList,
};

/** Checks the answer and brings the model up to date. */
export function checkAnswer(done: Done, range: Range): void {
  HANDLERS[done.name]?.(done, range);
}

const dmirror = ({ values }: Done): Home => `dev${values[0]}`;
const gpu = ({ values }: Done): Home => `gpu${values[0]}`;

function gpuFacts(done: Done): Done['gpus'][number] {
  return done.gpus[done.values[0] as number]!;
}

function expectAlive(done: Done): void {
  expectRet(done, gpuFacts(done).removed ? 'ENODEV' : '0');
}

/** Where a copy failed, the page came home empty. */
function checkRemove(done: Done): void {
  const facts = gpuFacts(done);
  expectAlive(done);
  if (facts.failing) {
    for (const [number, space] of done.model.spaces) {
      for (const [at, { cell }] of space)
        if (done.homeAt(number, at) === gpu(done)) done.mayBe(cell, 0);
    }
  }
  facts.removed = true;
}

/** Why a page that is somewhere else may not come: who has it has no luck. */
function isStuck(done: Done, at: number): boolean {
  const home = homeBefore(done, at);
  if (home === 'uv' && done.isNowhere(at)) return true;
  return done.lowRam || (home.startsWith('gpu') && done.gpus[Number(home.slice(3))]!.failing);
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
    if (got === 'SIGBUS' || got === 'SIGKILL') {
      if (isStuck(done, range.first + i)) return;
    }
    if (base === null) checkRead(done, page!.cell, got, `page ${i}`);
    else if (got === 'ok') write(done, page!.cell, base + i);
    else done.found(`page ${i}: ${got}, expected ok`);
  });
}

function homeBefore(done: Done, at: number): Home {
  return done.before(at)?.home ?? 'none';
}

/** The data that came back with a device's call. */
function checkData(done: Done, range: Range, device: Home): void {
  const { data } = done.result;
  if (!Array.isArray(data) || data.length !== range.count) {
    done.found('answered no data');
    return;
  }
  pagesOf(done, range).forEach((page, i) => {
    if (done.stale(device, range.first + i) !== undefined) return;
    if (page === undefined) done.found(`page ${i}: read where nothing is mapped`);
    else checkRead(done, page.cell, data[i], `page ${i}`);
  });
}

/** Page i gets `base` + i; if the operation failed, some may have. */
function storeAll(done: Done, range: Range, base: number): void {
  const ok = done.result.ret === '0';
  pagesOf(done, range).forEach((page, i) => {
    if (!mayWrite(page)) return;
    if (ok) write(done, page.cell, base + i);
    else done.mayBe(page.cell, (base + i) >>> 0);
  });
}

// --- dmirror --------------------------------------------------------------------------------

/** An access works where every page allows it, and nowhere else. */
function checkDmirrorAccess(done: Done, range: Range, may: May): void {
  const device = dmirror(done);
  if (anyPage(range, (at) => done.stale(device, at) !== undefined)) return;
  const allowed = pagesOf(done, range).every(may);
  if (done.result.ret === '0') {
    if (!allowed) done.found('the device reached a page that its process may not');
    return;
  }
  const excused = anyPage(range, (at) => {
    const home = homeBefore(done, at);
    // Its own private pages are not faulted for it when they are read-only.
    if (home === device && done.name === 'dev_write') return true;
    return isStuck(done, at) || isForeign(done, home, device);
  });
  if (allowed && !excused) done.found(`answered ${done.result.ret} without a reason`);
}

/** Before v5.19 a device that meets another one's page gets a fault it cannot survive. */
function isForeign({ era }: Done, home: Home, device: Home): boolean {
  return !era.hmmFaultsForeign && home !== 'ram' && home !== 'none' && home !== device;
}

function anyPage({ first, count }: Range, test: (at: number) => boolean): boolean {
  for (let i = 0; i < count; i++) if (test(first + i)) return true;
  return false;
}

// --- GPUs -----------------------------------------------------------------------------------

/** A job works where every page allows it, and nowhere else. `atomic`: some of it is. */
function checkGpuAccess(done: Done, range: Range, may: May, atomic: boolean): void {
  const facts = gpuFacts(done);
  const device = gpu(done);
  if (facts.removed) {
    expectRet(done, 'ENODEV');
    return;
  }
  if (anyPage(range, (at) => done.stale(device, at) !== undefined)) return;
  const pages = pagesOf(done, range);
  const allowed = pages.every(may);
  if (done.result.ret === '0') {
    if (!allowed && done.name !== 'gpu_access') expectBound(done, range, may);
    return;
  }
  if (!allowed || mayFailAtomic(done, pages, atomic)) return;
  const excused = anyPage(range, (at) => {
    const home = homeBefore(done, at);
    // hmm_range_fault finds nothing wrong with its own page, even where a write needs another one.
    const readOnly = home === device && done.before(at)?.writable === false;
    const mends = facts.mended && done.era.hmmFaultsForeign;
    if (readOnly && !mends && done.name !== 'gpu_read') return true;
    return isStuck(done, at) || isForeign(done, home, device);
  });
  if (!excused) done.found(`answered ${done.result.ret} without a reason`);
}

/**
 * A job worked although a page of it may not be touched. Bind asks nobody for rights: what it
 * moves, the GPU may read, PROT_NONE or not.
 */
function expectBound(done: Done, range: Range, may: May): void {
  const reads = done.name === 'gpu_read' || done.name === 'gpu_access';
  const excused = pagesOf(done, range).every((page, i) => {
    const home = homeBefore(done, range.first + i);
    return may(page) || (reads && page?.prot === 'n' && home === gpu(done));
  });
  if (!excused) done.found('the GPU reached a page that its process may not');
}

/**
 * An atomic access takes the page exclusively, which works for anonymous memory only; as the kernel
 * has it, not for pages that come from elsewhere either, and then what is behind it fails, too.
 */
function mayFailAtomic(done: Done, pages: (ModelPage | undefined)[], atomic: boolean): boolean {
  if (!atomic || !done.era.deviceExclusive) return false;
  return !gpuFacts(done).mended || pages.some((page) => page?.shared === true);
}

function checkGpuAtomic(done: Done, range: Range): void {
  checkGpuAccess(done, range, mayWrite, true);
  const { ret, data } = done.result;
  const added = done.values[4] as number;
  pagesOf(done, range).forEach((page, i) => {
    if (!mayWrite(page) || done.stale(gpu(done), range.first + i) !== undefined) return;
    const { cell } = page;
    if (ret === '0') {
      checkRead(done, cell, data?.[i], `page ${i}`);
      write(done, cell, cell.value + added);
    } else done.mayBe(cell, (cell.value + added) >>> 0);
  });
}

/** The accesses of a list to one page. */
interface Accesses {
  readonly at: number;
  readonly page: ModelPage | undefined;
  readonly indexes: number[];
}

/** All at once: those to one page may be done in any order. */
function checkGpuList(done: Done, range: Range): void {
  const list = listOf(done);
  const atomic = list.some(({ kind }) => kind === 'atomic');
  const buffer = (done.values[1] as number) * BUFFER_STRIDE_PAGES;
  const byPage: Map<number, Accesses> = new Map();
  list.forEach(({ offset }, i) => {
    const at = buffer + offset;
    const page = done.model.space(done.process).get(at);
    const known = byPage.get(at) ?? { at, page, indexes: [] };
    known.indexes.push(i);
    byPage.set(at, known);
  });
  const kindsOf = ({ indexes }: Accesses): string[] => indexes.map((i) => list[i]!.kind);
  const reaches = (one: Accesses): boolean => {
    return kindsOf(one).every((kind) => {
      if (kind === 'prefetch') return true;
      return kind === 'read' ? mayRead(one.page) : mayWrite(one.page);
    });
  };
  const allowed = [...byPage.values()].every(reaches);
  checkGpuAccess(done, range, () => allowed, atomic);
  if (done.result.ret === '0' && !allowed) {
    for (const one of byPage.values()) {
      if (reaches(one) || done.stale(gpu(done), one.at) !== undefined) continue;
      if (kindsOf(one).every((kind) => kind === 'read' || kind === 'prefetch')) {
        expectBound(done, { first: one.at, count: 1 }, () => false);
      } else done.found('the GPU wrote to a page that its process may not');
    }
  }
  for (const one of byPage.values()) {
    if (one.page !== undefined) checkPageOfList(done, one, one.page.cell, kindsOf(one));
  }
}

/** Stores write 1, atomics add 1. */
function checkPageOfList(done: Done, one: Accesses, cell: Cell, kinds: readonly string[]): void {
  const { ret, data } = done.result;
  if (done.stale(gpu(done), one.at) !== undefined) return;
  const stores = kinds.includes('write');
  const atomics = kinds.filter((kind) => kind === 'atomic').length;
  const possible = new Set<number>();
  for (let i = 0; i <= atomics; i++) {
    if (!Number.isNaN(cell.value)) possible.add((cell.value + i) >>> 0);
    if (stores) possible.add(1 + i);
  }
  const readKinds = ['read', 'atomic'];
  if (ret === '0') {
    const before = cell.value;
    one.indexes.forEach((i, nth) => {
      if (!readKinds.includes(kinds[nth]!)) return;
      const got = data?.[i];
      if (Number.isNaN(before)) checkFresh(done, got, `access ${i}`);
      else if (!possible.has(got as number)) {
        done.found(`access ${i}: read ${got}, expected one of ${[...possible].join(', ')}`);
      } else if (atomics > 0) done.secrets.delete(got as number);
    });
    if (!stores && atomics === 0) return;
    if (!stores && !Number.isNaN(before)) write(done, cell, before + atomics);
    else if (!stores || atomics > 0) {
      // The order decides; what is seen counts, if it is possible.
      if (stores) for (let i = 0; i <= atomics; i++) done.mayBe(cell, 1 + i);
      cell.value = stores ? -1 : Number.NaN;
      done.written.add(cell);
    } else write(done, cell, 1);
    return;
  }
  if (!mayWrite(one.page)) return;
  if (stores || atomics > 0) {
    // Also where nobody knows what was there.
    for (const value of [...possible, UNKNOWN]) if (value !== cell.value) done.mayBe(cell, value);
  }
}

function checkFresh(done: Done, got: unknown, what: string): void {
  if (done.secrets.has(got as number)) done.found(`${what}: read a secret`);
}
