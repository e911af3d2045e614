/** What every reader of a trace has in common. */
import { SimError } from '../../core/errors.ts';
import type { WorkloadSink } from '../types.ts';

/** Turns the bytes of a trace into a workload, whatever pieces they come in. */
export interface TraceDecoder {
  /**
   * Takes the next bytes. A record may go on in the next piece.
   *
   * @throws SimError `bad-trace` that says where (`detail.offset`, in bytes from the beginning), what was
   *   expected and what was found
   */
  push(bytes: Uint8Array, sink: WorkloadSink): void;
  /** There are no more bytes. Throws like `push`, also where the trace is cut off. */
  end(sink: WorkloadSink): void;
  /** What it has read so far. */
  readonly counts: TraceCounts;
}

/** How much of a trace was read. */
export interface TraceCounts {
  /** Lines of text or records of a binary format. */
  readonly lines: number;
  /** Of text: lines that are neither accesses nor of valgrind, the program's own. */
  readonly passedOver: number;
  /** Accesses passed on: rows. */
  readonly records: number;
  /** Accesses of the program that the rows stand for. */
  readonly accesses: number;
  /** Threads that made accesses. */
  readonly threads: number;
}

export function badTrace(offset: number, message: string, line?: number): SimError {
  const where = line === undefined ? `byte ${offset}` : `line ${line} (byte ${offset})`;
  return new SimError('bad-trace', `${where}: ${message}`, { offset, line });
}

/** Bytes of text, for people: what a message quotes. */
export function quoted(bytes: Uint8Array, max = 60): string {
  let text = '';
  for (let i = 0; i < Math.min(bytes.length, max); i++) {
    const byte = bytes[i]!;
    text += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '\\x'.concat(hexByte(byte));
  }
  return JSON.stringify(text).replaceAll('\\\\x', '\\x') + (bytes.length > max ? '…' : '');
}

function hexByte(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}
