// Reports: what is counted, under which name, and the shape of unified_memory.json.

import { describe, expect, it } from 'vitest';
import { Machine } from '../../src/core/machine.ts';
import { Delay, type Task } from '../../src/core/sched/task.ts';
import type { RecordingMeta } from '../../src/trace/recorded.ts';
import type { DirectionTotals, UnifiedMemoryReport } from '../../src/trace/report/types.ts';
import { makeReport } from '../../src/trace/report.ts';
import { HAND_OVER } from './programs.ts';
import { META, recordingOf, recordingOfText, type Sketch, sourceOf } from './sources.ts';

const PAGE = 4096;

function reportOf(sketches: readonly Sketch[], meta?: RecordingMeta): UnifiedMemoryReport {
  return makeReport(sourceOf(sketches, meta));
}

/** The two records of a migration of `pages` pages, the first of which has this `id`. */
function migration(
  id: number,
  fields: Partial<Extract<Sketch, { kind: 'migrate' }>> & {
    readonly from?: string | null | undefined;
    readonly to?: string | null | undefined;
  },
  times: readonly [number, number] = [0, 0],
  failed = 0,
): Sketch[] {
  const pages = fields.pages ?? 1;
  const common = {
    kind: 'migrate',
    pid: 1,
    start: 0x10000,
    end: 0x10000 + pages * PAGE,
    pages,
    cause: 'driver',
    owner: 'gpu0',
    ...fields,
  } as const;
  const migrated = pages - failed;
  return [
    { ...common, phase: 'begin', from: undefined, to: undefined, timeNs: times[0] },
    {
      ...common,
      from: fields.from,
      to: fields.to,
      phase: 'end',
      begin: id,
      selected: pages,
      migrated,
      failed,
      timeNs: times[1],
    },
  ] as unknown as Sketch[];
}

