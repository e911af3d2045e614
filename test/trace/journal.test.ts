// The recorder's journal against one that makes each record from an event object, by the schema.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type {
  Access,
  CallInfo,
  MigrateInfo,
  MigrateStep,
  PageHome,
  SimEvent,
} from '../../src/core/events/types.ts';
import type { NotifierRange } from '../../src/core/hmm/notifier.ts';
import { Machine } from '../../src/core/machine.ts';
import type { DevPagemap, Owner } from '../../src/core/pagemap/pagemap.ts';
import { Recorder } from '../../src/trace/recorder.ts';
import { Recording } from '../../src/trace/recording.ts';
import { SHAPES } from '../../src/trace/schema.ts';
import { HAND_OVER } from './programs.ts';
import { exampleText, recordProgram, TWO_GPUS } from './record.ts';
import { named, recordingOf } from './slow-journal.ts';

function expectSame(recording: Recording, events: readonly SimEvent[]): void {
  const slow = recordingOf(events, recording.meta);
  expect(recording.length).toBe(events.length);
  expect([...recording]).toEqual([...slow]);
  expect([...Recording.decode(recording.encode())]).toEqual([...slow]);
}

describe('programs', () => {
  const texts: readonly (readonly [string, string])[] = [
    ['dmirrors and labs', HAND_OVER],
    ['GPUs', TWO_GPUS],
    ['a secure guest', exampleText('05-guest-and-gpu')],
    ['fork', exampleText('06-fork-and-cow')],
    ['a small GPU', exampleText('07-small-gpu')],
  ];
  it.each(texts)('are recorded as they were heard: %s', (_, text) => {
    const { recording, events } = recordProgram(text);
    expectSame(recording, events);
  });
});

// --- Anything that can be told ----------------------------------------------------------------

/** A process, as far as records speak of it. */
interface Told {
  readonly machine: Machine;
  readonly homes: readonly (Owner | 'system' | null)[];
  readonly pagemaps: readonly (DevPagemap | null)[];
  /** Ends of what has begun, in the order of their beginnings. */
  readonly ends: (() => void)[];
}

const OWNERS: readonly Owner[] = ['gpu', 'gpu', 'system', 'dmirror', 'lab'].map((name) => ({
  name,
}));
const STEPS: readonly MigrateStep[] = ['collect', 'unmap', 'alloc_copy', 'pages', 'finalize'];
const ACCESSES: readonly Access[] = ['read', 'write', 'atomic', 'prefetch'];
const ADDRESSES = [0, 4096, 2 ** 31, 2 ** 32 + 4096, 2 ** 47 - 4096];
const COUNTS = [0, 1, 7, 2 ** 31, 2 ** 40];

/** One thing to tell: which, and what decides its fields. */
type Telling = readonly [number, number, number];

type Teller = (told: Told, a: number, b: number) => void;

function pick<T>(from: readonly T[], at: number): T {
  return from[at % from.length]!;
}

/** More texts than a journal keeps at hand, so that it has to look some up. */
function text(at: number): string {
  return `text ${at % 23}`;
}

