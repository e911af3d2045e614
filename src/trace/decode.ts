/** A recording from bytes; `format.ts` describes them. Nothing in them is taken on trust. */
import { SimError } from '../core/errors.ts';
import { ByteReader, badRecording, crc32, unzigzag } from './bytes.ts';
import {
  type Column,
  type Log,
  makeColumn,
  makeTable,
  NAME_FIRST,
  type RecordColumns,
  type Table,
} from './columns.ts';
import {
  CHECKSUM_AT,
  COLUMN_CONSTANT,
  COLUMN_DELTA,
  COLUMN_DOUBLE,
  HEADER_BYTES,
  LENGTH_AT,
  MAGIC,
  SCHEMA_AT,
  SCHEMA_CHECKSUM,
  VERSION_AT,
} from './format.ts';
import { parseMeta } from './meta.ts';
import { RECORDING_VERSION, type RecordingMeta } from './recorded.ts';
import { type FieldType, SHAPES } from './schema.ts';
import { checkBegins } from './spans.ts';

export interface DecodedRecording {
  readonly meta: RecordingMeta;
  readonly columns: RecordColumns;
}

/** Throws a `SimError` (bad-recording) with the offset of what is wrong. */
export function decodeRecording(bytes: Uint8Array): DecodedRecording {
  checkHeader(bytes);
  const reader = new ByteReader(bytes);
  reader.raw(HEADER_BYTES, 'the header');
  const meta = parseMeta(reader.text('the meta data'), HEADER_BYTES);
  const texts = readTexts(reader);
  const log = readLog(reader, texts.length);
  const tables = readTables(reader, log, texts.length);
  if (reader.left > 0) throw badRecording(reader.offset, `${reader.left} bytes too many`);
  const columns = { log, tables, texts };
  checkBegins(columns, reader.offset);
  return { meta, columns };
}

function checkHeader(bytes: Uint8Array): void {
  const magic = bytes.subarray(0, MAGIC.length);
  const wrong = magic.findIndex((byte, i) => byte !== MAGIC[i]);
  if (wrong >= 0 || magic.length === 0) {
    const message = 'not a recording of hmmlab: its first bytes are others';
    throw new SimError('bad-recording', message, { offset: Math.max(wrong, 0) });
  }
  const reader = new ByteReader(bytes);
  reader.raw(VERSION_AT, 'the header');
  const version = reader.uint32('the header');
  if (version !== RECORDING_VERSION) {
    const message = `a recording of version ${version}; this hmmlab reads version ${RECORDING_VERSION}`;
    throw new SimError('bad-recording', message, { offset: VERSION_AT, version });
  }
  if (reader.uint32('the header') !== SCHEMA_CHECKSUM) {
    const message = 'a recording of another hmmlab, whose records have other fields; record anew';
    throw new SimError('bad-recording', message, { offset: SCHEMA_AT });
  }
  const length = reader.uint32('the header');
  const checksum = reader.uint32('the header');
  if (reader.left !== length) {
    const found = `expected ${length} bytes after the header; found ${reader.left}`;
    throw badRecording(reader.left < length ? bytes.length : LENGTH_AT, found);
  }
  if (crc32(bytes.subarray(HEADER_BYTES)) !== checksum) {
    throw badRecording(CHECKSUM_AT, 'the checksum is that of other bytes');
  }
}

function readTexts(reader: ByteReader): string[] {
  const count = reader.varint('the number of texts');
  // Each takes a byte at least, so a false count ends with the bytes.
  const texts: string[] = [];
  for (let i = 0; i < count; i++) texts.push(reader.text(`text ${i}`));
  return texts;
}

function readLog(reader: ByteReader, texts: number): Log {
  const count = reader.varint('the number of records');
  const start = reader.offset;
  const shape = reader.raw(count, 'the kinds of records');
  const unknown = shape.findIndex((one) => one >= SHAPES.length);
  if (unknown >= 0) throw badRecording(start + unknown, `there is no kind ${shape[unknown]}`);
  const idsAt = reader.offset;
  const id = readColumn(reader, 'number', count, texts, 'the ids') as Float64Array;
  const timesAt = reader.offset;
  const timeNs = readColumn(reader, 'number', count, texts, 'the times') as Float64Array;
  const thread = readColumn(reader, 'text', count, texts, 'the threads') as Uint32Array;
  if (!id.every((one) => Number.isSafeInteger(one) && one > 0)) {
    throw badRecording(idsAt, 'expected ids of 1 and more');
  }
  if (!timeNs.every(Number.isFinite)) throw badRecording(timesAt, 'expected finite times');
  return { length: count, shape, id, timeNs, thread };
}

function readTables(reader: ByteReader, log: Log, texts: number): Table[] {
  const rows = new Uint32Array(SHAPES.length);
  for (const shape of log.shape) rows[shape]!++;
  return SHAPES.map(({ kind, form, fields }, shape) => {
    const count = rows[shape]!;
    if (count === 0) return makeTable(fields, 0);
    return makeTable(fields, count, (name, type) =>
      readColumn(reader, type, count, texts, `column ${name} of ${kind} (${form})`),
    );
  });
}

function readColumn(
  reader: ByteReader,
  type: FieldType,
  rows: number,
  texts: number,
  what: string,
): Column {
  const start = reader.offset;
  const codec = reader.byte(what);
  const column = makeColumn(type, needed(reader, codec, rows, what));
  const [min, max] = bounds(type, texts);
  const set = (row: number, value: number): void => {
    if (!(value >= min && value <= max) && type !== 'number') {
      throw badRecording(start, `${what}: row ${row} has ${value}; expected ${min} to ${max}`);
    }
    column[row] = value;
  };
  fill(reader, codec, rows, what, set);
  return column;
}

/** Rows of a column, after a look at whether so many can be there at all. */
function needed(reader: ByteReader, codec: number, rows: number, what: string): number {
  if (codec > COLUMN_DOUBLE) {
    throw badRecording(reader.offset - 1, `${what}: there is no way ${codec} to write a column`);
  }
  const least = codec === COLUMN_CONSTANT ? 1 : codec === COLUMN_DOUBLE ? rows * 8 : rows;
  if (reader.left < least) throw badRecording(reader.end, `it ends within ${what}`);
  return rows;
}

function fill(
  reader: ByteReader,
  codec: number,
  rows: number,
  what: string,
  set: (row: number, value: number) => void,
): void {
  if (codec === COLUMN_DOUBLE) {
    reader.float64(rows, what).forEach((value, row) => {
      set(row, value);
    });
    return;
  }
  if (codec === COLUMN_CONSTANT) {
    const value = unzigzag(reader.varint(what));
    for (let row = 0; row < rows; row++) set(row, value);
    return;
  }
  let last = 0;
  for (let row = 0; row < rows; row++) {
    const value = unzigzag(reader.varint(what));
    last = codec === COLUMN_DELTA ? last + value : value;
    set(row, last);
  }
}

/** The least and the greatest value that a field of this type can have. */
function bounds(type: FieldType, texts: number): readonly [number, number] {
  switch (type) {
    case 'number':
      return [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
    case 'maybe':
      return [-1, Number.MAX_SAFE_INTEGER];
    case 'text':
      return [0, texts - 1];
    case 'name':
      return [0, texts - 1 + NAME_FIRST];
    case 'flag':
      return [0, 1];
    case 'back':
      return [0, 2 ** 32 - 1];
  }
}
