/** Reads programs and recordings from files, plain or compressed with gzip. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

/** No program or recording is longer, in bytes of text. */
export const TEXT_BYTES_MAX: number = 64 * 1024 * 1024;

const CHUNK_BYTES = 1024 * 1024;
const STDIN = 0;
const RETRY_MS = 10;

/** A file that cannot be used. The message names it. */
export class InputError extends Error {
  override readonly name = 'InputError';
}

/**
 * The text of a file in UTF-8; of standard input if the path is `-`. Throws an `InputError` where
 * there is none.
 */
export function readText(path: string, bytesMax: number = TEXT_BYTES_MAX): string {
  const raw = readBytes(path, bytesMax);
  if (raw.length === 0) throw new InputError(`${path}: the file is empty`);
  if (!isGzip(raw) && path.endsWith('.gz')) {
    throw new InputError(`${path}: expected a gzip file; found something else`);
  }
  return decode(path, unpack(path, raw, bytesMax, 'bytes of text'));
}

/** The bytes of a file; of standard input if the path is `-`. Throws an `InputError`. */
export function readBytes(path: string, bytesMax: number): Uint8Array {
  if (path === '-') return readAll(path, STDIN, bytesMax);
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (error) {
    throw new InputError(`${path}: ${reason(error)}`);
  }
  try {
    if (fstatSync(descriptor).isDirectory()) {
      throw new InputError(`${path}: expected a file; found a directory`);
    }
    return readAll(path, descriptor, bytesMax);
  } finally {
    closeSync(descriptor);
  }
}

/** Reads to the end, also where the length is not known beforehand, as of a pipe. */
function readAll(path: string, descriptor: number, bytesMax: number): Uint8Array {
  const chunks: Uint8Array[] = [];
  let total = 0;
  for (;;) {
    const chunk = new Uint8Array(CHUNK_BYTES);
    const count = readSome(path, descriptor, chunk);
    if (count === 0) return Buffer.concat(chunks);
    total += count;
    if (total > bytesMax) throw tooLong(path, bytesMax, 'bytes of text');
    chunks.push(chunk.subarray(0, count));
  }
}

function readSome(path: string, descriptor: number, chunk: Uint8Array): number {
  for (;;) {
    try {
      return readSync(descriptor, chunk, 0, chunk.length, null);
    } catch (error) {
      if (codeOf(error) !== 'EAGAIN') throw new InputError(`${path}: ${reason(error)}`);
      // A terminal or socket that has nothing yet; there is no other way to wait for it here.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
    }
  }
}

function isGzip(raw: Uint8Array): boolean {
  return raw[0] === 0x1f && raw[1] === 0x8b;
}

/** Bytes as they were before gzip, or as they are. `unit`: what there may be `bytesMax` of. */
export function unpack(path: string, raw: Uint8Array, bytesMax: number, unit: string): Uint8Array {
  if (!isGzip(raw)) return raw;
  try {
    return gunzipSync(raw, { maxOutputLength: bytesMax });
  } catch (error) {
    if (codeOf(error) === 'ERR_BUFFER_TOO_LARGE') throw tooLong(path, bytesMax, unit);
    throw new InputError(`${path}: the gzip file is damaged (${reason(error)})`);
  }
}

function decode(path: string, bytes: Uint8Array): string {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new InputError(`${path}: expected text in UTF-8; found other bytes`);
  }
  if (text.trim() === '') throw new InputError(`${path}: the file is empty`);
  return text;
}

function tooLong(path: string, bytesMax: number, unit: string): InputError {
  return new InputError(`${path}: expected at most ${bytesMax} ${unit}; found more`);
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

function reason(error: unknown): string {
  switch (codeOf(error)) {
    case 'ENOENT':
      return 'no such file';
    case 'EACCES':
      return 'no permission to read it';
    case 'EISDIR':
      return 'expected a file; found a directory';
    case 'ENOTDIR':
      return 'a part of the path is no directory';
    default:
      return error instanceof Error ? error.message : String(error);
  }
}
