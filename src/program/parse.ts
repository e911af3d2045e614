/** Programs as text: a header, then operations a line each between `program NAME` and `end`. */
import type { EraName } from '../core/era.ts';
import { PROCESSES_MAX, parseInteger } from './args.ts';
import { Checker } from './checker.ts';
import { Header } from './header.ts';
import type { Language } from './language.ts';
import { ProgramError, quoted } from './program-error.ts';
import type { ProgramText } from './types.ts';

export interface ParseOptions {
  /** For messages. */
  readonly file: string;
  readonly language: Language;
  /** Instead of the era that the header names. */
  readonly era?: EraName;
}

/** Reads and checks a text of programs as a whole. Throws a `ProgramError` at the first fault. */
export function parsePrograms(text: string, options: ParseOptions): ProgramText {
  return new Parser(options).parse(text);
}

class Parser {
  readonly #options: ParseOptions;
  readonly #header: Header;
  #checker: Checker | null = null;

  constructor(options: ParseOptions) {
    this.#options = options;
    this.#header = new Header(options.file, options.language);
  }

  parse(text: string): ProgramText {
    const lines = text.split('\n');
    lines.forEach((raw, i) => {
      this.#checkText(raw, i + 1);
      const words = raw.split(/[ \t\r]+/).filter((word) => word !== '');
      if (words.length > 0 && !words[0]!.startsWith('#')) this.#line(words, i + 1);
    });
    const last = Math.max(1, lines.length - (lines.at(-1) === '' ? 1 : 0));
    const open = this.#checker?.open ?? null;
    if (open !== null) {
      const expected = `end, for program ${quoted(open.name)} of line ${open.line}`;
      this.#fail(last, expected, 'the end of the file');
    }
    if (this.#checker === null) this.#fail(last, 'program NAME', 'the end of the file');
    return { machine: this.#header.machine(this.#options.era), programs: this.#checker.programs };
  }

  #fail(line: number, expected: string, found: string): never {
    throw new ProgramError(this.#options.file, line, expected, found);
  }

  #checkText(raw: string, line: number): void {
    for (let i = 0; i < raw.length; i++) {
      const code = raw.charCodeAt(i);
      const isText = code >= 0x20 || code === 0x09 || (code === 0x0d && i === raw.length - 1);
      if (!isText || code === 0x7f || code === 0xfffd) {
        this.#fail(line, 'text', `the character ${quoted(raw[i]!)} in column ${i + 1}`);
      }
    }
  }

  #line(words: readonly string[], line: number): void {
    if (this.#checker?.open != null) this.#insideProgram(this.#checker, words, line);
    else this.#outside(words, line);
  }

  #outside(words: readonly string[], line: number): void {
    const first = words[0]!;
    if (first === 'program') {
      if (words.length !== 2) {
        this.#fail(line, 'program and a name of one word', quoted(words.join(' ')));
      }
      const { file, language, era } = this.#options;
      this.#checker ??= new Checker(file, language, this.#header.machine(era));
      this.#checker.begin(words[1]!, line);
    } else if (first === 'machine' || first === 'device') {
      if (this.#checker !== null) {
        this.#fail(line, `${first} before the first program`, quoted(words.join(' ')));
      }
      this.#header.add(words, line);
    } else if (this.#checker !== null) {
      this.#fail(line, 'program NAME or the end of the file', quoted(words.join(' ')));
    } else {
      this.#fail(line, 'machine, device or program NAME', quoted(words.join(' ')));
    }
  }

  #insideProgram(checker: Checker, words: readonly string[], line: number): void {
    const first = words[0]!;
    const { name, line: begun } = checker.open!;
    if (first === 'end') {
      if (words.length > 1) this.#fail(line, 'nothing after end', quoted(words[1]!));
      checker.end();
    } else if (first === 'program') {
      const expected = `end, for program ${quoted(name)} of line ${begun}`;
      this.#fail(line, expected, quoted(words.join(' ')));
    } else if (first === 'machine' || first === 'device') {
      this.#fail(line, `${first} before the first program`, quoted(words.join(' ')));
    } else if (first.startsWith('@')) {
      const process = parseInteger(first.slice(1));
      if (process === undefined || process >= PROCESSES_MAX) {
        this.#fail(line, `a process number: @0 to @${PROCESSES_MAX - 1}`, quoted(first));
      }
      if (words.length === 1)
        this.#fail(line, `an operation after ${first}`, 'the end of the line');
      checker.step(process, words.slice(1), line);
    } else {
      checker.step(0, words, line);
    }
  }
}
