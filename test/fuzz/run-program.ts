/** Runs one program and holds every answer against the model, and the machine against itself. */
import { SimError } from '../../src/core/errors.ts';
import type { Machine } from '../../src/core/machine.ts';
import { VM_ACCESS_FLAGS, VM_SHARED } from '../../src/core/mm/vma.ts';
import { protBits } from '../../src/core/process.ts';
import type { Page } from '../../src/core/units.ts';
import { LANGUAGE } from '../../src/drivers/index.ts';
import {
  buildMachine,
  ProgramRunner,
  parsePrograms,
  type Result,
  type Step,
} from '../../src/program/index.ts';
import { type Cell, Model } from './model.ts';
import { checkOwnership } from './ownership.ts';
import { type Answer, checkResult, type Done } from './results.ts';
import { Eye, type Home, type View } from './view.ts';
import { lineOf, messageOf, where } from './words.ts';

/** A program went wrong. */
export class FuzzError extends Error {
  override readonly name = 'FuzzError';
}

/** What programs did so far. */
export interface FuzzStats {
  programs: number;
  operations: number;
  /** Places that changed hands, and from where to where. */
  moves: number;
}

export interface RunOptions {
  readonly stats?: FuzzStats;
  /** Does something to the machine before the program starts. */
  readonly prepare?: (machine: Machine) => void;
}

/** Throws a `FuzzError` at the first operation after which something is wrong. */
export function runFuzzProgram(text: string, options: RunOptions = {}): void {
  const parsed = parsePrograms(text, { file: 'fuzz', language: LANGUAGE });
  const machine = buildMachine(parsed.machine, LANGUAGE);
  options.prepare?.(machine);
  for (const program of parsed.programs) {
    const judge = new Judge(machine, options.stats);
    if (program.steps.every((step) => judge.step(step))) judge.finish();
    if (options.stats !== undefined) options.stats.programs++;
  }
}

class Judge {
  readonly #machine: Machine;
  readonly #runner: ProgramRunner;
  readonly #stats: FuzzStats | undefined;
  readonly #eye: Eye;
  readonly #model: Model = new Model();
  readonly #labModes: string[] = ['normal', 'normal', 'normal', 'normal'];
  /** Entries of mirrors that are out of date, by process, device and page number. */
  #stale: Map<string, Page> = new Map();
  #view: View = new Map();
  #problems: string[] = [];
  #unsure: { readonly cell: Cell; readonly value: number }[] = [];
  readonly #scribbled: Set<Page> = new Set();

  constructor(machine: Machine, stats: FuzzStats | undefined) {
    this.#machine = machine;
    this.#runner = new ProgramRunner(machine);
    this.#stats = stats;
    this.#eye = new Eye(machine);
  }

