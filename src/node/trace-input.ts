/** Traces as files, of any length: read piece by piece, plain or compressed with gzip. */
import { createReadStream, type Stats, statSync } from 'node:fs';
import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { SimError } from '../core/errors.ts';
import {
  DETECT_BYTES,
  type DecoderOptions,
  decoderFor,
  detectFormat,
  PagesDecoder,
  type PagesHeader,
  type TraceCounts,
  type TraceDecoder,
  type TraceFormat,
} from '../workloads/formats/index.ts';
import type { WorkloadSink } from '../workloads/types.ts';
import { InputError } from './read-text.ts';

const PIECE_BYTES = 64 * 1024;
const NEWLINE = 10;

export interface ReadTraceOptions extends DecoderOptions {
  /** What it is; found out unless given. */
  readonly format?: TraceFormat;
  /** Stops between two pieces: `readTrace` then throws the signal's reason. */
  readonly signal?: AbortSignal;
  /** Told after each piece. */
  readonly onProgress?: (progress: ReadProgress) => void;
  /** Told what the trace is before its first access, with the header of a page stream. */
  readonly onStart?: (format: TraceFormat, header: PagesHeader | null) => void;
}

export interface ReadProgress {
  /** Bytes of the file that were read, and of the whole; null where nobody knows, as of a pipe. */
  readonly bytes: number;
  readonly bytesTotal: number | null;
  readonly counts: TraceCounts;
}

export interface TraceSummary {
  readonly format: TraceFormat;
  /** Of a page stream. */
  readonly header: PagesHeader | null;
  /** Bytes of the trace, before compression. */
  readonly bytes: number;
  readonly counts: TraceCounts;
}

/**
 * Reads a trace into a sink; from standard input if the path is `-`.
 *
 * @throws InputError that names the file, the place, what was expected and what was found
 */
export async function readTrace(
  path: string,
  sink: WorkloadSink,
  options: ReadTraceOptions = {},
): Promise<TraceSummary> {
  const reader = new TraceReader(path, sink, options);
  try {
    for await (const piece of plainPieces(path, options)) reader.push(piece);
    return reader.end();
  } catch (error) {
    if (error instanceof SimError && error.code === 'bad-trace') {
      throw new InputError(`${path}: ${error.message}`);
    }
    throw error;
  }
}

/** Finds out what the trace is, then decodes it. */
class TraceReader {
  readonly #path: string;
  readonly #sink: WorkloadSink;
  readonly #options: ReadTraceOptions;
  #format: TraceFormat | null;
  #decoder: TraceDecoder | null = null;
  #head: Uint8Array = new Uint8Array(0);
  #bytes = 0;
  #started = false;

  constructor(path: string, sink: WorkloadSink, options: ReadTraceOptions) {
    this.#path = path;
    this.#sink = sink;
    this.#options = options;
    this.#format = options.format ?? null;
  }

  push({ bytes, read, total }: Piece): void {
    this.#bytes += bytes.length;
    if (this.#decoder === null) {
      this.#head = Buffer.concat([this.#head, bytes]);
      if (this.#head.length < DETECT_BYTES) return;
      this.#begin();
    } else this.#decode(this.#decoder, bytes);
    this.#options.onProgress?.({ bytes: read, bytesTotal: total, counts: this.#decoder!.counts });
  }

  end(): TraceSummary {
    if (this.#bytes === 0) throw new InputError(`${this.#path}: the file is empty`);
    if (this.#decoder === null) this.#begin();
    const decoder = this.#decoder!;
    decoder.end(this.#sink);
    const header = decoder instanceof PagesDecoder ? decoder.header : null;
    return { format: this.#format!, header, bytes: this.#bytes, counts: decoder.counts };
  }

  #begin(): void {
    this.#format ??= detectFormat(this.#head) ?? this.#formatByName();
    this.#decoder = decoderFor(this.#format, this.#options);
    this.#decode(this.#decoder, this.#head);
    this.#head = new Uint8Array(0);
  }

  #decode(decoder: TraceDecoder, bytes: Uint8Array): void {
    if (this.#started) {
      decoder.push(bytes, this.#sink);
      return;
    }
    let from = 0;
    let header: PagesHeader | null = null;
    if (decoder instanceof PagesDecoder) {
      // The header first, so that it is told before the first access.
      const end = bytes.indexOf(NEWLINE) + 1;
      from = end === 0 ? bytes.length : end;
      decoder.push(bytes.subarray(0, from), this.#sink);
      header = decoder.header;
      if (header === null) return;
    }
    this.#started = true;
    this.#options.onStart?.(this.#format!, header);
    decoder.push(bytes.subarray(from), this.#sink);
  }

  #formatByName(): TraceFormat {
    if (/champsim/i.test(this.#path)) return 'champsim';
    throw new InputError(
      `${this.#path}: expected a page stream, lackey's lines or KFD events; found something else ` +
        '(--format says what it is)',
    );
  }
}

interface Piece {
  readonly bytes: Uint8Array;
  /** Bytes of the file so far. */
  readonly read: number;
  readonly total: number | null;
}

/** The bytes of a file as they were before compression. */
async function* plainPieces(path: string, { signal }: ReadTraceOptions): AsyncGenerator<Piece> {
  const { stream, total } = openTrace(path);
  let read = 0;
  const raw = (async function* (): AsyncGenerator<Buffer> {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      read += chunk.length;
      yield chunk;
    }
  })();
  let plain = 0;
  try {
    const first = await raw.next();
    if (first.done === true) return;
    const pieces = isGzip(first.value) ? gunzipped(first.value, raw) : prepended(first.value, raw);
    for await (const bytes of pieces) {
      signal?.throwIfAborted();
      plain += bytes.length;
      yield { bytes, read, total };
    }
  } catch (error) {
    throw asInputError(path, error, plain);
  } finally {
    stream.destroy();
  }
}

function openTrace(path: string): { readonly stream: Readable; readonly total: number | null } {
  if (path === '-') return { stream: process.stdin, total: null };
  let stats: Stats;
  try {
    stats = statSync(path);
  } catch (error) {
    throw asInputError(path, error, 0);
  }
  if (stats.isDirectory()) throw new InputError(`${path}: expected a file; found a directory`);
  const stream = createReadStream(path, { highWaterMark: PIECE_BYTES });
  return { stream, total: stats.isFile() ? stats.size : null };
}

function isGzip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

async function* prepended(first: Buffer, rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield first;
  yield* rest;
}

async function* gunzipped(first: Buffer, rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const gunzip = createGunzip({ chunkSize: PIECE_BYTES });
  const packed = Readable.from(prepended(first, rest));
  packed.on('error', (error) => gunzip.destroy(error));
  packed.pipe(gunzip);
  yield* gunzip as AsyncIterable<Buffer>;
}

/** What went wrong with a file, as one line; other errors as they are. */
function asInputError(path: string, error: unknown, offset: number): unknown {
  if (!(error instanceof Error) || !('code' in error)) return error;
  switch (error.code) {
    case 'ENOENT':
      return new InputError(`${path}: no such file`);
    case 'EACCES':
      return new InputError(`${path}: no permission to read it`);
    case 'ENOTDIR':
      return new InputError(`${path}: a part of the path is no directory`);
    case 'Z_BUF_ERROR':
      return new InputError(
        `${path}: byte ${offset}: expected more of the gzip file; found its end (it is cut off)`,
      );
    case 'Z_DATA_ERROR':
      return new InputError(`${path}: byte ${offset}: the gzip file is damaged (${error.message})`);
    default:
      return error;
  }
}
