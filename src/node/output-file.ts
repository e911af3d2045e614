/** Files that are written bit by bit, and are there only when they are whole. */
import {
  closeSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { InputError } from './read-text.ts';

/**
 * A file being written. Until `commit` it has another name, and what was there before stays. All
 * methods throw an `InputError` that names the path where something cannot be written.
 */
export class OutputFile {
  readonly #path: string;
  /** Where it will be: behind a link, the file that the link leads to. */
  readonly #target: string;
  /** Where it is written; the target itself where that is a pipe or a device. */
  readonly #trial: string;
  /** Null when it is closed. */
  #descriptor: number | null;

  constructor(path: string) {
    const { target, special } = targetOf(path);
    this.#path = path;
    this.#target = target;
    this.#trial = special ? target : `${target}.${process.pid}.part`;
    this.#descriptor = this.#tell(() => openSync(this.#trial, special ? 'w' : 'wx'));
  }

  /** Throws where a file could not be written, before there is anything to write. */
  static check(path: string): void {
    // A pipe is not opened twice: its reader would see an end.
    if (!targetOf(path).special) new OutputFile(path).abandon();
  }

  write(bytes: Uint8Array): void {
    const descriptor = this.#descriptor!;
    this.#tell(() => {
      for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at);
    });
  }

  /** Everything was written: the file takes its place. */
  commit(): void {
    this.#close();
    if (this.#trial === this.#target) return;
    try {
      this.#tell(() => renameSync(this.#trial, this.#target));
    } catch (error) {
      rmSync(this.#trial, { force: true });
      throw error;
    }
  }

  /** Leaves nothing behind; does nothing after `commit`. */
  abandon(): void {
    if (this.#descriptor === null) return;
    this.#close();
    if (this.#trial !== this.#target) rmSync(this.#trial, { force: true });
  }

  #close(): void {
    closeSync(this.#descriptor!);
    this.#descriptor = null;
  }

  #tell<T>(run: () => T): T {
    return tell(this.#path, run);
  }
}

interface Target {
  /** Behind a link, the file that it leads to. */
  readonly target: string;
  /** A pipe or a device, which cannot be replaced and is written to as it is. */
  readonly special: boolean;
}

function targetOf(path: string): Target {
  const stats = tell(path, () => statSync(path, { throwIfNoEntry: false }));
  if (stats === undefined) return { target: path, special: false };
  if (stats.isDirectory()) {
    throw new InputError(`${path}: expected a file to write; found a directory`);
  }
  return { target: realpathSync(path), special: !stats.isFile() };
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
