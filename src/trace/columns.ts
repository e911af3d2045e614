/** Columns: how records are held when somebody asks for them, and in files. */
import type { Fields, FieldType } from './schema.ts';

export type Column = Float64Array | Uint32Array | Uint8Array;

/** An empty column of `rows` rows for a type of field. */
export function makeColumn(type: FieldType, rows: number): Column {
  switch (type) {
    case 'number':
    case 'maybe':
      return new Float64Array(rows);
    case 'flag':
      return new Uint8Array(rows);
    default:
      return new Uint32Array(rows);
  }
}

/** The rows of one shape, a column a field. */
export interface Table {
  readonly fields: Fields;
  /** In the order of the fields. */
  readonly list: readonly Column[];
  /** The same by name. */
  readonly columns: Readonly<Record<string, Column>>;
  readonly length: number;
}

/** A table of `length` rows; `columnOf` makes its columns, without it they are empty. */
export function makeTable(
  fields: Fields,
  length: number,
  columnOf: (name: string, type: FieldType) => Column = (_, type) => makeColumn(type, length),
): Table {
  const entries = Object.entries(fields).map(
    ([name, type]) => [name, columnOf(name, type)] as const,
  );
  const list = entries.map(([, column]) => column);
  return { fields, list, columns: Object.fromEntries(entries), length };
}

/** What is known of every record, a row each. */
export interface Log {
  readonly length: number;
  readonly shape: Uint8Array;
  readonly id: Float64Array;
  readonly timeNs: Float64Array;
  readonly thread: Uint32Array;
}

/** An empty log of `length` rows. */
export function makeLog(length: number): Log {
  return {
    length,
    shape: new Uint8Array(length),
    id: new Float64Array(length),
    timeNs: new Float64Array(length),
    thread: new Uint32Array(length),
  };
}

/** Column values of names that are null and undefined; others are the text's number plus 2. */
export const NAME_NULL = 0;
export const NAME_UNDEFINED = 1;
export const NAME_FIRST = 2;

/** Column value of a `maybe` that is null. */
export const MAYBE_NULL = -1;

/** All records of a recording. */
export interface RecordColumns {
  readonly log: Log;
  /** By shape. */
  readonly tables: readonly Table[];
  readonly texts: readonly string[];
}
