/**
 * The ring in which a GPU reports accesses that its page table does not allow.
 *
 * The GPU writes at PUT, the driver reads at GET and moves GET on; where the two are equal the ring
 * is empty, so one entry always stays free. An entry is eight 32-bit words:
 *
 *     0, 1  instance pointer, low and high half     2, 3  address, low and high half
 *     4, 5  time in ns, low and high half           6     engine
 *     7     31 valid, 28:24 gpc, 20 hub, 19:16 access, 14:8 client, 4:0 fault
 *
 * Reference: the fault buffers of Maxwell and Pascal, as nouveau_svm.c of Linux 6.1 reads them.
 */
import { SimError } from '../core/errors.ts';
import type { StateHash } from '../core/state-hash.ts';
import type { Va } from '../core/units.ts';

/** What an access wanted, as an entry has it. */
export type FaultAccess = 0 | 1 | 2 | 3;

export const FAULT_ACCESS_READ = 0;
export const FAULT_ACCESS_WRITE = 1;
export const FAULT_ACCESS_ATOMIC = 2;
export const FAULT_ACCESS_PREFETCH = 3;

/** Why the access was refused: nothing is mapped there. */
export const FAULT_PTE = 0x02;
/** It is mapped read-only. */
export const FAULT_RO_VIOLATION = 0x06;
/** It is mapped without the permission for atomics. */
export const FAULT_ATOMIC_VIOLATION = 0x0f;

/** 32-bit words of an entry. */
export const FAULT_ENTRY_WORDS = 8;

/** An entry of the fault buffer. */
export interface FaultEntry {
  /** Instance pointer of the channel: which address space. Below 2^53. */
  readonly inst: number;
  /** First byte of the page that was touched. Below 2^53. */
  readonly addr: Va;
  /** When, in whole nanoseconds of virtual time. */
  readonly timeNs: number;
  readonly engine: number;
  /** Graphics processing cluster, 0 to 31. */
  readonly gpc: number;
  /** The client is one of the hub, not of a cluster. */
  readonly hub: boolean;
  readonly access: FaultAccess;
  /** The unit that asked, 0 to 127. */
  readonly client: number;
  /** Why it was refused, 0 to 31: FAULT_PTE and so on. */
  readonly fault: number;
  /** Written by the GPU and not yet taken by the driver. */
  readonly valid: boolean;
}

const HALF = 2 ** 32;
const VALID = 2 ** 31;

/** Writes `entry` at `words[at]` and the seven words behind. */
export function encodeEntry(entry: FaultEntry, words: Uint32Array, at: number): void {
  splitInto(words, at, entry.inst);
  splitInto(words, at + 2, entry.addr);
  splitInto(words, at + 4, entry.timeNs);
  words[at + 6] = entry.engine;
  words[at + 7] =
    (entry.valid ? VALID : 0) +
    ((entry.gpc & 0x1f) << 24) +
    ((entry.hub ? 1 : 0) << 20) +
    ((entry.access & 0xf) << 16) +
    ((entry.client & 0x7f) << 8) +
    (entry.fault & 0x1f);
}

/** The entry at `words[at]`. */
export function decodeEntry(words: Uint32Array, at: number): FaultEntry {
  const info = words[at + 7]!;
  return {
    inst: joined(words, at),
    addr: joined(words, at + 2),
    timeNs: joined(words, at + 4),
    engine: words[at + 6]!,
    gpc: (info >>> 24) & 0x1f,
    hub: ((info >>> 20) & 1) !== 0,
    access: ((info >>> 16) & 0xf) as FaultAccess,
    client: (info >>> 8) & 0x7f,
    fault: info & 0x1f,
    valid: info >= VALID,
  };
}

function splitInto(words: Uint32Array, at: number, value: number): void {
  words[at] = value % HALF;
  words[at + 1] = Math.floor(value / HALF);
}

function joined(words: Uint32Array, at: number): number {
  return words[at + 1]! * HALF + words[at]!;
}

export class FaultBuffer {
  /** Places in the ring; one more than it holds at a time. */
  readonly entries: number;
  /** The ring itself, as it lies in memory. */
  readonly words: Uint32Array<ArrayBuffer>;
  /** Faults that found the ring full. */
  overflows = 0;
  readonly #onRead: () => void;
  #get = 0;
  #put = 0;

  /**
   * @param entries places in the ring, at least 2
   * @param onRead called when the driver has moved GET
   * @throws SimError `bad-argument`
   */
  constructor(entries: number, onRead: () => void = () => {}) {
    if (!Number.isSafeInteger(entries) || entries < 2) {
      throw new SimError(
        'bad-argument',
        `a fault buffer of ${entries} entries; expected 2 or more`,
      );
    }
    this.entries = entries;
    this.words = new Uint32Array(entries * FAULT_ENTRY_WORDS);
    this.#onRead = onRead;
  }

  /** The first entry the driver has not taken. */
  get get(): number {
    return this.#get;
  }

  /** The driver has taken all entries before `at`, which gives their places to the GPU. */
  set get(at: number) {
    this.#check(at);
    this.#get = at;
    this.#onRead();
  }

  /** Where the GPU writes next. */
  get put(): number {
    return this.#put;
  }

  /** Entries between GET and PUT. */
  get pending(): number {
    return (this.#put - this.#get + this.entries) % this.entries;
  }

  /** A further entry finds no room. */
  get full(): boolean {
    return (this.#put + 1) % this.entries === this.#get;
  }

  /** The GPU writes an entry. False: the ring is full, the entry is dropped and counted. */
  push(entry: FaultEntry): boolean {
    if (this.full) {
      this.overflows++;
      return false;
    }
    encodeEntry(entry, this.words, this.#put * FAULT_ENTRY_WORDS);
    this.#put = (this.#put + 1) % this.entries;
    return true;
  }

  /** The entry in place `at`, whether or not it is valid. */
  read(at: number): FaultEntry {
    this.#check(at);
    return decodeEntry(this.words, at * FAULT_ENTRY_WORDS);
  }

  /** The driver has copied the entry. */
  clearValid(at: number): void {
    this.#check(at);
    const info = at * FAULT_ENTRY_WORDS + 7;
    this.words[info] = this.words[info]! & (VALID - 1);
  }

  fingerprint(hash: StateHash): void {
    hash.add(this.#get);
    hash.add(this.#put);
    for (const word of this.words) if (word !== 0) hash.add(word);
  }

  #check(at: number): void {
    if (Number.isSafeInteger(at) && at >= 0 && at < this.entries) return;
    throw new SimError('bad-argument', `a fault buffer of ${this.entries} has no entry ${at}`);
  }
}
