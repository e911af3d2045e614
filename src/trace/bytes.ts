/** Bytes as numbers and text, both ways, and their checksum. */
import { SimError } from '../core/errors.ts';

const FIRST_BYTES = 4096;
/** Numbers of seven bits a byte end here; more would not be safe integers. */
const VARINT_BYTES_MAX = 8;

export class ByteWriter {
  #bytes = new Uint8Array(FIRST_BYTES);
  #length = 0;

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  byte(value: number): void {
    if (this.#length === this.#bytes.length) this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** 32 bits, the lowest first. */
  uint32(value: number): void {
    for (let shift = 0; shift < 32; shift += 8) this.byte((value >>> shift) & 0xff);
  }

  /** A safe integer of 0 or more: seven bits a byte, the lowest first. */
  varint(value: number): void {
    let rest = value;
    while (rest >= 128) {
      this.byte((rest % 128) + 128);
      rest = Math.floor(rest / 128);
    }
    this.byte(rest);
  }

  /** Signed integers up to 2^51: each, or its difference to the one before, the first to 0. */
  signed(values: ArrayLike<number>, differences: boolean): void {
    const { length } = values;
    this.#reserve(length * VARINT_BYTES_MAX);
    const bytes = this.#bytes;
    let at = this.#length;
    let last = 0;
    for (let i = 0; i < length; i++) {
      const value = values[i]!;
      let rest = zigzag(differences ? value - last : value);
      last = value;
      for (; rest > 0x7fff_ffff; rest = Math.floor(rest / 128)) bytes[at++] = (rest % 128) + 128;
      // Bit operators are much faster, and work on 31 bits.
      for (; rest > 127; rest >>>= 7) bytes[at++] = (rest & 127) | 128;
      bytes[at++] = rest;
    }
    this.#length = at;
  }

  float64(values: Float64Array): void {
    this.#reserve(values.length * 8);
    const view = new DataView(this.#bytes.buffer, this.#length);
    values.forEach((value, i) => {
      view.setFloat64(i * 8, value, true);
    });
    this.#length += values.length * 8;
  }

  text(value: string): void {
    const bytes = new TextEncoder().encode(value);
    this.varint(bytes.length);
    this.raw(bytes);
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const wider = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + count));
    wider.set(this.#bytes);
    this.#bytes = wider;
  }
}

/** Reads what a `ByteWriter` wrote. Each method throws a `SimError` (bad-recording) at the end. */
export class ByteReader {
  offset = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Where the bytes end. */
  get end(): number {
    return this.#bytes.length;
  }

  get left(): number {
    return this.#bytes.length - this.offset;
  }

  byte(what: string): number {
    if (this.left < 1) throw cutShort(this.end, what);
    return this.#bytes[this.offset++]!;
  }

  raw(count: number, what: string): Uint8Array {
    if (this.left < count) throw cutShort(this.end, what);
    this.offset += count;
    return this.#bytes.subarray(this.offset - count, this.offset);
  }

  uint32(what: string): number {
    const bytes = this.raw(4, what);
    return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  }

  varint(what: string): number {
    const start = this.offset;
    const first = this.#bytes[start];
    if (first !== undefined && first < 128) {
      this.offset++;
      return first;
    }
    let value = 0;
    let factor = 1;
    for (let i = 0; i < VARINT_BYTES_MAX; i++) {
      const byte = this.byte(what);
      value += (byte & 0x7f) * factor;
      if (byte < 128) {
        if (value > Number.MAX_SAFE_INTEGER) break;
        return value;
      }
      factor *= 128;
    }
    throw badRecording(start, `${what}: expected a number below 2^53; found a larger one`);
  }

  float64(count: number, what: string): Float64Array {
    const bytes = this.raw(count * 8, what);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    return Float64Array.from({ length: count }, (_, i) => view.getFloat64(i * 8, true));
  }

  text(what: string): string {
    const length = this.varint(what);
    const start = this.offset;
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
        this.raw(length, what),
      );
    } catch (error) {
      if (error instanceof SimError) throw error;
      throw badRecording(start, `${what}: expected text in UTF-8; found other bytes`);
    }
  }
}

/** What is wrong with the bytes of a recording, and where. */
export function badRecording(offset: number, problem: string): SimError {
  return new SimError('bad-recording', `the recording is damaged at byte ${offset}: ${problem}`, {
    offset,
  });
}

function cutShort(offset: number, what: string): SimError {
  return badRecording(offset, `it ends within ${what}`);
}

/** A signed integer as one of 0 or more: 0, -1, 1, -2, … become 0, 1, 2, 3, … */
function zigzag(value: number): number {
  return value >= 0 ? value * 2 : -value * 2 - 1;
}

export function unzigzag(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}

const CRC_TABLE: Uint32Array = Uint32Array.from({ length: 256 }, (_, i) => {
  let crc = i;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

/** CRC-32 as in gzip and PNG. */
export function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ byte) & 0xff]!;
  return (crc ^ 0xffffffff) >>> 0;
}
