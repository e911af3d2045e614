// Device pages on their way home: by a CPU fault, by page range, by a pin; and who is told of it.

import { beforeEach, describe, expect, it } from 'vitest';
import type { EraName } from '../../src/core/era.ts';
import { EBUSY } from '../../src/core/errno.ts';
import { mmuIntervalNotifierInsert, mmuIntervalSetSeq } from '../../src/core/hmm/notifier.ts';
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_WRITE,
  migrateDeviceCoherentPage,
  migrateDeviceFinalize,
  migrateDevicePages,
  migrateDeviceRange,
  migratePfn,
  migratePfnPage,
} from '../../src/core/migrate/index.ts';
import {
  FOLL_GET,
  FOLL_PIN,
  FOLL_WRITE,
  getUserPagesFast,
  putUserPage,
} from '../../src/core/mm/gup.ts';
import {
  PTE_DEVICE_PRIVATE,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_PRESENT,
  PTE_WRITE,
} from '../../src/core/mm/pte.ts';
import { Delay, type Task } from '../../src/core/sched/task.ts';
import { NO_PAGE, PAGE_SIZE, type Page, type Va } from '../../src/core/units.ts';
import { COHERENT, MigrationLab, PRIVATE, SYSTEM } from './migration-lab.ts';

let lab: MigrationLab;

beforeEach(() => {
  lab = new MigrationLab();
});

/** A buffer of one page on a device, holding 5. */
function onDevice(region = lab.privateX): { va: Va; page: Page } {
  const va = lab.proc.mmap({ pages: 1 });
  lab.proc.store32(va, 5);
  lab.moveTo(region, va);
  return { va, page: lab.pageAt(va) };
}

describe('a CPU fault on a device page', () => {
  it('never ends where the driver forgets fault_page', () => {
    const { va, page } = onDevice();
    let faults = 0;
    let failed = 0;
    lab.privateX.forgetsFaultPage = true;
    lab.privateX.onStep = (step, migrate) => {
      if (step === 'fault') faults++;
      // The slack of one passes the first test; moving the page does not.
      if (step === 'setup') expect(migrate!.cpages).toBe(1);
      if (step === 'pages' && (migrate!.src[0]! & MIGRATE_PFN_MIGRATE) === 0) failed++;
    };
    expect(() => lab.proc.load32(va)).toThrow(
      expect.objectContaining({ code: 'refault-livelock', detail: { pid: 1, va } }),
    );
    expect(faults).toBe(10_000);
    expect(failed).toBe(faults);
    expect(lab.pageAt(va)).toBe(page);
    expect(lab.counts(page)).toEqual([1, 1]);
    expect(lab.machine.verify({ full: true })).toEqual([]);
    lab.privateX.forgetsFaultPage = false;
    expect(lab.proc.load32(va)).toBe(5);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });

  it.each(['v5.6', 'v5.7', 'v5.10'] as const)('needs no fault_page in %s', (era: EraName) => {
    lab = new MigrationLab(era);
    const { va, page } = onDevice();
    expect(lab.counts(page)).toEqual([2, 1]);
    lab.privateX.forgetsFaultPage = true;
    const counts: [number, number][] = [];
    lab.privateX.onStep = () => counts.push(lab.counts(page));
    expect(lab.proc.load32(va)).toBe(5);
    expect(counts).toEqual([
      [2, 1],
      [2, 0],
      [2, 0],
      [1, 0],
    ]);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });

  it('of one page and no other: a fault page of another device changes nothing', () => {
    const { va } = onDevice();
    const other = onDevice(lab.privateY);
    const options = { flags: PRIVATE, owner: lab.x, faultPage: other.page };
    const migration = lab.setup(va, 1, options);
    expect(migration.ret).toBe(0);
    lab.giveRam(migration.args);
    lab.movePages(migration.args);
    lab.finalize(migration.args);
    expect(lab.machine.ownerOf(lab.proc, va)).toBe('system');
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });

  it('by two CPUs at once: they hinder each other, and both read it in the end', () => {
    const { va } = onDevice();
    let failed = 0;
    lab.privateX.onStep = (step, migrate) => {
      if (step === 'pages' && (migrate!.src[0]! & MIGRATE_PFN_MIGRATE) === 0) failed++;
    };
    // Somebody whose invalidation takes a while, so that the second fault finds the first at work.
    let naps = 0;
    const sleeper = mmuIntervalNotifierInsert(lab.proc.mm, {
      name: 'sleeper',
      *invalidate(notifier, _range, seq) {
        if (naps++ < 2) yield new Delay(1000 * naps);
        mmuIntervalSetSeq(notifier, seq);
        return true;
      },
    });
    expect(sleeper).toBeTypeOf('object');
    const seen: number[] = [];
    for (const cpu of ['cpu 0', 'cpu 1']) {
      lab.machine.spawn(
        cpu,
        (function* (): Task<void> {
          seen.push(yield* lab.proc.loadTask(va));
        })(),
      );
    }
    lab.machine.runAll();
    expect(seen).toEqual([5, 5]);
    expect(failed).toBeGreaterThan(0);
    expect(lab.machine.ownerOf(lab.proc, va)).toBe('system');
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });
});

