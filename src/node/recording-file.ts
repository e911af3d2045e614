/** Recordings as files: compressed with gzip, and written whole or not at all. */
import {
  closeSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { gunzipSync, gzipSync } from 'node:zlib';
import { SimError } from '../core/errors.ts';
import { Recording } from '../trace/recording.ts';
import { InputError, readBytes } from './read-text.ts';

/** No recording is longer, in bytes before compression. */
export const RECORDING_BYTES_MAX: number = 1024 * 1024 * 1024;

/**
 * Reads a recording, plain or compressed; from standard input if the path is `-`. Throws an
 * `InputError` that says what is wrong with the file.
 */
export function readRecording(path: string): Recording {
  const raw = readBytes(path, RECORDING_BYTES_MAX);
  if (raw.length === 0) throw new InputError(`${path}: the file is empty`);
  const isGzip = raw[0] === 0x1f && raw[1] === 0x8b;
  try {
    return Recording.decode(isGzip ? gunzip(path, raw) : raw);
  } catch (error) {
    if (!(error instanceof SimError)) throw error;
    throw new InputError(`${path}: ${error.message}`);
  }
}

function gunzip(path: string, raw: Uint8Array): Uint8Array {
  try {
    return gunzipSync(raw, { maxOutputLength: RECORDING_BYTES_MAX });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ERR_BUFFER_TOO_LARGE') {
      throw new InputError(`${path}: expected at most ${RECORDING_BYTES_MAX} bytes; found more`);
    }
    throw new InputError(`${path}: the gzip file is damaged (${message})`);
  }
}

/**
 * Writes a recording. A file that was there is replaced in one step, and stays as it was where that
 * fails, which throws an `InputError`.
 */
export function writeRecording(path: string, recording: Recording): void {
  const bytes = gzipSync(recording.encode());
  const target = targetOf(path);
  if (target.special) tell(path, () => writeAll(openSync(target.path, 'w'), bytes));
  else replace(path, target.path, bytes);
}

/** Throws an `InputError` where no recording can be written, before there is one. */
export function checkRecordingPath(path: string): void {
  const target = targetOf(path);
  if (target.special) return;
  const trial = trialName(target.path);
  tell(path, () => closeSync(openSync(trial, 'wx')));
  rmSync(trial, { force: true });
}

interface Target {
  readonly path: string;
  /** A pipe or a device, which cannot be replaced and is written to as it is. */
  readonly special: boolean;
}

/** Where to write: behind a link, the file that it leads to. */
function targetOf(path: string): Target {
  const stats = tell(path, () => statSync(path, { throwIfNoEntry: false }));
  if (stats === undefined) return { path, special: false };
  if (stats.isDirectory()) {
    throw new InputError(`${path}: expected a file to write; found a directory`);
  }
  return { path: realpathSync(path), special: !stats.isFile() };
}

function replace(path: string, target: string, bytes: Uint8Array): void {
  const trial = trialName(target);
  const descriptor = tell(path, () => openSync(trial, 'wx'));
  try {
    tell(path, () => {
      writeAll(descriptor, bytes);
      renameSync(trial, target);
    });
  } catch (error) {
    rmSync(trial, { force: true });
    throw error;
  }
}

/** Writes to a file and closes it, whatever happens. */
function writeAll(descriptor: number, bytes: Uint8Array): void {
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at);
  } finally {
    closeSync(descriptor);
  }
}

function trialName(target: string): string {
  return `${target}.${process.pid}.part`;
}

function tell<T>(path: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new InputError(`${path}: cannot write it: ${REASONS.get(code ?? '') ?? message}`);
  }
}

const REASONS: ReadonlyMap<string, string> = new Map([
  ['ENOENT', 'there is no such folder'],
  ['ENOTDIR', 'a part of the path is no folder'],
  ['EACCES', 'no permission'],
  ['EROFS', 'the file system is read-only'],
  ['ENOSPC', 'the disk is full'],
]);
