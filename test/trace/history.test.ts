// Who owned a page, when, and through which chain of records.

import { describe, expect, it } from 'vitest';
import { Machine } from '../../src/core/machine.ts';
import {
  MIGRATE_VMA_SELECT_SYSTEM,
  MigrateVma,
  migrateVmaFinalize,
  migrateVmaSetup,
} from '../../src/core/migrate/index.ts';
import { Delay, type Task } from '../../src/core/sched/task.ts';
import { PAGE_SIZE } from '../../src/core/units.ts';
import { Dmirror } from '../../src/drivers/dmirror/index.ts';
import { LANGUAGE } from '../../src/drivers/index.ts';
import { readText } from '../../src/node/read-text.ts';
import { buildMachine, ProgramRunner, parseRecording } from '../../src/program/index.ts';
import { History, unexplainedChanges } from '../../src/trace/history.ts';
import { pageRanges } from '../../src/trace/page-ranges.ts';
import { Recorder } from '../../src/trace/recorder.ts';
import { HAND_OVER } from './programs.ts';
import { recordProgram } from './record.ts';

/** A page that goes to a device at 100 ns, comes home at 250 ns, and is unmapped at 400 ns. */
function journey(): { readonly history: History; readonly va: number; readonly pid: number } {
  const machine = new Machine();
  const device = machine.attach(new Dmirror({ name: 'gpu' }));
  const proc = machine.createProcess();
  const file = device.open(proc);
  const va = proc.mmap({ pages: 2 });
  const recorder = new Recorder(machine);
  function* travel(): Task<void> {
    yield* proc.storeTask(va, 7);
    yield new Delay(100);
    yield* file.migrateToDevTask(va, 1);
    yield new Delay(150);
    yield* proc.loadTask(va);
    yield new Delay(150);
    yield* proc.munmapTask(va, PAGE_SIZE);
  }
  machine.spawn('traveller', travel());
  machine.runAll();
  return { history: new History(recorder.stop()), va, pid: proc.pid };
}

describe('a history', () => {
  it('tells the life of a page', () => {
    const { history, va, pid } = journey();
    const life = history.life(pid, va + 5);
    const told = life.map(({ owner, fromNs, toNs }) => [owner, fromNs, toNs]);
    expect(told).toEqual([
      ['system', 0, 100],
      ['gpu', 100, 250],
      ['system', 250, 400],
      [null, 400, null],
    ]);
    expect(life.map(({ page }) => page !== null)).toEqual([true, true, true, false]);
    for (const [i, { begin, end }] of life.entries()) {
      expect(begin).toMatchObject({ kind: 'owner_change', to: life[i]!.owner });
      expect(end).toEqual(life[i + 1]?.begin ?? null);
    }
  });

  it('tells the owner at any time and after any record', () => {
    const { history, va, pid } = journey();
    const times = [0, 99, 100, 249.5, 250, 399, 400, 1e9];
    expect(times.map((timeNs) => history.ownerAt(pid, va, { timeNs }))).toEqual([
      'system',
      'system',
      'gpu',
      'gpu',
      'system',
      'system',
      null,
      null,
    ]);
    expect(history.ownerAt(pid, va)).toBeNull();
    let owner: string | null = null;
    for (const event of history.recording) {
      if (event.kind === 'owner_change') owner = event.to;
      expect(history.ownerAt(pid, va, { event: event.id })).toBe(owner);
    }
    expect(history.ownerAt(pid, va + PAGE_SIZE)).toBeNull();
    expect(history.ownerAt(pid + 1, va)).toBeNull();
  });

  it('agrees with the machine after every operation', () => {
    const parsed = parseRecording(
      readText('test/recordings/linux-6.1.jsonl.gz'),
      'linux-6.1.jsonl.gz',
      LANGUAGE,
    );
    for (const { program } of parsed.programs.slice(0, 25)) {
      const machine = buildMachine(parsed.machine, LANGUAGE);
      const recorder = new Recorder(machine);
      const runner = new ProgramRunner(machine);
      const seen: (readonly [pid: number, va: number, record: number, owner: string | null])[] = [];
      for (const step of program.steps) {
        runner.step(step);
        for (const { process: proc, buffers } of runner.processes.values()) {
          for (const { address, pages } of buffers.values()) {
            for (let i = 0; i < pages; i++) {
              const va = address + i * machine.pageSize;
              const owner = machine.ownerOf(proc, va);
              const name = owner === null || owner === 'system' ? owner : owner.name;
              seen.push([proc.pid, va, recorder.length, name]);
            }
          }
        }
      }
      runner.finish();
      const history = new History(recorder.stop());
      const told = seen.map(([pid, va, record]) => history.ownerAt(pid, va, { event: record }));
      expect(told).toEqual(seen.map(([, , , owner]) => owner));
      expect(unexplainedChanges(history)).toEqual([]);
      for (const { pid, va } of history.pages()) expect(history.ownerAt(pid, va)).toBeNull();
    }
  });

  it('lists pages and ranges', () => {
    const { history, va, pid } = journey();
    expect(history.pages()).toEqual([{ pid, va }]);
    expect(history.processesAt(va + 9)).toEqual([pid]);
    expect(history.processesAt(va - 1)).toEqual([]);
    const many = new History(recordProgram(HAND_OVER).recording);
    const base = 0x1_0000_0000;
    expect(pageRanges(many)).toEqual([
      { pid: 1, start: base, end: base + 8 * PAGE_SIZE },
      { pid: 1, start: base + 0x1000_0000, end: base + 0x1000_0000 + 4 * PAGE_SIZE },
      { pid: 1, start: base + 0x2000_0000, end: base + 0x2000_0000 + 6 * PAGE_SIZE },
      { pid: 2, start: base, end: base + 8 * PAGE_SIZE },
      { pid: 2, start: base + 0x1000_0000, end: base + 0x1000_0000 + 4 * PAGE_SIZE },
    ]);
    expect(many.pages()).toHaveLength(30);
  });

  it('leads from a record to its root', () => {
    const { history, va, pid } = journey();
    const [, , home] = history.changes(pid, va);
    const chain = history.chain(home!);
    expect(chain.map(({ kind }) => kind)).toEqual([
      'owner_change',
      'migrate_phase',
      'migrate',
      'cpu_fault',
    ]);
    expect(chain[0]).toEqual(home);
    expect(history.endOf(chain[3]!)).toMatchObject({ phase: 'end', result: 'ok' });
    expect(history.endOf(home!)).toBeNull();
    const inside = history.within(chain[2]!.id, ['invalidate_call', 'owner_change']);
    expect(inside.map(({ kind }) => kind)).toEqual(['invalidate_call', 'owner_change']);
    expect(inside[1]).toEqual(home);
  });

  it('knows what was before the recording, as far as the recording says', () => {
    const machine = new Machine();
    const proc = machine.createProcess();
    const va = proc.mmap({ pages: 1 });
    proc.store32(va, 1);
    machine.events.on('*', () => {});
    machine.scheduler.run(
      (function* (): Task<void> {
        yield new Delay(50);
      })(),
    );
    const recorder = new Recorder(machine);
    proc.munmap(va, PAGE_SIZE);
    const history = new History(recorder.stop());
    expect(history.life(proc.pid, va)).toMatchObject([
      { owner: 'system', page: null, fromNs: 50, toNs: 50, begin: null, end: { to: null } },
      { owner: null, page: null, fromNs: 50, toNs: null, end: null },
    ]);
    expect(history.ownerAt(proc.pid, va, { timeNs: 0 })).toBe('system');
    expect(unexplainedChanges(history)).toEqual([]);
  });
});