describe('references on a device page that is to go home', () => {
  it.each([
    [1, false, 1, 'one slips through unmap and stops the move'],
    [2, false, 0, 'two are seen by unmap'],
    [2, true, 1, "one beside the fault's own slips through unmap and stops the move"],
    [3, true, 0, "two beside the fault's own are seen by unmap"],
  ])('%i, fault page: %s, cpages %i: %s', (references, isFaultPage, cpages) => {
    const { va, page } = onDevice();
    for (let i = 0; i < references; i++) lab.pages.get(page);
    const options = { flags: PRIVATE, owner: lab.x, faultPage: isFaultPage ? page : NO_PAGE };
    const { args, collected } = lab.setup(va, 1, options);
    expect(collected.cpages).toBe(1);
    expect(args.cpages).toBe(cpages);
    const given = lab.giveRam(args);
    expect(given).toHaveLength(cpages);
    lab.movePages(args);
    expect(args.src[0]! & MIGRATE_PFN_MIGRATE).toBe(0);
    lab.finalize(args);
    expect(lab.bitsAt(va)).toBe(PTE_DEVICE_PRIVATE | PTE_WRITE);
    expect(lab.counts(page)).toEqual([1 + references, 1]);
    expect(given.map((ram) => lab.counts(ram)[0])).toEqual(given.map(() => 0));
    for (let i = 0; i < references; i++) lab.pages.put(page);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });

  it('never stop a device page before v5.16', () => {
    lab = new MigrationLab('v5.10');
    const { va, page } = onDevice();
    for (let i = 0; i < 3; i++) lab.pages.get(page);
    const { args } = lab.setup(va, 1, { flags: PRIVATE, owner: lab.x });
    expect(args.cpages).toBe(1);
    lab.giveRam(args);
    lab.movePages(args);
    expect(args.src[0]! & MIGRATE_PFN_MIGRATE).toBe(0);
    lab.finalize(args);
    for (let i = 0; i < 3; i++) lab.pages.put(page);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });
});

describe('other address spaces during a migration', () => {
  function sharedByTwo(): { va: Va; page: Page; child: MigrationLab['proc'] } {
    const va = lab.proc.mmap({ pages: 1 });
    lab.proc.store32(va, 5);
    return { va, page: lab.pageAt(va), child: lab.proc.fork() };
  }

  it('fork copies the migration entry, and all three get the new page', () => {
    const { va, page, child } = sharedByTwo();
    const { args } = lab.setup(va, 1, { flags: SYSTEM, owner: lab.x });
    const grandchild = child.fork();
    const all = [lab.proc, child, grandchild];
    expect(all.map((proc) => lab.bitsAt(va, proc))).toEqual(all.map(() => lab.bitsAt(va)));
    expect(lab.bitsAt(va) & (PTE_KIND | PTE_WRITE)).toBe(PTE_MIGRATION);
    expect(lab.counts(page)).toEqual([1, 0]);
    expect(all.map(({ mm }) => mm.rssAnon)).toEqual([1, 1, 1]);
    const [given] = lab.give(args, lab.privateX) as [Page];
    lab.movePages(args);
    lab.finalize(args);
    expect(all.map((proc) => lab.pageAt(va, proc))).toEqual([given, given, given]);
    expect(lab.counts(given)).toEqual([3, 3]);
    expect(lab.machine.verify({ full: true })).toEqual([]);
    grandchild.store32(va, 6);
    expect(all.map((proc) => proc.load32(va))).toEqual([5, 5, 6]);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });

  it('munmap and exit take the migration entry away, without a reference', () => {
    const { va, page, child } = sharedByTwo();
    const third = lab.proc.fork();
    const { args } = lab.setup(va, 1, { flags: SYSTEM, owner: lab.x });
    child.munmap(va, PAGE_SIZE);
    third.exit();
    expect(child.mm.rssAnon).toBe(0);
    expect(lab.counts(page)).toEqual([1, 0]);
    const [given] = lab.give(args, lab.privateX) as [Page];
    lab.movePages(args);
    lab.finalize(args);
    expect(lab.counts(given)).toEqual([1, 1]);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });

  it('where nobody is left, finalize frees the new page', () => {
    const { va, child } = sharedByTwo();
    lab.proc.munmap(va, PAGE_SIZE);
    const { args } = lab.setup(va, 1, { flags: SYSTEM, owner: lab.x, proc: child });
    const given = lab.give(args, lab.privateX);
    child.mm.mmapLock.unlockRead();
    child.munmap(va, PAGE_SIZE);
    // The VMA is gone, but the words still lead to both pages.
    migrateDevicePagesOf(args.src, args.dst);
    expect(lab.privateX.freed).toEqual(given);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });

  it('a CPU that touches the page sleeps until the migration is over', () => {
    const { va, child } = sharedByTwo();
    const { args } = lab.setup(va, 1, { flags: SYSTEM, owner: lab.x });
    const order: string[] = [];
    lab.machine.spawn(
      'cpu',
      (function* (): Task<void> {
        order.push('touches');
        order.push(`reads ${yield* child.loadTask(va)}`);
      })(),
    );
    lab.machine.spawn(
      'driver',
      (function* (): Task<void> {
        yield new Delay(1000);
        order.push('finishes');
        lab.finalize(args);
      })(),
    );
    lab.machine.runAll();
    expect(order).toEqual(['touches', 'finishes', 'reads 5']);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });
});

