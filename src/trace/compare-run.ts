/** One program on one machine, operation by operation, with what came of each. */

import type { Era } from '../core/era.ts';
import { SimError, type SimErrorCode } from '../core/errors.ts';
import type { TrespassInfo } from '../core/events/types.ts';
import type { Machine } from '../core/machine.ts';
import type { Page, Va } from '../core/units.ts';
import type { Language } from '../program/language.ts';
import { buildMachine, ProgramRunner } from '../program/run.ts';
import { blockAt } from '../program/run-program.ts';
import type { MachineSpec, Program, Result, Step } from '../program/types.ts';
import { TrespassWatch } from './trespass-watch.ts';

/** A program and the machine it runs on, but for the era. */
export interface CompareSubject {
  readonly program: Program;
  readonly machine: MachineSpec;
  readonly language: Language;
}

/** What an operation answered, or how it went wrong; nothing runs after an error. */
export type Outcome =
  | { readonly result: Result }
  | { readonly error: { readonly code: SimErrorCode | 'crash'; readonly message: string } };

/** Which operation: its position among the steps of the program. */
export interface OperationPlace {
  readonly index: number;
  /** Null for the end of the program, when its processes exit. */
  readonly line: number | null;
  /** As in a program text: "@1 cpu_read 0 0 4"; "end" for the end of the program. */
  readonly operation: string;
}

/** Somebody touched device memory of somebody else. */
export interface Trespass extends OperationPlace {
  /** Who: a driver or a device. */
  readonly by: string;
  readonly what: 'migrate' | 'read' | 'write';
  /** Whose memory it is. */
  readonly owner: string;
  /** The process of the program; null if no living one is concerned. */
  readonly process: number | null;
  /** The address in that process; null where it is not known. */
  readonly va: Va | null;
  /** As the emulated kernel numbers it. */
  readonly page: Page;
}

export interface EraRunOptions {
  /** Note trespasses; costs the making of all events. */
  readonly listen?: boolean;
  /** Errors that are no `SimError` count as outcomes too; for machines that no kernel ever was. */
  readonly tolerant?: boolean;
}

export class EraRun {
  readonly era: Era;
  readonly machine: Machine;
  readonly runner: ProgramRunner;
  readonly outcomes: Outcome[] = [];
  readonly trespasses: Trespass[] = [];
  readonly #program: Program;
  readonly #tolerant: boolean;
  readonly #watch: TrespassWatch | null;

  /** Throws a `SimError` if the machine cannot be built in this era. */
  constructor(subject: CompareSubject, era: Era, options: EraRunOptions = {}) {
    this.era = era;
    this.#program = subject.program;
    this.#tolerant = options.tolerant ?? false;
    this.machine = buildMachine(subject.machine, subject.language, era);
    const note = (trespass: TrespassInfo): void => this.#note(trespass);
    this.#watch = options.listen === true ? new TrespassWatch(this.machine, note) : null;
    this.runner = new ProgramRunner(this.machine);
  }

  /** Did the last operation end in an error? */
  get failed(): boolean {
    const last = this.outcomes.at(-1);
    return last !== undefined && 'error' in last;
  }

  /** Runs the next operation; after the last one, ends the program. */
  next(): void {
    const step = this.#program.steps[this.outcomes.length];
    this.#watch?.forget();
    this.outcomes.push(this.#attempt(step));
  }

  #attempt(step: Step | undefined): Outcome {
    try {
      if (step !== undefined) return { result: this.#result(step) };
      this.runner.finish();
      return { result: {} };
    } catch (error) {
      if (error instanceof SimError) {
        return { error: { code: error.code, message: error.message } };
      }
      if (!this.#tolerant) throw error;
      return { error: { code: 'crash', message: String(error) } };
    }
  }

  /** All of a block runs when its first step is next; its threads are served first come, first. */
  #result(step: Step): Result {
    if (step.block === null) return this.runner.step(step);
    const isFirst = this.#program.steps[step.index - 1]?.block !== step.block;
    if (isFirst) this.runner.block(blockAt(this.#program, step.index), () => {});
    return this.runner.results[step.index]!;
  }

  #note({ by, what, owner, pid, va, page }: TrespassInfo): void {
    const ofBlock = this.runner.stepOf.get(this.machine.scheduler.current);
    const place = placeOf(this.#program, ofBlock?.index ?? this.outcomes.length);
    const living = [...this.runner.processes.values()];
    const process = living.find(({ process: proc }) => proc.pid === pid)?.number ?? null;
    this.trespasses.push({ ...place, by, what, owner: owner.name, process, va, page });
  }
}

/** Equal outcomes have equal texts. */
export function outcomeKey(outcome: Outcome | undefined): string {
  return JSON.stringify(outcome) ?? '';
}

/** Equal if the same was touched without asking whose it is. Page numbers are the emulator's own. */
export function trespassKey({ machine, trespasses }: EraRun): string {
  const list = trespasses.map(({ page: _, ...others }) => others);
  return JSON.stringify([machine.kernel.trespasses, list]);
}

/** The operation at a position; the position after the last is the end of the program. */
export function placeOf(program: Program, index: number): OperationPlace {
  const step = program.steps[index];
  if (step === undefined) return { index, line: null, operation: 'end' };
  const prefix = step.process === 0 ? [] : [`@${step.process}`];
  const operation = [...prefix, step.operation.name, ...step.words].join(' ');
  return { index, line: step.line, operation };
}
