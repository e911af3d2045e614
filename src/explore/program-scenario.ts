/** A program with parallel blocks, to be searched for races. */
import type { Era } from '../core/era.ts';
import { leakedMemory } from '../core/leaks.ts';
import type { Machine, MachineOptions } from '../core/machine.ts';
import type { Va } from '../core/units.ts';
import { bufferPageAt } from '../program/core-operations.ts';
import type { ExpectationResult } from '../program/expectation.ts';
import { finalState } from '../program/final-state.ts';
import type { Language } from '../program/language.ts';
import { buildMachine, type ProgramRunner, resultLine, type StepResult } from '../program/run.ts';
import { type RunHooks, runProgram } from '../program/run-program.ts';
import type { Program, ProgramText } from '../program/types.ts';
import { addMachine, withoutFingerprint } from './fingerprint.ts';
import { Learning } from './learning.ts';
import { LostWrites } from './lost-writes.ts';
import type { Failure, RunContext, Scenario, Verdict } from './types.ts';

export interface ScenarioChecks {
  /** Memory has what was stored last; true unless given. */
  readonly lostWrites?: boolean;
  /** `machine.verify` at the end, while the processes live and after; true unless given. */
  readonly verify?: boolean;
  /** Nothing is left after every process ended; true unless given. */
  readonly leaks?: boolean;
  /** Locks are always taken in the same order; true unless given. */
  readonly lockOrder?: boolean;
}

export interface ProgramScenarioOptions {
  readonly checks?: ScenarioChecks;
  /** A table of rules that stands in the place of the header's era and rules. */
  readonly era?: Era;
  /** Called with the machine of each run, before anything happens: for a recorder, say. */
  readonly onMachine?: (machine: Machine) => void;
}

/** One program of a text as something to explore: each run builds the text's machine anew. */
export function programScenario(
  text: ProgramText,
  program: Program,
  language: Language,
  options: ProgramScenarioOptions = {},
): Scenario {
  return new ProgramScenario(text, program, language, options);
}

class ProgramScenario implements Scenario {
  readonly name: string;
  readonly identity: string;
  readonly operations: number;
  readonly cannotPrune: string | null;
  readonly #text: ProgramText;
  readonly #program: Program;
  readonly #language: Language;
  readonly #options: ProgramScenarioOptions;

  constructor(
    text: ProgramText,
    program: Program,
    language: Language,
    options: ProgramScenarioOptions,
  ) {
    this.name = `program ${program.name}`;
    this.identity = identityOf(text, program, options);
    this.operations = program.steps.length;
    this.#text = text;
    this.#program = program;
    this.#language = language;
    this.#options = options;
    this.cannotPrune = withoutFingerprint(this.#build({}));
  }

  execute(run: RunContext): Verdict {
    const { lockOrder = true, verify = true, leaks = true } = this.#options.checks ?? {};
    const machine = this.#build({ explorer: run.explorer, checkLockOrder: lockOrder });
    machine.kernel.faults = run.faults;
    this.#options.onMachine?.(machine);
    const check = new ProgramCheck(machine, this.#options.checks ?? {}, run);
    const steps = runProgram(machine, this.#program, check, {
      omitted: run.omitted,
      skipAbsent: true,
    });
    for (let next = steps.next(); next.done !== true; next = steps.next());
    const { failures } = check;
    if (leaks) {
      for (const message of leakedMemory(machine)) {
        failures.push({ kind: 'leak', message, detail: [] });
      }
    }
    if (verify) addFindings(machine, 'after every process ended', failures);
    return { failures, state: check.state, points: run.points };
  }

  #build(options: Partial<MachineOptions>): Machine {
    return buildMachine(this.#text.machine, this.#language, this.#options.era, options);
  }
}

/** Looks over the shoulder of one run of a program. */
class ProgramCheck implements RunHooks {
  readonly failures: Failure[] = [];
  state = '';
  readonly #machine: Machine;
  readonly #checks: ScenarioChecks;
  readonly #run: RunContext;
  readonly #lostWrites: LostWrites | null;
  #runner: ProgramRunner | null = null;

  constructor(machine: Machine, checks: ScenarioChecks, run: RunContext) {
    this.#machine = machine;
    this.#checks = checks;
    this.#run = run;
    const placeOf = (pid: number, va: Va): string => this.#placeOf(pid, va);
    this.#lostWrites = checks.lostWrites === false ? null : new LostWrites(machine, placeOf);
    machine.kernel.watch = this.#lostWrites;
    if (run.fingerprinting) {
      machine.kernel.watch = new Learning(machine, run, this.#lostWrites);
      run.watch((hash, exactSequences) => {
        addMachine(machine, hash, exactSequences);
        this.#runner?.fingerprint(hash);
        this.#lostWrites?.fingerprint(hash);
      });
    }
    if (run.listening) listen(machine, run);
  }

  afterStep(runner: ProgramRunner, { step, result }: StepResult): void {
    this.#runner = runner;
    const run = this.#run;
    // Words are for those who read or compare them.
    const text = run.listening || run.fingerprinting ? resultLine(step, result) : '';
    run.ended(this.#machine.scheduler.current, text);
  }

  afterExpect(_runner: ProgramRunner, { expectation, holds, found }: ExpectationResult): void {
    if (holds) return;
    const { line, text } = expectation;
    const message = `line ${line}: expected ${text}; found ${found}`;
    this.failures.push({ kind: 'expectation', message, detail: [] });
  }

  beforeEnd(runner: ProgramRunner): void {
    this.#machine.kernel.faults = null;
    if (this.#checks.verify !== false) {
      addFindings(this.#machine, 'at the end', this.failures);
    }
    if (this.#lostWrites !== null) {
      this.#lostWrites.atRest();
      this.failures.push(...this.#lostWrites.failures);
    }
    this.state = finalState(runner);
  }

  #placeOf(pid: number, va: Va): string {
    const found = bufferPageAt(va, this.#machine.pageSize);
    const processes = [...(this.#runner?.processes.values() ?? [])];
    const owner = processes.find(({ process: proc }) => proc.pid === pid);
    const where = found === null ? `address ${va}` : `buffer ${found.buffer} page ${found.page}`;
    return `${where} of process ${owner?.number ?? pid - 1}`;
  }
}

/** What `verify` finds, as failures. */
export function addFindings(machine: Machine, when: string, failures: Failure[]): void {
  for (const { message } of machine.verify()) {
    failures.push({ kind: 'verify', message: `${when}: ${message}`, detail: [] });
  }
}

/** Hands on all that a machine tells. */
export function listen(machine: Machine, run: RunContext): void {
  machine.events.on('*', (event) => run.tell(event));
}

/** What is run, without where it stands in its file. */
function identityOf(
  { machine }: ProgramText,
  { steps, expects }: Program,
  { era }: ProgramScenarioOptions,
): string {
  return JSON.stringify({
    machine,
    era: era ?? null,
    steps: steps.map(({ process: number, operation, words, thread, block, label }) => [
      number,
      operation.name,
      words,
      thread,
      block,
      label,
    ]),
    expects: expects.map(({ after, text }) => [after, text]),
  });
}
