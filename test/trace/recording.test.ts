// Recordings: what goes in comes out, in few bytes, and nothing else is taken for one.

import { gunzipSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SimError } from '../../src/core/errors.ts';
import type { SimEvent } from '../../src/core/events/types.ts';
import { Machine } from '../../src/core/machine.ts';
import type { Owner } from '../../src/core/pagemap/pagemap.ts';
import { LANGUAGE } from '../../src/drivers/index.ts';
import { readText } from '../../src/node/read-text.ts';
import { buildMachine, ProgramRunner, parseRecording } from '../../src/program/index.ts';
import { crc32 } from '../../src/trace/bytes.ts';
import { CHECKSUM_AT, HEADER_BYTES, LENGTH_AT, SCHEMA_AT } from '../../src/trace/format.ts';
import { History, unexplainedChanges } from '../../src/trace/history.ts';
import { Recorder } from '../../src/trace/recorder.ts';
import { Recording } from '../../src/trace/recording.ts';
import { type FieldType, SHAPES } from '../../src/trace/schema.ts';
import { HAND_OVER } from './programs.ts';
import { exampleText, type Heard, recordProgram, TWO_GPUS } from './record.ts';
import { named, recordingOf } from './slow-journal.ts';

function recordEvents(events: readonly object[]): Recording {
  const { meta } = new Recorder(new Machine()).stop();
  return recordingOf(events as readonly SimEvent[], meta);
}

describe('a recording', () => {
  const programs: readonly (readonly [string, () => Heard])[] = [
    ['dmirrors and labs', () => recordProgram(HAND_OVER)],
    ['GPUs', () => recordProgram(TWO_GPUS)],
    ['a GPU that takes what is not its own', () => recordProgram(TWO_GPUS, 'v5.6')],
    ['a secure guest', () => recordProgram(exampleText('05-guest-and-gpu'))],
    ['fork', () => recordProgram(exampleText('06-fork-and-cow'))],
    ['a small GPU', () => recordProgram(exampleText('07-small-gpu'))],
  ];

  it.each(programs)('has all that a machine told: %s', (_, record) => {
    const { recording, events } = record();
    expect(recording.length).toBe(events.length);
    expect([...recording]).toEqual(named(events));
    const read = Recording.decode(recording.encode());
    expect([...read]).toEqual(named(events));
    expect(read.meta).toEqual(recording.meta);
    expect(read.encode()).toEqual(recording.encode());
  });

  it('knows its records by id, kind and place', () => {
    const { recording } = recordProgram(HAND_OVER);
    const changes = [...recording.of('owner_change')];
    expect(changes.length).toBeGreaterThan(20);
    expect(changes).toEqual([...recording].filter(({ kind }) => kind === 'owner_change'));
    for (const change of changes) {
      expect(recording.byId(change.id)).toEqual(change);
      expect(recording.kindAt(recording.indexOf(change.id))).toBe('owner_change');
    }
    for (const id of [0, -1, 1.5, recording.length + 1]) {
      expect(recording.byId(id)).toBeUndefined();
      expect(recording.indexOf(id)).toBe(-1);
    }
    for (const i of [-1, recording.length, 0.5, Number.NaN]) {
      expect(() => recording.event(i)).toThrow(/there is no record/);
    }
  });

  it('says what machine it is of', () => {
    const { meta } = recordProgram(exampleText('05-guest-and-gpu')).recording;
    expect(meta).toMatchObject({ version: 2, era: 'v6.1', pageSize: 4096, program: 'program.txt' });
    expect(meta.devices.map(({ name, driver }) => [name, driver])).toContainEqual([
      'nouveau0',
      'nouveau',
    ]);
    expect(meta.devices.map(({ owners }) => owners)).toContainEqual(['kvm-uvmem']);
    expect(meta.owners).toEqual(expect.arrayContaining(['nouveau0', 'kvm-uvmem']));
    expect(meta.processes).toEqual([{ pid: 1, alive: false }]);
  });

  it('takes few bytes a record', () => {
    const file = 'test/recordings/linux-6.1.jsonl.gz';
    const { machine: spec, programs: all } = parseRecording(readText(file), file, LANGUAGE);
    const machine = buildMachine(spec, LANGUAGE);
    const recorder = new Recorder(machine);
    for (const { program } of all.slice(0, 40)) {
      const runner = new ProgramRunner(machine);
      for (const step of program.steps) runner.step(step);
      runner.finish();
    }
    const recording = recorder.stop();
    expect(recording.length).toBeGreaterThan(10_000);
    expect(gzipSync(recording.encode()).length / recording.length).toBeLessThan(2);
    expect(unexplainedChanges(new History(recording))).toEqual([]);
  });
});