const TELLERS: readonly Teller[] = [
  ({ machine, ends }, a, b) => {
    const call: CallInfo = {
      actor: text(a),
      name: text(b),
      mm: a % 3 === 0 ? null : mmOf(machine, a),
      start: pick(ADDRESSES, a),
      end: pick(ADDRESSES, b),
    };
    machine.events.callBegin(call);
    ends.push(() => machine.events.callEnd(call, pick([-14, ...COUNTS], b)));
  },
  ({ machine, ends }, a, b) => {
    const mm = mmOf(machine, a);
    const va = pick(ADDRESSES, b);
    machine.events.cpuFaultBegin(mm, va, a % 2 === 0);
    ends.push(() => machine.events.cpuFaultEnd(mm, va, pick(['ok', 'SIGBUS', 'SIGSEGV'], a)));
  },
  ({ machine, ends }, a, b) => {
    const mm = mmOf(machine, a);
    const [start, end] = [pick(ADDRESSES, a), pick(ADDRESSES, b)];
    machine.events.deviceFaultBegin(mm, start, end, text(a), pick(ACCESSES, b));
    ends.push(() => machine.events.deviceFaultEnd(mm, start, end, pick([0, -14], b)));
  },
  ({ machine, homes, ends }, a, b) => {
    const info: MigrateInfo = {
      mm: a % 3 === 0 ? null : mmOf(machine, a),
      start: pick(ADDRESSES, a),
      end: pick(ADDRESSES, b),
      owner: pick(OWNERS, a),
      cause: pick(['cpu_fault', 'device_fault', 'driver', 'evict', 'pin', 'unknown'], b),
      ...(a % 3 === 0 ? { pages: 5 } : {}),
      ...(b % 2 === 0 ? { from: pick(homes, a) } : {}),
    };
    machine.events.migrateBegin(info);
    const step = pick(STEPS, a + b);
    machine.events.migratePhase(info, step, 'begin');
    ends.push(
      () => machine.events.migratePhase(info, step, 'end'),
      () => {
        info.to = pick(homes, b);
        info.from = pick([undefined, ...homes], a);
        info.valid = pick(COUNTS, b);
        info.given = pick(COUNTS, a);
        machine.events.migrateEnd(info, pick(COUNTS, a), pick(COUNTS, b));
      },
    );
  },
  ({ machine, ends }, a, b) => {
    const range: NotifierRange = {
      mm: mmOf(machine, a),
      start: pick(ADDRESSES, a),
      end: pick(ADDRESSES, b),
      event: pick(['unmap', 'clear', 'migrate', 'exclusive', 'release'], b),
      owner: pick([null, ...OWNERS], a),
    };
    machine.events.invalidateBegin(range);
    machine.events.notified(range, text(b), a % 2 === 0);
    ends.push(() => machine.events.invalidateEnd(range));
  },
  ({ machine }, a, b) => {
    const pid = pick([null, 1, 2], a);
    const access = { device: text(a), pid, va: pick(ADDRESSES, b), access: pick(ACCESSES, a) };
    machine.events.gpuFault({ ...access, client: b, entry: a });
    machine.events.faultBufferOverflow(access);
    machine.events.fatalFault({ ...access, reason: text(b) });
    machine.events.faultReplay({ device: text(b), faults: pick(COUNTS, a) });
  },
  ({ machine }, a, b) =>
    machine.events.trespass({
      by: text(a),
      what: pick(['migrate', 'read', 'write'], b),
      page: pick(COUNTS, a),
      owner: pick(OWNERS, b),
      pid: pick([null, 3], a),
      va: pick([null, ...ADDRESSES], b),
    }),
  ({ machine, homes }, a, b) => {
    const from: PageHome = pick(homes, a);
    machine.events.ownerChange(mmOf(machine, b), pick(ADDRESSES, a), a, from, pick(homes, b));
  },
  ({ machine, pagemaps }, a, b) => machine.events.pageFree(pick(COUNTS, a), pick(pagemaps, b)),
  ({ machine }, a, b) => {
    const what = pick(['mmap', 'munmap', 'fork', 'exit', 'mremap'] as const, a);
    machine.events.mappingChange(mmOf(machine, b), what, pick(ADDRESSES, a), pick(ADDRESSES, b));
  },
];

function mmOf(machine: Machine, at: number): CallInfo['mm'] & object {
  return pick([...machine.processes.values()], at).mm;
}

function toldOf(): Told {
  const machine = new Machine();
  for (let i = 0; i < 3; i++) machine.createProcess();
  const homes = [null, 'system' as const, ...OWNERS];
  const pagemaps = OWNERS.map((owner, i) => ({ name: `region ${i}`, owner }) as DevPagemap);
  return { machine, homes, pagemaps: [null, ...pagemaps], ends: [] };
}

/** Tells all of it; a quarter of the time, something that has begun ends. */
function tell(told: Told, tellings: readonly Telling[]): void {
  for (const [which, a, b] of tellings) {
    const { ends } = told;
    if (which % 4 === 0 && ends.length > 0) ends.splice(a % ends.length, 1)[0]!();
    else pick(TELLERS, which)(told, a, b);
  }
}

const tellings = fc.array(fc.tuple(fc.nat(999), fc.nat(99), fc.nat(99)), { maxLength: 60 });

