/**
 * Runs one program on a machine with GPUs, dmirrors and secure guests, and holds everything that
 * can be seen of it against a model: what is read, whose pages are whose, and that no secret shows.
 */
import { SimError } from '../../../src/core/errors.ts';
import type { TrespassInfo } from '../../../src/core/events/types.ts';
import type { Machine } from '../../../src/core/machine.ts';
import { hex, NO_PAGE, type Page } from '../../../src/core/units.ts';
import { dmirrorFactory } from '../../../src/drivers/dmirror/index.ts';
import { kvmUvmemFactory } from '../../../src/drivers/kvm-uvmem/index.ts';
import { nouveauFactory } from '../../../src/drivers/nouveau/index.ts';
import {
  buildMachine,
  Language,
  type Program,
  ProgramRunner,
  parsePrograms,
  type Result,
  type Step,
} from '../../../src/program/index.ts';
import { BUFFER_STRIDE_PAGES, type Cell, Model } from '../model.ts';
import { checkWritableOnce } from '../ownership.ts';
import type { Home, View } from '../view.ts';
import { lineOf, messageOf, where } from '../words.ts';
import { checkAnswer } from './answers.ts';
import { type Answer, type Done, type GpuFacts, rangeOf, UNKNOWN } from './done.ts';
import { type MirrorEntry, MixedEye } from './eye.ts';
import { Guests } from './guests.ts';
import { checkMoves } from './moves.ts';

/** The language of programs here: the drivers of a mixed machine, whatever others there are. */
export const MIXED: Language = new Language({
  drivers: [nouveauFactory, dmirrorFactory, kvmUvmemFactory],
  defaultDevices: [],
});

/** A program went wrong. */
export class MixedError extends Error {
  override readonly name = 'MixedError';
}

/** What programs did so far. */
export interface MixedStats {
  programs: number;
  operations: number;
  /** Places that changed hands: how often, by from and to. */
  readonly moves: Map<string, number>;
  /** Values that guests wrote into secure pages. */
  secrets: number;
  /** Programs that ended early as they had to, by reason. */
  readonly ends: Map<string, number>;
}

export function newStats(): MixedStats {
  return { programs: 0, operations: 0, moves: new Map(), secrets: 0, ends: new Map() };
}

export interface RunOptions {
  readonly stats?: MixedStats;
  /** Does something to the machine before the program starts. */
  readonly prepare?: (machine: Machine) => void;
}

/** Throws a `MixedError` at the first operation after which something is wrong. */
export function runMixedProgram(text: string, options: RunOptions = {}): void {
  const parsed = parsePrograms(text, { file: 'fuzz', language: MIXED });
  const machine = buildMachine(parsed.machine, MIXED);
  options.prepare?.(machine);
  for (const program of parsed.programs) new Judge(machine, options.stats).run(program);
  if (options.stats !== undefined) options.stats.programs++;
}

/** Operations that a stale entry of a device may lead astray. */
const DEVICE_WRITES = ['dev_write', 'gpu_write', 'gpu_atomic', 'gpu_access'];
/** So many free pages of RAM, or fewer, and anything may fail. */
const LOW_RAM_PAGES = 24;

class Judge {
  readonly #machine: Machine;
  readonly #stats: MixedStats | undefined;
  readonly #eye: MixedEye;
  readonly #runner: ProgramRunner;
  readonly #model: Model = new Model();
  readonly #guests: Guests;
  readonly #gpus: readonly GpuFacts[];
  readonly #secrets: Set<number> = new Set();
  readonly #trespasses: TrespassInfo[] = [];
  /** Entries of devices that are out of date, by process, device and page number. */
  #stale: Map<string, MirrorEntry> = new Map();
  #view: View = new Map();
  #problems: string[] = [];
  readonly #written: Set<Cell> = new Set();
  readonly #unsure: Map<Cell, number[]> = new Map();

