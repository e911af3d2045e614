/** Writes page streams. */
import { SimError } from '../../core/errors.ts';
import type { AccessBatch, MappingChange, WorkloadSink } from '../types.ts';
import { encodeHeader, type PagesHeader } from './pages-header.ts';
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

const CHUNK_BYTES = 64 * 1024;

/** A sink whose workload becomes the bytes of a page stream. Call `end` last. */
export class PagesWriter implements WorkloadSink {
  readonly #write: (bytes: Uint8Array) => void;
  readonly #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(CHUNK_BYTES + RECORD_BYTES_MAX);
  #at = 0;
  #records = 0;
  #accesses = 0;
  #check = CHECK_SEED;
  #thread = 0;
  readonly #lastOf: Float64Array<ArrayBuffer> = new Float64Array(THREADS_MAX);

  /** @param write takes the bytes piece by piece; each piece is its own */
  constructor(header: PagesHeader, write: (bytes: Uint8Array) => void) {
    this.#write = write;
    write(encodeHeader(header));
  }

  accesses({ count, vpn, thread, write, weight }: AccessBatch): void {
    for (let i = 0; i < count; i++) this.#access(vpn[i]!, thread[i]!, write[i]!, weight[i]!);
  }

  mapping({ kind, start, pages }: MappingChange): void {
    checkPage(start);
    const control = (NO_ACCESS << DELTA_SHIFT) | (kind === 'map' ? MAP : UNMAP);
    this.#bytes[this.#at++] = control;
    this.#varint(start);
    this.#varint(pages);
    this.#check = checked(this.#check, control, start + Math.imul(pages | 0, 31));
    this.#flushIfFull();
  }

  /** Writes the end. */
  end(): void {
    this.#bytes[this.#at++] = (NO_ACCESS << DELTA_SHIFT) | END;
    this.#varint(this.#records);
    this.#varint(this.#accesses);
    for (let shift = 0; shift < 32; shift += 8) {
      this.#bytes[this.#at++] = (this.#check >>> shift) & 0xff;
    }
    this.#flush();
  }

  #access(vpn: number, thread: number, write: number, weight: number): void {
    checkPage(vpn);
    const delta = vpn - this.#lastOf[thread]!;
    const zigzag = delta < 0 ? -2 * delta - 1 : 2 * delta;
    const far = zigzag >= DELTA_FAR;
    let control = ((far ? DELTA_FAR : zigzag) << DELTA_SHIFT) | (write === 0 ? 0 : WRITE_BIT);
    if (thread !== this.#thread) control |= THREAD_BIT;
    if (weight !== 1) control |= WEIGHT_BIT;
    this.#bytes[this.#at++] = control;
    if (thread !== this.#thread) this.#varint(thread);
    if (weight !== 1) this.#varint(weight - 2);
    if (far) this.#varint(zigzag - DELTA_FAR);
    this.#thread = thread;
    this.#lastOf[thread] = vpn;
    this.#records++;
    this.#accesses += weight;
    this.#check = checked(this.#check, control + Math.imul(weight, 257) + (thread << 8), vpn);
    this.#flushIfFull();
  }

  #varint(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#at++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#at++] = rest;
  }

  #flushIfFull(): void {
    if (this.#at >= CHUNK_BYTES) this.#flush();
  }

  #flush(): void {
    this.#write(this.#bytes.slice(0, this.#at));
    this.#at = 0;
  }
}

function checkPage(vpn: number): void {
  if (vpn >= 0 && vpn < VPN_MAX && Number.isInteger(vpn)) return;
  throw new SimError('bad-argument', `page ${vpn}; expected a whole number from 0 to 2^48`);
}