describe('a recorder', () => {
  it('hears nothing after it stopped, and stops once', () => {
    const machine = new Machine();
    const recorder = new Recorder(machine);
    const proc = machine.createProcess();
    const buffer = proc.mmap({ pages: 1 });
    const recording = recorder.stop();
    expect(machine.events.listening).toBe(false);
    proc.store32(buffer, 1);
    expect(recorder.stop()).toBe(recording);
    expect(recorder.length).toBe(3);
    expect([...recording].map(({ kind }) => kind)).toEqual(['call', 'mapping_change', 'call']);
    expect(recording.meta.processes).toEqual([{ pid: proc.pid, alive: true }]);
  });

  it('keeps the ends of spans that began before it', () => {
    const machine = new Machine();
    const all: SimEvent[] = [];
    machine.events.on('*', (event) => all.push(event));
    const { mm } = machine.createProcess();
    machine.events.cpuFaultBegin(mm, 4096, true);
    const recorder = new Recorder(machine);
    machine.events.trespass({ by: 'a', what: 'read', page: 7, owner: mm0, pid: null, va: null });
    machine.events.cpuFaultEnd(mm, 4096, 'SIGBUS');
    const read = Recording.decode(recorder.stop().encode());
    expect([...read]).toEqual(named(all.slice(1)));
    expect(read.event(1)).toMatchObject({ begin: 1, access: 'write', result: 'SIGBUS' });
  });

  it('gives owners of one name different names, and RAM its own', () => {
    const machine = new Machine();
    const recorder = new Recorder(machine);
    const { mm } = machine.createProcess();
    const owners = ['gpu', 'gpu', 'system', 'gpu#2', 'gpu'].map((name) => ({ name }));
    for (const owner of [...owners, ...owners]) {
      machine.events.ownerChange(mm, 0, 1, 'system', owner);
    }
    const recording = recorder.stop();
    const names = ['gpu', 'gpu#2', 'system#2', 'gpu#2#2', 'gpu#3'];
    const to = [...recording.of('owner_change')].map((event) => event.to);
    expect(to).toEqual([...names, ...names]);
    expect([...recording.of('owner_change')].every(({ from }) => from === 'system')).toBe(true);
    expect(recording.meta.owners).toEqual(names);
  });

  it('finds records whose ids do not follow each other', () => {
    const free = { kind: 'page_free', pagemap: null, owner: 'system', timeNs: 0, thread: '' };
    const ids = [5, 9, 7];
    const events = ids.map((id) => ({ ...free, id, page: id * 2, parent: null }));
    const read = Recording.decode(recordEvents(events).encode());
    expect([...read]).toEqual(events);
    expect(ids.map((id) => read.byId(id)?.id)).toEqual(ids);
    expect(read.byId(6)).toBeUndefined();
  });
});

const mm0: Owner = { name: 'somebody' };

// --- Any records ------------------------------------------------------------------------------

const numbers = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc.double(),
  fc.constantFrom(0, -0, 2 ** 47, 2 ** 51, 2 ** 53, -(2 ** 51)),
);

function valuesOf(type: FieldType): fc.Arbitrary<unknown> {
  switch (type) {
    case 'number':
      return numbers;
    case 'maybe':
      return fc.oneof(fc.constant(null), fc.nat(), fc.maxSafeInteger().map(Math.abs));
    case 'text':
      return fc.string({ unit: 'binary', maxLength: 8 });
    case 'name':
      return fc.constantFrom(null, undefined, 'system', mm0);
    case 'flag':
      return fc.boolean();
    case 'back':
      return fc.constant(null);
  }
}

/** Records of every kind, instants and begun spans, some of which end. */
const someEvents: fc.Arbitrary<object[]> = fc
  .array(
    fc.constantFrom(...SHAPES.filter(({ form }) => form !== 'lone').keys()).chain(shapeEvent),
    {
      maxLength: 40,
    },
  )
  .map(numbered);

