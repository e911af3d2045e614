/** Makes a program that goes wrong as small as possible, by leaving out lines. */
import { parsePrograms } from '../../../src/program/index.ts';
import { type MixedProgram, textOf } from './generate.ts';
import { MIXED } from './judge.ts';

export interface Shrunk {
  readonly program: MixedProgram;
  readonly finding: string;
  /** Programs tried. */
  readonly tries: number;
}

/** What is wrong with a program, or null. */
export type Check = (text: string) => string | null;

/** `finding` is what is wrong with `program` as it stands. */
export function shrink(program: MixedProgram, finding: string, check: Check): Shrunk {
  let best = { program, finding };
  let tries = 0;
  const attempt = (candidate: MixedProgram): boolean => {
    const text = textOf(candidate);
    if (!isProgram(text)) return false;
    tries++;
    const found = check(text);
    if (found === null) return false;
    best = { program: candidate, finding: found };
    return true;
  };
  for (let size = Math.ceil(program.lines.length / 2); size >= 1; ) {
    const smaller = dropLines(best.program, size, attempt);
    if (!smaller && size === 1) break;
    if (!smaller) size = Math.floor(size / 2);
  }
  dropDevices(() => best.program, attempt);
  return { ...best, tries };
}

/** Tries to leave out `size` lines in a row, from the end to the start. True if some went. */
function dropLines(
  program: MixedProgram,
  size: number,
  attempt: (candidate: MixedProgram) => boolean,
): boolean {
  let { lines } = program;
  let dropped = false;
  for (let at = lines.length - size; at > -size; at -= size) {
    const from = Math.max(0, at);
    const rest = [...lines.slice(0, from), ...lines.slice(from + size)];
    if (rest.length === lines.length || !attempt({ ...program, lines: rest })) continue;
    lines = rest;
    dropped = true;
  }
  return dropped;
}

function dropDevices(
  program: () => MixedProgram,
  attempt: (candidate: MixedProgram) => boolean,
): void {
  for (let at = program().header.length - 1; at > 0; at--) {
    const { header, lines } = program();
    attempt({ header: header.filter((_, i) => i !== at), lines });
  }
}

function isProgram(text: string): boolean {
  try {
    parsePrograms(text, { file: 'fuzz', language: MIXED });
    return true;
  } catch {
    return false;
  }
}
