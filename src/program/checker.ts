/**
 * Checks operations before any of them runs: their names, arguments, processes and buffers. Both
 * forms of a program, text and recording, go through it.
 */
import type { Language } from './language.ts';
import { ProgramError, quoted } from './program-error.ts';
import type { MachineSpec, Operation, Program, Scope, Step } from './types.ts';

const NAME_MAX = 100;

class ProgramScope implements Scope {
  readonly machine: MachineSpec;
  process = 0;
  /** The buffers that each process made so far knows. */
  readonly buffers: Map<number, Set<number>> = new Map([[0, new Set()]]);
  readonly exited: Set<number> = new Set();

  constructor(machine: MachineSpec) {
    this.machine = machine;
  }

  wasForked(process: number): boolean {
    return this.buffers.has(process);
  }

  knowsBuffer(id: number): boolean {
    return this.buffers.get(this.process)!.has(id);
  }
}

export class Checker {
  readonly #file: string;
  readonly #language: Language;
  readonly #machine: MachineSpec;
  readonly #programs: Program[] = [];
  /** Line of each program's name. */
  readonly #names: Map<string, number> = new Map();
  #scope: ProgramScope;
  #name = '';
  #line = 0;
  #steps: Step[] | null = null;

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
  }

  end(): void {
    this.#programs.push({ name: this.#name, line: this.#line, steps: this.#steps! });
    this.#steps = null;
  }

  step(process: number, words: readonly string[], line: number): Step {
    this.#checkProcess(process, line);
    const operation = this.#operation(process, words[0]!, line);
    const values = this.#values(operation, words.slice(1), line);
    this.#remember(operation, values, process);
    const step = { line, process, operation, words: words.slice(1), values };
    this.#steps!.push(step);
    return step;
  }

  #fail(line: number, expected: string, found: string): never {
    throw new ProgramError(this.#file, line, expected, found);
  }

  #checkProcess(process: number, line: number): void {
    const expected = 'a process that was forked and has not exited';
    if (!this.#scope.wasForked(process)) {
      this.#fail(line, expected, `process ${process}, which was never forked`);
    }
    if (this.#scope.exited.has(process)) {
      this.#fail(line, expected, `process ${process}, which has exited`);
    }
    this.#scope.process = process;
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

  #values(operation: Operation, words: readonly string[], line: number): unknown[] {
    const { args } = operation;
    const needed = args.filter((arg) => arg.optional !== true).length;
    if (words.length < needed || words.length > args.length) {
      const count = words.length === 1 ? '1 argument' : `${words.length} arguments`;
      this.#fail(line, quoted(usage(operation)), count);
    }
    return words.map((word, i) => {
      const value = args[i]!.parse(word, this.#scope);
      if (value === undefined) this.#fail(line, args[i]!.expected(this.#scope), quoted(word));
      return value;
    });
  }

  #remember(operation: Operation, values: readonly unknown[], process: number): void {
    const own = this.#scope.buffers.get(process)!;
    operation.args.forEach((arg, i) => {
      if (arg.names === 'buffer') own.add(values[i] as number);
    });
    if (operation.effect === 'fork') this.#scope.buffers.set(values[0] as number, new Set(own));
    if (operation.effect === 'exit') this.#scope.exited.add(process);
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