describe('anything that can be told', () => {
  it('is recorded as it was heard, by whoever comes late, too', () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(tellings, tellings, (before, after) => {
        const told = toldOf();
        const events: SimEvent[] = [];
        told.machine.events.on('*', (event) => events.push(event));
        tell(told, before);
        const late = events.length;
        const recorder = new Recorder(told.machine);
        tell(told, after);
        for (const end of told.ends) end();
        const recording = recorder.stop();
        expectSame(recording, events.slice(late));
        for (const { kind, ...record } of recording) {
          const lone = 'begin' in record && recording.indexOf(record.begin) < 0;
          seen.add(`${kind} ${lone ? 'lone' : 'phase' in record ? record.phase : 'instant'}`);
        }
      }),
      { numRuns: 400, seed: 5 },
    );
    expect(seen).toEqual(new Set(SHAPES.map(({ kind, form }) => `${kind} ${form}`)));
  });

  it('fills many pieces', () => {
    const told = toldOf();
    const events: SimEvent[] = [];
    const recorder = new Recorder(told.machine);
    told.machine.events.on('*', (event) => events.push(event));
    for (let i = 0; i < 30_000; i++) tell(told, [[i, i % 89, (i * 7) % 97]]);
    const recording = recorder.stop();
    expect(recording.length).toBeGreaterThan(35_000);
    expectSame(recording, events);
  });

  it('has room for wide numbers, where there are many', () => {
    const { machine } = toldOf();
    const recorder = new Recorder(machine);
    for (let i = 0; i < 4000; i++) {
      const info: MigrateInfo = {
        mm: null,
        start: i,
        end: i + 4096,
        owner: null,
        cause: 'evict',
        valid: 2 ** 40 + i,
      };
      machine.events.migrateBegin(info);
      machine.events.migrateEnd(info, 2 ** 33 + i, i);
    }
    const ends = [...recorder.stop().of('migrate')].filter((event) => 'selected' in event);
    expect(ends).toHaveLength(4000);
    for (const [i, end] of ends.entries()) {
      expect(end).toMatchObject({ start: i, selected: 2 ** 33 + i, valid: 2 ** 40 + i });
    }
  });

  it('has the time and the thread of each', () => {
    const { machine } = toldOf();
    const events: SimEvent[] = [];
    const recorder = new Recorder(machine);
    machine.events.on('*', (event) => events.push(event));
    const page = (): void => machine.events.pageFree(events.length, null);
    page();
    for (const [timeNs, name] of [
      [5, 'a'],
      [5, 'b'],
      [1.5, 'b'],
      [0, ''],
      [2 ** 60, 'a'],
    ] as const) {
      machine.scheduler.nowNs = timeNs;
      Object.assign(machine.scheduler.current, { name });
      page();
      page();
    }
    expectSame(recorder.stop(), events);
    expect(events.at(-1)).toMatchObject({ timeNs: 2 ** 60, thread: 'a' });
  });
});

describe('two recorders', () => {
  it('record what each of them heard, whoever listens besides', () => {
    const told = toldOf();
    const { machine } = told;
    const first = new Recorder(machine);
    tell(told, [
      [1, 1, 1],
      [3, 2, 2],
    ]);
    const second = new Recorder(machine);
    tell(told, [
      [7, 1, 2],
      [4, 0, 0],
    ]);
    const one = first.stop();
    expect(machine.events.listening).toBe(true);
    tell(told, [[8, 0, 1]]);
    const two = second.stop();
    expect(machine.events.listening).toBe(false);
    expect([...two].slice(0, 2)).toEqual([...one].slice(-2));
    expect(two.length).toBe(3);
  });

  it('have a record before a listener hears of it and sets off others', () => {
    const { machine } = toldOf();
    const heard: SimEvent[] = [];
    machine.events.on('*', (event) => heard.push(event));
    machine.events.on('page_free', ({ page }) => {
      if (page < 3) machine.events.pageFree(page + 1, null);
    });
    const recorder = new Recorder(machine);
    machine.events.pageFree(0, null);
    const recording = recorder.stop();
    expect([...recording]).toEqual(named(heard));
    expect([...recording.of('page_free')].map(({ page }) => page)).toEqual([0, 1, 2, 3]);
  });
});