  /** False if the machine hangs, as the kernel would, and nothing more can be said. */
  step(step: Step): boolean {
    const held = this.#eye.held(this.#view);
    const result = this.#run(step, held);
    if (result === null) return false;
    if (this.#stats !== undefined) this.#stats.operations++;
    const before = this.#view;
    const done = this.#done(step, result, before);
    checkResult(done);
    this.#view = this.#eye.view(this.#runner.processes, this.#model.spaces);
    this.#checkContents();
    this.#checkMappings();
    checkOwnership({ done, before, now: this.#view, held });
    this.#checkMirrors(before);
    this.#verify(false);
    this.#countMoves(before);
    this.#report(step);
    return true;
  }

  /** The processes end, and everything must be free again. */
  finish(): void {
    try {
      this.#runner.finish();
    } catch (error) {
      throw new FuzzError(`at the end: ${messageOf(error)}`, { cause: error });
    }
    this.#verify(true);
    const { pages, pagemaps } = this.#machine.kernel;
    if (pages.ramUsed !== 0) this.#problems.push(`${pages.ramUsed} pages of RAM are left`);
    for (const pagemap of pagemaps) {
      const left = pagemap.pagesInUse;
      if (left !== 0) this.#problems.push(`${left} pages of ${pagemap.name} are left`);
    }
    this.#report(null);
  }

  #run(step: Step, held: ReadonlySet<Page>): Result | null {
    try {
      return this.#runner.step(step);
    } catch (error) {
      if (isDeadlock(error) && this.#mayHang(step, held)) return null;
      throw new FuzzError(`${lineOf(step)}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** A device cannot give up memory that somebody holds: memunmap_pages waits for ever. */
  #mayHang(step: Step, held: ReadonlySet<Page>): boolean {
    if (step.operation.name !== 'release') return false;
    return [...held].some((page) => this.#eye.homeOf(page) === `dev${step.values[0]}`);
  }

  #done(step: Step, result: Result, before: View): Done {
    const { process } = step;
    return {
      name: step.operation.name,
      process,
      values: step.values,
      result: result as Answer,
      era: this.#machine.era,
      model: this.#model,
      labModes: this.#labModes,
      before: (at) => before.get(process)?.get(at),
      stale: (device, at) => this.#stale.get(`${process} ${device} ${at}`),
      found: (message) => this.#problems.push(message),
      mayBe: (cell, value) => this.#unsure.push({ cell, value }),
      mayBeAnything: (page) => this.#scribbled.add(page),
    };
  }

  /** Every address holds what was last written there. */
  #checkContents(): void {
    for (const [number, places] of this.#view) {
      const space = this.#model.space(number);
      for (const [at, { value, page }] of places) {
        const { cell } = space.get(at)!;
        if (cell.value === value) continue;
        const accepted =
          this.#scribbled.has(page ?? -1) ||
          this.#unsure.some((one) => one.cell === cell && one.value === value);
        if (accepted) cell.value = value;
        else this.#problems.push(`${where(number, at)} holds ${value}, expected ${cell.value}`);
      }
    }
    this.#unsure = [];
    this.#scribbled.clear();
  }

  /** What is mapped, and how, is what the model says, no more and no less. */
  #checkMappings(): void {
    for (const [number, places] of this.#view) {
      const space = this.#model.space(number);
      let mapped = 0;
      for (const vma of this.#runner.processes.get(number)!.process.mm.vmas) mapped += vma.pages;
      if (mapped !== space.size) {
        this.#problems.push(`process ${number} maps ${mapped} pages, expected ${space.size}`);
      }
      for (const [at, { vma }] of places) {
        const { prot, shared } = space.get(at)!;
        const expected = protBits(prot) | (shared ? VM_SHARED : 0);
        const flags = (vma?.flags ?? 0) & (VM_ACCESS_FLAGS | VM_SHARED);
        if (flags !== expected) {
          this.#problems.push(`${where(number, at)} has flags ${flags}, expected ${expected}`);
        }
      }
    }
  }

  /**
   * A device maps what its process maps. The one exception is the reference driver's own: it does
   * not hear of migrations by its device, so its entries for pages that were its own may be late.
   */
  #checkMirrors(before: View): void {
    const stale: Map<string, Page> = new Map();
    for (const [number, one] of this.#runner.processes) {
      const now = this.#view.get(number)!;
      const numbers = new Set([...now.keys(), ...(before.get(number)?.keys() ?? [])]);
      this.#eye.mirrors(one).forEach((file, device) => {
        if (file === null || file.pageTable.size === 0) return;
        for (const at of numbers) {
          const entry = file.pageTable.entry(this.#eye.vpn(at));
          if (entry === null) continue;
          const place = now.get(at);
          const mayUse = entry.access !== 'write' || place?.writable === true;
          if (place?.page === entry.page && mayUse) continue;
          const key = `${number} ${device} ${at}`;
          stale.set(key, entry.page);
          const own: Home = `dev${device}`;
          const wasOwn = before.get(number)?.get(at)?.home === own;
          if (this.#stale.get(key) !== entry.page && !wasOwn) {
            this.#problems.push(`dmirror ${device} still maps ${where(number, at)}`);
          }
        }
      });
    }
    this.#stale = stale;
  }

  #verify(full: boolean): void {
    for (const { message } of this.#machine.verify({ full })) this.#problems.push(message);
  }

  #countMoves(before: View): void {
    if (this.#stats === undefined) return;
    for (const [number, places] of this.#view) {
      const old = before.get(number);
      if (old === undefined) continue;
      for (const [at, { home }] of places) {
        const from = old.get(at)?.home;
        if (from !== undefined && from !== home && from !== 'none') this.#stats.moves++;
      }
    }
  }

  #report(step: Step | null): void {
    if (this.#problems.length === 0) return;
    const where = step === null ? 'after the end' : lineOf(step);
    const found = [...new Set(this.#problems)].map((problem) => `  ${problem}`);
    throw new FuzzError([`${where}:`, ...found].join('\n'));
  }
}

function isDeadlock(error: unknown): boolean {
  return error instanceof SimError && error.code === 'deadlock';
}
