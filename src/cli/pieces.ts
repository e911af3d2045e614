/** Writes long texts piece by piece, to a file or to standard output. */
import { once } from 'node:events';
import { createGzip, type Gzip } from 'node:zlib';
import { OutputFile } from '../node/output-file.ts';
import { Breather, onSignal } from './output.ts';

/** So many characters are written at once. */
const CHUNK_CHARS = 64 * 1024;
/** After so many pieces, signals are let in. */
const BREATHE_PIECES = 256;

/** Where chunks go. */
interface Sink {
  write(chunk: string): Promise<void>;
  /** Everything was written. */
  end(): Promise<void>;
  /** Something went wrong: leaves nothing behind. */
  abandon(): void;
}

/**
 * Writes all pieces to the file `path`, packed if its name ends with .gz, or to standard output if
 * there is none or it is `-`. Returns how many characters they had. Throws an `InputError` where the
 * file cannot be written.
 */
export async function writePieces(
  pieces: Iterable<string>,
  path: string | undefined,
): Promise<number> {
  if (isFile(path)) OutputFile.check(path);
  // What must be known before the first piece takes its time, and there is nothing to abandon yet.
  const chunks = chunksOf(pieces);
  let chunk = await chunks.next();
  let sink: Sink | null = null;
  const abandon = (): void => sink?.abandon();
  process.once('exit', abandon);
  const callOff = isFile(path) ? onSignal(abandon) : null;
  let total = 0;
  try {
    sink = sinkFor(path);
    for (; chunk.done !== true; chunk = await chunks.next()) {
      total += chunk.value.length;
      await sink.write(chunk.value);
    }
    await sink.end();
  } finally {
    abandon();
    process.off('exit', abandon);
    callOff?.();
  }
  return total;
}

async function* chunksOf(pieces: Iterable<string>): AsyncGenerator<string, void, undefined> {
  const breather = new Breather();
  let chunk = '';
  let count = 0;
  for (const piece of pieces) {
    chunk += piece;
    if (++count % BREATHE_PIECES === 0) await breather.breathe();
    if (chunk.length < CHUNK_CHARS) continue;
    yield chunk;
    chunk = '';
  }
  if (chunk !== '') yield chunk;
}

function isFile(path: string | undefined): path is string {
  return path !== undefined && path !== '-';
}

function sinkFor(path: string | undefined): Sink {
  if (!isFile(path)) return new StandardOutput();
  const file = new OutputFile(path);
  return path.endsWith('.gz') ? new PackedFile(file) : new PlainFile(file);
}

class StandardOutput implements Sink {
  async write(chunk: string): Promise<void> {
    if (!process.stdout.write(chunk)) await once(process.stdout, 'drain');
  }

  async end(): Promise<void> {}

  abandon(): void {}
}

class PlainFile implements Sink {
  readonly #file: OutputFile;

  constructor(file: OutputFile) {
    this.#file = file;
  }

  async write(chunk: string): Promise<void> {
    this.#file.write(Buffer.from(chunk));
  }

  async end(): Promise<void> {
    this.#file.commit();
  }

  abandon(): void {
    this.#file.abandon();
  }
}

class PackedFile implements Sink {
  readonly #file: OutputFile;
  readonly #gzip: Gzip = createGzip();
  /** Packed, and not yet written. */
  #ready: Buffer[] = [];

  constructor(file: OutputFile) {
    this.#file = file;
    this.#gzip.on('data', (bytes: Buffer) => this.#ready.push(bytes));
  }

  async write(chunk: string): Promise<void> {
    await new Promise<void>((resolve) => this.#gzip.write(chunk, () => resolve()));
    this.#flush();
  }

  async end(): Promise<void> {
    const ended = once(this.#gzip, 'end');
    this.#gzip.end();
    await ended;
    this.#flush();
    this.#file.commit();
  }

  abandon(): void {
    this.#file.abandon();
  }

  #flush(): void {
    for (const bytes of this.#ready.splice(0)) this.#file.write(bytes);
  }
}
