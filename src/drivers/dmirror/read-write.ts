/** HMM_DMIRROR_READ and HMM_DMIRROR_WRITE. */
import { ENOENT } from '../../core/errno.ts';
import type { Pages } from '../../core/memory/pages.ts';
import type { Task } from '../../core/sched/task.ts';
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
  const { pageSize } = file.mm;
  const end = va + npages * pageSize;
  while (true) {
    if (!mutex.tryLock()) yield* mutex.lock();
    const copied = (write ? copyIn : copyOut)(file, va, npages, bounce);
    mutex.unlock();
    if (copied !== -ENOENT) return copied;
    const faulted = yield* deviceFault(file, va + bounce.cpages * pageSize, end, write);
    if (faulted !== 0) return faulted;
    bounce.faults++;
  }
}

/** dmirror_do_read: -ENOENT at the first page that is not mapped. The caller holds the mutex. */
export function copyOut(file: DmirrorFile, va: Va, npages: number, bounce: Bounce): number {
  const { mm, pageTable } = file;
  const { bus } = file.device;
  const first: Vpn = mm.vpn(va);
  for (; bounce.cpages < npages; bounce.cpages++) {
    const page = pageTable.page(first + bounce.cpages);
    if (page < 0) return -ENOENT;
    const at = va + bounce.cpages * mm.pageSize;
    bounce.data[bounce.cpages] = bus.read32(page, 0, mm.pid, at);
  }
  return 0;
}

/** dmirror_do_write: -ENOENT at the first page that is not mapped for writing. */
function copyIn(file: DmirrorFile, va: Va, npages: number, bounce: Bounce): number {
  const { mm, pageTable } = file;
  const { bus } = file.device;
  const { pages } = mm;
  const { frames } = mm.kernel;
  const first: Vpn = mm.vpn(va);
  for (; bounce.cpages < npages; bounce.cpages++) {
    const page = pageTable.writablePage(first + bounce.cpages);
    if (page < 0) return -ENOENT;
    if (isFree(pages, page)) continue;
    if (!bus.reaches(page)) {
      const at = va + bounce.cpages * mm.pageSize;
      bus.write32(page, 0, bounce.data[bounce.cpages]!, mm.pid, at);
      continue;
    }
    const old = pages.frame[page]!;
    pages.frame[page] = frames.withFirstWord(bounce.data[bounce.cpages]!);
    frames.release(old);
  }
  return 0;
}

/**
 * The mirror may lag behind a migration by another file of its device, whose notice it ignores.
 * The reference driver then scribbles over a free page; here such a store goes nowhere.
 */
function isFree(pages: Pages, page: Page): boolean {
  const free = pages.isZoneDevice(page) ? pages.freeDevicePageRefs : 0;
  return pages.refcount[page]! <= free;
}
