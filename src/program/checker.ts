/**
 * Checks operations before any of them runs: their names, arguments, processes and buffers. Both
 * forms of a program, text and recording, go through it.
 */
import { type ExpectScope, parseExpect } from './expect-parser.ts';
import { type Expectation, ownerWord } from './expectation.ts';
import { KEYWORDS, type Language } from './language.ts';
import { ProgramError, quoted } from './program-error.ts';
import { buildMachine } from './run.ts';
import { ProgramScope } from './scope.ts';
import type { MachineSpec, Operation, Program, Step } from './types.ts';

const NAME_MAX = 100;
const THREADS_MAX = 16;
const THREAD_NAME = /^[A-Za-z][A-Za-z0-9_]{0,39}$/;
/** As the scheduler names the thread that calls `run`. */
const MAIN_THREAD = 'caller';
const LABEL = /^[a-z][a-z0-9_]{0,39}$/;

/** An argument as a recording has it. */
export type RecordedArg = number | string;

/** A step of a recording. There are so many that words are made only where somebody reads them. */
class RecordedStep implements Step {
  readonly line: number;
  readonly process: number;
  readonly operation: Operation;
  readonly #args: readonly RecordedArg[];
  readonly values: readonly unknown[];
  readonly index: number;

  constructor(
    line: number,
    process: number,
    operation: Operation,
    args: readonly RecordedArg[],
    values: readonly unknown[],
    index: number,
  ) {
    this.line = line;
    this.process = process;
    this.operation = operation;
    this.#args = args;
    this.values = values;
    this.index = index;
  }

  get words(): readonly string[] {
    return this.#args.map(String);
  }

  get thread(): null {
    return null;
  }

  get block(): null {
    return null;
  }

  get label(): null {
    return null;
  }
}

export class Checker {
  readonly #file: string;
  readonly #language: Language;
  readonly #machine: MachineSpec;
  readonly #programs: Program[] = [];
  /** Line of each program's name. */
  readonly #names: Map<string, number> = new Map();
  /** Names of its devices; asked for only where an `expect` names an owner. */
  #owners: readonly string[] | null = null;
  #scope: ProgramScope;
  #name = '';
  #line = 0;
  #steps: Step[] | null = null;
  #expects: Expectation[] = [];
  /** Steps whose results have names. */
  #labels: Map<string, Step> = new Map();
  #blocks = 0;

  constructor(file: string, language: Language, machine: MachineSpec) {
    this.#file = file;
    this.#language = language;
    this.#machine = machine;
    this.#scope = new ProgramScope(machine);
  }

  /** The program that was begun and not ended, or null. */
  get open(): { readonly name: string; readonly line: number } | null {
    return this.#steps === null ? null : { name: this.#name, line: this.#line };
  }

  get programs(): readonly Program[] {
    return this.#programs;
  }

  /** Line of the block that was begun and not joined, or null. */
  get blockLine(): number | null {
    return this.#scope.blockLine;
  }

  begin(name: string, line: number): void {
    if (name === '' || name.length > NAME_MAX || /[^\x21-\x7e]/.test(name)) {
      this.#fail(line, `a name of 1 to ${NAME_MAX} letters without spaces`, quoted(name));
    }
    const earlier = this.#names.get(name);
    if (earlier !== undefined) {
      this.#fail(line, 'another name for each program', `${quoted(name)}, as in line ${earlier}`);
    }
    this.#names.set(name, line);
    this.#scope = new ProgramScope(this.#machine);
    this.#name = name;
    this.#line = line;
    this.#steps = [];
    this.#expects = [];
    this.#labels = new Map();
    this.#blocks = 0;
  }

