/** A recording as bytes; `format.ts` describes them. */
import { ByteWriter, crc32 } from './bytes.ts';
import type { Column, RecordColumns } from './columns.ts';
import {
  COLUMN_CONSTANT,
  COLUMN_DELTA,
  COLUMN_DOUBLE,
  COLUMN_PLAIN,
  INTEGER_MAX,
  MAGIC,
  SCHEMA_CHECKSUM,
} from './format.ts';
import { RECORDING_VERSION, type RecordingMeta } from './recorded.ts';

export function encodeRecording(meta: RecordingMeta, columns: RecordColumns): Uint8Array {
  const body = new ByteWriter();
  writeBody(body, meta, columns);
  const { bytes } = body;
  const out = new ByteWriter();
  out.raw(MAGIC);
  out.uint32(RECORDING_VERSION);
  out.uint32(SCHEMA_CHECKSUM);
  out.uint32(bytes.length);
  out.uint32(crc32(bytes));
  out.raw(bytes);
  return out.bytes;
}

function writeBody(out: ByteWriter, meta: RecordingMeta, columns: RecordColumns): void {
  const { log, tables, texts } = columns;
  out.text(JSON.stringify(meta));
  out.varint(texts.length);
  for (const text of texts) out.text(text);
  out.varint(log.length);
  out.raw(log.shape);
  writeColumn(out, log.id);
  writeColumn(out, log.timeNs);
  writeColumn(out, log.thread);
  for (const { list, length } of tables) {
    if (length > 0) for (const column of list) writeColumn(out, column);
  }
}

function writeColumn(out: ByteWriter, column: Column): void {
  const codec = codecFor(column);
  out.byte(codec);
  if (codec === COLUMN_DOUBLE) out.float64(column as Float64Array);
  else if (codec === COLUMN_CONSTANT) out.signed([column[0] ?? 0], false);
  else out.signed(column, codec === COLUMN_DELTA);
}

/**
 * What becomes of a column if it is compressed afterwards: a number like the one before it costs
 * nearly nothing then, whatever its length.
 */
function codecFor(column: Column): number {
  if (column instanceof Float64Array && !column.every(isExact)) return COLUMN_DOUBLE;
  let plain = 0;
  let delta = 0;
  let last = column[0] ?? 0;
  let lastStep = 0;
  // By place, not `for … of`: over columns of three classes that takes several times as long.
  for (let i = 0; i < column.length; i++) {
    const value = column[i]!;
    const step = value - last;
    if (step !== 0) plain += sizeOf(value);
    if (step !== lastStep) delta += sizeOf(step);
    last = value;
    lastStep = step;
  }
  if (plain === 0) return COLUMN_CONSTANT;
  return plain < delta ? COLUMN_PLAIN : COLUMN_DELTA;
}

function isExact(value: number): boolean {
  return Number.isInteger(value) && Math.abs(value) <= INTEGER_MAX && !Object.is(value, -0);
}

/** Bytes of a number, about. */
function sizeOf(value: number): number {
  const size = Math.abs(value);
  return size < 64 ? 1 : size < 8192 ? 2 : size < 1048576 ? 3 : 5;
}
