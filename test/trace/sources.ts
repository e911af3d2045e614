// Sources of records: machines that are listened to, and lists made by hand.

import type { Machine } from '../../src/core/machine.ts';
import { LANGUAGE } from '../../src/drivers/index.ts';
import { buildMachine, parsePrograms, runProgram } from '../../src/program/index.ts';
import type { EventSource } from '../../src/trace/event-source.ts';
import {
  RECORDING_VERSION,
  type RecordedEvent,
  type RecordingMeta,
} from '../../src/trace/recorded.ts';
import { Recorder } from '../../src/trace/recorder.ts';
import type { Recording } from '../../src/trace/recording.ts';

export const META: RecordingMeta = {
  version: RECORDING_VERSION,
  era: 'v6.1',
  pageSize: 4096,
  ramBytes: 1 << 26,
  devices: [
    { name: 'gpu0', driver: 'nouveau', owners: ['gpu0'] },
    { name: 'gpu1', driver: 'nouveau', owners: ['gpu1'] },
  ],
  program: null,
  processes: [],
  owners: ['gpu0', 'gpu1'],
};

type Loose<E> = E extends unknown
  ? Omit<E, 'id' | 'timeNs' | 'thread' | 'parent'> & Partial<Pick<E & RecordedEvent, 'id'>>
  : never;

/** A record without what most records have in common. */
export type Sketch = Loose<RecordedEvent> & {
  readonly timeNs?: number;
  readonly thread?: string;
  readonly parent?: number | null;
};

/** Records from sketches; ids count from 1, time stands still, one thread, no parents. */
export function sourceOf(sketches: readonly Sketch[], meta: RecordingMeta = META): EventSource {
  const events = sketches.map((sketch, i) => ({
    id: i + 1,
    timeNs: 0,
    thread: 'caller',
    parent: null,
    ...sketch,
  })) as unknown as RecordedEvent[];
  return {
    meta,
    length: events.length,
    event: (i) => events[i]!,
    indexOf: (id) => events.findIndex((event) => event.id === id),
  };
}

/** What a machine did while `work` ran. */
export function recordingOf(machine: Machine, work: () => void): Recording {
  const recorder = new Recorder(machine);
  work();
  return recorder.stop();
}

/** What a machine did while a text of programs ran. */
export function recordingOfText(text: string, name?: string): Recording {
  const parsed = parsePrograms(text, { file: name ?? 'text', language: LANGUAGE });
  const machine = buildMachine(parsed.machine, LANGUAGE);
  const recorder = new Recorder(machine, name === undefined ? {} : { program: name });
  for (const program of parsed.programs) for (const _ of runProgram(machine, program));
  return recorder.stop();
}