function migrateDevicePagesOf(src: Uint32Array, dst: Uint32Array): void {
  lab.machine.run(migrateDevicePages(lab.kernel, src, dst, src.length));
  migrateDeviceFinalize(lab.kernel, src, dst, src.length);
}

describe('who is told', () => {
  let told: string[];

  function listen(base: Va): void {
    told = [];
    lab.machine.events.on('invalidate', (event) => {
      const { pid, start, end, owner, phase } = event;
      if (phase !== 'begin') return;
      const span = `${(start - base) / PAGE_SIZE}-${(end - base) / PAGE_SIZE}`;
      told.push(`${event.event} of ${owner?.name ?? 'nobody'}: ${span} in ${pid}`);
    });
  }

  it.each([
    ['v5.6', 'clear of nobody'],
    ['v5.7', 'clear of nobody'],
    ['v5.10', 'migrate of X'],
    ['v6.1', 'migrate of X'],
  ] as const)(
    '%s: %s, all of it and from the first hole once more; each page everywhere',
    (era, what) => {
      lab = new MigrationLab(era);
      const va = lab.proc.mmap({ pages: 4 });
      lab.proc.store32(va, 1);
      lab.proc.store32(va + 2 * PAGE_SIZE, 1);
      lab.proc.fork();
      listen(va);
      const owner = era === 'v5.7' ? null : lab.x;
      const { args } = lab.setup(va, 4, { flags: SYSTEM, owner });
      // The walk over the reverse map asks the process itself too, though nothing is left there.
      const byPage = ['0-1 in 1', '0-1 in 2', '2-3 in 1', '2-3 in 2'];
      const parts = [`${what}: 0-4 in 1`, ...byPage.map((span) => `clear of nobody: ${span}`)];
      expect(told).toEqual(parts);
      lab.give(args, lab.privateX);
      lab.movePages(args);
      lab.finalize(args);
      expect(told).toEqual([...parts, `${what}: 1-4 in 1`]);
      expect(lab.machine.verify({ full: true })).toEqual([]);
    },
  );

  it('migrateDeviceRange tells everybody, in nobody’s name', () => {
    const { va, page } = onDevice();
    lab.proc.fork();
    listen(va);
    const src = new Uint32Array(1);
    const dst = new Uint32Array(1);
    lab.machine.run(migrateDeviceRange(lab.kernel, src, page, 1));
    migrateDevicePagesOf(src, dst);
    expect(told).toEqual(['clear of nobody: 0-1 in 1', 'clear of nobody: 0-1 in 2']);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });
});

