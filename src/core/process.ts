/**
 * A process: an address space, and the loads and stores of its CPU threads.
 *
 * Each call comes in two forms: `load32` runs at once and must not have to wait for another task;
 * `loadTask` is for use inside a task, with `yield*`.
 */
import type { OpenFile } from './driver.ts';
import { errnoName } from './errno.ts';
import { SimError } from './errors.ts';
import { isNoticed, userCall } from './events/call.ts';
import type { Machine } from './machine.ts';
import { userFault } from './mm/fault.ts';
import type { Signal } from './mm/fault-flags.ts';
import { exitMm, forkMm } from './mm/fork.ts';
import { MemoryFile } from './mm/memory-file.ts';
import { Mm, type StaleTranslation } from './mm/mm.ts';
import { madviseDontneed, mmapRegion, munmap } from './mm/mmap.ts';
import { leafIndex } from './mm/page-table.ts';
import { mprotect } from './mm/protect.ts';
import { type Leaf, PTE_DIRTY, PTE_KIND, PTE_PRESENT, PTE_PROTNONE, PTE_WRITE } from './mm/pte.ts';
import { REFAULTS_AT_ONCE, refaultPause } from './mm/refault.ts';
import { mremap } from './mm/remap.ts';
import { TLB_NO_LOAD, TLB_NO_STORE } from './mm/tlb.ts';
import { VM_READ, VM_WRITE } from './mm/vma.ts';
import { after, type MaybeTask, PREEMPT, settle, type Task } from './sched/task.ts';
import { NO_PAGE, PAGE_SIZE, type Va } from './units.ts';

export type { OpenFile };

/** Access rights of a mapping: read and write, read, or none. */
export type Prot = 'rw' | 'r' | 'n';

/** What `tryLoad32` and its like return where a signal would end the process. */
export const ACCESS_SIGSEGV = -1;
export const ACCESS_SIGBUS = -2;
/** RAM is full: the out-of-memory killer. */
export const ACCESS_SIGKILL = -3;

/** Where `mmap` looks for room when no address is given: a multiple of 2 MiB, upwards. */
const MMAP_BASE: Va = 0x7000_0000_0000;
const MMAP_ALIGN = 0x20_0000;

// Constants of this file alone: V8 knows their values, but not those of what other files export.
const PAGE_WORDS_SHIFT: number = Math.log2(PAGE_SIZE / 4);
const PAGE_WORDS_MASK: number = PAGE_SIZE / 4 - 1;
const NO_LOAD: number = TLB_NO_LOAD;
const NO_STORE: number = TLB_NO_STORE;

export interface MmapOptions {
  /** Length in pages. */
  readonly pages: number;
  /** 'rw' unless given. */
  readonly prot?: Prot;
  /** Where; replaces what is mapped there (MAP_FIXED). Without it, where there is room. */
  readonly addr?: Va;
  /** MAP_SHARED. Private unless given. */
  readonly shared?: boolean;
  /** A memory file; anonymous memory without. */
  readonly file?: MemoryFile;
}

export class Process {
  readonly machine: Machine;
  readonly pid: number;
  readonly mm: Mm;
  /** Closed in order when the process exits. */
  readonly openFiles: Set<OpenFile> = new Set();
  #alive = true;
  #nextAddr: Va = MMAP_BASE;