describe('a migration that a driver breaks off', () => {
  it('ends, moves nothing, and holds nothing that comes later', () => {
    const machine = new Machine();
    const proc = machine.createProcess();
    const va = proc.mmap({ pages: 2 });
    proc.store32(va, 1);
    const recorder = new Recorder(machine);
    const [src, dst] = [new Uint32Array(1), new Uint32Array(1)];
    const vma = proc.mm.vmas.find(va);
    const range = { vma, start: va, end: va + PAGE_SIZE, src, dst };
    const flags = MIGRATE_VMA_SELECT_SYSTEM;
    const migration = new MigrateVma({ ...range, pgmapOwner: { name: 'gpu' }, flags });
    machine.run(migrateVmaSetup(migration));
    migrateVmaFinalize(migration);
    proc.store32(va + PAGE_SIZE, 2);
    const history = new History(recorder.stop());
    const steps = [...history.recording.of('migrate_phase')].map(
      ({ step, phase }) => `${step} ${phase}`,
    );
    expect(steps.slice(4)).toEqual([
      'alloc_copy begin',
      'alloc_copy end',
      'finalize begin',
      'finalize end',
    ]);
    const end = [...history.recording.of('migrate')].at(-1);
    expect(end).toMatchObject({ phase: 'end', selected: 1, migrated: 0, failed: 1 });
    const [change] = history.changes(proc.pid, va + PAGE_SIZE);
    expect(history.chain(change!).map(({ kind }) => kind)).toEqual(['owner_change', 'cpu_fault']);
  });
});

describe('changes without a root', () => {
  it('are found', () => {
    const machine = new Machine();
    const { mm } = machine.createProcess();
    const { events } = machine;
    const owner = { name: 'gpu' };
    const recorder = new Recorder(machine);
    events.ownerChange(mm, 0, 1, null, 'system');
    const migration = { mm, start: 0, end: PAGE_SIZE, owner, cause: 'driver' } as const;
    events.migrateBegin(migration);
    events.ownerChange(mm, 0, 2, 'system', owner);
    events.migrateEnd(migration, 1, 1);
    events.cpuFaultBegin(mm, 0, false);
    events.ownerChange(mm, 0, 3, owner, 'system');
    events.cpuFaultEnd(mm, 0, 'ok');
    const found = unexplainedChanges(new History(recorder.stop()));
    expect(found.map(({ page }) => page)).toEqual([1, 2]);
  });

  it('are found where the recording began within a span', () => {
    const machine = new Machine();
    const { mm } = machine.createProcess();
    const { events } = machine;
    events.on('*', () => {});
    events.cpuFaultBegin(mm, 0, false);
    const recorder = new Recorder(machine);
    events.ownerChange(mm, 0, 3, null, 'system');
    events.cpuFaultEnd(mm, 0, 'ok');
    expect(unexplainedChanges(new History(recorder.stop()))).toHaveLength(1);
  });
});
