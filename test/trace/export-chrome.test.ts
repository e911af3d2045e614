// Chrome traces: all rules hold for whatever is recorded, and what the trace says is true.

import { beforeAll, describe, expect, it } from 'vitest';
import { Machine } from '../../src/core/machine.ts';
import { Delay, type Task } from '../../src/core/sched/task.ts';
import type { EventSource } from '../../src/trace/event-source.ts';
import { flowOf, named, processNames, type Trace, textOf, traceOf } from './chrome-trace.ts';
import { GUEST_AND_GPUS, HAND_OVER } from './programs.ts';
import { META, recordingOf, recordingOfText, type Sketch, sourceOf } from './sources.ts';

const PAGE = 4096;

describe('the trace of a program', () => {
  let source: EventSource;
  let trace: Trace;

  beforeAll(() => {
    source = recordingOfText(HAND_OVER, 'hand-over.txt');
    trace = traceOf(source);
  });

  it('has a process for the program, each address space, each device and the kernel', () => {
    expect([...processNames(trace)]).toEqual([
      [1, 'program hand-over.txt'],
      [2, 'mm 1'],
      [3, 'mm 2'],
      [4, 'hmm_dmirror0'],
      [5, 'hmm_dmirror1'],
      [6, 'pgmaplab'],
      [7, 'kernel'],
    ]);
  });

  it('has a slice for each span and each moment, and an instant for each other record', () => {
    const phases = new Map<string, number>();
    for (const { ph } of trace.traceEvents) phases.set(ph, (phases.get(ph) ?? 0) + 1);
    let slices = 0;
    let instants = 0;
    for (let i = 0; i < source.length; i++) {
      const event = source.event(i);
      const ends = 'phase' in event && event.phase === 'end';
      if (('phase' in event && !ends) || event.kind === 'invalidate_call') slices++;
      else if (!ends) instants++;
    }
    expect([phases.get('X'), phases.get('i')]).toEqual([slices, instants]);
    expect(slices).toBeGreaterThan(100);
    expect(phases.has('b')).toBe(false);
  });

  it('leads from the line of the program to the page that came home', () => {
    const migration = named(trace, 'migrate').find(({ args }) => args.cause === 'cpu_fault')!;
    expect(flowOf(trace, migration.args.event as number)).toEqual([
      'program hand-over.txt: line 11: cpu_read 0 0 2',
      'mm 1: cpu_fault',
      'mm 1: migrate',
      'hmm_dmirror1: invalidate_call',
      'pgmaplab: invalidate_call',
      'mm 1: alloc_copy',
      'mm 1: finalize',
    ]);
  });

  it('leads to faults that no migration served', () => {
    const fault = named(trace, 'cpu_fault')[0]!;
    expect(flowOf(trace, fault.args.event as number)).toEqual([
      'program hand-over.txt: line 7: cpu_write 0 0 8 100',
      'mm 1: cpu_fault',
    ]);
  });

  it('counts the pages that each device has, and all that is on its way', () => {
    const names = processNames(trace);
    const values = new Map<string, number[]>();
    for (const { ph, name, pid, args } of trace.traceEvents) {
      if (ph !== 'C') continue;
      const key = `${names.get(pid)}: ${name}`;
      values.set(key, [...(values.get(key) ?? []), ...(Object.values(args) as number[])]);
    }
    expect(values.get('hmm_dmirror0: resident pages')).toEqual([0, 4, 3, 2, 1, 0, 4, 12, 0]);
    expect(values.get('hmm_dmirror1: resident pages')).toEqual([0, 4, 0]);
    // 3 fresh pages in the step that fills holes, then 3 that were in RAM.
    expect(values.get('pgmaplab: resident pages')!.slice(0, 3)).toEqual([0, 3, 6]);
    const outstanding = values.get('kernel: migration entries outstanding')!;
    expect(outstanding.slice(0, 3)).toEqual([0, 4, 0]);
    expect(outstanding.at(-1)).toBe(0);
    // Eight fresh pages, four of which go to a device.
    const free = values.get('kernel: free frames')!;
    expect(free.slice(0, 10)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 4].map((used) => 16384 - used));
    expect(values.get('kernel: resident pages')).toEqual(free.map((pages) => 16384 - pages));
    expect([...values.keys()].filter((key) => key.endsWith('fault buffer entries'))).toEqual([]);
    expect(values.get('mm 2: faults')).toEqual([1, 2, 3, 4]);
    expect(values.get('hmm_dmirror1: faults')).toEqual([1]);
  });

  it('says what it knows of a migration', () => {
    const [first] = named(trace, 'migrate');
    expect(first!.args).toEqual({
      event: expect.any(Number),
      parent: expect.any(Number),
      thread: 'caller',
      time_ns: 0,
      end_time_ns: 0,
      pid: 1,
      va: '0x100000000',
      npages: 4,
      bytes: 4 * PAGE,
      cause: 'driver',
      owner: 'hmm_dmirror0',
      driver: 'dmirror',
      from: 'system',
      to: 'hmm_dmirror0',
      owner_old: 'system',
      owner_new: 'hmm_dmirror0',
      selected: 4,
      migrated: 4,
      failed: 0,
      src_flags: 'VALID 4, WRITE 4, of 4',
      dst_flags: 'VALID 4',
      step_id: 8,
    });
  });

  it('gives pages that are moved whoever maps them a place on the device', () => {
    const evicted = named(trace, 'migrate').find(({ args }) => args.cause === 'evict')!;
    expect(evicted.args.device_address).toMatch(/^0x[0-9a-f]+$/);
    expect(evicted.args).not.toHaveProperty('va');
    expect(evicted.args).not.toHaveProperty('pid');
  });

  it('says where it is from', () => {
    expect(trace.otherData).toMatchObject({
      generator: 'hmmlab',
      version: '1.2.3',
      schema_version: 1,
      seed: 7,
      era: 'v6.1',
      page_size: PAGE,
      program: 'hand-over.txt',
      records: source.length,
      dropped_records: 0,
      unfinished_spans: 0,
      crossing_spans: 0,
    });
    const again = JSON.parse(textOf(recordingOfText('program p\nend\n'))) as Trace;
    expect(trace.otherData.config_hash).toMatch(/^[0-9a-f]{16}$/);
    expect(again.otherData.config_hash).not.toBe(trace.otherData.config_hash);
  });

  it('takes the order of records for the time, 1 us each, and says so', () => {
    expect(trace.otherData.clock).toContain('order of records');
    const timed = trace.traceEvents.filter(({ ph, args }) => ph === 'X' && 'event' in args);
    for (const { ts, args } of timed) expect(ts).toBe((args.event as number) - source.event(0).id);
  });

  it('is the same each time', () => {
    expect(textOf(recordingOfText(HAND_OVER, 'hand-over.txt'))).toBe(textOf(source));
  });
});

