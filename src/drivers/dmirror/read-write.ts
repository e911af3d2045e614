/** HMM_DMIRROR_READ and HMM_DMIRROR_WRITE. */
import { ENOENT } from '../../core/errno.ts';
import { SimError } from '../../core/errors.ts';
import type { Pages } from '../../core/memory/pages.ts';
import { REFAULTS_AT_ONCE } from '../../core/mm/refault.ts';
import type { DevPagemap } from '../../core/pagemap/pagemap.ts';
import { Delay, PREEMPT, type Task } from '../../core/sched/task.ts';
import type { Page, Va, Vpn } from '../../core/units.ts';
import { deviceFault } from './fault.ts';
import type { DmirrorFile } from './file.ts';

/** struct dmirror_bounce: what travels between the device and its user. */
export interface Bounce {
  /** The first word of each page. */
  readonly data: Uint32Array;
  /** Pages copied so far; the next one to copy. */
  cpages: number;
  faults: number;
}

/** So many faults that brought nothing are a call that never ends. */
const VAIN_FAULTS_MAX = 10_000;
const VAIN_FAULT_NS = 1000;

/** dmirror_read. */
export function readPages(file: DmirrorFile, va: Va, npages: number, bounce: Bounce): Task<number> {
  return copyOrFault(file, va, npages, bounce, false);
}

/** dmirror_write. */
export function writePages(
  file: DmirrorFile,
  va: Va,
  npages: number,
  bounce: Bounce,
): Task<number> {
  return copyOrFault(file, va, npages, bounce, true);
}

function* copyOrFault(
  file: DmirrorFile,
  va: Va,
  npages: number,
  bounce: Bounce,
  write: boolean,
): Task<number> {
  const { mutex } = file;
  const { pageSize, kernel } = file.mm;
  const { scheduler } = kernel;
  const end = va + npages * pageSize;
  let vain = 0;
  for (;;) {
    const before = bounce.cpages;
    if (!mutex.tryLock()) yield* mutex.lock();
    const copied = scheduler.preempts
      ? yield* copySlowly(file, va, npages, bounce, write)
      : (write ? copyIn : copyOut)(file, va, npages, bounce);
    mutex.unlock();
    if (copied !== -ENOENT) return copied;
    const faulted = yield* deviceFault(file, va + bounce.cpages * pageSize, end, write);
    if (faulted !== 0) return faulted;
    bounce.faults++;
    vain = bounce.cpages === before ? vain + 1 : 0;
    if (vain >= REFAULTS_AT_ONCE) yield* pauseInVain(file, va, vain);
  }
}

/**
 * Faults that brought nothing: somebody takes the page away again each time, or the process has
 * ended and nobody says so. The kernel goes on without end.
 */
function* pauseInVain({ device, mm }: DmirrorFile, va: Va, faults: number): Task<void> {
  if (faults >= VAIN_FAULTS_MAX) {
    throw new SimError(
      'livelock',
      `${device.name} faulted ${faults} times in a row at 0x${va.toString(16)} of process ` +
        `${mm.pid} without getting the page`,
      { pid: mm.pid, va },
    );
  }
  yield new Delay(VAIN_FAULT_NS, 'pause', device.name);
}

/**
 * The same as other CPUs see it: between finding a page and copying it there is a moment, in which
 * the mutex does not keep a CPU fault from taking the page home.
 */
export function* copySlowly(
  file: DmirrorFile,
  va: Va,
  npages: number,
  bounce: Bounce,
  write: boolean,
): Task<number> {
  const { mm, pageTable } = file;
  const { scheduler } = mm.kernel;
  const first: Vpn = mm.vpn(va);
  for (; bounce.cpages < npages; bounce.cpages++) {
    const vpn = first + bounce.cpages;
    const page = write ? pageTable.writablePage(vpn) : pageTable.page(vpn);
    if (page < 0) return -ENOENT;
    if (scheduler.preempts && scheduler.overtaken('dmirror: copy', page)) yield PREEMPT;
    if (write) storePage(file, page, mm.va(vpn), bounce);
    else bounce.data[bounce.cpages] = file.device.bus.read32(page, 0, mm.pid, mm.va(vpn));
  }
  return 0;
}

/** dmirror_do_read: -ENOENT at the first page that is not mapped. The caller holds the mutex. */
export function copyOut(file: DmirrorFile, va: Va, npages: number, bounce: Bounce): number {
  const { mm, pageTable } = file;
  const { bus } = file.device;
  const { pageSize, pid } = mm;
  const { data } = bounce;
  const first: Vpn = mm.vpn(va);
  const { pages, kernel } = mm;
  const isWatched = kernel.watch !== null;
  let i = bounce.cpages;
  let page: Page | -1 = 0;
  // RAM and the device's own pages answer; of others the bus tells.
  let asked: DevPagemap | null = null;
  for (; i < npages; i++) {
    page = pageTable.page(first + i);
    if (page < 0) break;
    const pagemap = pages.pagemapOf(page);
    if (pagemap !== asked && bus.reaches(page)) asked = pagemap;
    data[i] =
      pagemap === asked && !isWatched
        ? pages.read32(page, 0)
        : bus.read32(page, 0, pid, va + i * pageSize);
  }
  bounce.cpages = i;
  return page < 0 ? -ENOENT : 0;
}

/** dmirror_do_write: -ENOENT at the first page that is not mapped for writing. */
function copyIn(file: DmirrorFile, va: Va, npages: number, bounce: Bounce): number {
  const { mm, pageTable } = file;
  const first: Vpn = mm.vpn(va);
  for (; bounce.cpages < npages; bounce.cpages++) {
    const page = pageTable.writablePage(first + bounce.cpages);
    if (page < 0) return -ENOENT;
    storePage(file, page, va + bounce.cpages * mm.pageSize, bounce);
  }
  return 0;
}

/** Fills `page`, mapped at `at`, from the next word of `bounce`. */
function storePage({ mm, device }: DmirrorFile, page: Page, at: Va, bounce: Bounce): void {
  const { pages } = mm;
  const { bus } = device;
  const { watch } = mm.kernel;
  const value = bounce.data[bounce.cpages]!;
  if (!isFree(pages, page)) {
    if (!bus.reaches(page)) {
      bus.write32(page, 0, value, mm.pid, at);
      return;
    }
    pages.writeFirstWord(page, value);
  }
  // The device takes every store for done.
  if (watch !== null) watch.stored(mm.pid, at, value);
}

/**
 * The mirror may lag behind a migration by another file of its device, whose notice it ignores.
 * The reference driver then scribbles over a free page; here such a store goes nowhere, and who
 * watches memory finds that it is lost. Once the page belongs to somebody else, the store arrives
 * there, as in the kernel.
 */
function isFree(pages: Pages, page: Page): boolean {
  const free = pages.isZoneDevice(page) ? pages.freeDevicePageRefs : 0;
  return pages.refcount[page]! <= free;
}