  constructor(machine: Machine, stats: MixedStats | undefined) {
    this.#machine = machine;
    this.#stats = stats;
    this.#eye = new MixedEye(machine);
    this.#runner = new ProgramRunner(machine);
    this.#guests = new Guests(this.#eye);
    this.#gpus = this.#eye.gpus.map(({ mended, removed }) => ({ mended, removed, failing: false }));
    if (machine.era.selection === 'any-owner') {
      machine.events.on('trespass', (event) => this.#trespasses.push(event));
    }
  }

  run(program: Program): void {
    for (const step of program.steps) {
      if (!this.#runner.processes.has(step.process)) continue;
      const end = this.#step(step);
      if (end === null) continue;
      this.#stats?.ends.set(end, (this.#stats.ends.get(end) ?? 0) + 1);
      return;
    }
    this.#readAllGuests(program);
    this.#finish();
  }

  /** Null to go on; else why nothing more can be said of this machine. */
  #step(step: Step): string | null {
    const processes = this.#runner.processes;
    const lowRam = this.#isRamLow();
    this.#guests.begin((process) => this.#model.spaces.get(process));
    const asked = this.#askedBefore(step);
    if (this.#leadsAstray(step, asked)) return 'a device wrote where the page was before';
    const live = this.#eye.gpus.map(({ pagesInUse }) => pagesInUse);
    const result = this.#run(step, asked, lowRam, live);
    if (typeof result === 'string') return result;
    if (this.#stats !== undefined) this.#stats.operations++;
    if (this.#trespassed(step)) return 'a trespass';
    const before = this.#view;
    const done = this.#done(step, result, before, lowRam || this.#isRamLow());
    checkAnswer(done, rangeOf(done));
    this.#guests.settle(done, processes);
    for (const at of this.#askedAfter(done)) asked.add(at);
    this.#view = this.#eye.view(processes, this.#model.spaces);
    this.#checkContents();
    this.#guests.seal(done, (cell) => this.#unsure.has(cell));
    checkMoves({ done, before, now: this.#view, asked });
    checkWritableOnce(done, this.#view);
    this.#checkMirrors(done, before);
    this.#checkSecrets(done);
    this.#verify(false);
    this.#countMoves(before);
    this.#written.clear();
    this.#unsure.clear();
    this.#report(step);
    return null;
  }

  #run(
    step: Step,
    asked: ReadonlySet<number>,
    lowRam: boolean,
    live: readonly number[],
  ): Result | string {
    const hangs = this.#mustHang(step, live);
    try {
      const result = this.#runner.step(step);
      if (hangs) this.#problems.push('ended, though the memory of the device is in use');
      return result;
    } catch (error) {
      if (!(error instanceof SimError)) throw foundAt(step, error);
      if (this.#machine.kernel.trespasses > 0 && this.#trespassed(step)) return 'a trespass';
      if (error.code === 'deadlock' && hangs) return 'removal of memory in use';
      const isEndless = error.code === 'refault-livelock';
      if (isEndless && this.#sharesElsewhere(step)) {
        return 'a shared page that another process keeps';
      }
      if (isEndless && this.#isOrphanAmong(step.process, asked)) {
        return 'a secure page of a slot that is gone';
      }
      const isFull = lowRam || this.#isRamLow();
      if (isFull && (isEndless || error.code === 'deadlock')) {
        return 'RAM is full';
      }
      throw foundAt(step, error);
    }
  }

  /**
   * Memory that somebody keeps cannot be taken away, and the kernel waits for it: before v6.1
   * nobody brings the pages of a GPU home that goes, and what one device has exclusively cannot
   * leave another.
   */
  #mustHang({ operation: { name }, values }: Step, live: readonly number[]): boolean {
    const number = values[0] as number;
    const { migrateDeviceRange } = this.#machine.era;
    if (name === 'release') return migrateDeviceRange && this.#isKept(`dev${number}`);
    if (name !== 'gpu_remove' || migrateDeviceRange) return false;
    return !this.#gpus[number]!.removed && live[number]! > 0;
  }

  #isKept(device: Home): boolean {
    for (const places of this.#view.values()) {
      for (const { exclusive, home } of places.values()) {
        if (exclusive && home === device) return true;
      }
    }
    return false;
  }

  /**
   * To share a secure page the kernel waits until it is no longer secure, which never happens where
   * the process has given it up and a child keeps it.
   */
  #sharesElsewhere({ operation: { name }, process, values }: Step): boolean {
    const [first, count] = values as [number, number];
    if (name === 'svm_share') return this.#guests.isElsewhere(process, first, count, this.#view);
    return name === 'svm_page_in' && this.#guests.isElsewhere(process, first, 1, this.#view);
  }

  /**
   * The kernel forgets secure pages behind a hole in a slot that goes, and those a child still has.
   * Whoever touches one of them faults for ever.
   */
  #isOrphanAmong(process: number, asked: ReadonlySet<number>): boolean {
    const places = this.#view.get(process);
    return [...asked].some((at) => {
      const place = places?.get(at);
      // One that is free by now was none of those.
      const pvt = place?.home === 'uv' ? this.#eye.uvmem!.standsFor(place.page!) : null;
      return pvt !== null && pvt.vm.uvmemSlots.uvmemPage(pvt.vm.gfnOf(pvt.gpa)) !== place!.page;
    });
  }

  #isRamLow(): boolean {
    const { ramPages, ramUsed } = this.#machine.kernel.pages;
    return ramPages - ramUsed < LOW_RAM_PAGES;
  }

  /** Page numbers of the process that the operation is about. */
  #askedBefore({ operation: { name }, process, values }: Step): Set<number> {
    const { first, count } = rangeOf({ name, values });
    const asked = new Set<number>();
    for (let i = 0; i < count; i++) asked.add(first + i);
    if (name.startsWith('svm_') || name.startsWith('guest_') || name.startsWith('vm_')) {
      const single = name === 'svm_page_in' || name === 'svm_page_out';
      const ranged =
        single || ['svm_share', 'svm_unshare', 'guest_read', 'guest_write'].includes(name);
      const [gfn, pages] = values as [number, number];
      const places = ranged
        ? this.#guests.placesOf(process, gfn, single ? 1 : pages)
        : this.#guests.allPlacesOf(process);
      for (const at of places) asked.add(at);
    }
    return asked;
  }

  /** A new slot, and a new mapping, are known only afterwards. */
  #askedAfter({ name, process, values }: Done): readonly number[] {
    if (name === 'vm_slot') return this.#guests.allPlacesOf(process);
    if (name !== 'mmap') return [];
    const [buffer, pages] = values as [number, number];
    return Array.from({ length: pages }, (_, i) => buffer * BUFFER_STRIDE_PAGES + i);
  }

  /** A device is about to write through an entry that is out of date: in the kernel, too. */
  #leadsAstray({ operation: { name }, process, values }: Step, asked: Set<number>): boolean {
    if (!DEVICE_WRITES.includes(name)) return false;
    const device = `${name.startsWith('gpu') ? 'gpu' : 'dev'}${values[0]}`;
    return [...asked].some((at) => this.#stale.has(`${process} ${device} ${at}`));
  }

  /** Only in v5.6, and then with the names of those involved. */
  #trespassed(step: Step): boolean {
    if (this.#machine.kernel.trespasses === 0) return false;
    const told = this.#trespasses[0];
    if (this.#machine.era.selection !== 'any-owner') {
      throw foundAt(step, 'somebody touched device memory that is not his');
    }
    const isNamed = told !== undefined && told.by !== '' && told.owner.name !== '';
    if (!isNamed || told.by === told.owner.name) {
      throw foundAt(step, 'a trespass was counted, but not told with the names of both');
    }
    return true;
  }

  #done(step: Step, result: Result, before: View, lowRam: boolean): Done {
    const { process } = step;
    return {
      name: step.operation.name,
      process,
      values: step.values,
      result: result as Answer,
      era: this.#machine.era,
      model: this.#model,
      gpus: this.#gpus,
      lowRam,
      secrets: this.#secrets,
      written: this.#written,
      before: (at) => before.get(process)?.get(at),
      homeAt: (number, at) => before.get(number)?.get(at)?.home ?? 'none',
      pageAt: (number, at) => before.get(number)?.get(at)?.page,
      isNowhere: (at) => this.#eye.isNowhere(before.get(process)?.get(at)?.page ?? NO_PAGE),
      sharing: (at) => this.#sharing(before, before.get(process)?.get(at)?.page ?? null),
      stale: (device, at) => this.#stale.get(`${process} ${device} ${at}`),
      found: (message) => this.#problems.push(message),
      mayBe: (cell, value) => {
        const known = this.#unsure.get(cell);
        if (known === undefined) this.#unsure.set(cell, [value]);
        else known.push(value);
      },
    };
  }

