// The events of a machine by page, by device and by cause.

import { beforeEach, describe, expect, it } from 'vitest';
import type { SimEvent } from '../../src/core/events/types.ts';
import { Machine } from '../../src/core/machine.ts';
import type { Process } from '../../src/core/process.ts';
import { PAGE_SIZE } from '../../src/core/units.ts';
import { Dmirror, type DmirrorFile } from '../../src/drivers/dmirror/index.ts';
import { Pgmaplab } from '../../src/drivers/pgmaplab/index.ts';
import { causeEvents, deviceEvents, pageEvents } from '../../src/trace/streams.ts';

let machine: Machine;
let first: Dmirror;
let second: Dmirror;
let proc: Process;
let file: DmirrorFile;
let va: number;

beforeEach(() => {
  machine = new Machine();
  first = machine.attach(new Dmirror({ name: 'gpu0' }));
  second = machine.attach(new Dmirror({ name: 'gpu1' }));
  proc = machine.createProcess();
  file = first.open(proc);
  va = proc.mmap({ pages: 3 });
  for (let i = 0; i < 3; i++) proc.store32(va + i * PAGE_SIZE, i);
});

/** Kinds, with the phase of spans. */
function kinds(events: readonly SimEvent[]): string[] {
  return events.map((event) => ('phase' in event ? `${event.kind} ${event.phase}` : event.kind));
}

describe('the stream of a page', () => {
  it('has what touches it, and no other page', () => {
    const heard: SimEvent[] = [];
    const subscription = pageEvents(machine, proc, va + PAGE_SIZE + 8).subscribe((event) => {
      heard.push(event);
    });
    const frame = machine.pageAt(proc, va + PAGE_SIZE)!;
    proc.store32(va, 5);
    expect(heard).toEqual([]);
    file.migrateToDev(va + 2 * PAGE_SIZE, 1);
    expect(heard).toEqual([]);
    file.migrateToDev(va, 2);
    const told = kinds(heard);
    expect(told[0]).toBe('call begin');
    expect(told.at(-1)).toBe('call end');
    expect(told.filter((kind) => kind === 'owner_change')).toHaveLength(1);
    expect(told.filter((kind) => kind === 'migrate end')).toHaveLength(1);
    expect(told.filter((kind) => kind === 'invalidate_call')).toHaveLength(1);
    const freed = heard.filter((event) => event.kind === 'page_free');
    expect(freed).toMatchObject([{ page: frame }]);
    heard.length = 0;
    const device = machine.pageAt(proc, va + PAGE_SIZE)!;
    proc.load32(va + PAGE_SIZE);
    expect(kinds(heard)[0]).toBe('cpu_fault begin');
    expect(heard.filter((event) => event.kind === 'page_free')).toMatchObject([{ page: device }]);
    subscription.unsubscribe();
    expect(machine.events.listening).toBe(false);
  });

  it('is not that of another process', () => {
    const child = proc.fork();
    const heard: SimEvent[] = [];
    pageEvents(machine, child, va).subscribe((event) => heard.push(event));
    proc.store32(va, 9);
    expect(heard).toEqual([]);
    child.store32(va, 9);
    expect(kinds(heard)).toContain('cpu_fault begin');
  });
});

describe('the stream of a device', () => {
  it('has what it does and what becomes of its memory', () => {
    const heard: SimEvent[] = [];
    const other: SimEvent[] = [];
    deviceEvents(machine, first).subscribe((event) => heard.push(event));
    deviceEvents(machine, second).subscribe((event) => other.push(event));
    file.migrateToDev(va, 1);
    proc.load32(va);
    expect(kinds(heard)).toEqual(
      expect.arrayContaining(['call begin', 'migrate begin', 'invalidate begin', 'migrate end']),
    );
    const moves = heard.filter((event) => event.kind === 'owner_change');
    expect(moves).toMatchObject([
      { from: 'system', to: first },
      { from: first, to: 'system' },
    ]);
    expect(heard.filter((event) => event.kind === 'page_free')).toMatchObject([{ owner: first }]);
    expect(other).toEqual([]);
    file.read(va + PAGE_SIZE, 1);
    expect(heard.filter((event) => event.kind === 'device_fault')).not.toEqual([]);
    expect(other).toEqual([]);
  });

  it('goes by all owners of a driver', () => {
    const lab = machine.attach(new Pgmaplab());
    const heard: SimEvent[] = [];
    deviceEvents(machine, lab).subscribe((event) => heard.push(event));
    machine.events.ownerChange(proc.mm, va, 1, 'system', lab.owners[2]!);
    machine.events.ownerChange(proc.mm, va, 1, 'system', first);
    machine.events.trespass({ ...trespass, by: 'pgmaplab', owner: first });
    machine.events.trespass({ ...trespass, by: 'gpu0', owner: lab.owners[0]! });
    machine.events.trespass({ ...trespass, by: 'gpu0', owner: second });
    expect(heard).toMatchObject([{ to: lab.owners[2] }, { by: 'pgmaplab' }, { by: 'gpu0' }]);
  });
});

const trespass = { what: 'read', page: 1, pid: null, va: null } as const;

describe('the stream of a cause', () => {
  it('has migrations with that cause, from beginning to end, and all inside them', () => {
    const heard: SimEvent[] = [];
    const all: SimEvent[] = [];
    causeEvents(machine, 'cpu_fault').subscribe((event) => heard.push(event));
    machine.events.on('*', (event) => all.push(event));
    file.migrateToDev(va, 2);
    expect(heard).toEqual([]);
    proc.load32(va);
    const begin = all.findIndex((one) => one.kind === 'migrate' && one.cause === 'cpu_fault');
    const end = all.findLastIndex((one) => one.kind === 'migrate' && one.cause === 'cpu_fault');
    expect(heard).toEqual(all.slice(begin, end + 1));
    expect(kinds(heard)).toEqual(expect.arrayContaining(['migrate_phase begin', 'owner_change']));
    const count = heard.length;
    proc.load32(va + PAGE_SIZE);
    expect(heard).toHaveLength(2 * count);
    file.migrateToDev(va, 1);
    expect(heard).toHaveLength(2 * count);
  });
});
