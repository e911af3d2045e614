// Suspend, resume and removal: facts 8.8, row by row, and removal with pages alive.

import { describe, expect, it } from 'vitest';
import { ENODEV } from '../../src/core/errno.ts';
import { FOLL_PIN, getUserPagesFast, putUserPage } from '../../src/core/mm/gup.ts';
import { PTE_PRESENT, PTE_WRITE } from '../../src/core/mm/pte.ts';
import { Delay, type Task } from '../../src/core/sched/task.ts';
import { KiB, MiB, PAGE_SIZE } from '../../src/core/units.ts';
import type { Execution } from '../../src/drivers/nouveau/index.ts';
import { codeOf, errorOf } from '../core/tasks.ts';
import { access } from './nouveau-faults.ts';
import { GpuLab } from './nouveau-lab.ts';

describe('8.8 suspend and resume', () => {
  it('VRAM keeps what it holds, and no page migrates', () => {
    const lab = new GpuLab();
    const va = lab.buffer(4, 5);
    lab.bind(va, 4);
    const pages = lab.each(va, 4).map((at) => lab.pageAt(at));
    const events = lab.eventsOf(() => {
      expect(lab.gpu.suspend()).toBe(0);
      expect(lab.gpu.suspended).toBe(true);
      expect(lab.gpu.resume()).toBe(0);
    });
    expect(events.map(({ kind }) => kind)).toEqual(['call', 'call', 'call', 'call']);
    expect(lab.gpu.suspended).toBe(false);
    expect(lab.each(va, 4).map((at) => lab.pageAt(at))).toEqual(pages);
    expect(lab.read(va, 4)).toEqual([5, 6, 7, 8]);
  });

  it('unpins every chunk, and TTM takes the contents out of VRAM until it is awake', () => {
    const lab = new GpuLab({ vramBytes: 4 * MiB });
    const va = lab.buffer(600, 5);
    lab.bind(va, 600);
    const { chunks } = lab.gpu.dmem!;
    const places = (): unknown => chunks.map(({ buffer }) => [buffer.inVram, buffer.pins]);
    const awake = [
      [true, 1],
      [true, 1],
    ];
    expect(places()).toEqual(awake);
    lab.gpu.suspend();
    expect(places()).toEqual([
      [false, 0],
      [false, 0],
    ]);
    // Hardware that does not ask whether its driver sleeps finds nothing, and changes nothing.
    const { gpu, engine } = lab.gpu;
    const { instance } = lab.file.channel!;
    const { pages } = lab.machine.kernel;
    const job = [access('read', va), access('write', va, 9), access('read', lab.at(va, 599))];
    const nothing = 0xffff_ffff;
    expect(lab.machine.run(gpu.execute(instance, job))).toEqual([nothing, 0, nothing]);
    const ram = pages.allocate();
    expect(engine.copy(ram, lab.pageAt(va))).toBe(0);
    expect(pages.read32(ram, 0)).toBe(nothing);
    engine.clear(lab.pageAt(va));
    pages.put(ram);
    expect(lab.machine.kernel.trespasses).toBe(0);
    lab.gpu.resume();
    expect(places()).toEqual(awake);
    expect(lab.read(va, 600)).toEqual(Array.from({ length: 600 }, (_, i) => 5 + i));
    lab.verify();
  });

  it('unpins once, however often it is told to sleep', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    lab.bind(va, 1);
    expect([lab.gpu.suspend(), lab.gpu.suspend(), lab.gpu.resume(), lab.gpu.resume()]).toEqual([
      0, 0, 0, 0,
    ]);
    expect(lab.gpu.dmem!.chunks[0]!.buffer.pins).toBe(1);
    expect(lab.gpu.warnings).toEqual([]);
  });

  it('warns where a chunk cannot be pinned again, whose contents then are not there', () => {
    const lab = new GpuLab({ vramBytes: 4 * MiB });
    const va = lab.buffer(600, 5);
    lab.bind(va, 600);
    lab.gpu.suspend();
    lab.gpu.failPinAfter(2);
    expect(lab.gpu.resume()).toBe(0);
    expect(lab.gpu.warnings).toEqual(['chunk 1 could not be pinned again: ENOMEM']);
    const job = [access('read', va), access('read', lab.at(va, 599))];
    expect(lab.file.execute(job).results).toEqual([5, 0xffff_ffff]);
    // The CPU gets what the engine found.
    expect(lab.proc.load32(lab.at(va, 598))).toBe(0xffff_ffff);
    // Buffer objects lose nothing: the next time that pinning succeeds it is back.
    lab.gpu.suspend();
    expect(lab.gpu.warnings.slice(1)).toEqual(['a chunk was unpinned once too often']);
    lab.gpu.resume();
    expect(lab.file.execute(job).results).toEqual([5, 604]);
    expect(lab.proc.load32(lab.at(va, 599))).toBe(604);
    lab.verify();
  });

  it('comes after binds and CPU faults that run', () => {
    const lab = new GpuLab({ copyLatencyNs: 1000 });
    const va = lab.buffer(3, 5);
    lab.bind(va, 1);
    const startNs = lab.machine.scheduler.nowNs;
    const { proc, file } = lab;
    lab.machine.spawn('bind', file.svmBindTask(lab.at(va, 1), 2 * PAGE_SIZE));
    lab.machine.spawn(
      'reader',
      (function* (): Task<void> {
        expect(yield* proc.loadTask(va)).toBe(5);
      })(),
    );
    lab.machine.spawn(
      'sleeper',
      (function* (): Task<void> {
        yield new Delay(100);
        expect(yield* lab.gpu.suspendTask()).toBe(0);
        expect(lab.machine.scheduler.nowNs - startNs).toBe(3000);
      })(),
    );
    lab.machine.runAll();
    expect(lab.gpu.suspended).toBe(true);
    expect(lab.owners(va, 3)).toEqual(['system', 'nouveau0', 'nouveau0']);
    expect(lab.read(va, 3)).toEqual([5, 6, 7]);
    lab.verify();
  });

  it('a call to a GPU that sleeps wakes it up', () => {
    const lab = new GpuLab();
    const va = lab.buffer(2, 5);
    lab.gpu.suspend();
    lab.bind(va, 1);
    expect(lab.gpu.suspended).toBe(false);
    lab.gpu.suspend();
    expect(lab.read(va, 2)).toEqual([5, 6]);
    expect(lab.gpu.suspended).toBe(false);
  });

  it('so does the CPU when it touches a page in VRAM', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    lab.bind(va, 1);
    lab.gpu.suspend();
    expect(lab.proc.load32(va)).toBe(5);
    expect(lab.gpu.suspended).toBe(false);
    lab.verify();
  });

  it('comes after the faults that are being served', () => {
    const lab = new GpuLab({ gpus: 2, copyLatencyNs: 1000 });
    const va = lab.buffer(1, 5);
    lab.bind(va, 1, lab.files[1]);
    const startNs = lab.machine.scheduler.nowNs;
    let done: Execution | null = null;
    lab.machine.spawn(
      'job',
      (function* (): Task<void> {
        done = yield* lab.file.executeTask([{ kind: 'read', va }]);
      })(),
    );
    lab.machine.spawn(
      'sleeper',
      (function* (): Task<void> {
        yield new Delay(100);
        expect(lab.gpu.gpu.stalled).toBe(1);
        expect(yield* lab.gpu.suspendTask()).toBe(0);
        expect(lab.machine.scheduler.nowNs - startNs).toBe(1000);
        expect(lab.gpu.gpu.stalled).toBe(0);
      })(),
    );
    lab.machine.runAll();
    expect(done).toEqual({ ret: 0, results: [5] });
    expect(lab.gpu.suspended).toBe(true);
    lab.verify();
  });

  it('serves faults that came meanwhile once it is awake', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    lab.gpu.suspend();
    let done: Execution | null = null;
    // The hardware is not asked whether its driver sleeps.
    const { gpu, instance } = { gpu: lab.gpu.gpu, instance: lab.file.channel!.instance };
    lab.machine.spawn(
      'job',
      (function* (): Task<void> {
        const results = yield* gpu.execute(instance, [{ kind: 'read', va }]);
        done = { ret: 0, results };
      })(),
    );
    lab.machine.spawn(
      'waker',
      (function* (): Task<void> {
        yield new Delay(100);
        expect(done).toBeNull();
        yield* lab.gpu.resumeTask();
      })(),
    );
    lab.machine.runAll();
    expect(done).toEqual({ ret: 0, results: [5] });
  });

  it('-ENODEV after removal', () => {
    const lab = new GpuLab();
    expect(lab.gpu.remove()).toBe(0);
    expect(lab.gpu.suspend()).toBe(-ENODEV);
    expect(lab.gpu.resume()).toBe(-ENODEV);
    expect(lab.gpu.remove()).toBe(-ENODEV);
  });
});

