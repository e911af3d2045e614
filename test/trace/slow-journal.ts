// A recording made of event objects by the schema, field by field: slow and obvious.

import type { SimEvent, SimEventKind } from '../../src/core/events/types.ts';
import type { Owner } from '../../src/core/pagemap/pagemap.ts';
import {
  MAYBE_NULL,
  makeLog,
  makeTable,
  NAME_FIRST,
  NAME_NULL,
  NAME_UNDEFINED,
} from '../../src/trace/columns.ts';
import { OwnerNames } from '../../src/trace/owner-names.ts';
import type { RecordingMeta } from '../../src/trace/recorded.ts';
import { Recording } from '../../src/trace/recording.ts';
import { type FieldType, type Form, SHAPES, shapeOf } from '../../src/trace/schema.ts';

interface Bag {
  readonly [name: string]: unknown;
  readonly id: number;
  readonly kind: SimEventKind;
  readonly timeNs: number;
  readonly thread: string;
  readonly phase?: string;
  readonly begin?: number;
}

/** Records as a recording has them. */
export function named(
  events: readonly object[],
  nameOf: (owner: Owner) => string = ({ name }) => name,
): object[] {
  const value = (of: unknown): unknown =>
    typeof of === 'object' && of !== null ? nameOf(of as Owner) : of;
  return events.map((event) =>
    Object.fromEntries(Object.entries(event).map(([key, of]) => [key, value(of)])),
  );
}

/** The recording of `events`, as a recorder that heard just these would have made it. */
export function recordingOf(events: readonly SimEvent[], meta: RecordingMeta): Recording {
  const names = new OwnerNames();
  const records = named(events, (owner) => names.of(owner)) as Bag[];
  const texts: string[] = [];
  const textOf = (text: string): number => {
    if (!texts.includes(text)) texts.push(text);
    return texts.indexOf(text);
  };
  const ids = new Set(records.map(({ id }) => id));
  const shapes = records.map((record) => shapeOf(record.kind, formOf(record, ids)));
  const log = makeLog(records.length);
  const tables = SHAPES.map(({ fields }, shape) =>
    makeTable(fields, shapes.filter((one) => one === shape).length),
  );
  const filled = SHAPES.map(() => 0);
  for (const [i, record] of records.entries()) {
    const shape = shapes[i]!;
    log.shape[i] = shape;
    log.id[i] = record.id;
    log.timeNs[i] = record.timeNs;
    log.thread[i] = textOf(record.thread);
    const row = filled[shape]!++;
    for (const [name, type] of Object.entries(SHAPES[shape]!.fields)) {
      const cell = cellOf(type, record[name], log.id[i]!, textOf);
      tables[shape]!.columns[name]![row] = cell;
    }
  }
  return new Recording(meta, records.length, () => ({ log, tables, texts }));
}

function formOf(record: Bag, ids: ReadonlySet<unknown>): Form {
  const { phase, begin } = record;
  if (phase === undefined) return 'instant';
  if (phase === 'begin') return 'begin';
  return ids.has(begin) ? 'end' : 'lone';
}

function cellOf(
  type: FieldType,
  value: unknown,
  id: number,
  textOf: (text: string) => number,
): number {
  switch (type) {
    case 'number':
      return value as number;
    case 'maybe':
      return (value as number | null) ?? MAYBE_NULL;
    case 'text':
      return textOf(value as string);
    case 'flag':
      return value === true ? 1 : 0;
    case 'back':
      return value === null ? 0 : id - (value as number);
    case 'name':
      if (value === null) return NAME_NULL;
      return value === undefined ? NAME_UNDEFINED : textOf(value as string) + NAME_FIRST;
  }
}
