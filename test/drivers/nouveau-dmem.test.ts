// VRAM as device memory: facts 8.1, row by row.

import { describe, expect, it } from 'vitest';
import { ENOMEM } from '../../src/core/errno.ts';
import { KiB, MiB, PAGE_SIZE } from '../../src/core/units.ts';
import { DMEM_CHUNK_BYTES, Nouveau } from '../../src/drivers/nouveau/index.ts';
import { codeOf } from '../core/tasks.ts';
import { GpuLab } from './nouveau-lab.ts';

const CHUNK_PAGES = 512;

describe('8.1 chunk', () => {
  it('is 2 MiB of VRAM with a pagemap of its own, whose range is a whole section', () => {
    const lab = new GpuLab();
    expect(lab.machine.kernel.pagemaps).toEqual([]);
    lab.bind(lab.buffer(1, 5), 1);
    const [pagemap, ...more] = lab.machine.kernel.pagemaps;
    expect(more).toEqual([]);
    expect(pagemap!.pageCount).toBe(CHUNK_PAGES);
    expect(pagemap!.type).toBe('private');
    expect(pagemap!.end - pagemap!.start).toBe(128 * MiB);
    expect(DMEM_CHUNK_BYTES).toBe(2 * MiB);
  });

  it('has as many pages of the machine as fit', () => {
    const lab = new GpuLab({ pageSize: 64 * KiB });
    lab.bind(lab.buffer(40, 5), 40);
    expect(lab.machine.kernel.pagemaps.map(({ pageCount }) => pageCount)).toEqual([32, 32]);
    expect(lab.gpu.pagesInUse).toBe(40);
  });
});

describe('8.1 owner', () => {
  it('is the GPU itself, one for each GPU', () => {
    const lab = new GpuLab({ gpus: 2 });
    const va = lab.buffer(2, 5);
    lab.bind(va, 1, lab.files[0]);
    lab.bind(lab.at(va, 1), 1, lab.files[1]);
    expect(lab.machine.ownerOf(lab.proc, va)).toBe(lab.gpus[0]);
    expect(lab.machine.ownerOf(lab.proc, lab.at(va, 1))).toBe(lab.gpus[1]);
    expect(lab.machine.kernel.pagemaps.map(({ owner }) => owner)).toEqual(lab.gpus);
  });

  it('is named nouveau0, nouveau1, … unless it has a name', () => {
    const lab = new GpuLab({ gpus: 2 });
    expect(lab.gpus.map(({ name }) => name)).toEqual(['nouveau0', 'nouveau1']);
    expect(lab.machine.attach(new Nouveau({ name: 'titan' })).name).toBe('titan');
  });
});

describe('8.1 alloc', () => {
  it('gives the last page of a new chunk first, then the ones before it', () => {
    const lab = new GpuLab();
    const va = lab.buffer(4, 5);
    lab.bind(va, 4);
    const { firstPage } = lab.machine.kernel.pagemaps[0]!;
    const given = lab.each(va, 4).map((at) => lab.pageAt(at) - firstPage);
    expect(given).toEqual([511, 510, 509, 508]);
  });

  it('gives the page that was freed last before all others', () => {
    const lab = new GpuLab();
    const va = lab.buffer(4, 5);
    lab.bind(va, 4);
    const [, second, third] = lab.each(va, 4).map((at) => lab.pageAt(at));
    lab.proc.load32(lab.at(va, 1));
    lab.proc.load32(lab.at(va, 2));
    const other = lab.buffer(2, 9);
    lab.bind(other, 2);
    expect(lab.each(other, 2).map((at) => lab.pageAt(at))).toEqual([third, second]);
  });

  it('takes a further chunk when the list is empty', () => {
    const lab = new GpuLab({ vramBytes: 4 * MiB });
    const va = lab.buffer(CHUNK_PAGES + 1, 5);
    lab.bind(va, CHUNK_PAGES);
    expect(lab.gpu.dmem!.chunks).toHaveLength(1);
    lab.bind(va, CHUNK_PAGES + 1);
    expect(lab.gpu.dmem!.chunks.map(({ allocated }) => allocated)).toEqual([512, 1]);
    const { firstPage } = lab.machine.kernel.pagemaps[1]!;
    expect(lab.pageAt(lab.at(va, CHUNK_PAGES)) - firstPage).toBe(511);
  });

  it('fails with -ENOMEM where the chunk does not fit into VRAM, as its buffer object would', () => {
    const lab = new GpuLab({ vramBytes: 3 * MiB });
    const dmem = lab.gpu.dmem!;
    expect(dmem.addChunk()).toBe(0);
    expect(dmem.addChunk()).toBe(-ENOMEM);
    expect(dmem.chunks).toHaveLength(1);
  });

  it('gives a page with one reference, locked, in use by its pagemap', () => {
    const lab = new GpuLab();
    const page = lab.gpu.dmem!.allocatePage();
    const { pages, pagemaps } = lab.machine.kernel;
    expect(pages.refcount[page]).toBe(1);
    expect(pages.isLocked(page)).toBe(true);
    expect(pagemaps[0]!.pagesInUse).toBe(1);
    pages.unlock(page);
    pages.put(page);
    lab.verify();
  });
});

