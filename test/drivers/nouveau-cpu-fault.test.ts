// The CPU touches a page in VRAM: facts 8.2, step by step.

import { describe, expect, it, vi } from 'vitest';
import { VM_FAULT_SIGBUS } from '../../src/core/mm/fault-flags.ts';
import {
  PTE_DEVICE_PRIVATE,
  PTE_MIGRATION,
  PTE_PRESENT,
  PTE_WRITE,
} from '../../src/core/mm/pte.ts';
import { VM_MIXEDMAP } from '../../src/core/mm/vma.ts';
import { ACCESS_SIGBUS } from '../../src/core/process.ts';
import { Delay, settle, type Task } from '../../src/core/sched/task.ts';
import { KiB, PAGE_SIZE, type Va } from '../../src/core/units.ts';
import { migrateToRam } from '../../src/drivers/nouveau/migrate.ts';
import { codeOf } from '../core/tasks.ts';
import { GpuLab } from './nouveau-lab.ts';

/** A lab with two pages in VRAM. */
function labWithPages(options: ConstructorParameters<typeof GpuLab>[0] = {}): [GpuLab, Va] {
  const lab = new GpuLab(options);
  const va = lab.buffer(2, 5);
  lab.bind(va, 2);
  return [lab, va];
}

/** Calls the driver as the kernel does, with mmap_lock held and a reference on the page. */
function faultAt(lab: GpuLab, va: Va, address: Va = va): number {
  const { proc, gpu, machine } = lab;
  const { mm } = proc;
  const { pages } = machine.kernel;
  const page = lab.pageAt(va);
  return machine.run(
    (function* (): Task<number> {
      yield* mm.mmapLock.read();
      pages.get(page);
      const result = yield* settle(
        migrateToRam(gpu.home, { vma: mm.vmas.find(address)!, address, page }),
      );
      pages.put(page);
      mm.mmapLock.unlockRead();
      return result;
    })(),
  );
}

describe('8.2 step 1: setup', () => {
  it('SIGBUS where it refuses', () => {
    const [lab, va] = labWithPages();
    const vma = lab.proc.mm.vmas.find(va)!;
    const { flags } = vma;
    vma.flags |= VM_MIXEDMAP;
    expect(faultAt(lab, va)).toBe(VM_FAULT_SIGBUS);
    vma.flags = flags;
    expect(lab.owners(va, 1)).toEqual(['nouveau0']);
    lab.verify();
  });

  it('asks for one page of this GPU, and names the page that the fault holds', () => {
    const [lab, va] = labWithPages();
    const events = lab.eventsOf(() => lab.proc.load32(lab.at(va, 1)));
    const begun = events.find((event) => event.kind === 'migrate');
    expect(begun).toMatchObject({
      start: lab.at(va, 1),
      end: lab.at(va, 2),
      pages: 1,
      cause: 'cpu_fault',
      owner: lab.gpu,
    });
    expect(lab.owners(va, 2)).toEqual(['nouveau0', 'system']);
    lab.verify();
  });
});

describe('8.2 step 2: nothing collected', () => {
  it('0, and nothing is left behind', () => {
    const [lab, va] = labWithPages();
    const { pages } = lab.machine.kernel;
    const page = lab.pageAt(va);
    expect(pages.tryLock(page)).toBe(true);
    expect(faultAt(lab, va)).toBe(0);
    pages.unlock(page);
    expect(lab.owners(va, 1)).toEqual(['nouveau0']);
    lab.verify();
  });
});

describe('8.2 step 3: no page that moves', () => {
  it('0 for a hole, which setup collects as well', () => {
    const [lab, va] = labWithPages();
    const hole = lab.buffer(1);
    expect(faultAt(lab, va, hole)).toBe(0);
    expect(lab.owners(hole, 1)).toEqual([null]);
    lab.verify();
  });
});

describe('8.2 step 4: no RAM', () => {
  it('0, and the CPU faults for ever', () => {
    const lab = new GpuLab({ ramBytes: 64 * KiB });
    const va = lab.buffer(16, 5);
    lab.bind(va, 1);
    const filler = lab.buffer(1, 9);
    expect(faultAt(lab, va)).toBe(0);
    expect(codeOf(() => lab.proc.load32(va))).toBe('refault-livelock');
    expect(lab.owners(va, 1)).toEqual(['nouveau0']);
    lab.verify();
    lab.proc.munmap(filler, PAGE_SIZE);
    expect(lab.proc.load32(va)).toBe(5);
    lab.verify();
  });
});