describe('traces of other recordings', () => {
  it('may be empty', () => {
    expect(named(traceOf(sourceOf([])), 'process_name', 'M')).toHaveLength(3);
  });

  it('have virtual time, to the nanosecond', () => {
    const machine = new Machine();
    const proc = machine.createProcess();
    const source = recordingOf(machine, () => {
      function* work(): Task<void> {
        yield new Delay(1001);
        machine.events.cpuFaultBegin(proc.mm, 0, false);
        yield new Delay(1_000_000_007);
        machine.events.cpuFaultEnd(proc.mm, 0, 'ok');
      }
      machine.events.pageFree(1, null);
      machine.spawn('cpu 0', work());
      machine.runAll();
    });
    const [fault] = named(traceOf(source), 'cpu_fault');
    expect(textOf(source)).toContain('"ts":1.001,"dur":1000000.007');
    expect(fault!.args).toMatchObject({
      thread: 'cpu 0',
      time_ns: 1001,
      end_time_ns: 1_000_001_008,
    });
  });

  it('draw records of one nanosecond apart, and tell by how much', () => {
    const machine = new Machine();
    const proc = machine.createProcess();
    const source = recordingOf(machine, () => {
      function* work(): Task<void> {
        for (let i = 0; i < 3; i++) machine.events.pageFree(i + 1, null);
        yield new Delay(1);
        machine.events.mappingChange(proc.mm, 'mmap', 0, PAGE);
        yield new Delay(100);
        machine.events.mappingChange(proc.mm, 'munmap', 0, PAGE);
      }
      machine.run(work());
    });
    const trace = traceOf(source);
    const instants = trace.traceEvents.filter(({ ph }) => ph === 'i');
    expect(instants.map(({ ts }) => ts)).toEqual([0, 0.001, 0.002, 0.003, 0.101]);
    expect(instants.map(({ args }) => args.time_ns)).toEqual([0, 0, 0, 1, 101]);
    expect(trace.otherData.clock_max_shift_ns).toBe(2);
  });

  it('give each name of a thread a row', () => {
    const machine = new Machine();
    const proc = machine.createProcess();
    const source = recordingOf(machine, () => {
      function* work(va: number, ns: number): Task<void> {
        machine.events.cpuFaultBegin(proc.mm, va, false);
        yield new Delay(ns);
        machine.events.cpuFaultEnd(proc.mm, va, 'ok');
      }
      machine.spawn('cpu 0', work(0, 50));
      machine.spawn('cpu 1', work(PAGE, 20));
      // Overlaps the other of its name.
      machine.spawn('cpu 1', work(2 * PAGE, 30));
      machine.runAll();
    });
    const trace = traceOf(source);
    expect(named(trace, 'thread_name', 'M').map(({ args }) => args.name)).toEqual([
      'cpu 0',
      'cpu 1',
    ]);
    expect(named(trace, 'cpu_fault')).toHaveLength(2);
    expect(named(trace, 'cpu_fault', 'b')).toHaveLength(1);
    expect(named(trace, 'cpu_fault', 'e')).toHaveLength(1);
    expect(trace.otherData.crossing_spans).toBe(1);
  });

  it('have spans that end elsewhere, or never, beside the slices', () => {
    const fault = { kind: 'cpu_fault', pid: 1, va: 0, access: 'read' } as const;
    const move = {
      kind: 'migrate',
      pid: 1,
      start: 0,
      end: PAGE,
      pages: 1,
      cause: 'driver',
      owner: 'gpu0',
      from: undefined,
      to: undefined,
    } as const;
    const trace = traceOf(
      sourceOf([
        { ...fault, phase: 'begin' },
        { ...move, phase: 'begin', parent: 1 },
        { ...move, phase: 'begin', parent: 2 },
        { kind: 'page_free', page: 1, pagemap: null, owner: 'system', parent: 3 },
        {
          ...move,
          phase: 'end',
          begin: 2,
          parent: 1,
          thread: 'worker',
          selected: 1,
          migrated: 0,
          failed: 1,
          valid: 1,
          writable: 0,
          given: 0,
        },
        { ...fault, phase: 'end', begin: 1, result: 'ok' },
      ]),
    );
    expect(named(trace, 'cpu_fault')).toHaveLength(1);
    const [moved, lost] = named(trace, 'migrate', 'b');
    expect(moved!.args).toMatchObject({ end_thread: 'worker', failed: 1 });
    expect(lost!.args).toMatchObject({ unfinished: true });
    expect(named(trace, 'migrate', 'e').at(-1)!.ts).toBe(5);
    expect(trace.otherData).toMatchObject({ crossing_spans: 1, unfinished_spans: 1 });
  });

  it('lead from a fault of the hardware over the driver to the replay', () => {
    const access = { device: 'gpu0', pid: 1, va: PAGE, access: 'write' } as const;
    const call = {
      kind: 'call',
      actor: 'gpu0',
      name: 'EXECUTE',
      pid: 1,
      start: 0,
      end: 0,
    } as const;
    const fault = {
      kind: 'device_fault',
      device: 'gpu0',
      pid: 1,
      start: PAGE,
      end: 2 * PAGE,
      access: 'write',
      thread: 'gpu0 faults',
    } as const;
    const trace = traceOf(
      sourceOf([
        { ...call, phase: 'begin' },
        { kind: 'gpu_fault', ...access, client: 3, entry: 0, parent: 1 },
        { kind: 'fault_buffer_overflow', ...access, parent: 1 },
        { ...fault, phase: 'begin', parent: 2 },
        { ...fault, phase: 'end', parent: 2, begin: 4, result: 0 },
        { kind: 'fault_replay', device: 'gpu0', faults: 2, thread: 'gpu0 faults' },
        { ...call, phase: 'end', begin: 1, result: 0 },
      ]),
    );
    expect(flowOf(trace, 4)).toEqual([
      'gpu0 nouveau: EXECUTE',
      'gpu0 nouveau: gpu_fault',
      'gpu0 nouveau: device_fault',
      'gpu0 nouveau: fault_replay',
    ]);
    expect(named(trace, 'fault_buffer_overflow', 'i')[0]).toMatchObject({ s: 'p' });
  });

  it('lead from a GPU that reads over the other GPU to its own replay', () => {
    const source = recordingOfText(GUEST_AND_GPUS, 'guest-and-gpus');
    const trace = traceOf(source);
    const served = named(trace, 'device_fault').find(({ args }) => {
      return args.device === 'nouveau0' && args.va === '0x10001e000';
    })!;
    expect(flowOf(trace, served.args.event as number)).toEqual([
      'program guest-and-gpus: line 11: gpu_access 0 0 r0,w1,a26,p3,r17,w17,r30,r31',
      'nouveau0: execute',
      'nouveau0: gpu_fault',
      'nouveau0: device_fault',
      'nouveau0: fault_replay',
    ]);
    const moved = named(trace, 'migrate').find(({ args }) => {
      return args.from === 'nouveau1' && args.cause !== 'evict';
    })!;
    expect(flowOf(trace, moved.args.event as number)).toEqual(
      expect.arrayContaining(['nouveau0: gpu_fault', 'nouveau0: fault_replay']),
    );
    expect(named(trace, 'fault_buffer_overflow', 'i').length).toBeGreaterThan(0);
    expect([...processNames(trace).values()]).toContain('kvm-uvmem VM 1');
  });

  it('say where records are missing', () => {
    const free = { kind: 'page_free', page: 1, pagemap: null, owner: 'system' } as const;
    const trace = traceOf(
      sourceOf([
        { ...free, id: 3 },
        { ...free, id: 9 },
      ]),
    );
    expect(named(trace, 'dropped', 'i')).toMatchObject([{ s: 'g', args: { records: 5 } }]);
    expect(trace.otherData.dropped_records).toBe(5);
  });

  it('have secure guests as processes of their own', () => {
    const devices = [{ name: 'kvm-uvmem', driver: 'kvm-uvmem', owners: ['kvm-uvmem'] }];
    const call = { kind: 'call', actor: 'kvm-uvmem', name: 'H_SVM_PAGE_IN' } as const;
    const about = { pid: 4, start: 0, end: 65536 } as const;
    const sketches: Sketch[] = [
      { ...call, ...about, phase: 'begin' },
      { ...call, ...about, phase: 'end', begin: 1, result: 0 },
    ];
    const trace = traceOf(sourceOf(sketches, { ...META, devices, owners: ['kvm-uvmem'] }));
    expect([...processNames(trace).values()]).toEqual(['kvm-uvmem VM 4', 'kvm-uvmem', 'kernel']);
  });

  it('count the pages of owners that the head of the recording does not name', () => {
    const meta = { ...META, devices: [], owners: [] };
    const change = {
      kind: 'owner_change',
      pid: 1,
      va: 0,
      page: 1,
      from: null,
      to: 'mine',
    } as const;
    const trace = traceOf(sourceOf([change], meta));
    expect([...processNames(trace).values()]).toEqual(['mm 1', 'mine', 'kernel']);
    expect(named(trace, 'resident pages', 'C').map(({ args }) => args.pages)).toEqual([0, 1]);
  });

  it('hold addresses as text', () => {
    const va = 2 ** 47 - PAGE;
    const change = { kind: 'owner_change', pid: 1, va, page: 1, from: null, to: 'gpu1' } as const;
    const [instant] = named(traceOf(sourceOf([change])), 'owner_change', 'i');
    expect(instant!.args).toMatchObject({ va: '0x7ffffffff000', owner_new: 'gpu1' });
  });
});