describe('8.1 free', () => {
  it('counts down, and keeps the chunk however empty it is', () => {
    const lab = new GpuLab();
    const va = lab.buffer(3, 5);
    lab.bind(va, 3);
    const [chunk] = lab.gpu.dmem!.chunks;
    expect(chunk!.allocated).toBe(3);
    lab.proc.munmap(va, 3 * PAGE_SIZE);
    expect(chunk!.allocated).toBe(0);
    expect(lab.gpu.dmem!.chunks).toEqual([chunk]);
    expect(lab.machine.kernel.pagemaps).toHaveLength(1);
    lab.verify();
  });

  it('warns of a page that is freed once too often', () => {
    const lab = new GpuLab();
    const dmem = lab.gpu.dmem!;
    const page = dmem.allocatePage();
    dmem.chunks[0]!.allocated = 0;
    lab.machine.kernel.pages.unlock(page);
    lab.machine.kernel.pages.put(page);
    expect(lab.gpu.warnings).toEqual([`page ${page} was freed once too often`]);
  });
});

describe('8.1 address', () => {
  it('is the place of the chunk in VRAM and of the page in the chunk', () => {
    const lab = new GpuLab({ vramBytes: 4 * MiB });
    const va = lab.buffer(CHUNK_PAGES + 1, 5);
    lab.bind(va, CHUNK_PAGES + 1);
    const addresses = lab
      .each(va, CHUNK_PAGES + 1)
      .map((at) => lab.gpu.dmem!.vramAddress(lab.pageAt(at)));
    expect(addresses[0]).toBe(2 * MiB - PAGE_SIZE);
    expect(addresses.at(-1)).toBe(4 * MiB - PAGE_SIZE);
    expect(new Set(addresses).size).toBe(CHUNK_PAGES + 1);
    expect(Math.min(...addresses)).toBe(0);
  });
});

describe('8.1 zone_device_data', () => {
  it('names the address space that migrated the page', () => {
    const lab = new GpuLab();
    const other = lab.machine.createProcess();
    const file = lab.gpu.open(other);
    const va = lab.buffer(1, 5);
    const otherVa = other.mmap({ pages: 1 });
    other.store32(otherVa, 6);
    lab.bind(va, 1);
    file.svmBind(otherVa, PAGE_SIZE);
    expect(lab.gpu.svmmOf(lab.pageAt(va))).toBe(lab.file.svmm);
    expect(lab.gpu.svmmOf(lab.pageAt(otherVa, other))).toBe(file.svmm);
  });
});

describe('GPU memory smaller than the data', () => {
  it('takes what fits; the rest stays in RAM, and the GPU uses it there', () => {
    const lab = new GpuLab({ vramBytes: 2 * MiB });
    const pages = CHUNK_PAGES + 8;
    const va = lab.buffer(pages, 100);
    lab.bind(va, pages);
    expect(lab.gpu.pagesInUse).toBe(CHUNK_PAGES);
    expect(lab.owners(lab.at(va, CHUNK_PAGES - 1), 2)).toEqual(['nouveau0', 'system']);
    expect(lab.read(va, pages)).toEqual(Array.from({ length: pages }, (_, i) => 100 + i));
    expect(lab.owners(lab.at(va, CHUNK_PAGES), 8)).toEqual(new Array(8).fill('system'));
    expect(lab.proc.load32(lab.at(va, CHUNK_PAGES + 7))).toBe(100 + CHUNK_PAGES + 7);
    lab.verify();
  });

  it('makes room as soon as pages go home or away', () => {
    const lab = new GpuLab({ vramBytes: 2 * MiB });
    const va = lab.buffer(CHUNK_PAGES + 2, 100);
    lab.bind(va, CHUNK_PAGES + 2);
    lab.proc.load32(va);
    lab.bind(lab.at(va, CHUNK_PAGES), 2);
    expect(lab.owners(lab.at(va, CHUNK_PAGES), 2)).toEqual(['nouveau0', 'system']);
  });

  it('may have no room for a single chunk', () => {
    const lab = new GpuLab({ vramBytes: MiB });
    const va = lab.buffer(2, 100);
    lab.bind(va, 2);
    expect(lab.owners(va, 2)).toEqual(['system', 'system']);
    expect(lab.read(va, 2)).toEqual([100, 101]);
  });
});

describe('a GPU', () => {
  it('is attached once, and needs a machine and a sane size', () => {
    const lab = new GpuLab();
    expect(codeOf(() => lab.machine.attach(new Nouveau({ vramBytes: -1 })))).toBe('bad-argument');
    expect(codeOf(() => lab.gpu.attach(lab.machine))).toBe('bad-argument');
    expect(codeOf(() => new Nouveau().kernel)).toBe('bad-argument');
  });
});
