/** Writes long texts piece by piece, to a file or to standard output. */
import { once } from 'node:events';
import { createGzip, type Gzip } from 'node:zlib';
import { OutputFile } from '../node/output-file.ts';
import { Breather } from './output.ts';

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
  const sink = sinkFor(path);
  const abandon = (): void => sink.abandon();
  // A signal ends the process where it stands.
  process.once('exit', abandon);
  let total = 0;
  try {
    for await (const chunk of chunksOf(pieces)) {
      total += chunk.length;
      await sink.write(chunk);
    }
    await sink.end();
  } finally {
    sink.abandon();
    process.off('exit', abandon);
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

function sinkFor(path: string | undefined): Sink {
  if (path === undefined || path === '-') return new StandardOutput();
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
