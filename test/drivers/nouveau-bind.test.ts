// Binding pages to VRAM: facts 8.3 (the call) and 8.4 (the migration), row by row.

import { describe, expect, it } from 'vitest';
import { EINVAL, ENODEV, ENOMEM } from '../../src/core/errno.ts';
import { PTE_DEVICE_PRIVATE, PTE_WRITE } from '../../src/core/mm/pte.ts';
import { VM_MIXEDMAP } from '../../src/core/mm/vma.ts';
import { KiB, PAGE_SIZE } from '../../src/core/units.ts';
import {
  bindHeader,
  NOUVEAU_SVM_BIND_TARGET__GPU_VRAM,
  type SvmBind,
} from '../../src/drivers/nouveau/index.ts';
import { migrateVma } from '../../src/drivers/nouveau/migrate.ts';
import { GPU_PTE_VALID, GPU_PTE_VRAM, GPU_PTE_WRITE } from '../../src/hw/gpu-page-table.ts';
import { codeOf } from '../core/tasks.ts';
import { GpuLab, type GpuLabOptions } from './nouveau-lab.ts';

const HEADER: number = bindHeader();

describe('8.3 arguments', () => {
  const refused: readonly (readonly [string, (args: SvmBind) => SvmBind])[] = [
    ['reserved0 is not 0', (args) => ({ ...args, reserved0: 1 })],
    ['reserved1 is not 0', (args) => ({ ...args, reserved1: 1 })],
    ['the header has bits outside of its mask', (args) => ({ ...args, header: HEADER + 2 ** 48 })],
    ['the range is empty', (args) => ({ ...args, vaEnd: args.vaStart })],
    ['the range ends before it starts', (args) => ({ ...args, vaEnd: args.vaStart - PAGE_SIZE })],
    ['the command is not MIGRATE', (args) => ({ ...args, header: bindHeader(1) })],
    ['the target is not VRAM', (args) => ({ ...args, header: bindHeader(0, 0) })],
    [
      'the target is VRAM and something else',
      (args) => ({ ...args, header: bindHeader(0, NOUVEAU_SVM_BIND_TARGET__GPU_VRAM + 1) }),
    ],
    ['the stride is not 0', (args) => ({ ...args, stride: PAGE_SIZE })],
  ];

  it.each(refused)('-EINVAL where %s', (_, change) => {
    const lab = new GpuLab();
    const va = lab.buffer(2, 5);
    const good: SvmBind = { header: HEADER, vaStart: va, vaEnd: lab.at(va, 2) };
    expect(lab.file.svmBindIoctl(change(good))).toBe(-EINVAL);
    expect(lab.owners(va, 2)).toEqual(['system', 'system']);
    expect(lab.file.svmBindIoctl(good)).toBe(0);
    expect(lab.owners(va, 2)).toEqual(['nouveau0', 'nouveau0']);
    lab.verify();
  });

  it('-EINVAL where the process is gone', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    lab.proc.exit();
    expect(lab.file.svmBind(va, PAGE_SIZE)).toBe(-EINVAL);
  });

  it('-EINVAL where the client shares no address space', () => {
    const lab = new GpuLab();
    const proc = lab.machine.createProcess();
    const file = lab.gpu.open(proc, { svm: false });
    const va = proc.mmap({ pages: 1 });
    expect(file.svmBind(va, PAGE_SIZE)).toBe(-EINVAL);
    expect(file.svmInit()).toBe(0);
    expect(file.svmBind(va, PAGE_SIZE)).toBe(0);
  });

  it('rounds the start down and the end up', () => {
    const lab = new GpuLab();
    const va = lab.buffer(4, 5);
    const header = HEADER;
    const args = { header, vaStart: lab.at(va, 1) + 100, vaEnd: lab.at(va, 2) + 1 };
    expect(lab.file.svmBindIoctl(args)).toBe(0);
    expect(lab.owners(va, 4)).toEqual(['system', 'nouveau0', 'nouveau0', 'system']);
  });

  it('takes any priority and makes nothing of it', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    const header = bindHeader(0, NOUVEAU_SVM_BIND_TARGET__GPU_VRAM, 255);
    expect(lab.file.svmBindIoctl({ header, vaStart: va, vaEnd: lab.at(va, 1) })).toBe(0);
    expect(lab.owners(va, 1)).toEqual(['nouveau0']);
  });
});