describe('8.8 fini', () => {
  it('brings every page of every chunk home, then the memory goes', () => {
    const lab = new GpuLab({ vramBytes: 4 * MiB });
    const va = lab.buffer(600, 5);
    lab.bind(va, 600);
    expect(lab.machine.kernel.pagemaps).toHaveLength(2);
    expect(lab.gpu.remove()).toBe(0);
    expect(lab.machine.kernel.pagemaps).toEqual([]);
    expect(lab.gpu.dmem).toBeNull();
    expect(lab.gpu.warnings).toEqual([]);
    expect(lab.owners(va, 600)).toEqual(new Array(600).fill('system'));
    for (let i = 0; i < 600; i += 37) expect(lab.proc.load32(lab.at(va, i))).toBe(5 + i);
    lab.verify();
  });

  it('brings home pages of all processes, also those that forked children share', () => {
    const lab = new GpuLab();
    const va = lab.buffer(4, 5);
    lab.bind(va, 4);
    const child = lab.proc.fork();
    child.store32(va, 50);
    const other = lab.machine.createProcess();
    const otherFile = lab.gpu.open(other);
    const otherVa = other.mmap({ pages: 1 });
    other.store32(otherVa, 9);
    expect(otherFile.svmBind(otherVa, PAGE_SIZE)).toBe(0);
    const grandchild = child.fork();
    lab.verify();
    expect(lab.gpu.remove()).toBe(0);
    lab.verify();
    for (const one of [lab.proc, child, grandchild]) {
      expect(lab.owners(va, 4, one)).toEqual(new Array(4).fill('system'));
    }
    // Still one page for all of them.
    expect(lab.pageAt(lab.at(va, 2))).toBe(lab.pageAt(lab.at(va, 2), grandchild));
    expect([lab.proc, child, grandchild].map((one) => one.load32(va))).toEqual([5, 50, 50]);
    expect(lab.proc.load32(lab.at(va, 3))).toBe(8);
    expect(other.load32(otherVa)).toBe(9);
    lab.verify();
  });

  it('keeps what each process may do', () => {
    const lab = new GpuLab();
    const va = lab.buffer(2, 5);
    lab.bind(va, 2);
    lab.proc.mprotect(va, PAGE_SIZE, 'r');
    lab.gpu.remove();
    expect(lab.entryAt(va)).toBe(PTE_PRESENT);
    expect(lab.entryAt(lab.at(va, 1))).toBe(PTE_PRESENT | PTE_WRITE);
    lab.verify();
  });

  it('waits for the copy engine, chunk by chunk', () => {
    const lab = new GpuLab({ copyLatencyNs: 10 });
    const va = lab.buffer(8, 5);
    lab.bind(va, 8);
    const before = lab.machine.scheduler.nowNs;
    lab.gpu.remove();
    expect(lab.machine.scheduler.nowNs - before).toBe(80);
    expect(lab.proc.load32(lab.at(va, 7))).toBe(12);
    lab.verify();
  });

  it('ends jobs that run, and answers -ENODEV from then on', () => {
    const lab = new GpuLab({ gpus: 2, copyLatencyNs: 1000 });
    const va = lab.buffer(2, 5);
    lab.bind(va, 1, lab.files[1]);
    let done: Execution | null = null;
    lab.machine.spawn(
      'job',
      (function* (): Task<void> {
        done = yield* lab.file.executeTask([{ kind: 'read', va }]);
      })(),
    );
    lab.machine.spawn(
      'remover',
      (function* (): Task<void> {
        yield new Delay(100);
        expect(yield* lab.gpu.removeTask()).toBe(0);
      })(),
    );
    lab.machine.runAll();
    expect(done).toEqual({ ret: -ENODEV, results: [-1] });
    expect(lab.file.execute([{ kind: 'read', va }])).toEqual({ ret: -ENODEV, results: [-1] });
    expect(lab.file.svmBind(va, PAGE_SIZE)).toBe(-ENODEV);
    expect(lab.file.revive()).toBe(false);
    expect(lab.gpu.mappingOf(lab.proc, va)).toBeNull();
    const child = lab.proc.fork();
    expect(lab.gpu.open(child).svmm).toBeNull();
    expect(child.load32(va)).toBe(5);
    child.exit();
    lab.proc.exit();
    lab.verify();
  });

  it('lets a bind that runs come to its end first', () => {
    const lab = new GpuLab({ copyLatencyNs: 100 });
    const va = lab.buffer(4, 5);
    const order: string[] = [];
    lab.machine.spawn(
      'bind',
      (function* (): Task<void> {
        expect(yield* lab.file.svmBindTask(va, 4 * PAGE_SIZE)).toBe(0);
        order.push(`bound ${lab.gpu.pagesInUse}`);
      })(),
    );
    lab.machine.spawn(
      'remove',
      (function* (): Task<void> {
        yield new Delay(10);
        yield* lab.gpu.removeTask();
        order.push('removed');
      })(),
    );
    lab.machine.runAll();
    expect(order).toEqual(['bound 4', 'removed']);
    expect(lab.owners(va, 4)).toEqual(new Array(4).fill('system'));
    lab.verify();
  });

  it('hands over an empty page where a copy fails', () => {
    const lab = new GpuLab();
    const va = lab.buffer(2, 5);
    lab.bind(va, 2);
    lab.gpu.engine.failAfter(1);
    expect(lab.gpu.remove()).toBe(0);
    // Pages go in the order of their numbers, and the last of a chunk was given out first.
    expect([lab.proc.load32(va), lab.proc.load32(lab.at(va, 1))]).toEqual([5, 0]);
    lab.verify();
  });

  it('hands over an empty page where the DMA mapping fails, and unpins and unmaps all', () => {
    const lab = new GpuLab();
    const va = lab.buffer(3, 5);
    lab.bind(va, 3);
    const [chunk] = lab.gpu.dmem!.chunks;
    lab.gpu.failDmaMapAfter(2);
    lab.gpu.remove();
    const values = lab.each(va, 3).map((at) => lab.proc.load32(at));
    // From the first page of the chunk on, which was given out last.
    expect(values).toEqual([5, 0, 7]);
    expect(chunk!.buffer.pins).toBe(0);
    expect(lab.gpu.dma.mapped).toBe(0);
    expect(lab.gpu.warnings).toEqual([]);
    lab.verify();
  });

  it('begins with the chunk that was taken last', () => {
    const lab = new GpuLab({ vramBytes: 4 * MiB });
    const va = lab.buffer(514, 5);
    lab.bind(va, 514);
    lab.gpu.engine.failAfter(1);
    expect(lab.gpu.remove()).toBe(0);
    // Page 513 is the lowest that the second chunk gave out, page 511 that of the first.
    expect([511, 512, 513].map((i) => lab.proc.load32(lab.at(va, i)))).toEqual([516, 517, 0]);
    lab.verify();
  });

  it('leaves a page that somebody holds, warns of it, and then waits for it', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    lab.bind(va, 1);
    const { pages } = lab.machine.kernel;
    const page = lab.pageAt(va);
    pages.get(page);
    lab.machine.spawn(
      'holder',
      (function* (): Task<void> {
        yield new Delay(100);
        pages.put(page);
        yield* lab.proc.loadTask(va);
      })(),
    );
    expect(lab.gpu.remove()).toBe(0);
    expect(lab.gpu.warnings).toEqual(['1 pages are in use in a chunk that goes']);
    expect(lab.machine.kernel.pagemaps).toEqual([]);
    lab.machine.runAll();
    lab.verify();
  });

  it('waits for RAM as long as it takes: for ever, if none comes', () => {
    const lab = new GpuLab({ ramBytes: 64 * KiB });
    const va = lab.buffer(16, 5);
    lab.bind(va, 2);
    lab.buffer(2, 9);
    expect(codeOf(() => lab.proc.load32(va))).toBe('refault-livelock');
    const { code, message } = errorOf(() => lab.gpu.remove());
    expect(code).toBe('deadlock');
    expect(message).toContain('a free page of RAM to empty nouveau0 into');
  });

  it('waits for RAM that comes late', () => {
    const lab = new GpuLab({ ramBytes: 64 * KiB });
    const va = lab.buffer(16, 5);
    lab.bind(va, 2);
    const filler = lab.buffer(2, 9);
    lab.machine.spawn(
      'user',
      (function* (): Task<void> {
        yield new Delay(500_000_000);
        yield* lab.proc.munmapTask(filler, 2 * PAGE_SIZE);
      })(),
    );
    expect(lab.gpu.remove()).toBe(0);
    expect(lab.owners(va, 2)).toEqual(['system', 'system']);
    expect(lab.proc.load32(lab.at(va, 1))).toBe(6);
    lab.verify();
  });

  it('does not mind pins, which had brought the page home before', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    lab.bind(va, 1);
    const pinned = lab.machine.run(getUserPagesFast(lab.proc.mm, va, 1, FOLL_PIN));
    expect(Array.isArray(pinned)).toBe(true);
    expect(lab.owners(va, 1)).toEqual(['system']);
    expect(lab.gpu.remove()).toBe(0);
    for (const page of pinned as number[]) putUserPage(lab.machine.kernel, page, true);
    lab.verify();
  });

  it('of a GPU without dmem or without SVM has little to do', () => {
    expect(new GpuLab({ dmem: false }).gpu.remove()).toBe(0);
    expect(new GpuLab({ svm: false }).gpu.remove()).toBe(0);
  });
});
