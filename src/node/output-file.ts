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
    this.#path = path;
    const stats = this.#tell(() => statSync(path, { throwIfNoEntry: false }));
    if (stats?.isDirectory() === true) {
      throw new InputError(`${path}: expected a file to write; found a directory`);
    }
    this.#target = stats === undefined ? path : realpathSync(path);
    const special = stats !== undefined && !stats.isFile();
    this.#trial = special ? this.#target : `${this.#target}.${process.pid}.part`;
    this.#descriptor = this.#tell(() => openSync(this.#trial, special ? 'w' : 'wx'));
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
    try {
      return run();
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const reason = REASONS.get(code ?? '') ?? message;
      throw new InputError(`${this.#path}: cannot write it: ${reason}`);
    }
  }
}

const REASONS: ReadonlyMap<string, string> = new Map([
  ['ENOENT', 'there is no such folder'],
  ['ENOTDIR', 'a part of the path is no folder'],
  ['EACCES', 'no permission'],
  ['EROFS', 'the file system is read-only'],
  ['ENOSPC', 'the disk is full'],
]);