describe('8.3 the walk', () => {
  it('goes from VMA to VMA, past gaps, and is content with anything', () => {
    const lab = new GpuLab();
    const va = lab.buffer(8, 5);
    lab.proc.munmap(lab.at(va, 2), 2 * PAGE_SIZE);
    lab.proc.mprotect(lab.at(va, 5), PAGE_SIZE, 'r');
    lab.bind(va - PAGE_SIZE, 12);
    const gpu = 'nouveau0';
    expect(lab.owners(va, 8)).toEqual([gpu, gpu, null, null, gpu, gpu, gpu, gpu]);
  });

  it('does nothing where nothing is mapped', () => {
    const lab = new GpuLab();
    lab.bind(0x1000_0000, 4);
    expect(lab.gpu.pagesInUse).toBe(0);
  });

  it('answers 0 where a VMA refuses', () => {
    const lab = new GpuLab({ dmem: false });
    const va = lab.buffer(1, 5);
    lab.bind(va, 1);
    expect(lab.owners(va, 1)).toEqual(['system']);
  });
});

describe('8.3 result', () => {
  function bound(
    prepare: (lab: GpuLab) => void,
    options: GpuLabOptions = {},
  ): { ret: number; result: number | undefined; owners: (string | null)[] } {
    const lab = new GpuLab(options);
    const va = lab.buffer(2, 5);
    prepare(lab);
    const args: SvmBind = { header: HEADER, vaStart: va, vaEnd: lab.at(va, 2), result: 77 };
    const ret = lab.file.svmBindIoctl(args);
    lab.verify();
    return { ret, result: args.result, owners: lab.owners(va, 2) };
  }
  const moved = ['nouveau0', 'nouveau0'];
  const stayed = ['system', 'system'];

  it('is 0 when all moved', () => {
    expect(bound(() => {})).toEqual({ ret: 0, result: 0, owners: moved });
  });

  it('is 0, and so is the answer, when migrate_vma says -ENODEV', () => {
    expect(bound(() => {}, { dmem: false })).toEqual({ ret: 0, result: 0, owners: stayed });
  });

  it('is 0, and so is the answer, when migrate_vma says -ENOMEM', () => {
    const prepare = (lab: GpuLab): void => lab.gpu.failAllocationAfter(1);
    expect(bound(prepare)).toEqual({ ret: 0, result: 0, owners: stayed });
  });

  it('is 0, and so is the answer, when migrate_vma says -EINVAL', () => {
    const prepare = ({ proc }: GpuLab): void => {
      for (const vma of proc.mm.vmas) vma.flags |= VM_MIXEDMAP;
    };
    expect(bound(prepare)).toEqual({ ret: 0, result: 0, owners: stayed });
  });

  it('is not written by a call that is refused', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    const args: SvmBind = { header: HEADER, vaStart: va, vaEnd: va, result: 77 };
    expect(lab.file.svmBindIoctl(args)).toBe(-EINVAL);
    expect(args.result).toBe(77);
  });
});