  constructor(machine: Machine, pid: number) {
    this.machine = machine;
    this.pid = pid;
    this.mm = new Mm(machine.kernel, pid);
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** A memory file (memfd) of `pages` pages; `firstWord(i)` is the first 32-bit value of page i. */
  createFile(pages: number, firstWord: (index: number) => number = () => 0): MemoryFile {
    const { kernel } = this.machine;
    const file = new MemoryFile(kernel.pages, kernel.mappings, pages);
    for (let i = 0; i < pages; i++) {
      const value = firstWord(i);
      const page = file.pageAt(i);
      if (page === NO_PAGE) throw new SimError('limit', 'RAM is full');
      if (value !== 0) kernel.pages.write32(page, 0, value);
    }
    return file;
  }

  /** Maps memory and returns its address. Throws a `SimError` (`bad-argument`) with the errno. */
  mmap(options: MmapOptions): Va {
    const result = this.machine.run(this.mmapTask(options));
    if (result < 0) {
      throw new SimError('bad-argument', `mmap failed with ${errnoName(result)}`, {
        errno: result,
      });
    }
    return result;
  }

  /** Returns the address or -errno. */
  *mmapTask(options: MmapOptions): Task<number> {
    this.#mustBeAlive();
    const addr = options.addr ?? this.#findRoom(options.pages);
    const task = mmapRegion(this.mm, {
      addr,
      pages: options.pages,
      prot: protBits(options.prot ?? 'rw'),
      shared: options.shared ?? false,
      file: options.file ?? null,
    });
    return yield* this.#told('mmap', addr, options.pages * this.mm.pageSize, task);
  }

  /** munmap(2) of `bytes` from `va`: 0 or -errno. */
  munmap(va: Va, bytes: number): number {
    return this.machine.run(this.munmapTask(va, bytes));
  }

  munmapTask(va: Va, bytes: number): Task<number> {
    this.#mustBeAlive();
    return this.#told('munmap', va, bytes, munmap(this.mm, va, bytes));
  }

  /** mprotect(2): 0 or -errno. */
  mprotect(va: Va, bytes: number, prot: Prot): number {
    return this.machine.run(this.mprotectTask(va, bytes, prot));
  }

  mprotectTask(va: Va, bytes: number, prot: Prot): Task<number> {
    this.#mustBeAlive();
    return this.#told('mprotect', va, bytes, mprotect(this.mm, va, bytes, protBits(prot)));
  }

  /** madvise(MADV_DONTNEED): 0 or -errno. */
  dontneed(va: Va, bytes: number): number {
    return this.machine.run(this.dontneedTask(va, bytes));
  }

  dontneedTask(va: Va, bytes: number): Task<number> {
    this.#mustBeAlive();
    return this.#told('madvise', va, bytes, madviseDontneed(this.mm, va, bytes));
  }

  /** mremap(2) with MREMAP_FIXED, same length: the new address or -errno. */
  mremap(va: Va, bytes: number, newVa: Va): number {
    return this.machine.run(this.mremapTask(va, bytes, newVa));
  }

  mremapTask(va: Va, bytes: number, newVa: Va): Task<number> {
    this.#mustBeAlive();
    return this.#told('mremap', va, bytes, mremap(this.mm, va, bytes, newVa));
  }

  /** The 32-bit value at `va` (a multiple of 4). Throws a `SimError` (`signal`) for a bad address. */
  load32(va: Va): number {
    const value = this.tryLoad32(va);
    if (value < 0) throw signalError(value, va, 'load');
    return value;
  }

  /** Stores a 32-bit value. Throws a `SimError` (`signal`) for a bad address. */
  store32(va: Va, value: number): void {
    const result = this.tryStore32(va, value);
    if (result < 0) throw signalError(result, va, 'store');
  }

  /** The value (>= 0), or ACCESS_SIGSEGV, ACCESS_SIGBUS, ACCESS_SIGKILL. */
  tryLoad32(va: Va): number {
    const tlb = this.mm.tlb;
    const distance = (va - tlb.baseVa) / 4;
    const word = distance | 0;
    if (word === distance && word >>> PAGE_WORDS_SHIFT < tlb.slots.length) {
      const found = tlb.slots[word >>> PAGE_WORDS_SHIFT]! ^ tlb.epoch;
      if ((found & NO_LOAD) === 0) {
        return tlb.words[(found << PAGE_WORDS_SHIFT) | (word & PAGE_WORDS_MASK)]!;
      }
    }
    const value = this.#loadPresent(va);
    return value < 0 ? this.#loadWithFault(va) : value;
  }

  /** 0, or ACCESS_SIGSEGV, ACCESS_SIGBUS, ACCESS_SIGKILL. */
  tryStore32(va: Va, value: number): number {
    const tlb = this.mm.tlb;
    const distance = (va - tlb.baseVa) / 4;
    const word = distance | 0;
    if (word === distance && word >>> PAGE_WORDS_SHIFT < tlb.slots.length) {
      const found = tlb.slots[word >>> PAGE_WORDS_SHIFT]! ^ tlb.epoch;
      if ((found & NO_STORE) === 0) {
        tlb.words[(found << PAGE_WORDS_SHIFT) | (word & PAGE_WORDS_MASK)] = value;
        return 0;
      }
    }
    return this.#storePresent(va, value) ? 0 : this.#storeWithFault(va, value);
  }

  /** `loadTask` for paths where speed counts: the value at once where nothing makes it wait. */
  loadStep(va: Va): MaybeTask<number> {
    if (this.machine.scheduler.preempts) return this.loadTask(va);
    const value = this.#loadPresent(va);
    return value >= 0 ? value : this.#loadFaulting(va);
  }

  /** The same of `storeTask`. */
  storeStep(va: Va, value: number): MaybeTask<number> {
    if (this.machine.scheduler.preempts) return this.storeTask(va, value);
    return this.#storePresent(va, value) ? 0 : this.#storeFaulting(va, value);
  }

  loadTask(va: Va): Task<number> {
    return this.#loadAfter(0, va);
  }

  *#loadAfter(tried: number, va: Va): Task<number> {
    const { scheduler } = this.machine;
    for (let faults = tried; ; faults++) {
      if (scheduler.preempts && scheduler.overtaken('load', va / 4)) yield PREEMPT;
      const value = this.#loadPresent(va);
      if (value >= 0) return value;
      const stale = this.#staleTranslation(va, false);
      if (stale !== null) return this.#loadStale(stale, va);
      const signal = yield* this.#fault(va, false, faults);
      if (signal !== null) return signalCode(signal);
    }
  }

