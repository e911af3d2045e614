/** Where one case plays: a fresh machine with the driver, a stranger, and processes. */
import type { OpenFile } from '../core/driver.ts';
import type { Era, EraName } from '../core/era.ts';
import { errnoName } from '../core/errno.ts';
import { SimError } from '../core/errors.ts';
import { usedPages } from '../core/leaks.ts';
import { Machine } from '../core/machine.ts';
import type { DevPagemap, Owner } from '../core/pagemap/pagemap.ts';
import type { MmapOptions, Process } from '../core/process.ts';
import type { Task } from '../core/sched/task.ts';
import { hex, type Page, type Va } from '../core/units.ts';
import type { FindingCode } from '../core/verify.ts';
import type { DeviceDriver } from '../program/types.ts';
import { Diagnosis } from './diagnose.ts';
import { DriverFailure } from './failure.ts';
import { afterDeviceFault } from './inject.ts';
import { leakCheck } from './leak-check.ts';
import { Probe } from './probe.ts';
import type { Answer, DriverSpec, DriverUse } from './spec.ts';

/** What a case runs under. */
export interface Setting {
  readonly era: EraName;
  /** Bytes. */
  readonly pageSize: number;
}

/** RAM of a stage, in pages: enough for every case, and little enough to be filled. */
const RAM_PAGES = 1024;

/** Values of pages start here, so that none of them is 0. */
export const FIRST_VALUE = 1001;

/** What the pages of a `buffer` hold. */
export function bufferValues(pages: number): number[] {
  return Array.from({ length: pages }, (_, i) => FIRST_VALUE + i);
}

/** What `verify` says of a page that nobody gave back. */
const LEAKS: ReadonlySet<FindingCode> = new Set<FindingCode>([
  'refcount',
  'page-locked',
  'pages-in-use',
  'ram-used',
]);

export class Stage {
  readonly spec: DriverSpec;
  readonly machine: Machine;
  readonly driver: DeviceDriver;
  readonly owner: Owner;
  /** Another device, with memory of its own. */
  readonly probe: Probe;
  readonly pageSize: number;
  readonly diagnosis: Diagnosis;
  readonly #files: Map<Process, OpenFile> = new Map();
  /** Addresses, by process, whose pages a device that encrypts has had. */
  readonly #secrets: Map<Process, Set<Va>> = new Map();
  /** What a failure of the step that runs is about. */
  #headline: string | null = null;
  /** The same, for a failure that is a page left behind. */
  #leakHeadline: string | null = null;

  constructor(spec: DriverSpec, { era, pageSize }: Setting) {
    this.spec = spec;
    this.pageSize = pageSize;
    this.machine = new Machine({ era, pageSize, ramBytes: RAM_PAGES * pageSize });
    this.driver = this.#attach();
    this.owner = spec.owner?.(this.driver) ?? this.driver;
    this.probe = this.machine.attach(new Probe());
    this.diagnosis = new Diagnosis(this.machine, this.owner, this.probe);
  }

  get era(): Era {
    return this.machine.era;
  }

  // Processes and memory ---------------------------------------------------------------------

  /** A process that has the device open. */
  process(): Process {
    return this.#open(this.machine.createProcess());
  }

  /** A child, which opens the device anew. */
  fork(parent: Process): Process {
    const child = this.step('fork', () => parent.fork());
    this.#secrets.set(child, new Set(this.#secrets.get(parent)));
    return this.#open(child);
  }

  exit(proc: Process): void {
    this.step('a process ends', () => proc.exit());
  }

  /** Maps memory, untouched. */
  map(proc: Process, pages: number, options: Omit<MmapOptions, 'pages'> = {}): Va {
    return this.step('mmap', () => proc.mmap({ ...options, pages }));
  }

  /** Maps memory in which page i has the value FIRST_VALUE + i. */
  buffer(proc: Process, pages: number): Va {
    const va = this.map(proc, pages);
    for (let i = 0; i < pages; i++) this.store(proc, this.at(va, i), FIRST_VALUE + i);
    return va;
  }

  /** madvise(MADV_DONTNEED). */
  dontneed(proc: Process, va: Va, pages: number): void {
    this.step('madvise', () => proc.dontneed(va, this.bytes(pages)));
    for (let i = 0; i < pages; i++) this.#secrets.get(proc)?.delete(this.at(va, i));
  }

  mremap(proc: Process, va: Va, pages: number, to: Va): void {
    this.step('mremap', () => proc.mremap(va, this.bytes(pages), to));
    for (let i = 0; i < pages; i++) {
      const secrets = this.#secrets.get(proc);
      if (secrets?.delete(this.at(va, i))) secrets.add(this.at(to, i));
    }
  }

  /** Address of page `i` after `va`. */
  at(va: Va, i: number): Va {
    return va + i * this.pageSize;
  }

  bytes(pages: number): number {
    return pages * this.pageSize;
  }

  /** What the CPU reads; negative for a signal. */
  tryLoad(proc: Process, va: Va): number {
    return this.step(`a CPU load at ${hex(va)}`, () => proc.tryLoad32(va));
  }

