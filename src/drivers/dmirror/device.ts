/**
 * dmirror: a device that mirrors address spaces, after the kernel's own HMM test driver.
 *
 * Reference: lib/test_hmm.c of Linux 6.1. One difference: the reference driver fakes each page of
 * private device memory with a page of RAM; a `Dmirror` has memory of its own, so moving pages to
 * it frees RAM.
 */
import type { Driver } from '../../core/driver.ts';
import { SimError } from '../../core/errors.ts';
import type { Kernel } from '../../core/kernel.ts';
import type { Machine } from '../../core/machine.ts';
import {
  FaultWordsPool,
  MIGRATE_PFN_LOCKED,
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_WRITE,
  migrateDeviceFinalize,
  migrateDevicePages,
  migrateDeviceRange,
  migratePfn,
  migratePfnPage,
} from '../../core/migrate/index.ts';
import {
  type DeviceFault,
  type DevPagemap,
  type DevPagemapOps,
  FreePages,
  memremapPages,
  type Owner,
  type PagemapType,
} from '../../core/pagemap/pagemap.ts';
import type { Process } from '../../core/process.ts';
import { Mutex } from '../../core/sched/locks.ts';
import { Delay, type MaybeTask, type Task } from '../../core/sched/task.ts';
import type { StateHash } from '../../core/state-hash.ts';
import { type Timing, transferNs } from '../../core/timing.ts';
import { MiB, NO_PAGE, type Page, type Va } from '../../core/units.ts';
import { BusMaster } from '../../hw/bus.ts';
import { type DeviceTime, deviceTime } from '../../hw/device-time.ts';
import type { LinkDirection } from '../../hw/link.ts';
import type { DmirrorDefect } from './defects.ts';
import { DmirrorFile } from './file.ts';
import { migrateOneToRam } from './migrate.ts';
import type { MirrorEntry } from './page-table.ts';

/** DEVMEM_CHUNK_SIZE. */
export const DEVMEM_CHUNK_BYTES: number = 256 * MiB;

export interface DmirrorOptions {
  /** `private` (the default) or `coherent` device memory. */
  readonly type?: PagemapType;
  /** For people; by default hmm_dmirror0, hmm_dmirror1, … in the order of attaching. */
  readonly name?: string;
  /** Device memory grows by chunks of so many bytes; 256 MiB by default. */
  readonly chunkBytes?: number;
  /**
   * False, the default: as the kernel has it. True: a file hears of migrations by its own device,
   * too; see `Dmirror.mended`.
   */
  readonly mended?: boolean;
  /** Faults to have; none by default. */
  readonly defects?: readonly DmirrorDefect[];
}

/** struct dmirror_chunk: one pagemap of a device. */
class Chunk implements DevPagemapOps {
  pagemap: DevPagemap | null = null;
  /** Going away: freed pages are not given out again. */
  remove = false;
  readonly #device: Dmirror;
  readonly #freePages: FreePages;

  constructor(device: Dmirror, freePages: FreePages) {
    this.#device = device;
    this.#freePages = freePages;
  }

  /** dmirror_devmem_free. */
  pageFree(page: Page): void {
    if (!this.remove) this.#freePages.push(page);
  }

  /** dmirror_devmem_fault. */
  migrateToRam(fault: DeviceFault): MaybeTask<number> {
    return migrateOneToRam(this.#device, fault);
  }
}

/**
 * struct dmirror_device. The device is the owner of its pages, whichever process opened it.
 *
 *     const device = machine.attach(new Dmirror({ type: 'private' }));
 *     const file = device.open(process);
 *     file.migrateToDev(buffer, 8);      // { ret: 0, cpages: 8, faults: 0, data }
 */
export class Dmirror implements Driver, Owner {
  readonly type: PagemapType;
  readonly chunkBytes: number;
  /**
   * The reference driver lets its own MMU_NOTIFY_MIGRATE pass, in all versions. What a file has
   * mapped then stays mapped while the page moves, and a store of the device between the copy and
   * the new mapping goes to the old page and is lost. And it maps what it migrated without asking
   * whether a process zapped it meanwhile. A mended device drops such mappings first, and maps by
   * hmm_range_fault afterwards. A page that could not be migrated is not mapped then, so that
   * `migrateToDev` answers -ENOENT where a faithful one still reads the old mapping.
   */
  readonly mended: boolean;
  readonly defects: ReadonlySet<DmirrorDefect>;
  /** For CPU faults. */
  readonly faultWords: FaultWordsPool = new FaultWordsPool();
  #name: string;
  #machine: Machine | null = null;
  #bus: BusMaster | null = null;
  #time: DeviceTime | null = null;
  #devmemLock: Mutex | null = null;
  #freePages: FreePages | null = null;
  readonly #chunks: Chunk[] = [];
  /** Open files, by the number that the pages they migrated carry. */
  readonly #files: Map<number, DmirrorFile> = new Map();
  #nextFileId = 1;
  /** Source and destination words of an eviction, kept for the next one. */
  #words: { readonly src: Uint32Array; readonly dst: Uint32Array } | null = null;

