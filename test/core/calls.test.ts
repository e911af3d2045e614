import { beforeEach, describe, expect, it } from 'vitest';
import type { EraName } from '../../src/core/era.ts';
import type { SimEvent } from '../../src/core/events/types.ts';
import { Machine } from '../../src/core/machine.ts';
import {
  MIGRATE_VMA_SELECT_SYSTEM,
  MigrateVma,
  migratePfn,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from '../../src/core/migrate/index.ts';
import { FOLL_LONGTERM, FOLL_PIN, getUserPagesFast } from '../../src/core/mm/gup.ts';
import type { Process } from '../../src/core/process.ts';
import type { Task } from '../../src/core/sched/task.ts';
import { PAGE_SIZE } from '../../src/core/units.ts';
import { Dmirror } from '../../src/drivers/dmirror/index.ts';
import { Pgmaplab } from '../../src/drivers/pgmaplab/index.ts';
import { SmallDevice } from './device.ts';

describe('calls', () => {
  let machine: Machine;
  let proc: Process;
  let heard: SimEvent[];

  beforeEach(() => {
    machine = new Machine();
    proc = machine.createProcess();
    heard = [];
  });

  function listen(): void {
    machine.events.on('*', (event) => heard.push(event));
  }

  /** Every call that began and ended: "actor name start end result". */
  function calls(): string[] {
    return heard.flatMap((event) =>
      event.kind === 'call' && event.phase === 'end'
        ? [`${event.actor} ${event.name} ${event.start} ${event.end} ${event.result}`]
        : [],
    );
  }

  it('of a process are its system calls, with what they returned', () => {
    listen();
    const va = proc.mmap({ pages: 2, addr: 0x10000 });
    proc.mprotect(va, PAGE_SIZE, 'r');
    proc.dontneed(va, 2 * PAGE_SIZE);
    proc.mremap(va, PAGE_SIZE, 0x40000);
    proc.munmap(va + 1, PAGE_SIZE);
    const child = proc.fork();
    child.exit();
    expect(calls()).toEqual([
      'process 1 mmap 65536 73728 65536',
      'process 1 mprotect 65536 69632 0',
      'process 1 madvise 65536 73728 0',
      'process 1 mremap 65536 69632 262144',
      'process 1 munmap 65537 69633 -22',
      'process 1 fork 0 0 0',
      'process 2 exit 0 0 0',
    ]);
  });

  it('of drivers are what a program asks of them', () => {
    const device = machine.attach(new Dmirror({ name: 'mirror' }));
    const lab = machine.attach(new Pgmaplab());
    const file = device.open(proc);
    const labFile = lab.open(proc);
    const va = proc.mmap({ pages: 2, addr: 0x10000 });
    listen();
    file.migrateToDev(va, 2);
    file.read(va, 1);
    file.migrateToSys(va, 2);
    file.snapshot(0, -1);
    labFile.pin(va, 1, 'r', 'pin');
    lab.evict(0);
    expect(calls()).toEqual([
      'mirror MIGRATE_TO_DEV 65536 73728 0',
      'mirror READ 65536 69632 0',
      'mirror MIGRATE_TO_SYS 65536 73728 0',
      'mirror SNAPSHOT 0 -4096 -22',
      'pgmaplab PIN 65536 69632 0',
      'pgmaplab EVICT 0 0 0 0',
    ]);
  });

  it('are the roots of what happens inside of them', () => {
    const va = proc.mmap({ pages: 1 });
    proc.store32(va, 1);
    listen();
    proc.munmap(va, PAGE_SIZE);
    const [begin] = heard;
    expect(begin).toMatchObject({ kind: 'call', name: 'munmap', parent: null });
    const change = heard.find(({ kind }) => kind === 'owner_change');
    expect(change).toMatchObject({ from: 'system', to: null });
    const parent = heard.find(({ id }) => id === change!.parent);
    expect(parent === begin || parent!.parent === begin!.id).toBe(true);
  });
});

describe('what a device tells', () => {
  const access = { device: 'gpu', pid: 1, va: 0x1000, access: 'write' } as const;

  it('names the fault that a fault worker serves, also on another thread', () => {
    const machine = new Machine();
    const { mm } = machine.createProcess();
    const heard: SimEvent[] = [];
    machine.events.on('*', (event) => heard.push(event));
    const id = machine.events.gpuFault({ ...access, client: 3, entry: 0 });
    machine.events.faultBufferOverflow(access);
    machine.events.deviceFaultBegin(mm, 0x1000, 0x2000, 'gpu', 'write', id);
    machine.events.deviceFaultEnd(mm, 0x1000, 0x2000, 0);
    machine.events.faultReplay({ device: 'gpu', faults: 2 });
    machine.events.fatalFault({ ...access, reason: 'no such address space' });
    expect(heard).toMatchObject([
      { id, kind: 'gpu_fault', client: 3, entry: 0, ...access },
      { kind: 'fault_buffer_overflow', ...access },
      { kind: 'device_fault', phase: 'begin', parent: id, access: 'write' },
      { kind: 'device_fault', phase: 'end', parent: id, result: 0 },
      { kind: 'fault_replay', faults: 2 },
      { kind: 'fatal_fault', reason: 'no such address space' },
    ]);
  });
});

describe('a trespass', () => {
  function takeForeign(era: EraName): { machine: Machine; heard: SimEvent[]; owner: SmallDevice } {
    const machine = new Machine({ era });
    const owner = new SmallDevice(machine, 'first');
    const thief = new SmallDevice(machine, 'second');
    const proc = machine.createProcess();
    const va = proc.mmap({ pages: 2 });
    proc.store32(va, 1);
    owner.take(proc, va, 1);
    const heard: SimEvent[] = [];
    machine.events.on('trespass', (event) => heard.push(event));
    thief.take(proc, va, 2);
    return { machine, heard, owner };
  }

  it('is told with both owners, in the era that does not ask', () => {
    const { machine, heard, owner } = takeForeign('v5.6');
    expect(heard).toMatchObject([{ by: 'second', what: 'migrate', owner, pid: 1 }]);
    expect(machine.kernel.trespasses).toBe(1);
  });

  it.each(['v5.7', 'v5.10', 'v6.1', 'v6.12'] as const)('does not happen in %s', (era) => {
    const { machine, heard } = takeForeign(era);
    expect(heard).toEqual([]);
    expect(machine.kernel.trespasses).toBe(0);
  });
});

describe('the end of a migration', () => {
  let machine: Machine;
  let proc: Process;
  let ends: object[];

  beforeEach(() => {
    machine = new Machine();
    proc = machine.createProcess();
    ends = [];
    machine.events.on('migrate', (event) => {
      if (event.phase !== 'end') return;
      const { selected, migrated, valid, writable, given } = event;
      ends.push({ selected, migrated, valid, writable, given });
    });
  });

  /** Moves `pages` pages to RAM; the first `given` of them have a destination. */
  function* move(va: number, pages: number, given: number): Task<MigrateVma> {
    const { kernel } = machine;
    const migrate = new MigrateVma({
      vma: proc.mm.vmas.find(va),
      start: va,
      end: va + pages * PAGE_SIZE,
      src: new Uint32Array(pages),
      dst: new Uint32Array(pages),
      pgmapOwner: null,
      flags: MIGRATE_VMA_SELECT_SYSTEM,
    });
    yield* migrateVmaSetup(migrate);
    for (let i = 0; i < given; i++) {
      const page = kernel.pages.allocate();
      kernel.pages.tryLock(page);
      migrate.dst[i] = migratePfn(page);
    }
    yield* migrateVmaPages(migrate);
    migrateVmaFinalize(migrate);
    return migrate;
  }

  it('counts words that name pages, words that were writable, and destinations', () => {
    const va = proc.mmap({ pages: 5 });
    for (let i = 0; i < 4; i++) proc.store32(va + i * PAGE_SIZE, 7);
    // From here on the two share their pages, which neither may write.
    proc.fork();
    proc.store32(va + PAGE_SIZE, 8);
    machine.run(move(va, 5, 3));
    expect(ends).toEqual([{ selected: 5, migrated: 3, valid: 4, writable: 1, given: 3 }]);
  });

  it('counts nothing where nothing could move, also the second time', () => {
    const va = proc.mmap({ pages: 1 });
    proc.store32(va, 7);
    const migrate = machine.run(move(va, 1, 1));
    const [page] = machine.run(getUserPagesFast(proc.mm, va, 1, FOLL_PIN)) as number[];
    expect(machine.run(migrateVmaSetup(migrate))).toBe(0);
    expect(page).toBeGreaterThan(0);
    expect(ends).toEqual([
      { selected: 1, migrated: 1, valid: 1, writable: 1, given: 1 },
      { selected: 0, migrated: 0, valid: 0, writable: 0, given: 0 },
    ]);
  });
});

describe('a pin of coherent device memory', () => {
  it('is a migration by a pin, with its steps', () => {
    const machine = new Machine();
    const device = machine.attach(new Dmirror({ type: 'coherent' }));
    const proc = machine.createProcess();
    const file = device.open(proc);
    const va = proc.mmap({ pages: 1 });
    proc.store32(va, 5);
    file.migrateToDev(va, 1);
    const heard: SimEvent[] = [];
    machine.events.on('*', (event) => heard.push(event));
    const pages = machine.run(getUserPagesFast(proc.mm, va, 1, FOLL_PIN | FOLL_LONGTERM));
    expect(pages).toHaveLength(1);
    const words = { valid: 1, writable: 0, given: 1 };
    expect(heard.filter(({ kind }) => kind === 'migrate')).toMatchObject([
      { phase: 'begin', cause: 'pin', owner: device },
      { phase: 'end', from: device, to: 'system', selected: 1, migrated: 1, ...words },
    ]);
    const steps = heard.flatMap((event) =>
      event.kind === 'migrate_phase' && event.phase === 'end' ? [event.step] : [],
    );
    expect(steps).toEqual(['unmap', 'alloc_copy', 'pages', 'finalize']);
  });
});
