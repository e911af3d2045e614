/**
 * Checks that memory keeps what was stored.
 *
 * For every word somebody stored to it is remembered what should be there: for private memory by
 * process and address, for shared memory by file and offset. A load that gets anything else, or
 * memory at rest that has anything else, is a lost write. Private anonymous memory starts as zeros.
 */
import type { Machine } from '../core/machine.ts';
import type { MemoryWatch } from '../core/memory-watch.ts';
import type { MemoryFile } from '../core/mm/memory-file.ts';
import type { Mm } from '../core/mm/mm.ts';
import { leafIndex } from '../core/mm/page-table.ts';
import { PTE_NONE } from '../core/mm/pte.ts';
import { VM_SHARED } from '../core/mm/vma.ts';
import type { StateHash } from '../core/state-hash.ts';
import { hex, type Va, type Vpn } from '../core/units.ts';
import type { Failure } from './types.ts';

/** What a word should have, and who stored it: null where memory just starts so. */
interface Word {
  value: number;
  by: string | null;
  /** What is there is not what was stored, and that was told. */
  lost: boolean;
}

/** By page number (of the address space, or of the file) times words of a page, plus word. */
type Words = Map<number, Word>;

/** How people call an address of a process: "page 3 of buffer 0 of process 1". */
export type PlaceName = (pid: number, va: Va) => string;

export class LostWrites implements MemoryWatch {
  readonly failures: Failure[] = [];
  readonly #machine: Machine;
  readonly #nameOf: PlaceName;
  readonly #words: number;
  readonly #private: Map<Mm, Words> = new Map();
  readonly #files: Map<MemoryFile, Words> = new Map();
  /** Where a word of the last `#locate` stands. */
  #at = 0;
  /** It starts as zero. */
  #zeroed = false;
  #late = false;

  constructor(machine: Machine, nameOf: PlaceName = plainPlace) {
    this.#machine = machine;
    this.#nameOf = nameOf;
    this.#words = machine.pageSize / 4;
  }

  /** Memory is in use already, so a word that nobody stored yet need not be zero. */
  startLate(): void {
    this.#late = true;
  }