  tryStore(proc: Process, va: Va, value: number): number {
    const result = this.step(`a CPU store at ${hex(va)}`, () => proc.tryStore32(va, value));
    if (result === 0) this.#secrets.get(proc)?.delete(va);
    return result;
  }

  load(proc: Process, va: Va): number {
    const value = this.tryLoad(proc, va);
    if (value < 0) this.fail(`a CPU load at ${hex(va)} ends with ${signalName(value)}`);
    return value;
  }

  store(proc: Process, va: Va, value: number): void {
    const result = this.tryStore(proc, va, value);
    if (result < 0) this.fail(`a CPU store at ${hex(va)} ends with ${signalName(result)}`);
  }

  // The driver ---------------------------------------------------------------------------------

  use(proc: Process): DriverUse {
    const file = this.#files.get(proc);
    if (file === undefined) throw new SimError('bad-argument', 'this process has no device open');
    return { machine: this.machine, driver: this.driver, process: proc, file };
  }

  toDevice(proc: Process, va: Va, pages: number): number {
    const ret = this.call('toDevice', () => this.spec.toDevice(this.use(proc), va, pages));
    if (this.spec.encrypts === true) this.#noteSecrets(va, pages);
    return ret;
  }

  /** Moves pages and fails unless every one of them went. */
  mustMove(proc: Process, va: Va, pages: number): void {
    const ret = this.toDevice(proc, va, pages);
    for (let i = 0; i < pages; i++) {
      if (this.isOnDevice(proc, this.at(va, i))) continue;
      const where = this.placeOf(proc, this.at(va, i));
      const answer = ret < 0 ? errnoName(ret) : String(ret);
      this.fail(`toDevice moves ${pages} pages and answers ${answer}, but page ${i} is ${where}`);
    }
  }

  toSystem(proc: Process, va: Va, pages: number): number {
    return this.call('toSystem', () => this.spec.toSystem!(this.use(proc), va, pages));
  }

  /** The first word of a page as the device sees it, or -errno. */
  read(proc: Process, va: Va): number {
    return this.call('read', () => this.spec.read!(this.use(proc), va));
  }

  write(proc: Process, va: Va, value: number): number {
    return this.call('write', () => this.spec.write!(this.use(proc), va, value));
  }

  /** Page i after `va` must have the value `values[i]`, as the device reads it. */
  mustReadOnDevice(proc: Process, va: Va, values: readonly number[], when: string): void {
    values.forEach((value, i) => {
      const found = this.read(proc, this.at(va, i));
      const text = found < 0 ? `answers ${errnoName(found)} for` : `reads ${found} in`;
      if (found !== value) this.fail(`${when} the device ${text} page ${i}, not ${value}`);
    });
  }

  /** Runs a call of the driver to its end, as a step. */
  call<T>(name: string, call: () => Answer<T>): T {
    return this.step(name, () => {
      const answer = call();
      return isTask(answer) ? this.machine.run(answer) : answer;
    });
  }

  // Looking ------------------------------------------------------------------------------------

  /** The pagemap that the page at `va` belongs to; null for RAM and where there is none. */
  pagemapAt(proc: Process, va: Va): DevPagemap | null {
    const page = this.machine.pageAt(proc, va);
    return page === null || page === 0 ? null : this.machine.kernel.pages.pagemapOf(page);
  }

  /** Whether the page lies in device memory of the driver. */
  isOnDevice(proc: Process, va: Va): boolean {
    const pagemap = this.pagemapAt(proc, va);
    return pagemap !== null && pagemap !== this.probe.pagemap;
  }

  /** For messages: "in RAM", "on probe", "nowhere". */
  placeOf(proc: Process, va: Va): string {
    const page = this.machine.pageAt(proc, va);
    if (page === null) return 'nowhere';
    if (page === 0) return 'the zero page';
    const pagemap = this.machine.kernel.pages.pagemapOf(page);
    return pagemap === null ? 'in RAM' : `on ${pagemap.name}`;
  }

  /** Pagemaps that are not the stranger's. */
  get pagemaps(): DevPagemap[] {
    return this.machine.kernel.pagemaps.filter((pagemap) => pagemap !== this.probe.pagemap);
  }

  /** Device pages of the driver in use. */
  get devicePagesUsed(): number {
    return this.pagemaps.reduce((sum, { pagesInUse }) => sum + pagesInUse, 0);
  }

  get ramUsed(): number {
    return this.machine.kernel.pages.ramUsed;
  }

  get ramPages(): number {
    return this.machine.kernel.pages.ramPages;
  }

  pageAt(proc: Process, va: Va): Page {
    return this.machine.pageAt(proc, va) ?? 0;
  }

  // Judging ------------------------------------------------------------------------------------