  end(): void {
    const [name, line, steps, expects] = [this.#name, this.#line, this.#steps!, this.#expects];
    this.#programs.push({ name, line, steps, expects });
    this.#steps = null;
  }

  /** `label`, if given, is the name that the result is kept under. */
  step(process: number, words: readonly string[], line: number, label: string | null = null): Step {
    const { thread, blockLine } = this.#scope;
    if (blockLine !== null && thread === null) {
      const expected = `thread NAME, after parallel of line ${blockLine}`;
      this.#fail(line, expected, quoted(words.join(' ')));
    }
    if (label !== null) this.#checkLabel(label, line);
    this.#checkProcess(process, line);
    const operation = this.#operation(process, words[0]!, line);
    const rest = words.slice(1);
    const values = this.#values(operation, rest, line);
    this.#remember(operation, values, process, line);
    const steps = this.#steps!;
    const block = thread === null ? null : this.#blocks - 1;
    const index = steps.length;
    const step = { line, process, operation, words: rest, values, index, thread, block, label };
    steps.push(step);
    if (label !== null) this.#labels.set(label, step);
    return step;
  }

  /** A step of a recording, which knows neither threads nor labels. */
  recordedStep(process: number, name: string, args: readonly RecordedArg[], line: number): Step {
    this.#checkProcess(process, line);
    const operation = this.#operation(process, name, line);
    const values = this.#values(operation, args, line);
    this.#remember(operation, values, process, line);
    const steps = this.#steps!;
    const step = new RecordedStep(line, process, operation, args, values, steps.length);
    steps.push(step);
    return step;
  }

  parallel(line: number): void {
    this.#scope.beginBlock(line);
    this.#blocks++;
  }

  thread(name: string, line: number): void {
    if (!THREAD_NAME.test(name)) {
      const expected = 'a name for the thread: a letter, then up to 39 letters, digits or _';
      this.#fail(line, expected, quoted(name));
    }
    if (name === MAIN_THREAD) {
      this.#fail(line, `another name than ${MAIN_THREAD}, which the main thread has`, quoted(name));
    }
    const earlier = this.#scope.threadLine(name);
    if (earlier !== undefined) {
      const expected = 'another name for each thread of a block';
      this.#fail(line, expected, `${quoted(name)}, as in line ${earlier}`);
    }
    if (this.#scope.threadCount === THREADS_MAX) {
      this.#fail(line, `at most ${THREADS_MAX} threads in a block`, quoted(`thread ${name}`));
    }
    this.#scope.beginThread(name, line);
  }

  join(line: number): void {
    if (this.#scope.threadCount === 0) {
      const expected = `thread NAME, after parallel of line ${this.blockLine}`;
      this.#fail(line, expected, quoted('join'));
    }
    this.#scope.endBlock();
  }

  expect(words: readonly string[], line: number): void {
    const scope: ExpectScope = {
      stepOf: (label) => this.#labels.get(label)?.index,
      isAlive: (process) => this.#scope.isAlive(process),
      knowsBuffer: (process, buffer) => this.#scope.hasBuffer(process, buffer),
      labels: () => [...this.#labels.keys()],
      devices: () => this.#ownerNames(),
    };
    const fail = (expected: string, found: string): never => this.#fail(line, expected, found);
    const clauses = parseExpect(words, scope, fail);
    const after = this.#steps!.length;
    this.#expects.push({ line, after, text: words.join(' '), clauses });
  }

  #fail(line: number, expected: string, found: string): never {
    throw new ProgramError(this.#file, line, expected, found);
  }

  #checkProcess(process: number, line: number): void {
    const found = this.#scope.whyNot(process);
    if (found !== null) this.#fail(line, 'a process that was forked and has not exited', found);
    this.#scope.process = process;
    this.#scope.use(process, line);
  }

  #checkLabel(label: string, line: number): void {
    if (!LABEL.test(label)) {
      const expected = 'a name for the result: a small letter, then up to 39 of them, digits or _';
      this.#fail(line, expected, quoted(label));
    }
    if (KEYWORDS.has(label) || this.#language.operations.has(label)) {
      const expected = 'a name for the result that is no operation or other word of the language';
      this.#fail(line, expected, quoted(label));
    }
    const earlier = this.#labels.get(label);
    if (earlier !== undefined) {
      const expected = 'another name for each result';
      this.#fail(line, expected, `${quoted(label)}, as in line ${earlier.line}`);
    }
  }

