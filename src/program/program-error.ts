/** A program, a recording or a header that is not as it should be. */
export class ProgramError extends Error {
  override readonly name = 'ProgramError';
  readonly file: string;
  /** Counted from 1. */
  readonly line: number;
  readonly expected: string;
  readonly found: string;

  constructor(file: string, line: number, expected: string, found: string) {
    super(`${file}:${line}: expected ${expected}; found ${found}`);
    this.file = file;
    this.line = line;
    this.expected = expected;
    this.found = found;
  }
}

const QUOTED_MAX = 60;

/** Text from a file as it may be shown: short, and without what a terminal might act on. */
export function quoted(text: string): string {
  const short = text.length > QUOTED_MAX ? `${text.slice(0, QUOTED_MAX)}…` : text;
  const escaped = short.replace(/[^\x20-\x7e…]/gu, (char) => {
    const code = char.codePointAt(0)!.toString(16);
    return `\\u{${code}}`;
  });
  return `"${escaped}"`;
}