interface Draft {
  readonly shape: number;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly back: number;
  readonly timeNs: number;
}

function shapeEvent(i: number): fc.Arbitrary<Draft> {
  const shapes = SHAPES.flatMap((one, at) => (one.form === 'lone' ? [] : [at]));
  const shape = shapes[i]!;
  const fields = Object.entries(SHAPES[shape]!.fields).map(([name, type]) => [
    name,
    name === 'pid' ? fc.nat() : valuesOf(type),
  ]);
  return fc.record({
    shape: fc.constant(shape),
    fields: fc.record(Object.fromEntries(fields) as Record<string, fc.Arbitrary<unknown>>),
    back: fc.nat({ max: 5 }),
    timeNs: fc.oneof(fc.nat(), fc.double({ noNaN: true, noDefaultInfinity: true })),
  });
}

/** Gives ids, parents and, to ends, a beginning that came before; an end without one is left out. */
function numbered(drafts: readonly Draft[]): object[] {
  const events: Record<string, unknown>[] = [];
  const open: { readonly kind: string; readonly id: number }[] = [];
  for (const { shape, fields, back, timeNs } of drafts) {
    const { kind, form } = SHAPES[shape]!;
    const id = events.length + 1;
    const stamp = { id, timeNs, thread: `thread ${back}` };
    if (form === 'end') {
      const begun = open.findLastIndex((one) => one.kind === kind);
      if (begun < 0) continue;
      const [begin] = open.splice(begun, 1);
      events.push({ ...begin, ...fields, ...stamp, phase: 'end', begin: begin!.id });
      continue;
    }
    const parent = back > 0 && back < id ? id - back : null;
    const phase = form === 'begin' ? { phase: 'begin' } : {};
    const event = { kind, ...phase, ...fields, ...stamp, parent };
    events.push(event);
    if (form === 'begin') open.push(event);
  }
  return events;
}

describe('any records', () => {
  it('come back as they were', () => {
    fc.assert(
      fc.property(someEvents, (events) => {
        const recording = recordEvents(events);
        const wanted = named(events as SimEvent[]);
        expect([...recording]).toEqual(wanted);
        expect([...Recording.decode(recording.encode())]).toEqual(wanted);
      }),
      { numRuns: 300 },
    );
  });

  it('include every kind in every form', () => {
    const seen = new Set<string>();
    for (const events of fc.sample(someEvents, { numRuns: 200, seed: 1 })) {
      for (const event of events as SimEvent[]) {
        seen.add(`${event.kind} ${'phase' in event ? event.phase : 'instant'}`);
      }
    }
    const forms = SHAPES.filter(({ form }) => form !== 'lone');
    expect(seen).toEqual(new Set(forms.map(({ kind, form }) => `${kind} ${form}`)));
  });
});

// --- What is no recording ---------------------------------------------------------------------