describe('8.4 errors', () => {
  it('-ENODEV without dmem', () => {
    const lab = new GpuLab({ dmem: false });
    const va = lab.buffer(1, 5);
    const { proc, file, gpu, machine } = lab;
    const vma = proc.mm.vmas.find(va)!;
    const result = machine.run(migrateVma(gpu, file.svmm!, vma, va, lab.at(va, 1)));
    expect(result).toBe(-ENODEV);
  });

  /** Migrates two pages with the n-th allocation failing; what migrate_vma answers. */
  function migratedWith(n: number, era: 'v5.7' | 'v6.1' = 'v6.1'): { ret: number; lab: GpuLab } {
    const lab = new GpuLab({ era });
    const va = lab.buffer(2, 5);
    const { proc, file, gpu, machine } = lab;
    const vma = proc.mm.vmas.find(va)!;
    gpu.failAllocationAfter(n);
    machine.run(proc.mm.mmapLock.read());
    const ret = machine.run(migrateVma(gpu, file.svmm!, vma, va, lab.at(va, 2)));
    proc.mm.mmapLock.unlockRead();
    lab.verify();
    return { ret, lab };
  }

  it.each(['sources', 'destinations', 'DMA addresses', 'GPU entries'].map((what, i) => [what, i]))(
    '-ENOMEM without memory for the array of %s, and nothing moves',
    (_, i) => {
      const { ret, lab } = migratedWith(Number(i) + 1);
      expect(ret).toBe(-ENOMEM);
      expect(lab.gpu.pagesInUse).toBe(0);
      expect(lab.gpu.dmem!.chunks).toEqual([]);
    },
  );

  it('-ENOMEM comes from three arrays before v5.8, where the GPU is mapped nothing', () => {
    expect([1, 2, 3, 4].map((n) => migratedWith(n, 'v5.7').ret)).toEqual([-12, -12, -12, 0]);
  });

  it('no memory for a chunk is no error: the page stays, and the next one asks again', () => {
    const { ret, lab } = migratedWith(5);
    expect(ret).toBe(0);
    expect(lab.gpu.pagesInUse).toBe(1);
    expect(lab.gpu.dmem!.chunks).toHaveLength(1);
  });

  it('a chunk that cannot be pinned is none: the page stays, and the next one asks again', () => {
    const lab = new GpuLab();
    const va = lab.buffer(2, 5);
    lab.gpu.failPinAfter(1);
    lab.bind(va, 2);
    expect(lab.owners(va, 2)).toEqual(['system', 'nouveau0']);
    expect(lab.gpu.dmem!.chunks.map(({ offset }) => offset)).toEqual([0]);
  });

  it('what is to fail is counted from 1', () => {
    const { gpu } = new GpuLab();
    for (const n of [0, -1, 1.5, Number.NaN]) {
      expect(codeOf(() => gpu.failAllocationAfter(n))).toBe('bad-argument');
      expect(codeOf(() => gpu.failDmaMapAfter(n))).toBe('bad-argument');
      expect(codeOf(() => gpu.failPinAfter(n))).toBe('bad-argument');
    }
  });

  it('what setup answers, at once', () => {
    const lab = new GpuLab();
    const va = lab.buffer(200, 5);
    const { proc, file, gpu, machine } = lab;
    const vma = proc.mm.vmas.find(va)!;
    machine.run(proc.mm.mmapLock.read());
    // The second batch reaches past the end of the VMA.
    const result = machine.run(migrateVma(gpu, file.svmm!, vma, va, lab.at(va, 201)));
    proc.mm.mmapLock.unlockRead();
    expect(result).toBe(-EINVAL);
    expect(lab.owners(va, 200).filter((owner) => owner === 'nouveau0')).toHaveLength(128);
    lab.verify();
  });
});

describe('8.4 batches', () => {
  it('are of 128 pages, as many scatterlist entries as a page holds', () => {
    const lab = new GpuLab();
    const va = lab.buffer(300, 5);
    const events = lab.eventsOf(() => lab.bind(va, 300));
    const sizes = events
      .filter((event) => event.kind === 'migrate' && event.phase === 'begin')
      .map((event) => (event.kind === 'migrate' ? event.pages : 0));
    expect(sizes).toEqual([128, 128, 44]);
  });

  it('are of 2048 pages where pages are of 64 KiB', () => {
    const lab = new GpuLab({ pageSize: 64 * KiB });
    const va = lab.buffer(300);
    const events = lab.eventsOf(() => lab.bind(va, 300));
    expect(events.filter(({ kind }) => kind === 'migrate')).toHaveLength(2);
  });

  it('are done in the name of the GPU and ask for system pages', () => {
    const lab = new GpuLab({ gpus: 2 });
    const va = lab.buffer(3, 5);
    lab.bind(lab.at(va, 1), 1, lab.files[1]);
    const events = lab.eventsOf(() => lab.bind(va, 3));
    const begun = events.find((event) => event.kind === 'migrate');
    expect(begun).toMatchObject({ owner: lab.gpu, cause: 'driver' });
    // Another GPU's page is not touched.
    expect(lab.owners(va, 3)).toEqual(['nouveau0', 'nouveau1', 'nouveau0']);
    expect(lab.machine.kernel.trespasses).toBe(0);
  });
});