  stored(pid: number, va: Va, value: number): void {
    const words = this.#locate(pid, va, true);
    if (words === null) return;
    const by = this.#actor();
    const word = words.get(this.#at);
    if (word === undefined) words.set(this.#at, { value: value >>> 0, by, lost: false });
    else {
      word.value = value >>> 0;
      word.by = by;
      word.lost = false;
    }
  }

  loaded(pid: number, va: Va, value: number): void {
    const words = this.#locate(pid, va, false);
    if (words === null) return;
    const found = value >>> 0;
    const word = words.get(this.#at);
    if (word === undefined) {
      const fresh: Word = { value: 0, by: null, lost: false };
      if (!this.#zeroed || this.#late || found === 0) fresh.value = found;
      else this.#report(pid, va, fresh, found, true);
      words.set(this.#at, fresh);
    } else if (word.value !== found && !word.lost) {
      this.#report(pid, va, word, found, true);
    }
  }

  /** Either value is right. */
  overlapped(): void {}

  zapped(mm: Mm, vpn: Vpn): void {
    const words = this.#private.get(mm);
    if (words !== undefined && words.size > 0) this.#take(words, vpn);
  }

  moved(mm: Mm, from: Vpn, to: Vpn): void {
    const words = this.#private.get(mm);
    if (words === undefined) return;
    for (const [at, word] of this.#take(words, from))
      words.set(at + (to - from) * this.#words, word);
  }

  forked(parent: Mm, child: Mm): void {
    const words = this.#private.get(parent);
    if (words === undefined) return;
    const copy: Words = new Map();
    for (const [at, { value, by, lost }] of words) copy.set(at, { value, by, lost });
    this.#private.set(child, copy);
  }

  /** Looks at all words that were ever touched, while no task runs. */
  atRest(): void {
    if (this.#isSealed()) return;
    for (const [mm, words] of this.#private) {
      if (!mm.alive) continue;
      for (const [at, word] of words) this.#checkWord(mm, at, word);
    }
    for (const [file, words] of this.#files) {
      for (const [at, word] of words) this.#checkFileWord(file, at, word);
    }
  }

  fingerprint(hash: StateHash): void {
    for (const [mm, words] of this.#private) addWords(hash, mm.pid, words);
    for (const [file, words] of this.#files) addWords(hash, file.id, words);
  }

  /** The words that `va` is one of, and in `#at` which; null where nothing is known of it. */
  #locate(pid: number, va: Va, storing: boolean): Words | null {
    if (this.#isSealed()) return null;
    const mm = this.#machine.processes.get(pid)?.mm;
    const vma = mm?.vmas.find(va);
    if (mm === undefined || vma == null) return null;
    const { pageSize } = mm;
    const vpn = Math.floor(va / pageSize);
    const word = Math.floor((va - vpn * pageSize) / 4);
    const { file } = vma;
    if (file !== null && (vma.flags & VM_SHARED) !== 0) {
      this.#at = vma.pgoffOf(vpn * pageSize) * this.#words + word;
      this.#zeroed = false;
      return entryOf(this.#files, file);
    }
    this.#at = vpn * this.#words + word;
    this.#zeroed = file === null;
    const words = entryOf(this.#private, mm);
    // Of a file mapped privately only what the process stored is its own: the rest may change.
    return file === null || storing || words.has(this.#at) ? words : null;
  }

  #isSealed(): boolean {
    for (const driver of this.#machine.drivers) if (driver.sealsMemory === true) return true;
    return false;
  }

  #checkWord(mm: Mm, at: number, word: Word): void {
    const vpn = Math.floor(at / this.#words);
    const leaf = mm.pageTable.leaf(vpn);
    const index = leafIndex(vpn);
    const isMapped = leaf !== null && leaf.kind(index) !== PTE_NONE;
    const found = isMapped ? mm.pages.read32(leaf.page[index]!, at - vpn * this.#words) : 0;
    if (found !== word.value && !word.lost) this.#report(mm.pid, at * 4, word, found, false);
  }

  #checkFileWord(file: MemoryFile, at: number, word: Word): void {
    const index = Math.floor(at / this.#words);
    const page = file.cached(index);
    const { pages } = this.#machine.kernel;
    const found = page === undefined ? 0 : pages.read32(page, at - index * this.#words);
    if (found === word.value || word.lost) return;
    const vma = file.vmas.find((one) => index >= one.pgoff && index < one.pgoff + one.pages);
    if (vma === undefined) return;
    const va = vma.start + (index - vma.pgoff) * vma.mm.pageSize;
    this.#report(vma.mm.pid, va + (at - index * this.#words) * 4, word, found, false);
  }

  #take(words: Words, vpn: Vpn): [number, Word][] {
    const first = vpn * this.#words;
    const taken: [number, Word][] = [];
    for (const entry of words) {
      if (entry[0] >= first && entry[0] < first + this.#words) taken.push(entry);
    }
    for (const [at] of taken) words.delete(at);
    return taken;
  }

  #report(pid: number, va: Va, word: Word, found: number, isLoad: boolean): void {
    word.lost = true;
    const place = this.#nameOf(pid, va);
    const who = isLoad ? `${this.#actor()} loads` : 'at the end there is';
    const since = word.by === null ? 'nobody stored anything' : `${word.by} stored it last`;
    this.failures.push({
      kind: 'lost_write',
      message: `${place}: ${who} ${found}, expected ${word.value} (${since})`,
      detail: [],
    });
  }

  #actor(): string {
    const { name, doing } = this.#machine.scheduler.current;
    return doing === '' ? name : `${name}, ${doing},`;
  }
}

function plainPlace(pid: number, va: Va): string {
  return `${hex(va)} of process ${pid}`;
}

function entryOf<K>(map: Map<K, Words>, key: K): Words {
  let words = map.get(key);
  if (words === undefined) {
    words = new Map();
    map.set(key, words);
  }
  return words;
}

function addWords(hash: StateHash, of: number, words: Words): void {
  hash.add(of);
  hash.addPairs([...words].map(([at, { value, lost }]) => [at, lost ? -1 : value] as const));
}