  storeTask(va: Va, value: number): Task<number> {
    return this.#storeAfter(0, va, value);
  }

  *#storeAfter(tried: number, va: Va, value: number): Task<number> {
    const { scheduler } = this.machine;
    for (let faults = tried; ; faults++) {
      if (scheduler.preempts && scheduler.overtaken('store', va / 4)) yield PREEMPT;
      if (this.#storePresent(va, value)) return 0;
      const stale = this.#staleTranslation(va, true);
      if (stale !== null) {
        this.#storeStale(stale, va, value);
        return 0;
      }
      const signal = yield* this.#fault(va, true, faults);
      if (signal !== null) return signalCode(signal);
    }
  }

  /** A child with a copy of this address space; it has no open files of its own. */
  fork(): Process {
    const child = this.machine.run(this.forkTask());
    if (typeof child === 'number') {
      throw new SimError('limit', `fork failed with ${errnoName(child)}`, { errno: child });
    }
    return child;
  }

  /** The child, or -ENOMEM. */
  *forkTask(): Task<Process | number> {
    this.#mustBeAlive();
    const child = this.machine.createProcess();
    child.#nextAddr = this.#nextAddr;
    const result = yield* this.#told('fork', 0, 0, forkMm(this.mm, child.mm));
    if (result === 0) return child;
    yield* child.exitTask();
    return result;
  }

  exit(): void {
    this.machine.run(this.exitTask());
  }

  /** Ends the process: first its memory goes, then its files are closed. */
  *exitTask(): Task<void> {
    if (!this.#alive) return;
    this.#alive = false;
    yield* this.#told('exit', 0, 0, this.#end());
    this.machine.processes.delete(this.pid);
  }

  *#end(): Task<number> {
    yield* exitMm(this.mm);
    for (const file of this.openFiles) yield* file.release();
    this.openFiles.clear();
    return 0;
  }

