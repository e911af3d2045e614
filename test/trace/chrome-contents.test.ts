// What slices of a Chrome trace say that their records alone do not.

import { describe, expect, it } from 'vitest';
import { named, processNames, traceOf } from './chrome-trace.ts';
import { HAND_OVER } from './programs.ts';
import { META, recordingOfText, type Sketch, sourceOf } from './sources.ts';

const PAGE = 4096;

describe('the slices of a program', () => {
  const trace = traceOf(recordingOfText(HAND_OVER, 'hand-over.txt'));

  it('say the number of the line on all that happens in it, and the driver on its steps', () => {
    const line = named(trace, 'line 14: mmap 1 4 anon rw')[0]!;
    expect(line.args.step_id).toBe(14);
    const steps = named(trace, 'alloc_copy').map(({ args }) => [args.step_id, args.driver]);
    expect(steps.slice(0, 3)).toEqual([
      [8, 'dmirror'],
      [9, 'dmirror'],
      [10, 'dmirror'],
    ]);
    expect(steps).toContainEqual([20, 'pgmaplab']);
    // The processes end after the last line.
    const exits = named(trace, 'exit');
    expect(exits.length).toBeGreaterThan(0);
    for (const { args } of exits) expect(args).not.toHaveProperty('step_id');
  });

  it('say on migrations what their words were', () => {
    const flags = named(trace, 'migrate')
      .filter(({ args }) => args.step_id === 20 || args.step_id === 8)
      .map(({ args }) => [args.src_flags, args.dst_flags, args.owner_old, args.owner_new]);
    expect(flags).toEqual([
      ['VALID 4, WRITE 4, of 4', 'VALID 4', 'system', 'hmm_dmirror0'],
      // Three of six pages were never touched: holes are filled where nothing is copied from.
      ['VALID 3, WRITE 3, of 6', 'VALID 6', 'several or none', 'lab owner 0'],
    ]);
  });
});

describe('slices', () => {
  it('number the batches of each device, and count what its hardware wrote', () => {
    const written = { kind: 'gpu_fault', pid: 1, access: 'read', client: 0, entry: 0 } as const;
    const replay = { kind: 'fault_replay', faults: 1 } as const;
    const served = { kind: 'device_fault', pid: 1, access: 'read', start: 0, end: PAGE } as const;
    const devices = ['gpu0', 'gpu1', 'gpu2'].map((name) => ({
      name,
      driver: 'nouveau',
      owners: [name],
    }));
    const trace = traceOf(
      sourceOf(
        [
          { ...written, device: 'gpu0', va: 0 },
          { ...written, device: 'gpu0', va: PAGE },
          // By its notifier's name.
          { ...served, device: 'gpu0 snapshot', phase: 'begin' },
          { ...served, device: 'gpu0 snapshot', phase: 'end', begin: 3, result: 0 },
          { ...replay, device: 'gpu0' },
          { ...written, device: 'gpu1', va: 0 },
          { ...written, device: 'gpu0', va: 0 },
          { ...replay, device: 'gpu0' },
          // Has no buffer.
          { ...served, device: 'gpu2', phase: 'begin' },
          { ...served, device: 'gpu2', phase: 'end', begin: 9, result: 0 },
        ],
        { ...META, devices },
      ),
    );
    const batches = trace.traceEvents
      .filter(({ ph, cat }) => ph === 'X' && cat === 'fault')
      .map(({ args }) => [args.device, args.batch_id]);
    expect(batches).toEqual([
      ['gpu0', 1],
      ['gpu0', 1],
      ['gpu0 snapshot', 1],
      ['gpu0', 1],
      ['gpu1', 1],
      ['gpu0', 2],
      ['gpu0', 2],
      ['gpu2', undefined],
    ]);
    const names = processNames(trace);
    const entries = named(trace, 'fault buffer entries', 'C').map(({ pid, args }) => {
      return `${names.get(pid)} ${Object.values(args)}`;
    });
    expect(entries.sort()).toEqual([
      'gpu0 nouveau 0',
      'gpu0 nouveau 0',
      'gpu0 nouveau 0',
      'gpu0 nouveau 1',
      'gpu0 nouveau 1',
      'gpu0 nouveau 2',
      'gpu1 nouveau 0',
      'gpu1 nouveau 1',
    ]);
  });

  it('number the attempts at one fault', () => {
    const fault = { kind: 'cpu_fault', pid: 1, va: 0, access: 'read' } as const;
    const outer = { kind: 'device_fault', pid: 1, access: 'read', device: 'gpu0' } as const;
    const [all, second] = [
      { ...outer, start: 0, end: 2 * PAGE },
      { ...outer, start: PAGE, end: 2 * PAGE },
    ];
    const cpu: Sketch[] = [1, 3, 5].flatMap((begin) => [
      { ...fault, phase: 'begin' },
      { ...fault, phase: 'end', begin, result: 'ok' },
    ]);
    const tries: Sketch[] = [all, all, second, second].flatMap((of, i) => [
      { ...of, phase: 'begin', parent: 9 },
      { ...of, phase: 'end', parent: 9, begin: 10 + 2 * i, result: 0 },
    ]);
    const trace = traceOf(
      sourceOf([
        ...cpu,
        { ...fault, va: PAGE, phase: 'begin' },
        { ...fault, va: PAGE, phase: 'end', begin: 7, result: 'ok' },
        { ...all, phase: 'begin' },
        ...tries,
        { ...all, phase: 'end', begin: 9, result: 0 },
      ]),
    );
    expect(named(trace, 'cpu_fault').map(({ args }) => args.retry)).toEqual([0, 1, 2, 0]);
    expect(named(trace, 'device_fault').map(({ args }) => args.retry)).toEqual([0, 0, 1, 1, 2]);
  });
});