describe('makeReport', () => {
  it('sums up a program', () => {
    const { devices, summary, hmmlab } = makeReport(recordingOfText(HAND_OVER, 'hand-over'));
    const totals = devices.map(({ device_name, migrations }) => [
      device_name,
      ...Object.values(migrations).map(({ count, total_size_bytes }) => [
        count,
        total_size_bytes / PAGE,
      ]),
    ]);
    expect(totals).toEqual([
      ['hmm_dmirror0', [2, 12], [5, 16], [0, 0]],
      ['hmm_dmirror1', [1, 4], [1, 4], [0, 0]],
      ['pgmaplab', [1, 3], [0, 0], [1, 6]],
    ]);
    // 8 + 3 first touches and 4 copies of process 1; 2 pages that came home.
    expect(hmmlab.cpu_faults).toEqual({
      total: 17,
      by_access: { write: 15, read: 2 },
      by_result: { ok: 17 },
      retries: 0,
    });
    expect(summary).toEqual({
      total_page_faults: 2,
      xnack_enabled: true,
      migration_triggers: {
        gpu_page_fault: 2,
        cpu_page_fault: 2,
        prefetch: 6,
        ttm_eviction: 1,
        unknown: 0,
      },
    });
    expect(hmmlab.devices[0]).toMatchObject({
      filled_pages: 4,
      evictions: { count: 1, pages: 12 },
    });
    expect(hmmlab.trespasses).toEqual({ total: 0, by: {} });
    expect(hmmlab.program).toBe('hand-over');
  });

  it('has the shape of unified_memory.json, and nothing but `hmmlab` besides', () => {
    const report = JSON.parse(JSON.stringify(reportOf([]))) as UnifiedMemoryReport;
    expect(Object.keys(report)).toEqual(['devices', 'summary', 'hmmlab']);
    const [device] = report.devices;
    expect(Object.keys(device!)).toEqual(['device_id', 'device_name', 'migrations']);
    const directions = Object.entries(device!.migrations);
    expect(directions.map(([name]) => name)).toEqual([
      'host_to_device',
      'device_to_host',
      'device_to_device',
    ]);
    for (const [, totals] of directions) {
      expect(Object.keys(totals)).toEqual([
        'count',
        'avg_size_bytes',
        'min_size_bytes',
        'max_size_bytes',
        'total_size_bytes',
        'total_time_ns',
        'migration_throughput_gbps',
      ]);
    }
    expect(report.summary).toEqual({
      total_page_faults: 0,
      xnack_enabled: false,
      migration_triggers: {
        gpu_page_fault: 0,
        cpu_page_fault: 0,
        prefetch: 0,
        ttm_eviction: 0,
        unknown: 0,
      },
    });
  });

  it('averages, and finds the smallest and the largest', () => {
    const { devices, hmmlab } = reportOf([
      ...migration(1, { pages: 4, from: 'system', to: 'gpu0' }, [100, 300]),
      ...migration(3, { pages: 1, from: 'system', to: 'gpu0' }, [300, 400]),
      ...migration(5, { pages: 3, from: 'system', to: 'gpu0', cause: 'device_fault' }, [500, 800]),
    ]);
    expect(devices[0]!.migrations.host_to_device).toEqual<DirectionTotals>({
      count: 3,
      avg_size_bytes: Math.round((8 * PAGE) / 3),
      min_size_bytes: PAGE,
      max_size_bytes: 4 * PAGE,
      total_size_bytes: 8 * PAGE,
      total_time_ns: 600,
      migration_throughput_gbps: Number(((8 * PAGE) / 600).toFixed(6)),
    });
    expect(hmmlab.devices[0]!.migrations.host_to_device).toEqual({
      pages: 8,
      causes: { driver: 2, device_fault: 1 },
    });
    expect(hmmlab.times).toContain('virtual nanoseconds');
  });

  it('says that there is no time, and divides by none', () => {
    const { devices, hmmlab } = reportOf(migration(1, { from: 'system', to: 'gpu0' }));
    expect(devices[0]!.migrations.host_to_device).toMatchObject({
      count: 1,
      total_time_ns: 0,
      migration_throughput_gbps: 0,
    });
    expect(hmmlab.virtual_time_ns).toBe(0);
    expect(hmmlab.times).toContain('no virtual time');
  });

  it('counts what went between devices at the one it went to', () => {
    const { devices, hmmlab } = reportOf([
      ...migration(1, { from: 'gpu0', to: 'gpu1' }),
      ...migration(
        3,
        { from: 'gpu1', to: 'system', cause: 'evict', owner: 'gpu1', pages: 5 },
        [0, 0],
        2,
      ),
    ]);
    expect(devices[0]!.migrations.device_to_device.count).toBe(0);
    expect(devices[1]!.migrations.device_to_device.count).toBe(1);
    expect(devices[1]!.migrations.device_to_host.total_size_bytes).toBe(3 * PAGE);
    expect(hmmlab.devices[1]!.evictions).toEqual({ count: 1, pages: 3 });
    expect(hmmlab.migrations).toMatchObject({ total: 2, migrated_pages: 4, failed_pages: 2 });
  });

  it('tells the ways of a migration apart by what changed hands in it', () => {
    const [begin, end] = migration(1, { pages: 5 });
    const change = (va: number, page: number, from: string | null, pid = 1): Sketch =>
      ({ kind: 'owner_change', pid, va, page, from, to: 'gpu1', parent: 2 }) as Sketch;
    const common = { pid: 1, start: 0, end: 5 * PAGE, step: 'finalize', parent: 1 } as const;
    const { devices, hmmlab } = reportOf([
      begin!,
      { kind: 'migrate_phase', phase: 'begin', ...common },
      change(0, 50, 'system'),
      // One page that two processes share.
      change(0, 50, 'system', 2),
      change(PAGE, 51, 'gpu0'),
      change(2 * PAGE, 52, 'gpu0'),
      change(3 * PAGE, 53, null),
      { kind: 'migrate_phase', phase: 'end', begin: 2, ...common },
      end!,
    ]);
    expect(devices[1]!.migrations.host_to_device.total_size_bytes).toBe(PAGE);
    expect(devices[1]!.migrations.device_to_device.total_size_bytes).toBe(2 * PAGE);
    expect(hmmlab.devices[1]!.filled_pages).toBe(1);
  });

  it('leaves out what changed hands for another reason while a driver copied', () => {
    const [begin, end] = migration(1, { pages: 1 });
    const common = { pid: 1, start: 0, end: PAGE, step: 'alloc_copy', parent: 1 } as const;
    const change = { kind: 'owner_change', pid: 1, va: 0, page: 9, from: 'system' } as const;
    const { devices } = reportOf([
      begin!,
      { kind: 'migrate_phase', phase: 'begin', ...common },
      { ...change, to: 'gpu1', parent: 2 },
      { kind: 'migrate_phase', phase: 'end', begin: 2, ...common },
      end!,
    ]);
    expect(
      devices.flatMap(({ migrations }) => Object.values(migrations)).some(({ count }) => count > 0),
    ).toBe(false);
  });

  it('counts faults of devices by access, once each, and what was tried again inside', () => {
    const fault = { kind: 'device_fault', pid: 1, device: 'gpu0', access: 'atomic' } as const;
    const range = { start: 0, end: 4 * PAGE };
    const inner = { ...fault, access: 'write', start: 0, end: 2 * PAGE, parent: 1 } as const;
    const next = { ...inner, start: 2 * PAGE, end: 4 * PAGE } as const;
    const { summary, hmmlab } = reportOf([
      { ...fault, ...range, phase: 'begin' },
      { ...inner, phase: 'begin' },
      { ...inner, phase: 'end', begin: 2, result: 0 },
      { ...next, phase: 'begin' },
      { ...next, phase: 'end', begin: 4, result: 0 },
      { ...inner, phase: 'begin' },
      { ...inner, phase: 'end', begin: 6, result: 0 },
      { ...fault, ...range, phase: 'end', begin: 1, result: -14 },
    ]);
    expect(summary).toMatchObject({ total_page_faults: 1, xnack_enabled: false });
    expect(hmmlab.devices[0]!.faults).toEqual({
      served: 1,
      by_access: { atomic: 1 },
      failed: 1,
      buffered: 0,
      fatal: 0,
      overflows: 0,
      replays: 0,
      retries: 1,
    });
  });

  it('counts what hardware tells', () => {
    const access = { device: 'gpu1', pid: 1, va: 0, access: 'read' } as const;
    const { hmmlab } = reportOf([
      { kind: 'gpu_fault', ...access, client: 0, entry: 0 },
      { kind: 'gpu_fault', ...access, client: 0, entry: 1 },
      { kind: 'fault_buffer_overflow', ...access },
      { kind: 'fatal_fault', ...access, reason: 'no memory' },
      { kind: 'fault_replay', device: 'gpu1', faults: 2 },
      { kind: 'fault_replay', device: 'gpu1', faults: 1 },
      { kind: 'fault_replay', device: 'gpu1', faults: 0 },
    ]);
    const faults = { buffered: 2, overflows: 1, fatal: 1, replays: 3 };
    expect(hmmlab.devices[1]!.faults).toMatchObject(faults);
  });

  it('tells a fault that is tried again from a new one', () => {
    const fault = { kind: 'cpu_fault', pid: 1, va: 64, access: 'read' } as const;
    const once = (begin: number, thread = 'caller'): Sketch[] => [
      { ...fault, thread, phase: 'begin' },
      { ...fault, thread, phase: 'end', begin, result: 'ok' },
    ];
    const between: Sketch = { kind: 'page_free', page: 3, pagemap: null, owner: 'system' };
    expect(reportOf([...once(1), ...once(3)]).hmmlab.cpu_faults.retries).toBe(1);
    expect(reportOf([...once(1), between, ...once(4)]).hmmlab.cpu_faults.retries).toBe(0);
    expect(reportOf([...once(1), ...once(3, 'other')]).hmmlab.cpu_faults.retries).toBe(0);
  });

  it('counts whom notifiers told, and who let it pass', () => {
    const range = { pid: 1, start: 0, end: PAGE, event: 'migrate', owner: 'gpu0' } as const;
    const { hmmlab } = reportOf([
      { kind: 'invalidate', phase: 'begin', ...range },
      { kind: 'invalidate_call', ...range, notifier: 'gpu0', ignored: true },
      { kind: 'invalidate_call', ...range, notifier: 'gpu1', ignored: false },
      { kind: 'invalidate_call', ...range, notifier: 'gpu1 snapshot', ignored: false },
      { kind: 'invalidate', phase: 'end', begin: 1, ...range },
    ]);
    expect(hmmlab.invalidations).toEqual({
      total: 1,
      told: 2,
      ignored: 1,
      by_event: { migrate: 1 },
    });
    const counts = hmmlab.devices.map(({ invalidations }) => invalidations);
    expect(counts).toEqual([
      { told: 0, ignored: 1, by_event: {} },
      { told: 2, ignored: 0, by_event: { migrate: 2 } },
    ]);
  });

  it('names trespassers', () => {
    const common = { kind: 'trespass', by: 'gpu1', page: 4, owner: 'gpu0', pid: 1, va: 0 } as const;
    const { hmmlab } = reportOf([
      { ...common, what: 'migrate' },
      { ...common, what: 'read' },
      { ...common, what: 'read' },
    ]);
    expect(hmmlab.trespasses).toEqual({
      total: 3,
      by: { 'gpu1: migrate of gpu0': 1, 'gpu1: read of gpu0': 2 },
    });
  });

  it('finds the pages that change owner most, with the owners in turn', () => {
    const change = (va: number, from: string | null, to: string | null): Sketch =>
      ({ kind: 'owner_change', pid: 1, va, page: 1, from, to }) as Sketch;
    const source = sourceOf([
      change(PAGE, null, 'system'),
      change(PAGE, 'system', 'gpu0'),
      change(PAGE, 'gpu0', 'gpu1'),
      change(PAGE, 'gpu1', 'system'),
      change(2 * PAGE, 'system', 'gpu0'),
      change(2 * PAGE, 'gpu0', 'system'),
      change(3 * PAGE, 'system', 'gpu0'),
      change(3 * PAGE, 'gpu0', null),
    ]);
    const pages = [
      { pid: 1, va: '0x1000', changes: 3, owners: ['system', 'gpu0', 'gpu1', 'system'] },
      { pid: 1, va: '0x2000', changes: 2, owners: ['system', 'gpu0', 'system'] },
    ];
    expect(makeReport(source).hmmlab.ping_pong).toEqual(pages);
    expect(makeReport(source, { pages: 1 }).hmmlab.ping_pong).toEqual(pages.slice(0, 1));
  });

  it('keeps the last owners of a page that changed very often', () => {
    const many = Array.from({ length: 100 }, (_, i) => {
      const [from, to] = i % 2 === 0 ? ['system', 'gpu0'] : ['gpu0', 'system'];
      return { kind: 'owner_change', pid: 1, va: 0, page: 1, from, to } as Sketch;
    });
    const [page] = makeReport(sourceOf(many)).hmmlab.ping_pong;
    expect(page!.changes).toBe(100);
    expect(page!.owners).toHaveLength(16);
    expect(page!.owners.slice(-2)).toEqual(['gpu0', 'system']);
  });

  it('counts records that are missing', () => {
    const free = { kind: 'page_free', page: 1, pagemap: null, owner: 'system' } as const;
    const { hmmlab } = reportOf([
      { ...free, id: 3 },
      { ...free, id: 4 },
      { ...free, id: 9 },
    ]);
    expect(hmmlab).toMatchObject({ records: 3, dropped_records: 4 });
  });

  it('lists owners that are no device of the machine', () => {
    const meta = { ...META, devices: [], owners: ['mine'] };
    const { devices } = reportOf(migration(1, { from: 'system', to: 'mine' }), meta);
    expect(devices).toMatchObject([{ device_id: 0, device_name: 'mine' }]);
    expect(devices[0]!.migrations.host_to_device.count).toBe(1);
  });

  it('blames the device for a page that came home because a device touched it', () => {
    const device = { kind: 'device_fault', pid: 1, device: 'gpu1', access: 'read' } as const;
    const range = { start: 0, end: PAGE } as const;
    const cpu = { kind: 'cpu_fault', pid: 1, va: 0, access: 'read' } as const;
    const home = { cause: 'cpu_fault', from: 'gpu0', to: 'system' } as const;
    const causesIn = (begin: Sketch): unknown => {
      const inside = migration(2, home).map((sketch) => ({ ...sketch, parent: 1 }));
      return reportOf([begin, ...(inside as Sketch[])]).hmmlab.migrations.causes;
    };
    expect(causesIn({ ...device, ...range, phase: 'begin' })).toEqual({ device_fault: 1 });
    expect(causesIn({ ...cpu, phase: 'begin' })).toEqual({ cpu_fault: 1 });
  });

  it('takes the time of migrations on threads that overlap', () => {
    const machine = new Machine();
    const proc = machine.createProcess();
    const source = recordingOf(machine, () => {
      function* work(ns: number): Task<void> {
        const info = { mm: proc.mm, start: 0, end: PAGE, owner: null, cause: 'driver' } as const;
        const own = { ...info };
        machine.events.migrateBegin(own);
        yield new Delay(ns);
        machine.events.migrateEnd(own, 1, 0);
      }
      machine.spawn('a', work(50));
      machine.spawn('b', work(20));
      machine.runAll();
    });
    expect(makeReport(source).hmmlab).toMatchObject({
      virtual_time_ns: 50,
      migrations: { total: 2, moved_nothing: 2, selected_pages: 2, failed_pages: 2 },
    });
  });
});