describe('8.2 step 5 and 6: the copy', () => {
  it('is done under the lock of the address space, with the GPU mapping gone', () => {
    const [lab, va] = labWithPages();
    expect(lab.mappings(va, 2)).toEqual(['rw', 'rw']);
    const { mutex } = lab.file.svmm!;
    lab.machine.run(mutex.lock());
    let done = false;
    lab.machine.spawn(
      'holder',
      (function* (): Task<void> {
        yield new Delay(1000);
        expect(done).toBe(false);
        expect(lab.gpu.engine.done).toBe(2);
        expect(lab.mappings(va, 1)).toEqual(['rw']);
        mutex.unlock();
      })(),
    );
    lab.machine.spawn(
      'reader',
      (function* (): Task<void> {
        expect(yield* lab.proc.loadTask(va)).toBe(5);
        done = true;
      })(),
    );
    lab.machine.runAll();
    expect(done).toBe(true);
    expect(lab.mappings(va, 2)).toEqual([null, 'rw']);
    lab.verify();
  });

  it('goes to a page that is locked, with the one it comes from', () => {
    const [lab, va] = labWithPages();
    const { engine } = lab.gpu;
    const { pages } = lab.machine.kernel;
    const from = lab.pageAt(va);
    const copy = engine.copy.bind(engine);
    const seen: unknown[] = [];
    vi.spyOn(engine, 'copy').mockImplementation((to, source) => {
      seen.push([source, pages.isDevicePrivate(to), pages.isLocked(to), pages.isLocked(source)]);
      return copy(to, source);
    });
    expect(lab.proc.load32(va)).toBe(5);
    expect(seen).toEqual([[from, false, true, true]]);
    expect(pages.isLocked(lab.pageAt(va))).toBe(false);
    lab.verify();
  });

  it('error: SIGBUS, both pages freed, and an entry that waits for a migration for ever', () => {
    const [lab, va] = labWithPages();
    const { pages } = lab.machine.kernel;
    const used = pages.ramUsed;
    lab.gpu.engine.failAfter(1);
    expect(lab.proc.tryLoad32(va)).toBe(ACCESS_SIGBUS);
    expect(lab.entryAt(va)).toBe(PTE_MIGRATION | PTE_WRITE);
    expect(lab.gpu.dma.mapped).toBe(0);
    // The destination was dropped, the source is on the free list.
    expect(pages.ramUsed).toBe(used);
    expect(lab.gpu.pagesInUse).toBe(1);
    const codes = lab.machine.verify({ full: true }).map(({ code }) => code);
    expect(codes).toContain('migration-entry');
    expect(codes.filter((code) => !['migration-entry', 'rss'].includes(code))).toEqual([]);
    // Whoever touches it again never comes out of the fault.
    expect(codeOf(() => lab.proc.load32(va))).toBe('refault-livelock');
  });

  it('error of the DMA mapping: the same, and nothing was copied', () => {
    const [lab, va] = labWithPages();
    lab.gpu.failDmaMapAfter(1);
    expect(lab.proc.tryLoad32(va)).toBe(ACCESS_SIGBUS);
    expect(lab.gpu.engine.done).toBe(2);
    expect(lab.gpu.dma.mapped).toBe(0);
    expect(lab.entryAt(va)).toBe(PTE_MIGRATION | PTE_WRITE);
    expect(lab.gpu.pagesInUse).toBe(1);
    expect(codeOf(() => lab.proc.load32(va))).toBe('refault-livelock');
    // Only the one page was meant.
    expect(lab.proc.load32(lab.at(va, 1))).toBe(6);
  });

  it.each(['mended', 'of v5.10'])('error of the DMA mapping on a GPU %s: it stays', (which) => {
    const options = which === 'mended' ? { mended: true } : { era: 'v5.10' as const };
    const [lab, va] = labWithPages(options);
    lab.gpu.failDmaMapAfter(1);
    expect(lab.proc.tryLoad32(va)).toBe(ACCESS_SIGBUS);
    expect(lab.owners(va, 1)).toEqual(['nouveau0']);
    lab.verify();
    expect(lab.proc.load32(va)).toBe(5);
    lab.verify();
  });

  it('error on a mended GPU: SIGBUS, and the page stays where it was', () => {
    const [lab, va] = labWithPages({ mended: true });
    lab.gpu.engine.failAfter(1);
    expect(lab.proc.tryLoad32(va)).toBe(ACCESS_SIGBUS);
    expect(lab.entryAt(va)).toBe(PTE_DEVICE_PRIVATE | PTE_WRITE);
    lab.verify();
    expect(lab.proc.load32(va)).toBe(5);
    lab.verify();
  });
});