  constructor(options: DmirrorOptions = {}) {
    this.type = options.type ?? 'private';
    this.chunkBytes = options.chunkBytes ?? DEVMEM_CHUNK_BYTES;
    this.mended = options.mended ?? false;
    this.defects = new Set(options.defects);
    this.#name = options.name ?? '';
  }

  get name(): string {
    return this.#name;
  }

  get machine(): Machine {
    if (this.#machine === null) {
      throw new SimError('bad-argument', 'this dmirror is not attached to a machine');
    }
    return this.#machine;
  }

  get kernel(): Kernel {
    return this.machine.kernel;
  }

  /** How the device reaches memory: RAM and what is its own. */
  get bus(): BusMaster {
    return this.#bus!;
  }

  /** Chunks of device memory that exist now. */
  get chunkCount(): number {
    return this.#chunks.length;
  }

  /** Device pages in use. */
  get pagesInUse(): number {
    return this.#chunks.reduce((sum, chunk) => sum + (chunk.pagemap?.pagesInUse ?? 0), 0);
  }

  /** Files that are open now, oldest first. */
  get files(): readonly DmirrorFile[] {
    return [...this.#files.values()];
  }

  /**
   * dmirror_device_init, except that the first chunk comes with the first migration: who only
   * mirrors pays for no device memory, and nobody can tell.
   */
  attach(machine: Machine): void {
    const { type, chunkBytes } = this;
    if (this.#machine !== null) {
      throw new SimError('bad-argument', `${this.#name} is attached to a machine already`);
    }
    if (type === 'coherent' && !machine.era.deviceCoherent) {
      throw new SimError('not-in-this-era', `${machine.era.name} has no device-coherent memory`);
    }
    if (!Number.isSafeInteger(chunkBytes / machine.pageSize) || chunkBytes <= 0) {
      throw new SimError(
        'bad-argument',
        `a chunk of ${chunkBytes} bytes; expected a multiple of ${machine.pageSize}`,
        { chunkBytes },
      );
    }
    if (this.#name === '') {
      let minor = machine.drivers.filter((one) => one instanceof Dmirror).length;
      while (machine.drivers.some(({ name }) => name === `hmm_dmirror${minor}`)) minor++;
      this.#name = `hmm_dmirror${minor}`;
    }
    this.#machine = machine;
    this.#bus = new BusMaster(machine.kernel, this);
    this.#time = deviceTime(machine.kernel, this.#name, 'dmirror');
    this.#devmemLock = new Mutex(machine.kernel.scheduler, `devmem_lock of ${this.#name}`);
    this.#freePages = new FreePages(machine.kernel);
  }

  /**
   * Opens the device for `proc`; the file mirrors its address space until it is closed or the
   * process ends, whatever the process forks: dmirror_fops_open.
   */
  open(proc: Process): DmirrorFile {
    const file = new DmirrorFile(this, proc, this.#nextFileId++);
    this.#files.set(file.id, file);
    proc.openFiles.add(file);
    return file;
  }

  /**
   * The file that migrated a device page here, if it is still open.
   *
   * @throws SimError `use-after-free` where it is not, of a device that leaves such pages behind
   */
  migratorOf(page: Page): DmirrorFile | null {
    const id = this.kernel.pages.driverDataOf(page);
    const file = this.#files.get(id) ?? null;
    if (file === null && this.defects.has('close_keeps_pages')) {
      throw new SimError(
        'use-after-free',
        `a CPU fault on page ${page} of ${this.#name} follows its way back to file ${id}, which ` +
          'was closed and freed',
        { page, file: id },
      );
    }
    return file;
  }

  fingerprint(hash: StateHash): void {
    for (const file of this.#files.values()) {
      hash.add(file.closed ? -file.id : file.id);
      file.pageTable.fingerprint(hash);
    }
    hash.add(this.#chunks.length);
    for (const chunk of this.#chunks) hash.add(chunk.remove ? 1 : 0);
  }

  /** How this device maps `va` of `proc`: "r", "rw", "x" (exclusive access), or null. */
  mappingOf(proc: Process, va: Va): string | null {
    const entry = this.entryAt(proc, va);
    if (entry === null) return null;
    return entry.access === 'write' ? 'rw' : entry.access === 'read' ? 'r' : 'x';
  }

  /** The entry for `va` in the device's page table for `proc`, or null. */
  entryAt(proc: Process, va: Va): MirrorEntry | null {
    const vpn = Math.floor(va / this.kernel.pageSize);
    for (const file of this.#files.values()) {
      if (file.process !== proc) continue;
      const entry = file.pageTable.entry(vpn);
      if (entry !== null) return entry;
    }
    return null;
  }

  /**
   * Lets the time pass that moving `count` pages takes. The device does it with the task of whoever
   * asked: over its link where it has one, else as a CPU copies memory.
   */
  *moveTime(timing: Timing, direction: LinkDirection, count: number): Task<undefined> {
    if (count === 0) return undefined;
    const bytes = count * this.kernel.pageSize;
    if (this.#time !== null) yield* this.#time.move(direction, bytes);
    else {
      const ns = transferNs(bytes, timing.cpu.copyBytesPerSecond);
      if (ns > 0) yield new Delay(ns, 'work', `${this.#name}: copying`);
    }
    return undefined;
  }

  /** A device page with one reference, locked; NO_PAGE when there is none: dmirror_devmem_alloc_page. */
  allocatePage(): MaybeTask<Page> {
    const page = this.#freePages!.take();
    return page === NO_PAGE ? this.#allocateInNewChunk() : page;
  }

  /** HMM_DMIRROR_RELEASE: everything goes home, then the chunks go: dmirror_device_remove_chunks. */
  *removeChunks(): Task<void> {
    const lock = this.#devmemLock!;
    if (!lock.tryLock()) yield* lock.lock();
    try {
      for (const chunk of this.#chunks) {
        chunk.remove = true;
        this.#freePages!.clear();
        yield* this.#evict(chunk);
        yield* chunk.pagemap!.unmap();
      }
      this.#chunks.length = 0;
      this.#freePages!.clear();
    } finally {
      lock.unlock();
    }
  }

  /**
   * A file was closed. Pages that it migrated lead back to it, so the device sends home all it has,
   * of every process: dmirror_fops_release.
   */
  *forgetFile(file: DmirrorFile): Task<void> {
    if (this.kernel.era.migrateDeviceRange && !this.defects.has('close_keeps_pages')) {
      for (const chunk of [...this.#chunks]) yield* this.#evict(chunk);
    }
    this.#files.delete(file.id);
  }

  *#allocateInNewChunk(): Task<Page> {
    const lock = this.#devmemLock!;
    if (!lock.tryLock()) yield* lock.lock();
    const result = this.#addChunk();
    lock.unlock();
    return result < 0 ? NO_PAGE : this.#freePages!.take();
  }

  /** dmirror_allocate_chunk. */
  #addChunk(): number {
    const chunk = new Chunk(this, this.#freePages!);
    const pagemap = memremapPages(this.kernel, {
      type: this.type,
      owner: this,
      ops: chunk,
      bytes: this.chunkBytes,
      name: `${this.#name} chunk ${this.#chunks.length}`,
    });
    if (typeof pagemap === 'number') return pagemap;
    chunk.pagemap = pagemap;
    this.#chunks.push(chunk);
    this.#freePages!.addRegion(pagemap.firstPage, pagemap.pageCount);
    return 0;
  }

  /**
   * dmirror_device_evict_chunk. Where the kernel would wait for RAM without end, the page stays on
   * the device.
   */
  *#evict(chunk: Chunk): Task<void> {
    const pagemap = chunk.pagemap!;
    if (pagemap.pagesInUse === 0) return;
    const { kernel } = this;
    const { pages } = kernel;
    // Only as far as pages are in use: the last ones of a chunk are given out first.
    const { first, count } = pagemap.usedRange();
    const words = this.#takeWords(count);
    const { src, dst } = words;
    yield* migrateDeviceRange(kernel, src, first, count);
    let copied = 0;
    for (let i = 0; i < count; i++) {
      if ((src[i]! & MIGRATE_PFN_MIGRATE) === 0) continue;
      const from = migratePfnPage(src[i]!);
      if (from === NO_PAGE) continue;
      const to = pages.allocateLocked();
      if (to === NO_PAGE) continue;
      pages.copyContents(to, from);
      copied++;
      dst[i] = migratePfn(to) | MIGRATE_PFN_LOCKED | (src[i]! & MIGRATE_PFN_WRITE);
    }
    const { timing } = kernel;
    if (timing !== null) yield* this.moveTime(timing, 'toHost', copied);
    yield* migrateDevicePages(kernel, src, dst, count);
    migrateDeviceFinalize(kernel, src, dst, count);
    this.#words = words;
  }

  /** Zeroed arrays. An eviction that runs while another one sleeps gets arrays of its own. */
  #takeWords(count: number): { readonly src: Uint32Array; readonly dst: Uint32Array } {
    const kept = this.#words;
    this.#words = null;
    if (kept === null || kept.src.length < count) {
      return { src: new Uint32Array(count), dst: new Uint32Array(count) };
    }
    kept.src.fill(0);
    kept.dst.fill(0);
    return kept;
  }
}