  /** A system call of this process, for those who listen. */
  #told(name: string, va: Va, bytes: number, task: Task<number>): Task<number> {
    const { mm } = this;
    if (!isNoticed(mm.kernel)) return task;
    const call = { actor: `process ${this.pid}`, name, mm, start: va, end: va + bytes };
    return userCall(mm.kernel, call, task);
  }

  #mustBeAlive(): void {
    if (!this.#alive) throw new SimError('bad-argument', `process ${this.pid} has exited`);
  }

  #findRoom(pages: number): Va {
    const { pageSize } = this.machine;
    const bytes = Math.ceil((pages * pageSize) / MMAP_ALIGN) * MMAP_ALIGN;
    while (this.mm.vmas.overlapping(this.#nextAddr, this.#nextAddr + bytes).length > 0) {
      this.#nextAddr += MMAP_ALIGN;
    }
    const addr = this.#nextAddr;
    // A gap keeps buffers apart, so that running over the end of one shows.
    this.#nextAddr += bytes + MMAP_ALIGN;
    return addr;
  }

  /** What the memory management unit does on a load; -1 asks for a fault. */
  #loadPresent(va: Va): number {
    const { mm } = this;
    // Divisions and floors only: the remainder operator is slow beyond 32 bits.
    const vpn = Math.floor(va / mm.pageSize);
    const leaf: Leaf | null = mm.pageTable.leaf(vpn);
    if (leaf === null) return -1;
    const at = leafIndex(vpn);
    const bits = leaf.bits[at]!;
    if ((bits & (PTE_KIND | PTE_PROTNONE)) !== PTE_PRESENT) return -1;
    // A word that is not a whole number: the slow path tells what is wrong with the address.
    const word = (va - vpn * mm.pageSize) / 4;
    if (word !== word >>> 0) return -1;
    const { pages } = mm;
    const page = leaf.page[at]!;
    const value = pages.read32(page, word);
    this.mm.tlb.fill(vpn, page, bits);
    if (pages.watch !== null) pages.watch.loaded(mm.pid, va, value);
    return value;
  }

  /** The same on a store; false asks for a fault. Sets the dirty bit as hardware does. */
  #storePresent(va: Va, value: number): boolean {
    const { mm } = this;
    const vpn = Math.floor(va / mm.pageSize);
    const leaf: Leaf | null = mm.pageTable.leaf(vpn);
    if (leaf === null) return false;
    const at = leafIndex(vpn);
    const bits = leaf.bits[at]! | PTE_DIRTY;
    const writable = PTE_PRESENT | PTE_WRITE;
    if ((bits & (PTE_KIND | PTE_PROTNONE | PTE_WRITE)) !== writable) return false;
    const word = (va - vpn * mm.pageSize) / 4;
    if (word !== word >>> 0) return false;
    leaf.bits[at] = bits;
    const { pages } = mm;
    const page = leaf.page[at]!;
    pages.write32(page, word, value);
    this.mm.tlb.fill(vpn, page, bits);
    if (pages.watch !== null) pages.watch.stored(mm.pid, va, value);
    return true;
  }

  #loadWithFault(va: Va): number {
    return this.machine.scheduler.runStep(() => this.#loadFaulting(va));
  }

  #storeWithFault(va: Va, value: number): number {
    return this.machine.scheduler.runStep(() => this.#storeFaulting(va, value));
  }

  /** `loadTask` without the task, as long as nothing waits: the first fault usually brings the page. */
  #loadFaulting(va: Va): MaybeTask<number> {
    if (!this.#mayFaultAtOnce(va)) return this.loadTask(va);
    const signal = userFault(this.mm, va, false);
    if (typeof signal === 'object') return after(signal, (late) => this.#loadFaulted(va, late));
    return this.#loadFaulted(va, signal);
  }

  #storeFaulting(va: Va, value: number): MaybeTask<number> {
    if (!this.#mayFaultAtOnce(va)) return this.storeTask(va, value);
    const signal = userFault(this.mm, va, true);
    if (typeof signal !== 'object') return this.#storeFaulted(va, value, signal);
    return after(signal, (late) => this.#storeFaulted(va, value, late));
  }

  /** What follows the first fault. */
  #loadFaulted(va: Va, signal: Signal | 'ok'): MaybeTask<number> {
    if (signal !== 'ok') return signalCode(signal);
    const value = this.#loadPresent(va);
    return value >= 0 ? value : this.#loadAfter(1, va);
  }

  #storeFaulted(va: Va, value: number, signal: Signal | 'ok'): MaybeTask<number> {
    if (signal !== 'ok') return signalCode(signal);
    return this.#storePresent(va, value) ? 0 : this.#storeAfter(1, va, value);
  }

  /** Nothing but a plain fault is to be expected: no search for races, no stale TLB, no bad address. */
  #mayFaultAtOnce(va: Va): boolean {
    if (this.machine.scheduler.preempts || this.mm.staleTlb.length > 0 || !this.#alive)
      return false;
    return Number.isSafeInteger(va) && va % 4 === 0;
  }

  /** What a TLB still makes of `va` though its entry is gone; null where none does. */
  #staleTranslation(va: Va, write: boolean): StaleTranslation | null {
    const { mm } = this;
    if (mm.staleTlb.length === 0 || va % 4 !== 0) return null;
    for (const translations of mm.staleTlb) {
      const stale = translations.get(Math.floor(va / mm.pageSize));
      if (stale !== undefined && (stale.writable || !write)) return stale;
    }
    return null;
  }

  #loadStale({ page, concurrent }: StaleTranslation, va: Va): number {
    const { pages, pageSize, pid } = this.mm;
    const value = pages.read32(page, (va % pageSize) / 4);
    if (concurrent) pages.watch?.overlapped(pid, va, value);
    else pages.watch?.loaded(pid, va, value);
    return value;
  }

  #storeStale({ page, concurrent }: StaleTranslation, va: Va, value: number): void {
    const { pages, pageSize, pid } = this.mm;
    pages.write32(page, (va % pageSize) / 4, value);
    if (!concurrent) pages.watch?.stored(pid, va, value);
  }

  *#fault(va: Va, write: boolean, faults: number): Task<Signal | null> {
    if (va % 4 !== 0 || !Number.isSafeInteger(va)) {
      throw new SimError('bad-argument', `address ${va} is not a multiple of 4`, { va });
    }
    this.#mustBeAlive();
    if (faults >= REFAULTS_AT_ONCE) yield* refaultPause(this.mm, va, faults);
    const outcome = yield* settle(userFault(this.mm, va, write));
    return outcome === 'ok' ? null : outcome;
  }
}

export function protBits(prot: Prot): number {
  return prot === 'rw' ? VM_READ | VM_WRITE : prot === 'r' ? VM_READ : 0;
}

function signalCode(signal: Signal): number {
  if (signal === 'SIGSEGV') return ACCESS_SIGSEGV;
  return signal === 'SIGBUS' ? ACCESS_SIGBUS : ACCESS_SIGKILL;
}

function signalError(code: number, va: Va, access: string): SimError {
  const signals = { [ACCESS_SIGSEGV]: 'SIGSEGV', [ACCESS_SIGBUS]: 'SIGBUS' } as const;
  const signal = code === ACCESS_SIGKILL ? 'SIGKILL' : signals[code as -1 | -2];
  return new SimError('signal', `${signal} on ${access} at 0x${va.toString(16)}`, { signal, va });
}
