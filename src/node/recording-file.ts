/** Recordings as files: compressed with gzip, and written whole or not at all. */
import { gzipSync } from 'node:zlib';
import { SimError } from '../core/errors.ts';
import { Recording } from '../trace/recording.ts';
import { OutputFile } from './output-file.ts';
import { InputError, readBytes, unpack } from './read-text.ts';

/** No recording is longer, in bytes before compression. */
export const RECORDING_BYTES_MAX: number = 1024 * 1024 * 1024;

/**
 * Reads a recording, plain or compressed; from standard input if the path is `-`. Throws an
 * `InputError` that says what is wrong with the file.
 */
export function readRecording(path: string): Recording {
  const raw = readBytes(path, RECORDING_BYTES_MAX);
  if (raw.length === 0) throw new InputError(`${path}: the file is empty`);
  try {
    return Recording.decode(unpack(path, raw, RECORDING_BYTES_MAX, 'bytes'));
  } catch (error) {
    if (!(error instanceof SimError)) throw error;
    throw new InputError(`${path}: ${error.message}`);
  }
}

/**
 * Writes a recording. A file that was there is replaced in one step, and stays as it was where that
 * fails, which throws an `InputError`.
 */
export function writeRecording(path: string, recording: Recording): void {
  const bytes = gzipSync(recording.encode());
  const file = new OutputFile(path);
  try {
    file.write(bytes);
    file.commit();
  } finally {
    file.abandon();
  }
}

/** Throws an `InputError` where no recording can be written, before there is one. */
export function checkRecordingPath(path: string): void {
  OutputFile.check(path);
}
