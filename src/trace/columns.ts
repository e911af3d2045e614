/** Columns that grow: how records are held while a machine runs and after. */
import type { SimEventKind } from '../core/events/types.ts';
import {
  type EndFields,
  type Fields,
  type FieldType,
  KINDS,
  type MainFields,
  SHAPES,
  shapeOf,
} from './schema.ts';

export type Column = Float64Array | Uint32Array | Uint8Array;

export type ColumnOf<T extends FieldType> = T extends 'number' | 'maybe'
  ? Float64Array
  : T extends 'flag'
    ? Uint8Array
    : Uint32Array;

type ColumnsOf<F extends object> = {
  -readonly [Name in keyof F]: F[Name] extends FieldType ? ColumnOf<F[Name]> : never;
};

const FIRST_ROWS = 64;

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

/** `column` with room for `rows` rows. */
function widened<C extends Column>(column: C, rows: number): C {
  const wider = new (column.constructor as new (rows: number) => C)(rows);
  wider.set(column);
  return wider;
}

/** The rows of one shape, a column a field. */
export class Table<F extends object = Fields> {
  readonly fields: F;
  columns: ColumnsOf<F>;
  length = 0;
  #capacity = 0;

  constructor(fields: F) {
    this.fields = fields;
    this.columns = this.#columns((type) => makeColumn(type, 0));
  }

  /** A new row: its number. Columns may be others after it. */
  add(): number {
    if (this.length === this.#capacity) this.#grow(Math.max(FIRST_ROWS, this.length * 2));
    return this.length++;
  }

  #grow(rows: number): void {
    const old = this.columns as Record<string, Column>;
    this.columns = this.#columns((_, name) => widened(old[name]!, rows));
    this.#capacity = rows;
  }

  #columns(make: (type: FieldType, name: string) => Column): ColumnsOf<F> {
    const entries = Object.entries(this.fields).map(([name, type]) => [name, make(type, name)]);
    return Object.fromEntries(entries) as ColumnsOf<F>;
  }
}

/** The tables of one kind of record. */
export interface KindTables<K extends SimEventKind> {
  /** Of instants and beginnings. */
  readonly main: Table<MainFields<K>>;
  readonly mainShape: number;
  /** Of ends; empty for kinds that are instants. */
  readonly end: Table<EndFields<K>>;
  readonly endShape: number;
}

export type AllTables = { readonly [K in SimEventKind]: KindTables<K> };

/** A table for each shape, in the order of `SHAPES`. */
export function makeTables(): readonly Table[] {
  return SHAPES.map(({ fields }) => new Table(fields));
}

/** The same tables by kind. */
export function tablesByKind(tables: readonly Table[]): AllTables {
  const entries = KINDS.map((kind) => {
    const beginShape = shapeOf(kind, 'begin');
    const mainShape = beginShape < 0 ? shapeOf(kind, 'instant') : beginShape;
    const endShape = shapeOf(kind, 'end');
    const end = tables[endShape] ?? new Table({ begin: 'back' });
    return [kind, { main: tables[mainShape]!, mainShape, end, endShape }];
  });
  return Object.fromEntries(entries) as AllTables;
}

/** What is known of every record, a row each. */
export class Log {
  length = 0;
  shape: Uint8Array = new Uint8Array(FIRST_ROWS);
  id: Float64Array = new Float64Array(FIRST_ROWS);
  timeNs: Float64Array = new Float64Array(FIRST_ROWS);
  thread: Uint32Array = new Uint32Array(FIRST_ROWS);

  add(shape: number, id: number, timeNs: number, thread: number): void {
    const at = this.length;
    if (at === this.shape.length) this.#grow(at * 2);
    this.shape[at] = shape;
    this.id[at] = id;
    this.timeNs[at] = timeNs;
    this.thread[at] = thread;
    this.length = at + 1;
  }

  #grow(rows: number): void {
    this.shape = widened(this.shape, rows);
    this.id = widened(this.id, rows);
    this.timeNs = widened(this.timeNs, rows);
    this.thread = widened(this.thread, rows);
  }
}

/** Strings by number, each once. */
export class Texts {
  readonly list: string[] = [];
  readonly #numbers: Map<string, number> = new Map();

  /** The number of `text`. */
  of(text: string): number {
    let number = this.#numbers.get(text);
    if (number === undefined) {
      number = this.list.push(text) - 1;
      this.#numbers.set(text, number);
    }
    return number;
  }
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
