/** Reads page streams. */
import { type AccessBatch, newBatch, type WorkloadSink } from '../types.ts';
import { badTrace, quoted, type TraceCounts, type TraceDecoder } from './decoder.ts';
import { decodeHeader, HEADER_BYTES_MAX, type PagesHeader } from './pages-header.ts';
import {
  CHECK_SEED,
  checked,
  DELTA_FAR,
  DELTA_SHIFT,
  END,
  MAP,
  NO_ACCESS,
  RECORD_BYTES_MAX,
  THREAD_BIT,
  THREADS_MAX,
  UNMAP,
  VPN_MAX,
  WEIGHT_BIT,
  WRITE_BIT,
} from './pages-records.ts';

const BATCH_ACCESSES = 4096;
const NEWLINE = 10;
const WEIGHT_MAX = 2 ** 32 - 1;

export class PagesDecoder implements TraceDecoder {
  #header: PagesHeader | null = null;
  /** What was pushed and not read: less than a record, or the beginning of the header. */
  #rest: Uint8Array = new Uint8Array(0);
  /** Where `#rest` begins in the trace. */
  #offset = 0;
  #ended = false;
  readonly #batch: AccessBatch = newBatch(BATCH_ACCESSES);
  #records = 0;
  #accesses = 0;
  #check = CHECK_SEED;
  #thread = 0;
  #threads = 0;
  readonly #lastOf: Float64Array<ArrayBuffer> = new Float64Array(THREADS_MAX);
  /** Bytes that are being read, and where. */
  #bytes: Uint8Array = this.#rest;
  #at = 0;

  /** Null until its line is complete. */
  get header(): PagesHeader | null {
    return this.#header;
  }

  get counts(): TraceCounts {
    const records = this.#records;
    return {
      lines: records,
      passedOver: 0,
      records,
      accesses: this.#accesses,
      threads: this.#threads,
    };
  }