describe('8.4 per page', () => {
  it('copies what there is', () => {
    const lab = new GpuLab();
    const va = lab.buffer(2, 5);
    lab.bind(va, 2);
    expect(lab.machine.kernel.pages.read32(lab.pageAt(va), 0)).toBe(5);
    expect(lab.read(va, 2)).toEqual([5, 6]);
    expect(lab.proc.load32(va)).toBe(5);
  });

  it('clears the page for a hole and for the zero page', () => {
    const lab = new GpuLab();
    const va = lab.buffer(2);
    expect(lab.proc.load32(va)).toBe(0);
    lab.bind(va, 2);
    expect(lab.owners(va, 2)).toEqual(['nouveau0', 'nouveau0']);
    expect(lab.entryAt(va)).toBe(PTE_DEVICE_PRIVATE | PTE_WRITE);
    expect(lab.entryAt(lab.at(va, 1))).toBe(PTE_DEVICE_PRIVATE | PTE_WRITE);
    expect(lab.gpu.engine.done).toBe(2);
  });

  it('maps writable what was writable, in VRAM and not for atomics', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    lab.bind(va, 1);
    expect(lab.mappings(va, 1)).toEqual(['rw']);
    expect(lab.gpu.entryAt(lab.proc, va)).toEqual({
      page: lab.pageAt(va),
      flags: GPU_PTE_VALID | GPU_PTE_VRAM | GPU_PTE_WRITE,
    });
  });

  it('maps holes, the zero page and read-only pages for reading only', () => {
    const lab = new GpuLab();
    const va = lab.buffer(3);
    lab.proc.load32(va);
    lab.proc.store32(lab.at(va, 2), 7);
    lab.proc.mprotect(lab.at(va, 2), PAGE_SIZE, 'r');
    lab.bind(va, 3);
    expect(lab.mappings(va, 3)).toEqual(['r', 'r', 'r']);
    // A write faults, and the entry of the process is found to be writable.
    lab.write(va, 2, 40);
    expect(lab.mappings(va, 2)).toEqual(['rw', 'rw']);
    expect(lab.read(va, 3)).toEqual([40, 41, 7]);
    expect(lab.owners(va, 2)).toEqual(['nouveau0', 'nouveau0']);
  });

  it('leaves a page where it is when no page of VRAM is to be had', () => {
    const lab = new GpuLab({ vramBytes: 0 });
    const va = lab.buffer(2, 5);
    lab.bind(va, 2);
    expect(lab.owners(va, 2)).toEqual(['system', 'system']);
    expect(lab.mappings(va, 2)).toEqual([null, null]);
  });

  it('frees the page again when the copy fails, and goes on with the next', () => {
    const lab = new GpuLab();
    const va = lab.buffer(3, 5);
    lab.gpu.engine.failAfter(2);
    lab.bind(va, 3);
    expect(lab.owners(va, 3)).toEqual(['nouveau0', 'system', 'nouveau0']);
    expect(lab.mappings(va, 3)).toEqual(['rw', null, 'rw']);
    expect(lab.gpu.pagesInUse).toBe(2);
    expect(lab.read(va, 3)).toEqual([5, 6, 7]);
  });

  it('unlocks and puts the page when the DMA mapping fails, and goes on with the next', () => {
    const lab = new GpuLab();
    const va = lab.buffer(3, 5);
    lab.gpu.failDmaMapAfter(2);
    lab.bind(va, 3);
    expect(lab.owners(va, 3)).toEqual(['nouveau0', 'system', 'nouveau0']);
    expect(lab.mappings(va, 3)).toEqual(['rw', null, 'rw']);
    expect(lab.gpu.engine.done).toBe(2);
    expect(lab.gpu.pagesInUse).toBe(2);
    expect(lab.gpu.dma.mapped).toBe(0);
    // The page of VRAM is free and first in the list.
    const { firstPage } = lab.machine.kernel.pagemaps[0]!;
    expect(lab.each(va, 3).map((at) => lab.pageAt(at) - firstPage)).toEqual([
      511,
      expect.any(Number),
      510,
    ]);
    expect(lab.read(va, 3)).toEqual([5, 6, 7]);
  });

  it('maps nothing for DMA where a page is only cleared', () => {
    const lab = new GpuLab();
    const va = lab.buffer(3);
    lab.proc.store32(lab.at(va, 2), 7);
    lab.gpu.failDmaMapAfter(1);
    lab.bind(va, 3);
    expect(lab.owners(va, 3)).toEqual(['nouveau0', 'nouveau0', 'system']);
  });

  it('frees the page again when the clearing fails', () => {
    const lab = new GpuLab();
    const va = lab.buffer(2);
    lab.gpu.engine.failAfter(1);
    lab.bind(va, 2);
    expect(lab.owners(va, 2)).toEqual([null, 'nouveau0']);
  });

  it('unmaps from the GPU what took no part, though it did not move', () => {
    const lab = new GpuLab();
    const va = lab.buffer(2, 5);
    lab.bind(va, 1);
    expect(lab.mappings(va, 2)).toEqual(['rw', null]);
    // The first page is in VRAM already: its entry in the batch says NONE.
    lab.bind(va, 2);
    expect(lab.mappings(va, 2)).toEqual([null, 'rw']);
    expect(lab.read(va, 2)).toEqual([5, 6]);
    expect(lab.mappings(va, 2)).toEqual(['rw', 'rw']);
  });

  it('does not touch the GPU where nothing could be collected', () => {
    const lab = new GpuLab();
    const va = lab.buffer(2, 5);
    lab.bind(va, 2);
    lab.bind(va, 2);
    expect(lab.mappings(va, 2)).toEqual(['rw', 'rw']);
  });
});