describe('8.2 step 7: the end', () => {
  it('moves the page while the engine copies, and waits before it maps it', () => {
    const [lab, va] = labWithPages({ copyLatencyNs: 500 });
    const startNs = lab.machine.scheduler.nowNs;
    const times: Record<string, number> = {};
    lab.machine.events.on('migrate_phase', ({ step, phase, timeNs }) => {
      times[`${step} ${phase}`] = timeNs - startNs;
    });
    expect(lab.proc.load32(va)).toBe(5);
    expect(times['pages end']).toBe(0);
    expect(times['finalize begin']).toBe(500);
    expect(lab.entryAt(va)).toBe(PTE_PRESENT | PTE_WRITE);
    lab.verify();
  });

  it('unmaps the page for DMA before it ends', () => {
    const [lab, va] = labWithPages({ copyLatencyNs: 500 });
    const mapped: Record<string, number> = {};
    lab.machine.events.on('migrate_phase', ({ step, phase }) => {
      mapped[`${step} ${phase}`] = lab.gpu.dma.mapped;
    });
    expect(lab.proc.load32(va)).toBe(5);
    expect(mapped).toMatchObject({ 'collect end': 0, 'pages end': 1, 'finalize begin': 0 });
  });

  it('keeps what the process may do with the page', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    lab.proc.mprotect(va, PAGE_SIZE, 'r');
    lab.bind(va, 1);
    expect(lab.proc.load32(va)).toBe(5);
    expect(lab.entryAt(va)).toBe(PTE_PRESENT);
    lab.verify();
  });

  it('gives the page of VRAM back', () => {
    const [lab, va] = labWithPages();
    lab.proc.store32(va, 6);
    expect(lab.gpu.pagesInUse).toBe(1);
    expect(lab.read(va)).toEqual([6]);
    expect(lab.owners(va, 1)).toEqual(['system']);
  });
});

describe('8.2 and forked processes', () => {
  it('takes the page from all of them at once', () => {
    const [lab, va] = labWithPages();
    const child = lab.proc.fork();
    expect(lab.owners(va, 1, child)).toEqual(['nouveau0']);
    expect(child.load32(va)).toBe(5);
    expect(lab.owners(va, 1)).toEqual(['system']);
    expect(lab.pageAt(va)).toBe(lab.pageAt(va, child));
    lab.verify();
    child.store32(va, 6);
    expect(lab.proc.load32(va)).toBe(5);
    lab.verify();
  });

  it('serves the child also when the process that migrated the page has closed the GPU', () => {
    const [lab, va] = labWithPages();
    const child = lab.proc.fork();
    const page = lab.pageAt(va);
    expect(lab.gpu.svmmOf(page)).toBe(lab.file.svmm);
    lab.file.close();
    expect(lab.gpu.svmmOf(page)).toBeNull();
    expect(child.load32(va)).toBe(5);
    lab.verify();
  });

  /** Parent and child share a page in VRAM, and each uses the GPU for itself. */
  function shared(mended: boolean): { lab: GpuLab; va: Va; stale: number } {
    const [lab, va] = labWithPages({ mended });
    const child = lab.proc.fork();
    const childFile = lab.gpu.open(child);
    expect(lab.read(va, 1, childFile)).toEqual([5]);
    expect(lab.mappings(va, 1, child)).toEqual(['r']);
    expect(child.load32(va)).toBe(5);
    expect(lab.mappings(va, 1)).toEqual([null]);
    return { lab, va, stale: lab.gpu.staleMappings().length };
  }

  it('forgets the mapping of who migrated the page, not that of the child who touched it', () => {
    const { lab, stale } = shared(false);
    expect(stale).toBe(1);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });

  it('forgets all mappings if it is mended', () => {
    const { lab, stale } = shared(true);
    expect(stale).toBe(0);
    lab.verify();
  });
});
