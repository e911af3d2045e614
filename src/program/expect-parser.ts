/** Reads what stands behind the word `expect`. */
import { BUFFER_ID_MAX, BUFFER_PAGES_MAX, orList, PROCESSES_MAX } from './args.ts';
import type { Atom } from './expectation.ts';
import { quoted } from './program-error.ts';

/** What is known where the line stands. */
export interface ExpectScope {
  /** The step that keeps its result under a label, or undefined. */
  stepOf(label: string): number | undefined;
  /** Is there such a process, alive? */
  isAlive(process: number): boolean;
  /** Does the process know the buffer? */
  knowsBuffer(process: number, buffer: number): boolean;
  /** The labels so far. */
  labels(): readonly string[];
  /** Names that `owner` can have, besides ram and none. */
  devices(): readonly string[];
}

/** Throws by way of `fail` at the first word that is wrong. */
export type ExpectFailure = (expected: string, found: string) => never;

const FORMS = 'LABEL.FIELD=VALUE, value(BUFFER,OFFSET)=VALUE or owner(BUFFER,OFFSET)=NAME';
const RESULT = /^([a-z][a-z0-9_]*)\.([A-Za-z_][A-Za-z0-9_]*)(!?=)(.*)$/;
const PLACE = /^(?:@(\d{1,2}):)?(value|owner)\((\d{1,3}),(\d{1,5})\)(!?=)(.+)$/;

export function parseExpect(
  words: readonly string[],
  scope: ExpectScope,
  fail: ExpectFailure,
): Atom[][] {
  const clauses: Atom[][] = [[]];
  let wantsAtom = true;
  for (const word of words) {
    if (wantsAtom) {
      clauses.at(-1)!.push(parseAtom(word, scope, fail));
    } else if (word === 'or') {
      clauses.push([]);
    } else if (word !== 'and') {
      fail('and, or, or the end of the line', quoted(word));
    }
    wantsAtom = !wantsAtom;
  }
  if (wantsAtom) fail(FORMS, 'the end of the line');
  return clauses;
}

function parseAtom(word: string, scope: ExpectScope, fail: ExpectFailure): Atom {
  const result = RESULT.exec(word);
  if (result !== null) {
    const [, label, field, sign, value] = result;
    const step = scope.stepOf(label!);
    if (step === undefined) {
      const known = scope.labels();
      const which = known.length === 0 ? 'of which there are none so far' : orList(known);
      return fail(`the name of a result: ${which}`, quoted(word));
    }
    const equal = sign === '=';
    return { kind: 'result', text: word, equal, value: value!, label: label!, step, field: field! };
  }
  const place = PLACE.exec(word);
  if (place === null) return fail(FORMS, quoted(word));
  const [, proc = '0', kind, buffer, offset, sign, value] = place;
  const atom = {
    kind: kind as 'value' | 'owner',
    text: word,
    equal: sign === '=',
    value: value!,
    process: Number(proc),
    buffer: Number(buffer),
    offset: Number(offset),
  };
  checkPlace(atom, scope, fail);
  if (atom.kind === 'value') {
    const isWord = /^(0|[1-9]\d{0,9})$/.test(atom.value) && Number(atom.value) <= 0xffff_ffff;
    if (!isWord) fail('a value: a number from 0 to 4294967295', quoted(word));
  } else {
    const names = ['ram', 'none', ...scope.devices()];
    if (!names.includes(atom.value)) fail(`an owner: ${orList(names)}`, quoted(word));
  }
  return atom;
}

function checkPlace(
  {
    process,
    buffer,
    offset,
    text,
  }: { process: number; buffer: number; offset: number; text: string },
  scope: ExpectScope,
  fail: ExpectFailure,
): void {
  if (process >= PROCESSES_MAX || !scope.isAlive(process)) {
    fail('a process that was forked and has not exited', quoted(text));
  }
  if (buffer > BUFFER_ID_MAX || !scope.knowsBuffer(process, buffer)) {
    const expected = 'the number of a buffer that an mmap or mremap of that process named';
    fail(expected, quoted(text));
  }
  if (offset >= BUFFER_PAGES_MAX) {
    fail(`an offset: a number from 0 to ${BUFFER_PAGES_MAX - 1}`, quoted(text));
  }
}
