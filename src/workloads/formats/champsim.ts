/**
 * Reads ChampSim's instruction traces: records of 64 bytes, little endian, with the addresses of up to two
 * stores and four loads. The records of the CloudSuite traces have 96 bytes: four stores, four loads, and
 * whose address space it was.
 */
import { AccessWriter } from '../access-writer.ts';
import type { WorkloadSink } from '../types.ts';
import { badTrace, type TraceCounts, type TraceDecoder } from './decoder.ts';

/** Where things lie in a record, in bytes. */
interface Layout {
  readonly bytes: number;
  readonly stores: readonly number[];
  readonly loads: readonly number[];
  /** Number of the address space; null where a record does not say. */
  readonly asid: number | null;
}

const PLAIN: Layout = { bytes: 64, stores: [16, 24], loads: [32, 40, 48, 56], asid: null };
const CLOUDSUITE: Layout = {
  bytes: 96,
  stores: [24, 32, 40, 48],
  loads: [56, 64, 72, 80],
  asid: 88,
};
const ADDRESS_MAX: number = 2 ** 57;

export interface ChampSimOptions {
  /** Bytes of a page, 4096 unless given. */
  readonly pageSize?: number;
  /** The records of CloudSuite traces. False unless given. */
  readonly cloudsuite?: boolean;
}

export class ChampSimDecoder implements TraceDecoder {
  readonly #layout: Layout;
  readonly #pageSize: number;
  #rest: Uint8Array = new Uint8Array(0);
  #offset = 0;
  #lines = 0;
  #out: AccessWriter | null = null;
  readonly #threads: Map<number, number> = new Map();

  constructor(options: ChampSimOptions = {}) {
    this.#layout = options.cloudsuite === true ? CLOUDSUITE : PLAIN;
    this.#pageSize = options.pageSize ?? 4096;
  }

  get counts(): TraceCounts {
    return {
      lines: this.#lines,
      passedOver: 0,
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
    this.#out ??= new AccessWriter(sink);
    const view = new DataView(all.buffer, all.byteOffset, all.length);
    let at = 0;
    for (; at + this.#layout.bytes <= all.length; at += this.#layout.bytes) {
      this.#record(view, at, this.#out);
    }
    this.#offset += at;
    this.#rest = all.slice(at);
  }

  end(_sink: WorkloadSink): void {
    const { bytes } = this.#layout;
    if (this.#rest.length > 0 || this.#lines === 0) {
      throw badTrace(
        this.#offset,
        `expected a record of ${bytes} bytes; found ${this.#rest.length} at the end of the trace`,
      );
    }
    this.#out?.flush();
  }

  #record(view: DataView, at: number, out: AccessWriter): void {
    const { stores, loads, asid } = this.#layout;
    // is_branch and branch_taken: what else is in their place is no record.
    if (view.getUint8(at + 8) > 1 || view.getUint8(at + 9) > 1) {
      const found = `${view.getUint8(at + 8)} and ${view.getUint8(at + 9)}`;
      throw badTrace(
        this.#offset + at,
        `expected 0 or 1 for is_branch and branch_taken; found ${found}`,
      );
    }
    const thread = asid === null ? 0 : this.#threadOf(view.getUint8(at + asid));
    for (const field of loads) this.#access(view, at, field, thread, false, out);
    for (const field of stores) this.#access(view, at, field, thread, true, out);
    this.#lines++;
  }

  #access(
    view: DataView,
    at: number,
    field: number,
    thread: number,
    write: boolean,
    out: AccessWriter,
  ): void {
    const low = view.getUint32(at + field, true);
    const high = view.getUint32(at + field + 4, true);
    if (low === 0 && high === 0) return;
    const address = high * 2 ** 32 + low;
    if (address >= ADDRESS_MAX) {
      throw badTrace(
        this.#offset + at,
        `expected an address below 2^57; found 0x${address.toString(16)}`,
      );
    }
    out.access(Math.floor(address / this.#pageSize), thread, write);
  }

  #threadOf(asid: number): number {
    let thread = this.#threads.get(asid);
    if (thread === undefined) {
      thread = this.#threads.size;
      this.#threads.set(asid, thread);
    }
    return thread;
  }
}
