/**
 * The format of a recording.
 *
 *     magic 8 bytes · version · schema checksum · body length · body checksum (32 bits each, lowest
 *     byte first) · body
 *
 * The body: meta as JSON; the texts; the number of records; the shape of each record, a byte each;
 * the columns id, time and thread; then the columns of each shape that has records, in the order of
 * the schema. Text is its length and UTF-8. Numbers without a size have seven bits a byte, the
 * lowest first. A column is one byte that says how it is written, and its values.
 */
import { crc32 } from './bytes.ts';
import { SCHEMA_TEXT } from './schema.ts';

/** Like PNG's: a byte that no text has, a name, and line ends that careless copies change. */
export const MAGIC: Uint8Array = Uint8Array.of(0x89, 0x68, 0x6d, 0x6d, 0x72, 0x0d, 0x0a, 0x1a);

export const VERSION_AT = 8;
export const SCHEMA_AT = 12;
export const LENGTH_AT = 16;
export const CHECKSUM_AT = 20;
export const HEADER_BYTES = 24;

/** Of the kinds of records and their fields, as this hmmlab knows them. */
export const SCHEMA_CHECKSUM: number = crc32(
  Uint8Array.from(SCHEMA_TEXT, (letter) => letter.charCodeAt(0)),
);

/** One signed number that all rows have. */
export const COLUMN_CONSTANT = 0;
/** Signed numbers. */
export const COLUMN_PLAIN = 1;
/** Signed differences, the first one from 0. */
export const COLUMN_DELTA = 2;
/** IEEE doubles, for numbers that are no integers, or large. */
export const COLUMN_DOUBLE = 3;

/** Integers up to here, and their differences doubled, are exact. */
export const INTEGER_MAX: number = 2 ** 51 - 1;
