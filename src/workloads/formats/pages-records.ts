/**
 * How the records of a page stream lie in bytes.
 *
 * A record begins with a control byte:
 *   bit 0     a store
 *   bit 1     another thread than in the record before: its number follows
 *   bit 2     stands for more than one access: their number minus 2 follows
 *   bits 3-7  how far the page lies from the thread's last one, zigzag (0 0, -1 1, 1 2, -2 3, …)
 *             0 to 29 as it is; 30: the distance minus 30 follows; 31: this is no access
 * Where bits 3 to 7 are 31, bits 0 to 2 say what it is:
 *   0  the end: number of records, number of accesses, check sum (4 bytes, little endian)
 *   1  a mapping begins: distance of its first page from page 0, number of pages
 *   2  a mapping ends: the same
 * What follows comes in the order of the bits, as whole numbers of 7 bits a byte, low ones first, with the
 * top bit set in all bytes but the last.
 */

export const WRITE_BIT = 1;
export const THREAD_BIT = 2;
export const WEIGHT_BIT = 4;
export const DELTA_SHIFT = 3;
export const DELTA_FAR = 30;
export const NO_ACCESS = 31;

export const END = 0;
export const MAP = 1;
export const UNMAP = 2;

/** Number of bytes of the longest record, and of the end. */
export const RECORD_BYTES_MAX = 32;

/** Pages lie below: 2^52 bytes divided by the smallest page. */
export const VPN_MAX: number = 2 ** 48;
export const THREADS_MAX = 65_536;

export const CHECK_SEED: number = 0x811c9dc5 | 0;

/** The check sum after one more record: what the bytes mean counts, not how they lie. */
export function checked(sum: number, control: number, page: number): number {
  return (Math.imul(sum ^ control ^ Math.imul(page | 0, 0x85ebca6b), 0x01000193) + 0x2f) | 0;
}
