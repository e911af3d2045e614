import { beforeEach, describe, expect, it } from 'vitest';
import { EBUSY, EFAULT, EINVAL } from '../../src/core/errno.ts';
import { Machine } from '../../src/core/machine.ts';
import { type Pages, PIN_BIAS } from '../../src/core/memory/pages.ts';
import {
  FOLL_GET,
  FOLL_LONGTERM,
  FOLL_PIN,
  FOLL_WRITE,
  getUserPagesFast,
  putUserPage,
} from '../../src/core/mm/gup.ts';
import type { Process } from '../../src/core/process.ts';
import { NO_PAGE, PAGE_SIZE, type Page, type Va } from '../../src/core/units.ts';
import { verifyKernel } from '../../src/core/verify.ts';
import { SmallDevice } from './device.ts';

describe('getUserPagesFast', () => {
  let machine: Machine;
  let pages: Pages;
  let proc: Process;

  beforeEach(() => {
    machine = new Machine();
    pages = machine.kernel.pages;
    proc = machine.createProcess();
  });

  function get(who: Process, va: Va, count: number, flags: number): Page[] | number {
    return machine.run(getUserPagesFast(who.mm, va, count, flags));
  }

  function held(found: Page[] | number, flags: number): Page[] {
    if (typeof found === 'number') throw new Error(`failed with ${found}`);
    const refs = (flags & FOLL_PIN) !== 0 ? PIN_BIAS : 1;
    const counted = found.filter((page) => page !== NO_PAGE);
    expect(verifyKernel(machine.kernel, new Map(counted.map((page) => [page, refs])))).toEqual([]);
    return found;
  }

  function put(found: Page[], flags: number): void {
    for (const page of found) putUserPage(machine.kernel, page, (flags & FOLL_PIN) !== 0);
    expect(machine.verify()).toEqual([]);
  }

  it.each([
    ['get', FOLL_GET],
    ['pin', FOLL_PIN],
  ])('faults in and takes references: %s', (_name, take) => {
    const buf = proc.mmap({ pages: 3 });
    proc.store32(buf, 1);
    const found = held(get(proc, buf + 8, 3, take | FOLL_WRITE), take);
    expect(found).toEqual([0, 1, 2].map((i) => machine.pageAt(proc, buf + i * PAGE_SIZE)));
    expect(proc.mm.hasPinned).toBe(take === FOLL_PIN);
    put(found, take);
  });

  it('gives the zero page for untouched memory that is read, without counting it', () => {
    const buf = proc.mmap({ pages: 2 });
    const found = held(get(proc, buf, 2, FOLL_PIN), FOLL_PIN);
    expect(found).toEqual([NO_PAGE, NO_PAGE]);
    expect(pages.refcount[NO_PAGE]).toBe(1);
    put(found, FOLL_PIN);
  });

  it('gives what there is before the first address out of reach', () => {
    const buf = proc.mmap({ pages: 3 });
    proc.mprotect(buf + 2 * PAGE_SIZE, PAGE_SIZE, 'r');
    put(held(get(proc, buf, 5, FOLL_GET), FOLL_GET), FOLL_GET);
    const found = held(get(proc, buf, 5, FOLL_GET | FOLL_WRITE), FOLL_GET);
    expect(found).toHaveLength(2);
    put(found, FOLL_GET);
    expect(get(proc, buf + 2 * PAGE_SIZE, 1, FOLL_GET | FOLL_WRITE)).toBe(-EFAULT);
    expect(get(proc, buf + 3 * PAGE_SIZE, 1, FOLL_GET)).toBe(-EFAULT);
    expect(get(proc, 2 ** 47, 1, FOLL_GET)).toBe(-EFAULT);
    expect(get(proc, buf, 1, FOLL_GET | FOLL_LONGTERM)).toBe(-EINVAL);
    expect(get(proc, buf, 0, FOLL_GET)).toEqual([]);
  });

  it('unshares a page that a pin for reading shares with a child', () => {
    const buf = proc.mmap({ pages: 1 });
    proc.store32(buf, 7);
    const child = proc.fork();
    const shared = machine.pageAt(proc, buf);
    const plain = held(get(child, buf, 1, FOLL_GET), FOLL_GET);
    expect(plain).toEqual([shared]);
    put(plain, FOLL_GET);
    const pinned = held(get(child, buf, 1, FOLL_PIN), FOLL_PIN);
    expect(pinned[0]).not.toBe(shared);
    expect(pages.read32(pinned[0]!, 0)).toBe(7);
    child.store32(buf, 8);
    expect(machine.pageAt(child, buf)).toBe(pinned[0]);
    put(pinned, FOLL_PIN);
  });

  it('shared with a child before v5.19, a pin for reading goes stale', () => {
    machine = new Machine({ era: 'v5.10' });
    proc = machine.createProcess();
    const buf = proc.mmap({ pages: 1 });
    proc.store32(buf, 7);
    const child = proc.fork();
    const pinned = held(get(child, buf, 1, FOLL_PIN), FOLL_PIN);
    expect(pinned).toEqual([machine.pageAt(proc, buf)]);
    child.store32(buf, 8);
    expect(machine.pageAt(child, buf)).not.toBe(pinned[0]);
    put(pinned, FOLL_PIN);
  });

  it('brings private device memory home, for pins keeps coherent memory only for a while', () => {
    const gpu = new SmallDevice(machine, 'gpu');
    const cxl = new SmallDevice(machine, 'cxl', 'coherent');
    const buf = proc.mmap({ pages: 3 });
    for (let i = 0; i < 3; i++) proc.store32(buf + i * PAGE_SIZE, i + 1);
    expect(gpu.take(proc, buf, 1)).toBe(1);
    expect(cxl.take(proc, buf + PAGE_SIZE, 1)).toBe(1);
    const short = held(get(proc, buf, 3, FOLL_PIN | FOLL_WRITE), FOLL_PIN);
    expect(short.map((page) => pages.pagemapOf(page)?.name ?? 'RAM')).toEqual([
      'RAM',
      'cxl',
      'RAM',
    ]);
    // Somebody else's pin keeps the page where it is, so it cannot be pinned for long.
    const long = FOLL_PIN | FOLL_LONGTERM;
    expect(get(proc, buf + PAGE_SIZE, 2, long)).toBe(-EBUSY);
    held(short, FOLL_PIN);
    put(short, FOLL_PIN);
    const kept = held(get(proc, buf, 3, long), long);
    expect(kept.map((page) => pages.pagemapOf(page))).toEqual([null, null, null]);
    expect(kept.map((page) => pages.read32(page, 0))).toEqual([1, 2, 3]);
    put(kept, long);
  });
});