describe('8.4 after the loop', () => {
  it('moves the pages while the engine still copies, and waits before it maps them', () => {
    const lab = new GpuLab({ copyLatencyNs: 1000 });
    const va = lab.buffer(3, 5);
    let mappedAtPages: (string | null)[] = [];
    let timeAtPages = -1;
    lab.machine.events.on('migrate_phase', ({ step, phase, timeNs }) => {
      if (step !== 'pages' || phase !== 'end') return;
      mappedAtPages = lab.mappings(va, 3);
      timeAtPages = timeNs;
    });
    lab.bind(va, 3);
    expect(mappedAtPages).toEqual([null, null, null]);
    expect(timeAtPages).toBe(0);
    expect(lab.machine.scheduler.nowNs).toBe(3000);
    expect(lab.mappings(va, 3)).toEqual(['rw', 'rw', 'rw']);
  });

  it('unmaps for DMA what it had mapped, when all is copied and mapped on the GPU', () => {
    const lab = new GpuLab({ copyLatencyNs: 1000 });
    const va = lab.buffer(4, 5);
    lab.gpu.engine.failAfter(2);
    const mapped: Record<string, number> = {};
    lab.machine.events.on('migrate_phase', ({ step, phase }) => {
      mapped[`${step} ${phase}`] = lab.gpu.dma.mapped;
    });
    lab.bind(va, 4);
    // What the copy failed for was unmapped at once.
    expect(mapped).toMatchObject({ 'collect end': 0, 'pages end': 3, 'finalize begin': 0 });
  });

  it('maps also what migrate_vma_pages refused: the GPU then uses a page that is free', () => {
    const lab = new GpuLab();
    const va = lab.proc.mmap({ pages: 1, shared: true });
    lab.proc.store32(va, 5);
    expect(lab.file.svmBind(va, PAGE_SIZE)).toBe(0);
    expect(lab.machine.verify({ full: true })).toEqual([]);
    expect(lab.owners(va, 1)).toEqual(['system']);
    expect(lab.gpu.pagesInUse).toBe(0);
    expect(lab.gpu.staleMappings()).toHaveLength(1);
    expect(lab.file.execute([{ kind: 'read', va }]).results).toEqual([0]);
    expect(lab.proc.load32(va)).toBe(5);
  });

  it('maps only what moved if it is mended', () => {
    const lab = new GpuLab({ mended: true });
    const va = lab.proc.mmap({ pages: 1, shared: true });
    lab.proc.store32(va, 5);
    lab.bind(va, 1);
    expect(lab.read(va)).toEqual([5]);
    lab.write(va, 1, 6);
    expect(lab.proc.load32(va)).toBe(6);
  });
});
