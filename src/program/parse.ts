/** Programs as text: a header, then operations a line each between `program NAME` and `end`. */
import type { EraName } from '../core/era.ts';
import { PROCESSES_MAX, parseInteger } from './args.ts';
import { Checker } from './checker.ts';
import { Header } from './header.ts';
import type { Language } from './language.ts';
import { ProgramError, quoted } from './program-error.ts';
import type { ProgramText } from './types.ts';

/** What may not stand between `parallel` and `join`. */
const NOT_IN_BLOCKS: readonly string[] = ['end', 'parallel', 'expect', 'program'];

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
    const block = this.#checker?.blockLine ?? null;
    if (block !== null) {
      this.#fail(last, `join, for parallel of line ${block}`, 'the end of the file');
    }
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
    if (checker.blockLine !== null && NOT_IN_BLOCKS.includes(first)) {
      const expected = `join first, for parallel of line ${checker.blockLine}`;
      this.#fail(line, expected, quoted(words.join(' ')));
    }
    this.#refuseOutsiders(checker, words, line);
    switch (first) {
      case 'end':
      case 'parallel':
      case 'join':
        if (words.length > 1) this.#fail(line, `nothing after ${first}`, quoted(words[1]!));
        if (first === 'end') checker.end();
        else if (first === 'parallel') checker.parallel(line);
        else this.#join(checker, line);
        return;
      case 'thread':
        this.#thread(checker, words, line);
        return;
      case 'expect':
        checker.expect(words.slice(1), line);
        return;
      default:
        if (words[1] === '=') this.#step(checker, words.slice(2), line, first);
        else this.#step(checker, words, line, null);
    }
  }

  /** Words that have their place outside of programs. */
  #refuseOutsiders(checker: Checker, words: readonly string[], line: number): void {
    const first = words[0]!;
    if (first === 'program') {
      const { name, line: begun } = checker.open!;
      const expected = `end, for program ${quoted(name)} of line ${begun}`;
      this.#fail(line, expected, quoted(words.join(' ')));
    }
    if (first === 'machine' || first === 'device') {
      this.#fail(line, `${first} before the first program`, quoted(words.join(' ')));
    }
  }

  #join(checker: Checker, line: number): void {
    if (checker.blockLine === null) this.#fail(line, 'parallel before join', quoted('join'));
    checker.join(line);
  }

  #thread(checker: Checker, words: readonly string[], line: number): void {
    if (words.length !== 2) {
      this.#fail(line, 'thread and a name of one word', quoted(words.join(' ')));
    }
    if (checker.blockLine === null) {
      this.#fail(line, 'parallel before the first thread', quoted(words.join(' ')));
    }
    checker.thread(words[1]!, line);
  }

  #step(checker: Checker, words: readonly string[], line: number, label: string | null): void {
    const first = words[0];
    if (first === undefined)
      this.#fail(line, `an operation after ${label} =`, 'the end of the line');
    if (!first.startsWith('@')) {
      checker.step(0, words, line, label);
      return;
    }
    const process = parseInteger(first.slice(1));
    if (process === undefined || process >= PROCESSES_MAX) {
      this.#fail(line, `a process number: @0 to @${PROCESSES_MAX - 1}`, quoted(first));
    }
    if (words.length === 1) this.#fail(line, `an operation after ${first}`, 'the end of the line');
    checker.step(process, words.slice(1), line, label);
  }
}