  fail(message: string): never {
    throw new DriverFailure(this.#headline === null ? message : `${this.#headline}: ${message}`);
  }

  must(condition: boolean, message: string): void {
    if (!condition) this.fail(message);
  }

  /** Page i after `va` must have the value `values[i]`, as the CPU reads it. */
  mustRead(proc: Process, va: Va, values: readonly number[], when: string): void {
    values.forEach((value, i) => {
      const found = this.load(proc, this.at(va, i));
      if (this.#secrets.get(proc)?.has(this.at(va, i)) === true) {
        if (found === value) this.fail(`${when} the CPU reads the secret in page ${i}, ${value}`);
      } else if (found !== value)
        this.fail(`${when} the CPU reads ${found} in page ${i}, not ${value}`);
    });
  }

  /** Every device page must have come back to the driver. */
  mustBeFree(after: string): void {
    const { devicePagesUsed } = this;
    if (devicePagesUsed === 0) return;
    const left = this.pagemaps.flatMap((pagemap) => usedPages(this.machine, pagemap));
    this.fail(`after ${after} ${devicePagesUsed} device pages are still in use: ${left[0] ?? ''}`);
  }

  /** While `run` runs, failures are told under this headline. */
  about(headline: string, run: () => void): void {
    const before = this.#headline;
    this.#headline = headline;
    run();
    this.#headline = before;
  }

  /** While `run` runs, pages that are left behind are told under this headline. */
  watchingLeaks(headline: string, run: () => void): void {
    this.#leakHeadline = headline;
    run();
    this.#leakHeadline = null;
  }

  /** Runs one step; whatever is wrong after it is a failure. */
  step<T>(what: string, run: () => T): T {
    const result = this.#attempt(what, run);
    const broken = this.diagnosis.takeBroken();
    if (broken !== null) this.fail(broken);
    const [finding] = this.machine.verify();
    if (finding === undefined) return result;
    const isLeak = this.#leakHeadline !== null && LEAKS.has(finding.code);
    return this.fail(`${isLeak ? `${this.#leakHeadline}: ` : ''}after ${what}: ${finding.message}`);
  }

  /** Runs tasks side by side, as one step. */
  together(what: string, tasks: readonly (() => Task<unknown>)[]): void {
    this.step(what, () => {
      tasks.forEach((task, i) => {
        this.machine.spawn(`${what} ${i}`, task());
      });
      this.machine.runAll();
    });
  }

  /** Plays a case. At its end all processes go, and everything must come back. */
  play(run: (stage: Stage) => void): void {
    this.#attempt('the case', () => run(this));
    this.probe.unpin();
    const leaks = this.#attempt('the last process ends', () => leakCheck(this.machine));
    if (leaks.length > 0) this.fail(`after the last process ended: ${leaks[0]}`);
  }

  /** Runs `action` between the driver's next hmm_range_fault and what it makes of the answer. */
  afterNextDeviceFault(proc: Process, action: () => void): void {
    afterDeviceFault(this.machine, proc, action);
  }

  /** Pages may be shared by fork, so every process that has them there is looked at. */
  #noteSecrets(va: Va, pages: number): void {
    for (const proc of this.machine.processes.values()) {
      const secrets = this.#secrets.get(proc) ?? new Set();
      this.#secrets.set(proc, secrets);
      for (let i = 0; i < pages; i++) {
        if (this.isOnDevice(proc, this.at(va, i))) secrets.add(this.at(va, i));
      }
    }
  }

  #open(proc: Process): Process {
    const file = this.#attempt('open', () => this.driver.open(proc));
    // As the program runner does: closed when the process ends.
    proc.openFiles.add(file);
    this.#files.set(proc, file);
    return proc;
  }

  #attach(): DeviceDriver {
    return this.#attempt('attaching the driver', () => {
      try {
        return this.machine.attach(this.spec.create());
      } catch (error) {
        if (!(error instanceof Error && error.message.includes('EINVAL'))) throw error;
        const message =
          `${error.message}: memremap_pages wants an owner and ops with pageFree (page_free) and, ` +
          'for private memory, migrateToRam (migrate_to_ram)';
        throw new Error(message, { cause: error });
      }
    });
  }

  #attempt<T>(what: string, run: () => T): T {
    try {
      return run();
    } catch (error) {
      if (error instanceof DriverFailure) throw error;
      if (error instanceof SimError && error.code === 'refault-livelock') {
        return this.fail(this.diagnosis.explainRefaults());
      }
      const broken = this.diagnosis?.takeBroken() ?? null;
      const message = error instanceof Error ? error.message : String(error);
      const text = `${what}: ${message}`;
      const headline = this.#headline === null ? '' : `${this.#headline}: `;
      const told = broken === null ? text : `${broken} (then, in ${text})`;
      throw new DriverFailure(headline + told, { cause: error });
    }
  }
}

function isTask<T>(answer: Answer<T>): answer is Task<T> {
  return typeof answer === 'object' && answer !== null && 'next' in answer;
}

/** Names of the negative results of loads and stores. */
export function signalName(result: number): string {
  return ['', 'SIGSEGV', 'SIGBUS', 'SIGKILL'][-result] ?? String(result);
}
