/**
 * Reads what valgrind's lackey prints with --trace-mem=yes, and what it learns more with
 * --trace-syscalls=yes (mappings, and stores of the kernel into buffers) and --trace-sched=yes (threads).
 *
 * A line of an access is three columns of kind, an address in hexadecimal, a comma and a number of bytes.
 * Instruction fetches are left out unless asked for. A modify is a load and a store. Lines that belong to
 * neither are the program's own output or valgrind's words, and are passed over.
 */

import { AccessWriter } from '../access-writer.ts';
import type { WorkloadSink } from '../types.ts';
import { badTrace, quoted, type TraceCounts, type TraceDecoder } from './decoder.ts';
import { LackeySyscalls } from './lackey-syscalls.ts';

export interface LackeyOptions {
  /** Bytes of a page, 4096 unless given. */
  readonly pageSize?: number;
  /** Instruction fetches count as loads. False unless given. */
  readonly instructions?: boolean;
}

const NEWLINE = 10;
const SPACE = 32;
const COMMA = 44;
const EQUALS = 61;
const LOAD = 76;
const MODIFY = 77;
const STORE = 83;
const INSTRUCTION = 73;
/** Shortest line of an access: three columns, 8 digits, a comma and a digit. */
const LINE_BYTES_MIN = 13;
/** No access is longer: an AVX-512 register, or fxsave and xsave areas. */
const ACCESS_BYTES_MAX = 65_536;
/** Longest line that is looked at as a whole. */
const LINE_BYTES_MAX = 64 * 1024;

export class LackeyDecoder implements TraceDecoder {
  readonly #pageSize: number;
  readonly #pageShift: number;
  readonly #instructions: boolean;
  #rest: Uint8Array = new Uint8Array(0);
  #offset = 0;
  #lines = 0;
  #accessLines = 0;
  #passedOver = 0;
  #out: AccessWriter | null = null;
  #thread = 0;
  readonly #threads: Map<number, number> = new Map();
  readonly #syscalls: LackeySyscalls;
  #sink: WorkloadSink | null = null;

  constructor(options: LackeyOptions = {}) {
    this.#pageSize = options.pageSize ?? 4096;
    this.#pageShift = Math.log2(this.#pageSize);
    this.#instructions = options.instructions ?? false;
    this.#syscalls = new LackeySyscalls(this.#pageSize);
  }