  /** What `owner` can answer on this machine: its devices know their names once it is built. */
  #ownerNames(): readonly string[] {
    if (this.#owners === null) {
      const { drivers } = buildMachine(this.#machine, this.#language);
      const names = drivers.flatMap((driver) => [driver, ...(driver.owners ?? [])]);
      this.#owners = [...new Set(names.map(({ name }) => ownerWord(name)))];
    }
    return this.#owners;
  }

  #has(driver: string): boolean {
    return this.#machine.devices.some((one) => one.driver === driver);
  }

  /** The operations that this machine knows. */
  #knownHere(): string[] {
    const { operations, driverOf } = this.#language;
    return [...operations.keys()].filter((name) => {
      const driver = driverOf.get(name);
      return driver === undefined || this.#has(driver);
    });
  }

  #operation(process: number, name: string, line: number): Operation {
    const operation = this.#language.operations.get(name);
    if (operation === undefined) {
      return this.#fail(line, `an operation: ${this.#knownHere().join(', ')}`, quoted(name));
    }
    const driver = this.#language.driverOf.get(name);
    if (driver !== undefined && !this.#has(driver)) {
      this.#fail(line, `an operation of the machine, which has no ${driver}`, quoted(name));
    }
    if (operation.by === 'parent' && process !== 0) {
      this.#fail(line, `process 0 for ${name}`, `process ${process}`);
    }
    if (operation.by === 'child' && process === 0) {
      this.#fail(
        line,
        `a child's process number before ${name}, such as "@1 ${name}"`,
        'process 0',
      );
    }
    return operation;
  }

  /** The words themselves where they are the numbers that they stand for, as in most recordings. */
  #values(operation: Operation, words: readonly RecordedArg[], line: number): readonly unknown[] {
    const { args } = operation;
    let needed = 0;
    for (const arg of args) if (arg.optional !== true) needed++;
    if (words.length < needed || words.length > args.length) {
      const count = words.length === 1 ? '1 argument' : `${words.length} arguments`;
      this.#fail(line, quoted(usage(operation)), count);
    }
    let values: unknown[] | null = null;
    for (let i = 0; i < words.length; i++) {
      const word = String(words[i]);
      const value = args[i]!.parse(word, this.#scope);
      if (value === undefined) this.#fail(line, args[i]!.expected(this.#scope), quoted(word));
      if (values === null && value !== words[i]) values = words.slice(0, i);
      values?.push(value);
    }
    return values ?? words;
  }

  #remember(operation: Operation, values: readonly unknown[], process: number, line: number): void {
    const { args } = operation;
    for (let i = 0; i < args.length; i++) {
      if (args[i]!.names === 'buffer') this.#nameBuffer(process, values[i] as number, line);
    }
    if (operation.effect === 'fork') this.#scope.fork(values[0] as number, line);
    if (operation.effect === 'exit') {
      const found = this.#scope.whyNotExit(process);
      if (found !== null) this.#fail(line, 'a process that no other thread uses', found);
      this.#scope.exit(process, line);
    }
  }

  #nameBuffer(process: number, id: number, line: number): void {
    const found = this.#scope.whyNotName(process, id);
    if (found !== null) this.#fail(line, 'a buffer that no other thread of the block names', found);
    this.#scope.name(process, id, line);
  }
}

/** How an operation is written: "cpu_write BUFFER OFFSET PAGES VALUE". */
export function usage(operation: Operation): string {
  const args = operation.args.map((arg) => {
    const name = arg.name.toUpperCase();
    return arg.optional === true ? `[${name}]` : name;
  });
  return [operation.name, ...args].join(' ');
}
