/**
 * VRAM as device memory with struct pages. Reference: nouveau_dmem.c of Linux 6.1.
 *
 * VRAM is taken in chunks of 2 MiB, each a pinned buffer object under a pagemap of its own, and
 * never given back before the GPU goes. A page's contents are those of its place in the buffer
 * object, wherever that lies: while the GPU sleeps, in RAM, and hardware does not reach them. The
 * RAM for that is not taken from the machine's. Until v5.7 one pagemap covered all of VRAM and
 * bitmaps told which pages were free; who owns what came to the same, so all eras have chunks here.
 */
import { ENOMEM, errnoName } from '../../core/errno.ts';
import type { Kernel } from '../../core/kernel.ts';
import {
  type DeviceFault,
  type DevPagemap,
  type DevPagemapOps,
  FreePages,
  memremapPages,
} from '../../core/pagemap/pagemap.ts';
import type { MaybeTask, Task } from '../../core/sched/task.ts';
import type { StateHash } from '../../core/state-hash.ts';
import { MiB, NO_PAGE, type Page } from '../../core/units.ts';
import type { Nouveau } from './device.ts';
import { evictChunk, migrateToRam } from './migrate.ts';

/** DMEM_CHUNK_SIZE. */
export const DMEM_CHUNK_BYTES: number = 2 * MiB;

/** The buffer object under a chunk, as far as TTM moves it about: struct nouveau_bo. */
export class ChunkBuffer {
  /** False: its contents lie in RAM. */
  inVram = false;
  /** While it is pinned it stays in VRAM. */
  pins = 0;
  readonly #device: Nouveau;

  constructor(device: Nouveau) {
    this.#device = device;
  }

  /** nouveau_bo_pin: moves it to VRAM, contents and all. 0, or -ENOMEM where VRAM has no room. */
  pin(): number {
    if (this.#device.pinFails()) return -ENOMEM;
    this.inVram = true;
    this.pins++;
    return 0;
  }

  /** nouveau_bo_unpin. */
  unpin(): void {
    if (this.pins === 0) this.#device.warn('a chunk was unpinned once too often');
    else this.pins--;
  }

  /** ttm_resource_manager_evict_all comes by: what is not pinned leaves VRAM. */
  evict(): void {
    if (this.pins === 0) this.inVram = false;
  }
}

/** struct nouveau_dmem_chunk. */
export class DmemChunk implements DevPagemapOps {
  /** Pages given out: `callocated`. */
  allocated = 0;
  pagemap: DevPagemap | null = null;
  readonly buffer: ChunkBuffer;
  /** Where in VRAM it lies, in bytes; there it comes back to. */
  readonly offset: number;
  readonly #device: Nouveau;
  readonly #freePages: FreePages;

  constructor(device: Nouveau, freePages: FreePages, offset: number) {
    this.#device = device;
    this.#freePages = freePages;
    this.buffer = new ChunkBuffer(device);
    this.offset = offset;
  }

  /** nouveau_dmem_page_free. */
  pageFree(page: Page): void {
    this.#freePages.push(page);
    if (this.allocated === 0) this.#device.warn(`page ${page} was freed once too often`);
    else this.allocated--;
  }

  /** nouveau_dmem_migrate_to_ram. */
  migrateToRam(fault: DeviceFault): MaybeTask<number> {
    return this.#device.whileInUse(() => migrateToRam(this.#device.home, fault));
  }
}

/** struct nouveau_dmem. */
export class Dmem {
  readonly chunks: DmemChunk[] = [];
  readonly #device: Nouveau;
  readonly #freePages: FreePages;

  constructor(device: Nouveau, kernel: Kernel) {
    this.#device = device;
    this.#freePages = new FreePages(kernel);
  }

  /** Bytes of VRAM that chunks have taken. */
  get usedBytes(): number {
    return this.chunks.length * DMEM_CHUNK_BYTES;
  }

  /** Device pages in use. */
  get pagesInUse(): number {
    return this.chunks.reduce((sum, { allocated }) => sum + allocated, 0);
  }