  push(bytes: Uint8Array, sink: WorkloadSink): void {
    let all = bytes;
    if (this.#rest.length > 0) {
      all = new Uint8Array(this.#rest.length + bytes.length);
      all.set(this.#rest);
      all.set(bytes, this.#rest.length);
    }
    let from = 0;
    if (this.#header === null) {
      const end = all.indexOf(NEWLINE);
      if (end < 0 && all.length <= HEADER_BYTES_MAX) {
        this.#rest = all.slice();
        return;
      }
      this.#header = decodeHeader(all.subarray(0, end < 0 ? HEADER_BYTES_MAX : end));
      from = end + 1;
    }
    this.#keep(all, this.#read(all, from, all.length - RECORD_BYTES_MAX, sink));
  }

  end(sink: WorkloadSink): void {
    if (this.#header === null) {
      throw badTrace(0, `expected the header of a page stream; found ${quoted(this.#rest)}`);
    }
    const { length } = this.#rest;
    // Room to read beyond the end, which shows afterwards.
    const padded = new Uint8Array(length + RECORD_BYTES_MAX);
    padded.set(this.#rest);
    const end = this.#read(padded, 0, length - 1, sink, length);
    this.#keep(padded.subarray(0, length), end);
    if (this.#ended) return;
    throw badTrace(
      this.#offset + this.#rest.length,
      `expected more records or the end of the page stream; found nothing after ${this.#records} records`,
    );
  }

  #keep(bytes: Uint8Array, from: number): void {
    this.#offset += from;
    this.#rest = bytes.slice(from);
  }

  /**
   * Reads records that begin at or before `last`; returns where the next one begins. No record may reach
   * beyond `limit`.
   */
  #read(
    bytes: Uint8Array,
    from: number,
    last: number,
    sink: WorkloadSink,
    limit: number = bytes.length,
  ): number {
    const { vpn, thread, write, weight } = this.#batch;
    const lastOf = this.#lastOf;
    let at = from;
    let count = 0;
    let accesses = 0;
    let current = this.#thread;
    let check = this.#check;
    let began = at;
    while (at <= last) {
      if (this.#ended)
        throw badTrace(this.#offset + at, 'expected nothing after the end of the page stream');
      began = at;
      const control = bytes[at++]!;
      let zigzag = control >>> DELTA_SHIFT;
      if (zigzag === NO_ACCESS) {
        this.#batch.count = count;
        if (count > 0) sink.accesses(this.#batch);
        this.#records += count;
        this.#accesses += accesses;
        count = 0;
        accesses = 0;
        this.#check = check;
        this.#bytes = bytes;
        this.#at = at;
        this.#other(control, this.#offset + began, sink, limit);
        check = this.#check;
        at = this.#at;
        continue;
      }
      if ((control & THREAD_BIT) !== 0) {
        // Numbers of one byte are read here, others where it takes longer.
        const byte = bytes[at++]!;
        current = byte < 0x80 ? byte : this.#varint(bytes, at - 1, began);
        if (byte >= 0x80) at = this.#at;
        if (current >= THREADS_MAX) {
          throw badTrace(
            this.#offset + began,
            `expected a thread below ${THREADS_MAX}; found ${current}`,
          );
        }
      }
      let stands = 1;
      if ((control & WEIGHT_BIT) !== 0) {
        const byte = bytes[at++]!;
        stands = 2 + (byte < 0x80 ? byte : this.#varint(bytes, at - 1, began));
        if (byte >= 0x80) at = this.#at;
        if (stands > WEIGHT_MAX) {
          throw badTrace(
            this.#offset + began,
            `expected at most 2^32 accesses a record; found ${stands}`,
          );
        }
      }
      if (zigzag === DELTA_FAR) {
        const byte = bytes[at++]!;
        zigzag += byte < 0x80 ? byte : this.#varint(bytes, at - 1, began);
        if (byte >= 0x80) at = this.#at;
      }
      const half = zigzag < 0x8000_0000 ? zigzag >>> 1 : Math.floor(zigzag / 2);
      const isOdd = zigzag < 0x8000_0000 ? (zigzag & 1) !== 0 : zigzag - 2 * half === 1;
      const page = lastOf[current]! + (isOdd ? -1 - half : half);
      if (page < 0 || page >= VPN_MAX) {
        throw badTrace(this.#offset + began, `expected a page from 0 to 2^48; found ${page}`);
      }
      if (at > limit) break;
      lastOf[current] = page;
      vpn[count] = page;
      thread[count] = current;
      write[count] = control & WRITE_BIT;
      weight[count] = stands;
      accesses += stands;
      count++;
      if (current >= this.#threads) this.#threads = current + 1;
      check = checked(check, control + Math.imul(stands, 257) + (current << 8), page);
      if (count === BATCH_ACCESSES) {
        this.#batch.count = count;
        sink.accesses(this.#batch);
        this.#records += count;
        this.#accesses += accesses;
        count = 0;
        accesses = 0;
      }
    }
    this.#batch.count = count;
    if (count > 0) sink.accesses(this.#batch);
    this.#records += count;
    this.#accesses += accesses;
    this.#thread = current;
    this.#check = check;
    if (at > limit) {
      throw badTrace(
        this.#offset + began,
        'expected a whole record; found the end of the file in it',
      );
    }
    return at;
  }

  /** What is no access. */
  #other(control: number, began: number, sink: WorkloadSink, limit: number): void {
    const kind = control & (WRITE_BIT | THREAD_BIT | WEIGHT_BIT);
    if (kind !== END && kind !== MAP && kind !== UNMAP) {
      throw badTrace(began, `expected a record of kind 0 to 2; found ${kind}`);
    }
    const bytes = this.#bytes;
    const first = this.#varint(bytes, this.#at, began - this.#offset);
    const second = this.#varint(bytes, this.#at, began - this.#offset);
    if (kind !== END) {
      if (this.#at > limit) {
        throw badTrace(began, 'expected a whole record; found the end of the file in it');
      }
      if (first + second > VPN_MAX || second === 0) {
        throw badTrace(began, `expected pages below 2^48; found ${second} from ${first} on`);
      }
      this.#check = checked(this.#check, control, first + Math.imul(second | 0, 31));
      sink.mapping({ kind: kind === MAP ? 'map' : 'unmap', start: first, pages: second });
      return;
    }
    let check = 0;
    for (let shift = 0; shift < 32; shift += 8) check |= bytes[this.#at++]! << shift;
    if (this.#at > limit) {
      throw badTrace(began, 'expected a whole record; found the end of the file in it');
    }
    if (first !== this.#records || second !== this.#accesses || check !== this.#check) {
      throw badTrace(
        began,
        `expected ${first} records of ${second} accesses and check sum ${check >>> 0}; found ` +
          `${this.#records} records of ${this.#accesses} accesses and ${this.#check >>> 0}`,
      );
    }
    this.#ended = true;
  }

  /** The number at `at`; leaves in `#at` where it ends. */
  #varint(bytes: Uint8Array, at: number, began: number): number {
    let value = 0;
    let scale = 1;
    let next = at;
    for (let i = 0; i < 8; i++) {
      const byte = bytes[next++]!;
      value += (byte & 0x7f) * scale;
      scale *= 0x80;
      if (byte < 0x80) {
        this.#at = next;
        return value;
      }
    }
    throw badTrace(
      this.#offset + began,
      'expected a number of at most 8 bytes; found a longer one',
    );
  }
}
