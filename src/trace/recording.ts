/** A recording: every record of a machine in order, kept in columns. */
import { SimError } from '../core/errors.ts';
import type { SimEventKind } from '../core/events/types.ts';
import type { Column, RecordColumns, Table } from './columns.ts';
import { MAYBE_NULL, NAME_FIRST, NAME_NULL, NAME_UNDEFINED } from './columns.ts';
import { decodeRecording } from './decode.ts';
import { encodeRecording } from './encode.ts';
import { eventsOf } from './event-source.ts';
import type { RecordedEvent, RecordedEventOf, RecordingMeta } from './recorded.ts';
import { type FieldType, type Form, SHAPES, type Shape } from './schema.ts';
import { IdIndex, rowsOf } from './spans.ts';

/** Made by a `Recorder`, or read back by `Recording.decode`. */
export class Recording {
  readonly meta: RecordingMeta;
  /** Number of records. */
  readonly length: number;
  #held: Readable | (() => RecordColumns);

  /** `columnsOf` is called once, when somebody reads; nobody may change its columns after that. */
  constructor(meta: RecordingMeta, length: number, columnsOf: () => RecordColumns) {
    this.meta = meta;
    this.length = length;
    this.#held = columnsOf;
  }

  /** Throws a `SimError` (bad-recording, with the `offset`) for anything but a whole recording. */
  static decode(bytes: Uint8Array): Recording {
    const { meta, columns } = decodeRecording(bytes);
    return new Recording(meta, columns.log.length, () => columns);
  }

  get #columns(): Readable {
    if (typeof this.#held !== 'function') return this.#held;
    const columns = this.#held();
    const { log, tables } = columns;
    const fields = tables.map(fieldsOf);
    this.#held = { ...columns, rows: rowsOf(log), ids: new IdIndex(log), fields };
    return this.#held;
  }

  /** The same recording gives the same bytes. Not compressed. */
  encode(): Uint8Array {
    return encodeRecording(this.meta, this.#columns);
  }

  /** Record `i`, from 0 to `length - 1`, in order. Throws a `SimError` (bad-argument) for others. */
  event(i: number): RecordedEvent {
    const { kind, form } = this.#shapeAt(i);
    const { id, timeNs, thread } = this.#columns.log;
    const { phase, begin } = this.#phaseOf(i, form);
    const event: Record<string, unknown> = {
      id: id[i]!,
      timeNs: timeNs[i]!,
      thread: this.#columns.texts[thread[i]!]!,
      parent: null,
      kind,
      ...(phase === null ? {} : { phase }),
    };
    if (begin >= 0) this.#fill(event, begin);
    this.#fill(event, i);
    // The schema has the fields of each kind, which TypeScript cannot follow through the tables.
    return event as unknown as RecordedEvent;
  }

  /** The kind of record `i`, which costs less than the record. */
  kindAt(i: number): SimEventKind {
    return this.#shapeAt(i).kind;
  }

  /** The id of record `i`. */
  idAt(i: number): number {
    this.#shapeAt(i);
    return this.#columns.log.id[i]!;
  }

  /** The record with that `id`. */
  byId(id: number): RecordedEvent | undefined {
    const at = this.indexOf(id);
    return at < 0 ? undefined : this.event(at);
  }

  /** The position of the record with that `id`, or -1. */
  indexOf(id: number): number {
    return this.#columns.ids.indexOf(id);
  }

  /** Only the records of one kind, in order. */
  *of<Kind extends SimEventKind>(kind: Kind): Generator<RecordedEventOf<Kind>, void, undefined> {
    for (let i = 0; i < this.length; i++) {
      if (this.kindAt(i) === kind) yield this.event(i) as RecordedEventOf<Kind>;
    }
  }

  [Symbol.iterator](): Generator<RecordedEvent, void, undefined> {
    return eventsOf(this);
  }

  #shapeAt(i: number): Shape {
    const shape = i < this.length ? this.#columns.log.shape[i] : undefined;
    if (shape === undefined) {
      throw new SimError('bad-argument', `there is no record ${i}; there are ${this.length}`, {
        i,
      });
    }
    return SHAPES[shape]!;
  }

  /** The phase of record `i`, and where the beginning is that has the rest of its fields, or -1. */
  #phaseOf(i: number, form: Form): { readonly phase: string | null; readonly begin: number } {
    switch (form) {
      case 'instant':
        return { phase: null, begin: -1 };
      case 'begin':
        return { phase: 'begin', begin: -1 };
      case 'lone':
        return { phase: 'end', begin: -1 };
      case 'end': {
        const { log, tables, rows } = this.#columns;
        const { begin } = tables[log.shape[i]!]!.columns;
        return { phase: 'end', begin: this.indexOf(log.id[i]! - begin![rows[i]!]!) };
      }
    }
  }

  /** Sets the fields that the table of record `i` has. */
  #fill(event: Record<string, unknown>, i: number): void {
    const { log, rows, fields } = this.#columns;
    const row = rows[i]!;
    const id = log.id[i]!;
    for (const { name, type, column } of fields[log.shape[i]!]!) {
      event[name] = this.#value(id, name, type, column[row]!);
    }
  }

  #value(id: number, name: string, type: FieldType, cell: number): unknown {
    const { texts } = this.#columns;
    switch (type) {
      case 'number':
        return cell;
      case 'maybe':
        return cell === MAYBE_NULL ? null : cell;
      case 'text':
        return texts[cell];
      case 'flag':
        return cell === 1;
      case 'name':
        if (cell === NAME_NULL) return null;
        return cell === NAME_UNDEFINED ? undefined : texts[cell - NAME_FIRST];
      case 'back':
        return cell === 0 && name === 'parent' ? null : id - cell;
    }
  }
}

/** The columns, and what finds one's way in them. */
interface Readable extends RecordColumns {
  /** The row that each record has in the table of its shape. */
  readonly rows: Uint32Array;
  readonly ids: IdIndex;
  /** By shape. */
  readonly fields: readonly (readonly Field[])[];
}

interface Field {
  readonly name: string;
  readonly type: FieldType;
  readonly column: Column;
}

function fieldsOf({ fields, columns }: Table): Field[] {
  return Object.entries(fields).map(([name, type]) => ({ name, type, column: columns[name]! }));
}