  /**
   * A page of VRAM with one reference, locked, the one freed last first; NO_PAGE where VRAM is
   * full: nouveau_dmem_page_alloc_locked. Of a new chunk the last page is given out first.
   */
  allocatePage(): Page {
    let page = this.#freePages.take();
    if (page === NO_PAGE && this.addChunk() === 0) page = this.#freePages.take();
    if (page === NO_PAGE) return NO_PAGE;
    const { ops } = this.#device.kernel.pages.pagemapOf(page)!;
    (ops as DmemChunk).allocated++;
    return page;
  }

  /**
   * nouveau_dmem_chunk_alloc: 0; -ENOMEM where there is no memory for its struct, no room for it in
   * VRAM, or it cannot be pinned there; or what memremap says.
   */
  addChunk(): number {
    const device = this.#device;
    if (!device.allocates()) return -ENOMEM;
    const chunk = new DmemChunk(device, this.#freePages, this.usedBytes);
    if (chunk.offset + DMEM_CHUNK_BYTES > device.vramBytes) return -ENOMEM;
    const pinned = chunk.buffer.pin();
    if (pinned !== 0) return pinned;
    const pagemap = memremapPages(device.kernel, {
      type: 'private',
      owner: device,
      ops: chunk,
      bytes: DMEM_CHUNK_BYTES,
      name: `${device.name} chunk ${this.chunks.length}`,
    });
    if (typeof pagemap === 'number') return pagemap;
    chunk.pagemap = pagemap;
    this.chunks.push(chunk);
    this.#freePages.addRegion(pagemap.firstPage, pagemap.pageCount);
    return 0;
  }

  /** nouveau_dmem_suspend, and TTM behind it: every chunk's contents leave VRAM. */
  suspend(): void {
    for (const { buffer } of this.chunks) buffer.unpin();
    for (const { buffer } of this.chunks) buffer.evict();
  }

  /**
   * nouveau_dmem_resume: every chunk is pinned again, and its contents are back. Where that fails
   * there is a warning and no more. Hardware then finds nothing where the pages should be, until
   * the GPU has slept once more and pinning succeeds.
   */
  resume(): void {
    this.chunks.forEach(({ buffer }, i) => {
      const result = buffer.pin();
      if (result !== 0) {
        this.#device.warn(`chunk ${i} could not be pinned again: ${errnoName(result)}`);
      }
    });
  }

  /** False for a page of a chunk whose contents are not in VRAM. */
  inVram(page: Page): boolean {
    const { ops } = this.#device.kernel.pages.pagemapOf(page)!;
    return (ops as DmemChunk).buffer.inVram;
  }

  fingerprint(hash: StateHash): void {
    for (const { allocated, buffer } of this.chunks) {
      hash.add(allocated);
      hash.add(buffer.inVram ? buffer.pins : -1 - buffer.pins);
    }
  }

  /** Where in VRAM a page lies, in bytes: nouveau_dmem_page_addr. */
  vramAddress(page: Page): number {
    const pagemap = this.#device.kernel.pages.pagemapOf(page)!;
    const { offset } = pagemap.ops as DmemChunk;
    return offset + (page - pagemap.firstPage) * this.#device.kernel.pageSize;
  }

  /**
   * Every page goes home, then the chunks go: nouveau_dmem_fini. Where a page cannot leave, and in
   * eras before v6.1 where no page is brought home, this waits until the processes that use it
   * have freed it, and the scheduler reports a deadlock if none ever will.
   */
  *fini(): Task<void> {
    const device = this.#device;
    for (const chunk of [...this.chunks].reverse()) {
      if (device.rules.evicts) {
        yield* evictChunk(device, chunk);
        chunk.buffer.unpin();
        if (chunk.allocated > 0) {
          device.warn(`${chunk.allocated} pages are in use in a chunk that goes`);
        }
      }
      yield* chunk.pagemap!.unmap();
      this.chunks.splice(this.chunks.indexOf(chunk), 1);
    }
    this.#freePages.clear();
  }
}