  #sharing(view: View, page: Page | null): Cell[] {
    const cells: Cell[] = [];
    if (page === null || page === 0) return cells;
    for (const [number, places] of view) {
      for (const [at, place] of places) {
        const cell =
          place.page === page ? this.#model.spaces.get(number)?.get(at)?.cell : undefined;
        if (cell !== undefined) cells.push(cell);
      }
    }
    return cells;
  }

  /** Every address holds what was last written there. */
  #checkContents(): void {
    for (const [number, places] of this.#view) {
      const space = this.#model.space(number);
      for (const [at, { value, home, vma, page }] of places) {
        const { cell } = space.get(at)!;
        if (vma === null) this.#problems.push(`${where(number, at)} is not mapped`);
        if (home === 'uv') {
          cell.value = UNKNOWN;
          if (value !== 0)
            this.#problems.push(`page ${page}, which stands for secure memory, has contents`);
        } else if (Number.isNaN(cell.value)) {
          cell.value = value;
          if (this.#unsure.get(cell)?.includes(value)) this.#written.add(cell);
        } else if (cell.value !== value) {
          if (this.#unsure.get(cell)?.includes(value)) {
            cell.value = value;
            this.#written.add(cell);
            this.#secrets.delete(value);
          } else {
            const expected = `expected ${hex(cell.value)}`;
            this.#problems.push(`${where(number, at)} holds ${hex(value)}, ${expected}`);
          }
        }
      }
    }
  }

  /**
   * A device maps what its process maps. The exception is the kernel's own: a driver that lets
   * migrations by its own device pass keeps entries for what was its own.
   */
  #checkMirrors(done: Done, before: View): void {
    const stale: Map<string, MirrorEntry> = new Map();
    for (const [number, one] of this.#runner.processes) {
      const mirrors = this.#eye.mirrors(one);
      if (mirrors.length === 0) continue;
      const now = this.#view.get(number)!;
      const old = before.get(number);
      const numbers = new Set([...now.keys(), ...(old?.keys() ?? [])]);
      for (const mirror of mirrors) {
        for (const at of numbers) {
          const entry = mirror.entry(at);
          if (entry === null) continue;
          const place = now.get(at);
          const mayUse = !entry.writable || place?.writable === true;
          if (place?.page === entry.page && mayUse) continue;
          const key = `${number} ${mirror.device} ${at}`;
          stale.set(key, entry);
          if (this.#stale.get(key)?.page === entry.page) continue;
          if (!this.#mayLag(done, mirror.device, old?.get(at)?.home, place?.vma?.file != null)) {
            this.#problems.push(`${mirror.device} still maps ${where(number, at)}`);
          }
        }
      }
    }
    this.#stale = stale;
  }

  #mayLag(done: Done, device: string, homeBefore: string | undefined, isFile: boolean): boolean {
    if (device.startsWith('gpu') && this.#gpus[Number(device.slice(3))]!.mended) return false;
    return homeBefore === device || (isFile && done.name === 'gpu_bind');
  }

  /** What guests wrote into secure pages stands nowhere but in the memory of the ultravisor. */
  #checkSecrets({ name, result, secrets }: Done): void {
    if (secrets.size === 0) return;
    for (const page of this.#eye.pagesWith(secrets)) {
      this.#problems.push(`page ${page} of ${this.#eye.homeOf(page)} shows a secret`);
    }
    if (name === 'guest_read') return;
    for (const word of result.data ?? []) {
      if (typeof word === 'number' && secrets.has(word)) {
        this.#problems.push(`answered a secret, ${hex(word)}`);
      }
    }
  }

  #verify(full: boolean): void {
    for (const { message } of this.#machine.verify({ full })) this.#problems.push(message);
  }

  #countMoves(before: View): void {
    if (this.#stats === undefined) return;
    const { moves } = this.#stats;
    for (const [number, places] of this.#view) {
      const old = before.get(number);
      if (old === undefined) continue;
      for (const [at, { home }] of places) {
        const from = old.get(at)?.home;
        if (from === undefined || from === home || from === 'none') continue;
        const way = `${kindOf(from)} to ${kindOf(home)}`;
        moves.set(way, (moves.get(way) ?? 0) + 1);
      }
    }
  }

  /** At the end every guest looks at all it has. */
  #readAllGuests({ line }: Program): void {
    const operation = MIXED.operations.get('guest_read');
    if (operation === undefined) return;
    for (const number of [...this.#runner.processes.keys()]) {
      for (const gfn of this.#guests.readable(number)) {
        const words = [String(gfn), '1'];
        const place = { index: 0, thread: null, block: null, label: null };
        this.#step({ line, process: number, operation, words, values: [gfn, 1], ...place });
      }
    }
    if (this.#stats !== undefined) this.#stats.secrets += this.#secrets.size;
    for (const page of this.#eye.pagesWithAnywhere(this.#secrets)) {
      this.#problems.push(`page ${page} of ${this.#eye.homeOf(page)} has a secret in it`);
    }
    this.#report(null);
  }

  /** The processes end, the GPUs go, and everything must be free again. */
  #finish(): void {
    try {
      this.#runner.finish();
      this.#verify(true);
      for (const gpu of this.#eye.gpus) {
        if (!gpu.removed && gpu.remove() !== 0) this.#problems.push(`${gpu.name} does not go`);
        this.#problems.push(...gpu.warnings);
      }
    } catch (error) {
      throw new MixedError(`at the end: ${messageOf(error)}`, { cause: error });
    }
    this.#verify(true);
    const { pages, pagemaps } = this.#machine.kernel;
    if (pages.ramUsed !== 0) this.#problems.push(`${pages.ramUsed} pages of RAM are left`);
    for (const { pagesInUse, name } of pagemaps) {
      if (pagesInUse !== 0) this.#problems.push(`${pagesInUse} pages of ${name} are left`);
    }
    this.#report(null);
  }

  #report(step: Step | null): void {
    if (this.#problems.length === 0) return;
    const found = [...new Set(this.#problems)].slice(0, 12).map((problem) => `  ${problem}`);
    const place = step === null ? 'after the end' : lineOf(step);
    throw new MixedError([`${place}:`, ...found].join('\n'));
  }
}

function kindOf(home: string): string {
  return home.replace(/\d+$/, '');
}

function foundAt(step: Step, error: unknown): MixedError {
  return new MixedError(`${lineOf(step)}:\n  ${messageOf(error)}`, { cause: error });
}
