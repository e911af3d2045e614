/** Recordings: programs with what a kernel answered, as lines of JSON. */
import type { EraName } from '../core/era.ts';
import { orList, PROCESSES_MAX } from './args.ts';
import { Checker, type RecordedArg } from './checker.ts';
import { Header } from './header.ts';
import type { Language } from './language.ts';
import { ProgramError, quoted } from './program-error.ts';
import type { Json, MachineSpec, Program, Result } from './types.ts';

/** Kernels that recordings name, and the era whose rules each has. */
export const KERNELS: ReadonlyMap<string, EraName> = new Map([
  ['5.10-rule5.6', 'v5.6'],
  ['5.10-rule5.7', 'v5.7'],
  ['5.10', 'v5.10'],
  ['6.1', 'v6.1'],
  ['6.12', 'v6.12'],
]);

/** The kernel whose recordings an era is checked with. */
export function kernelOf(era: EraName): string {
  return [...KERNELS].find(([, known]) => known === era)![0];
}

export interface RecordedProgram {
  readonly program: Program;
  /** What was recorded for each step, as text. */
  readonly lines: readonly string[];
  /** The same, read. */
  readonly answers: readonly Result[];
}

export interface KernelRecording {
  readonly file: string;
  readonly kernel: string;
  readonly machine: MachineSpec;
  readonly programs: readonly RecordedProgram[];
}

interface Line {
  readonly number: number;
  readonly text: string;
}

/** Reads and checks a recording as a whole. Throws a `ProgramError` at the first fault. */
export function parseRecording(text: string, file: string, language: Language): KernelRecording {
  return new RecordingParser(file, language).parse(text.split('\n'));
}

type Fields = Readonly<Record<string, Json>>;

class RecordingParser {
  readonly #file: string;
  readonly #language: Language;

  constructor(file: string, language: Language) {
    this.#file = file;
    this.#language = language;
  }

  parse(lines: readonly string[]): KernelRecording {
    let at = 0;
    while (at < lines.length && lines[at]!.trimEnd() === '') at++;
    const kernel = this.#kernel(at < lines.length ? lineOf(lines, at) : undefined);
    const header = new Header(this.#file, this.#language);
    const machine = header.machine(KERNELS.get(kernel)!);
    const checker = new Checker(this.#file, this.#language, machine);
    const texts: string[][] = [];
    const answers: Result[][] = [];
    let programTexts: string[] = [];
    let programAnswers: Result[] = [];
    let last = at;
    for (at++; at < lines.length; at++) {
      const line = lineOf(lines, at);
      if (line.text === '') continue;
      last = at;
      const fields = this.#object(line);
      if ('program' in fields) {
        this.#program(checker, fields, line);
        programTexts = [];
        programAnswers = [];
        texts.push(programTexts);
        answers.push(programAnswers);
      } else {
        this.#operation(checker, fields, line);
        programTexts.push(line.text);
        programAnswers.push(fields);
      }
    }
    if (checker.open === null) {
      this.#fail(last + 1, 'a line {"program":"NAME"}', 'the end of the file');
    }
    checker.end();
    const programs = checker.programs.map((program, i) => ({
      program,
      lines: texts[i]!,
      answers: answers[i]!,
    }));
    return { file: this.#file, kernel, machine, programs };
  }

  #fail(line: number, expected: string, found: string): never {
    throw new ProgramError(this.#file, line, expected, found);
  }

  #object(line: Line): Fields {
    let value: Json;
    try {
      value = JSON.parse(line.text) as Json;
    } catch {
      return this.#fail(line.number, 'a line of JSON', quoted(line.text));
    }
    if (value === null || typeof value !== 'object' || Array.isArray(value)) {
      return this.#fail(line.number, 'a JSON object', quoted(line.text));
    }
    return value as Fields;
  }

  #kernel(line: Line | undefined): string {
    const names = [...KERNELS.keys()];
    const expected = `{"kernel":"NAME"}, where NAME is ${orList(names)}`;
    if (line === undefined) return this.#fail(1, expected, 'an empty file');
    const { kernel, rules } = this.#object(line);
    // No kernel has them: such answers are ours, given under rules of somebody's own.
    if (rules !== undefined) {
      return this.#fail(line.number, 'a kernel without rules of its own', quoted(line.text));
    }
    if (typeof kernel === 'string' && KERNELS.has(kernel)) return kernel;
    return this.#fail(line.number, expected, quoted(line.text));
  }

  #program(checker: Checker, fields: Fields, line: Line): void {
    const { program: name } = fields;
    if (typeof name !== 'string') {
      this.#fail(line.number, 'a program name', quoted(JSON.stringify(name)));
    }
    if (checker.open !== null) checker.end();
    checker.begin(name, line.number);
  }

  #operation(checker: Checker, fields: Fields, line: Line): void {
    const { op, proc, args, thread } = fields;
    if (typeof op !== 'string') {
      this.#fail(line.number, 'a line with "program" or "op"', quoted(line.text));
    }
    if (checker.open === null) {
      this.#fail(line.number, 'a line {"program":"NAME"} first', quoted(line.text));
    }
    if (thread !== undefined) {
      const expected = 'an operation of no thread: recordings run one after another';
      this.#fail(line.number, expected, quoted(line.text));
    }
    this.#checkProcess(proc, line);
    if (!Array.isArray(args) || !args.every(isArgument)) {
      this.#fail(line.number, '"args": a list of numbers and words', quoted(line.text));
    }
    const process = (proc as number | undefined) ?? 0;
    checker.recordedStep(process, op, args as RecordedArg[], line.number);
  }

  #checkProcess(proc: Json | undefined, line: Line): void {
    if (proc === undefined) return;
    if (typeof proc === 'number' && Number.isInteger(proc)) {
      if (proc >= 0 && proc < PROCESSES_MAX) return;
    }
    const expected = `"proc": a process number, 0 to ${PROCESSES_MAX - 1}`;
    this.#fail(line.number, expected, quoted(JSON.stringify(proc)));
  }
}

function lineOf(lines: readonly string[], at: number): Line {
  return { number: at + 1, text: lines[at]!.trimEnd() };
}

function isArgument(value: Json): boolean {
  return typeof value === 'number' || typeof value === 'string';
}
