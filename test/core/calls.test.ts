import { beforeEach, describe, expect, it } from 'vitest';
import type { EraName } from '../../src/core/era.ts';
import type { SimEvent } from '../../src/core/events/types.ts';
import { Machine } from '../../src/core/machine.ts';
import { FOLL_LONGTERM, FOLL_PIN, getUserPagesFast } from '../../src/core/mm/gup.ts';
import type { Process } from '../../src/core/process.ts';
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
    expect(heard.filter(({ kind }) => kind === 'migrate')).toMatchObject([
      { phase: 'begin', cause: 'pin', owner: device },
      { phase: 'end', from: device, to: 'system', selected: 1, migrated: 1 },
    ]);
    const steps = heard.flatMap((event) =>
      event.kind === 'migrate_phase' && event.phase === 'end' ? [event.step] : [],
    );
    expect(steps).toEqual(['unmap', 'alloc_copy', 'pages', 'finalize']);
  });
});