  get counts(): TraceCounts {
    return {
      lines: this.#lines,
      passedOver: this.#passedOver,
      records: this.#out?.records ?? 0,
      accesses: this.#out?.accesses ?? 0,
      threads: Math.max(1, this.#threads.size),
    };
  }

  push(bytes: Uint8Array, sink: WorkloadSink): void {
    let all = bytes;
    if (this.#rest.length > 0) {
      all = new Uint8Array(this.#rest.length + bytes.length);
      all.set(this.#rest);
      all.set(bytes, this.#rest.length);
    }
    const from = this.#read(all, this.#writerFor(sink));
    this.#offset += from;
    this.#rest = all.slice(from);
    if (this.#rest.length > LINE_BYTES_MAX) {
      throw badTrace(
        this.#offset,
        `expected a line of at most ${LINE_BYTES_MAX} bytes; found a longer one`,
        this.#lines + 1,
      );
    }
  }

  end(sink: WorkloadSink): void {
    const out = this.#writerFor(sink);
    if (this.#rest.length > 0) {
      const first = this.#rest[0]!;
      const isAccess = (first === SPACE || first === INSTRUCTION) && this.#isAccess(this.#rest);
      if (isAccess) {
        // The last line has no end: its number of bytes may have lost digits.
        throw badTrace(
          this.#offset,
          `expected the end of the line; found the end of the trace after ${quoted(this.#rest)}`,
          this.#lines + 1,
        );
      }
    }
    out.flush();
    if (this.#accessLines === 0) {
      throw badTrace(
        this.#offset + this.#rest.length,
        "expected lines of valgrind's lackey; found none",
      );
    }
  }

  #isAccess(line: Uint8Array): boolean {
    const kind = line[0] === INSTRUCTION ? INSTRUCTION : line[1];
    return kind === INSTRUCTION || kind === LOAD || kind === STORE || kind === MODIFY;
  }

  #writerFor(sink: WorkloadSink): AccessWriter {
    if (this.#out === null || this.#sink !== sink) {
      this.#out = new AccessWriter(sink);
      this.#sink = sink;
    }
    return this.#out;
  }

  /** Reads all whole lines; returns where the rest begins. */
  #read(bytes: Uint8Array, out: AccessWriter): number {
    const { length } = bytes;
    const shift = this.#pageShift;
    const scale = 2 ** (32 - shift);
    const inPage = this.#pageSize - 1;
    const instructions = this.#instructions;
    let at = 0;
    let lines = 0;
    let accessLines = 0;
    while (at + LINE_BYTES_MIN < length) {
      const first = bytes[at]!;
      const kind = first === SPACE ? bytes[at + 1]! : first;
      const isData = first === SPACE && (kind === LOAD || kind === STORE || kind === MODIFY);
      if (bytes[at + 2] === SPACE && (isData || first === INSTRUCTION)) {
        if (!isData && !instructions) {
          // The shortest such line, then on to its end.
          let end = at + LINE_BYTES_MIN;
          while (end < length && bytes[end] !== NEWLINE) end++;
          if (end === length) break;
          at = end + 1;
          lines++;
          accessLines++;
          continue;
        }
        let high = 0;
        let low = 0;
        let p = at + 3;
        for (; p < length; p++) {
          const byte = bytes[p]!;
          // '0' to '9', 'a' to 'f'.
          const digit = byte <= 57 ? byte - 48 : byte - 87;
          if (digit < 0 || digit > 15 || (byte > 57 && byte < 97)) break;
          high = (high << 4) | (low >>> 28);
          low = (low << 4) | digit;
        }
        let size = 0;
        let q = p + 1;
        for (; q < length; q++) {
          const digit = bytes[q]! - 48;
          if (digit < 0 || digit > 9) break;
          size = size * 10 + digit;
        }
        if (q >= length) break;
        if (bytes[p] === COMMA && bytes[q] === NEWLINE && p - at >= 11 && q > p + 1) {
          if (p - at > 19 || high >>> 0 > 0xffff || size === 0 || size > ACCESS_BYTES_MAX) {
            throw this.#badLine(bytes, at, lines);
          }
          const page = (high >>> 0) * scale + (low >>> shift);
          const isStore = kind === STORE;
          // An access may reach into the next page, or further.
          const more = ((low & inPage) + size - 1) >>> shift;
          for (let i = 0; i <= more; i++) {
            out.access(page + i, this.#thread, isStore);
            if (kind === MODIFY) out.access(page + i, this.#thread, true);
          }
          at = q + 1;
          lines++;
          accessLines++;
          continue;
        }
        const end = bytes.indexOf(NEWLINE, at);
        if (end < 0) break;
        // Program output may look alike; a line that begins as an access and is none is damage.
        throw this.#badLine(bytes, at, lines);
      }
      const end = bytes.indexOf(NEWLINE, at);
      if (end < 0) break;
      if (first !== EQUALS && end > at) this.#other(bytes.subarray(at, end), out);
      at = end + 1;
      lines++;
    }
    this.#lines += lines;
    this.#accessLines += accessLines;
    // What is too short for an access may still be lines.
    if (at + LINE_BYTES_MIN >= length) at = this.#readShort(bytes, at, out);
    return at;
  }

  /** The last lines of a piece, which are too short to be looked at in place. */
  #readShort(bytes: Uint8Array, from: number, out: AccessWriter): number {
    let at = from;
    for (;;) {
      const end = bytes.indexOf(NEWLINE, at);
      if (end < 0) return at;
      const line = bytes.subarray(at, end);
      if (line.length >= LINE_BYTES_MIN && (line[0] === SPACE || line[0] === INSTRUCTION))
        return at;
      if (
        (line[0] === SPACE || line[0] === INSTRUCTION) &&
        line[2] === SPACE &&
        this.#isAccess(line)
      ) {
        throw this.#badLine(bytes, at, 0);
      }
      if (line.length > 0 && line[0] !== EQUALS) this.#other(line, out);
      at = end + 1;
      this.#lines++;
    }
  }

  #badLine(bytes: Uint8Array, at: number, lines: number): Error {
    const end = bytes.indexOf(NEWLINE, at);
    const line = bytes.subarray(at, end < 0 ? bytes.length : end);
    return badTrace(
      this.#offset + at,
      `expected an access such as " L 04834b28,8"; found ${quoted(line)}`,
      this.#lines + lines + 1,
    );
  }

  /** A line of valgrind's about system calls or threads, or the program's own. */
  #other(line: Uint8Array, out: AccessWriter): void {
    // Only these letters begin anything of interest: "SYSCALL[", "--pid--".
    if (line[0] !== STORE && line[0] !== 45 && line[0] !== SPACE) {
      this.#passedOver++;
      return;
    }
    const text = String.fromCharCode(...line.subarray(0, 2000));
    const scheduled = /SCHED\[(\d+)\]:\s+acquired lock/.exec(text);
    const call = text.includes('SYSCALL[') || text.startsWith(' --> ');
    if (!call && !text.startsWith('--')) this.#passedOver++;
    if (call) {
      for (const change of this.#syscalls.read(text)) {
        if (change.kind !== 'store')
          out.mapping({ kind: change.kind, start: change.start, pages: change.pages });
        else
          for (let i = 0; i < change.pages; i++) out.access(change.start + i, this.#thread, true);
      }
    }
    if (scheduled !== null) this.#thread = this.#threadNumbered(Number(scheduled[1]));
  }

  #threadNumbered(tid: number): number {
    let thread = this.#threads.get(tid);
    if (thread === undefined) {
      thread = this.#threads.size;
      this.#threads.set(tid, thread);
    }
    return thread;
  }
}
