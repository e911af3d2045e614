import { beforeEach, describe, expect, it } from 'vitest';
import { EFAULT } from '../../src/core/errno.ts';
import { makeDeviceExclusiveRange } from '../../src/core/hmm/exclusive.ts';
import { mmuIntervalNotifierInsert, mmuIntervalSetSeq } from '../../src/core/hmm/notifier.ts';
import { Machine } from '../../src/core/machine.ts';
import { leafIndex } from '../../src/core/mm/page-table.ts';
import { PTE_DEVICE_EXCLUSIVE, PTE_PRESENT } from '../../src/core/mm/pte.ts';
import type { Owner } from '../../src/core/pagemap/pagemap.ts';
import type { Process } from '../../src/core/process.ts';
import type { Task } from '../../src/core/sched/task.ts';
import { PAGE_SIZE, type Page, type Va } from '../../src/core/units.ts';
import { SmallDevice } from './device.ts';

describe('makeDeviceExclusiveRange', () => {
  const owner: Owner = { name: 'gpu' };
  let machine: Machine;
  let proc: Process;
  let told: string[];

  beforeEach(() => {
    machine = new Machine();
    proc = machine.createProcess();
    told = [];
    mmuIntervalNotifierInsert(proc.mm, {
      name: 'gpu',
      invalidate(interval, range, seq) {
        told.push(`${range.event} ${range.owner?.name ?? 'nobody'}`);
        mmuIntervalSetSeq(interval, seq);
        return true;
      },
    });
  });

  function* takeTask(who: Process, va: Va, count: number): Task<(Page | null)[] | number> {
    const { mm } = who;
    const { pages } = machine.kernel;
    yield* mm.mmapLock.read();
    const found = yield* makeDeviceExclusiveRange(mm, va, va + count * PAGE_SIZE, owner);
    mm.mmapLock.unlockRead();
    if (typeof found === 'number') return found;
    expect(found.count).toBe(found.pages.length);
    for (const page of found.pages) {
      if (page === null) continue;
      expect(pages.isLocked(page)).toBe(true);
      pages.unlock(page);
      pages.put(page);
    }
    return found.pages;
  }

  function take(va: Va, count: number, who: Process = proc): (Page | null)[] | number {
    const given = machine.run(takeTask(who, va, count));
    expect(machine.verify()).toEqual([]);
    return given;
  }

  function kindAt(va: Va, who: Process = proc): number {
    const vpn = va / PAGE_SIZE;
    return who.mm.pageTable.leaf(vpn)!.kind(leafIndex(vpn));
  }

  it('takes anonymous pages, faulted in, until the CPU touches them', () => {
    const buf = proc.mmap({ pages: 2 });
    proc.store32(buf, 5);
    const given = take(buf, 2);
    expect(given).toEqual([machine.pageAt(proc, buf), machine.pageAt(proc, buf + PAGE_SIZE)]);
    expect(kindAt(buf)).toBe(PTE_DEVICE_EXCLUSIVE);
    expect(proc.mm.rssAnon).toBe(2);
    expect(told).toEqual(['exclusive gpu', 'exclusive gpu']);
    expect(proc.load32(buf)).toBe(5);
    expect(told.at(-1)).toBe('exclusive nobody');
    expect([kindAt(buf), kindAt(buf + PAGE_SIZE)]).toEqual([PTE_PRESENT, PTE_DEVICE_EXCLUSIVE]);
    proc.store32(buf, 6);
    expect(told).toHaveLength(3);
    expect(machine.verify()).toEqual([]);
  });

  it('leaves pages of files, and pages that somebody has locked', () => {
    const buf = proc.mmap({ pages: 2, file: proc.createFile(2), shared: true });
    expect(take(buf, 2)).toEqual([null, null]);
    const anon = proc.mmap({ pages: 2 });
    proc.store32(anon, 1);
    const page = machine.pageAt(proc, anon)!;
    machine.kernel.pages.tryLock(page);
    expect(machine.run(takeTask(proc, anon, 2))).toMatchObject([null, expect.any(Number)]);
    machine.kernel.pages.unlock(page);
    expect(machine.verify()).toEqual([]);
  });

  it('takes the copy, not the page shared with a child', () => {
    const buf = proc.mmap({ pages: 1 });
    proc.store32(buf, 1);
    const child = proc.fork();
    const shared = machine.pageAt(proc, buf);
    const given = take(buf, 1);
    expect(given).not.toEqual([shared]);
    expect(kindAt(buf, child)).toBe(PTE_PRESENT);
    expect(child.load32(buf)).toBe(1);
  });

  it('gives the page back at fork, munmap and exit', () => {
    const buf = proc.mmap({ pages: 2 });
    take(buf, 2);
    const child = proc.fork();
    expect(kindAt(buf)).toBe(PTE_PRESENT);
    expect(machine.verify()).toEqual([]);
    take(buf, 2);
    proc.munmap(buf, PAGE_SIZE);
    expect(machine.verify()).toEqual([]);
    proc.exit();
    child.exit();
    expect(machine.verify({ full: true })).toEqual([]);
    expect(machine.kernel.pages.ramUsed).toBe(0);
  });

  it('brings device memory home first', () => {
    const device = new SmallDevice(machine, 'gpu memory');
    const buf = proc.mmap({ pages: 1 });
    proc.store32(buf, 3);
    expect(device.take(proc, buf, 1)).toBe(1);
    const given = take(buf, 1);
    expect(given).toHaveLength(1);
    expect(device.faults).toBe(1);
    expect(proc.load32(buf)).toBe(3);
  });

  it('counts what it found before an address out of reach', () => {
    const buf = proc.mmap({ pages: 2 });
    expect(take(buf, 4)).toHaveLength(2);
    const closed = proc.mmap({ pages: 1, prot: 'r' });
    expect(take(closed, 1)).toBe(-EFAULT);
  });
});