function failure(bytes: Uint8Array): SimError {
  try {
    Recording.decode(bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(SimError);
    expect(error).toMatchObject({ code: 'bad-recording' });
    return error as SimError;
  }
  throw new Error('it was taken for a recording');
}

function patched(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const copy = bytes.slice();
  copy[at] = value;
  return copy;
}

/** Makes length and checksum right again, so that what lies deeper is looked at. */
function sealed(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  const view = new DataView(copy.buffer);
  if (copy.length < HEADER_BYTES) return copy;
  view.setUint32(LENGTH_AT, copy.length - HEADER_BYTES, true);
  view.setUint32(CHECKSUM_AT, crc32(copy.subarray(HEADER_BYTES)), true);
  return copy;
}

/** Either a clear refusal, or a recording of which everything can be asked. */
function refusedOrWhole(bytes: Uint8Array): boolean {
  let recording: Recording;
  try {
    recording = Recording.decode(bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(SimError);
    const { code, detail } = error as SimError;
    expect(code).toBe('bad-recording');
    const { offset } = detail;
    expect(offset).toBeGreaterThanOrEqual(0);
    expect(offset).toBeLessThanOrEqual(Math.max(bytes.length, HEADER_BYTES));
    return true;
  }
  expect([...recording]).toHaveLength(recording.length);
  const history = new History(recording);
  unexplainedChanges(history);
  for (const { pid, va } of history.pages()) history.life(pid, va);
  expect([...Recording.decode(recording.encode())]).toEqual([...recording]);
  return false;
}

describe('what is no recording', () => {
  const { recording } = recordProgram(TWO_GPUS);
  const bytes = recording.encode();

  it('is told by what is wrong with it', () => {
    const messages: readonly (readonly [Uint8Array, RegExp, number])[] = [
      [new Uint8Array(), /^not a recording of hmmlab: its first bytes are others$/, 0],
      [new TextEncoder().encode('program x\nend\n'), /^not a recording of hmmlab/, 0],
      [patched(bytes, 3, 1), /^not a recording of hmmlab/, 3],
      [bytes.slice(0, 5), /^the recording is damaged at byte 5: it ends within the header$/, 5],
      [bytes.slice(0, 10), /^the recording is damaged at byte 10: it ends within the header$/, 10],
      [patched(bytes, 8, 1), /^a recording of version 1; this hmmlab reads version 2$/, 8],
      [patched(bytes, SCHEMA_AT, bytes[SCHEMA_AT]! ^ 1), /^a recording of another hmmlab/, 12],
      [bytes.slice(0, -1), /expected \d+ bytes after the header; found \d+$/, bytes.length - 1],
      [Uint8Array.of(...bytes, 0), /expected \d+ bytes after the header; found \d+$/, LENGTH_AT],
      [patched(bytes, 100, bytes[100]! ^ 1), /the checksum is that of other bytes$/, CHECKSUM_AT],
      [sealed(bytes.slice(0, HEADER_BYTES)), /byte 24: it ends within the meta data$/, 24],
      [sealed(patched(bytes, 27, 0x21)), /byte 24: the meta data are no JSON$/, 24],
      [sealed(patched(bytes, 27, 0xff)), /the meta data: expected text in UTF-8/, 26],
      [sealed(Uint8Array.of(...bytes, 0)), /1 bytes too many$/, bytes.length],
    ];
    for (const [wrong, message, offset] of messages) {
      const { message: found, detail } = failure(wrong);
      expect(found).toMatch(message);
      expect(detail).toMatchObject({ offset });
    }
  });

  it('is refused wherever one bit or the end is wrong', () => {
    for (let at = 0; at < bytes.length; at++) {
      expect(refusedOrWhole(patched(bytes, at, bytes[at]! ^ (1 << (at % 8))))).toBe(true);
      expect(refusedOrWhole(bytes.slice(0, at))).toBe(true);
    }
  });

  it('is refused or whole where the checksum is right and the rest may not be', () => {
    const at = fc.nat({ max: bytes.length - HEADER_BYTES - 1 }).map((i) => i + HEADER_BYTES);
    const byte = fc.oneof(fc.constantFrom(0, 1, 127, 128, 255), fc.nat({ max: 255 }));
    let whole = 0;
    fc.assert(
      fc.property(fc.array(fc.tuple(at, byte), { minLength: 1, maxLength: 4 }), (changes) => {
        const copy = bytes.slice();
        for (const [place, value] of changes) copy[place] = value;
        if (!refusedOrWhole(sealed(copy))) whole++;
      }),
      { numRuns: 1500 },
    );
    expect(whole).toBeGreaterThan(10);
    fc.assert(
      fc.property(at, at, (a, b) => {
        const [from, to] = a < b ? [a, b] : [b, a];
        refusedOrWhole(sealed(Uint8Array.of(...bytes.slice(0, from), ...bytes.slice(to))));
        refusedOrWhole(sealed(bytes.slice(0, a)));
      }),
      { numRuns: 300 },
    );
  });

  it('takes no room for records that are not there', () => {
    // A body that speaks of 2^52 texts, and of as many records.
    const huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x07];
    const metaEnd = HEADER_BYTES + 2 + JSON.stringify(recording.meta).length;
    const head = bytes.slice(0, metaEnd);
    expect(failure(sealed(Uint8Array.of(...head, ...huge))).message).toMatch(/within text 0$/);
    const records = failure(sealed(Uint8Array.of(...head, 0, ...huge)));
    expect(records.message).toMatch(/within the kinds of records$/);
  });

  it('says so of a file that is compressed', () => {
    expect(gunzipSync(gzipSync(bytes))).toEqual(Buffer.from(bytes));
    expect(failure(gzipSync(bytes)).message).toMatch(/^not a recording of hmmlab/);
  });
});