describe('migrateDeviceRange', () => {
  it('brings home whoever maps the pages, and leaves what is free, locked or held', () => {
    const { proc, privateX: region } = lab;
    const va = proc.mmap({ pages: 5 });
    for (let i = 0; i < 5; i++) proc.store32(va + i * PAGE_SIZE, 50 + i);
    lab.moveTo(region, va, 5);
    // Pages were given from the highest number down.
    const first = lab.pageAt(va + 4 * PAGE_SIZE) - 1;
    const [locked, held] = [lab.pageAt(va), lab.pageAt(va + PAGE_SIZE)];
    proc.mprotect(va + 2 * PAGE_SIZE, PAGE_SIZE, 'r');
    lab.pages.tryLock(locked);
    lab.pages.get(held);
    lab.pages.get(held);
    const src = new Uint32Array(6).fill(77);
    const dst = new Uint32Array(6);
    expect(lab.machine.run(migrateDeviceRange(lab.kernel, src, first, 6))).toBe(0);
    // No WRITE bit: nobody has looked at an entry.
    const words = [1, 2, 3].map((i) => migratePfn(first + i) | MIGRATE_PFN_MIGRATE);
    expect([...src]).toEqual([0, ...words, 0, 0]);
    expect(src.some((word) => (word & MIGRATE_PFN_WRITE) !== 0)).toBe(false);
    src.forEach((word, i) => {
      const page = migratePfnPage(word);
      if (page === NO_PAGE) return;
      const ram = lab.pages.allocate();
      lab.pages.tryLock(ram);
      lab.pages.copyContents(ram, page);
      dst[i] = migratePfn(ram);
    });
    migrateDevicePagesOf(src, dst);
    lab.pages.unlock(locked);
    lab.pages.put(held);
    lab.pages.put(held);
    const homes = [0, 1, 2, 3, 4].map((i) => lab.machine.ownerOf(proc, va + i * PAGE_SIZE));
    expect(homes).toEqual([lab.x, lab.x, 'system', 'system', 'system']);
    const rights = [2, 3, 4].map((i) => lab.bitsAt(va + i * PAGE_SIZE) & (PTE_KIND | PTE_WRITE));
    expect(rights).toEqual([PTE_PRESENT, PTE_PRESENT | PTE_WRITE, PTE_PRESENT | PTE_WRITE]);
    expect(region.pagemap.pagesInUse).toBe(2);
    expect(lab.machine.verify({ full: true })).toEqual([]);
    expect([0, 1, 2, 3, 4].map((i) => proc.load32(va + i * PAGE_SIZE))).toEqual([
      50, 51, 52, 53, 54,
    ]);
  });
});

describe('migrateDeviceCoherentPage', () => {
  function held(va: Va, flags: number): Page {
    const found = lab.machine.run(getUserPagesFast(lab.proc.mm, va, 1, flags | FOLL_WRITE));
    if (typeof found === 'number') throw new Error(`no page: ${found}`);
    return found[0]!;
  }

  it('brings a page home and takes over the reference of the caller', () => {
    const { va, page } = onDevice(lab.coherentX!);
    expect(held(va, FOLL_GET)).toBe(page);
    expect(lab.counts(page)).toEqual([2, 1]);
    expect(lab.machine.run(migrateDeviceCoherentPage(lab.kernel, page))).toBe(0);
    expect(lab.machine.ownerOf(lab.proc, va)).toBe('system');
    expect(lab.bitsAt(va) & PTE_WRITE).toBe(PTE_WRITE);
    expect(lab.proc.load32(va)).toBe(5);
    expect(lab.coherentX!.freed).toEqual([page]);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });

  it.each([
    ['pinned', FOLL_PIN, false],
    ['held by one more', FOLL_GET, false],
    ['nowhere to go: RAM is full', 0, true],
  ])('-EBUSY: %s', (_name, flags, fill) => {
    const { va, page } = onDevice(lab.coherentX!);
    const bits = lab.bitsAt(va);
    if (flags !== 0) expect(held(va, flags)).toBe(page);
    const filler: Page[] = [];
    for (let next = NO_PAGE; fill; filler.push(next)) {
      next = lab.pages.allocate();
      if (next === NO_PAGE) break;
    }
    lab.pages.get(page);
    expect(lab.machine.run(migrateDeviceCoherentPage(lab.kernel, page))).toBe(-EBUSY);
    expect(lab.pageAt(va)).toBe(page);
    expect(lab.bitsAt(va)).toBe(bits);
    if (flags !== 0) putUserPage(lab.kernel, page, flags === FOLL_PIN);
    for (const ram of filler) if (ram !== NO_PAGE) lab.pages.put(ram);
    expect(lab.counts(page)).toEqual([1, 1]);
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });

  it('waits for the lock of the page', () => {
    const { va, page } = onDevice(lab.coherentX!);
    lab.pages.get(page);
    const order: string[] = [];
    lab.pages.tryLock(page);
    lab.machine.spawn(
      'pinner',
      (function* (): Task<void> {
        const ret = yield* migrateDeviceCoherentPage(lab.kernel, page);
        order.push(`moved: ${ret}`);
      })(),
    );
    lab.machine.spawn(
      'holder',
      (function* (): Task<void> {
        yield new Delay(1000);
        order.push('unlocked');
        lab.pages.unlock(page);
      })(),
    );
    lab.machine.runAll();
    expect(order).toEqual(['unlocked', 'moved: 0']);
    expect(lab.machine.ownerOf(lab.proc, va)).toBe('system');
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });

  it('is not needed by its driver, who collects its own pages', () => {
    const { va } = onDevice(lab.coherentX!);
    const { args } = lab.setup(va, 1, { flags: COHERENT, owner: lab.x });
    expect(args.cpages).toBe(1);
    lab.giveRam(args);
    lab.movePages(args);
    lab.finalize(args);
    expect(lab.machine.ownerOf(lab.proc, va)).toBe('system');
    expect(lab.machine.verify({ full: true })).toEqual([]);
  });
});
