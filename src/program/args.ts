/** The kinds of arguments that operations share. A driver may write kinds of its own. */
import type { ArgSpec, Scope } from './types.ts';

/** Buffers lie so far apart, in pages of the machine: 256 MiB where they have 4 KiB. */
export const BUFFER_PAGES_MAX = 65_536;
export const BUFFER_ID_MAX = 255;
/** Processes of a program have numbers below. */
export const PROCESSES_MAX = 64;

const UINT32_MAX = 4_294_967_295;

/** A whole number in decimal digits, or undefined. */
export function parseInteger(word: string): number | undefined {
  if (!/^\d{1,15}$/.test(word)) return undefined;
  return Number(word);
}

function parseBetween(word: string, min: number, max: number): number | undefined {
  const value = parseInteger(word);
  return value !== undefined && value >= min && value <= max ? value : undefined;
}

/** A number from `min` to `max`, both included. */
export function intArg(name: string, min: number, max: number): ArgSpec<number> {
  return {
    name,
    parse: (word) => parseBetween(word, min, max),
    expected: () => `${name}: a number from ${min} to ${max}`,
  };
}

/** A 32-bit value that is written to a page. */
export function valueArg(name = 'value'): ArgSpec<number> {
  return intArg(name, 0, UINT32_MAX);
}

/** First page of a range, counted from the start of its buffer; it may lie past the buffer's end. */
export function offsetArg(): ArgSpec<number> {
  return intArg('offset', 0, BUFFER_PAGES_MAX - 1);
}

/** How many pages; they may reach past the buffer's end, and there may be none. */
export function pagesArg(min = 0): ArgSpec<number> {
  return intArg('pages', min, BUFFER_PAGES_MAX);
}

/** One of some words. */
export function wordArg<const W extends string>(name: string, choices: readonly W[]): ArgSpec<W> {
  return {
    name,
    parse: (word) => choices.find((choice) => choice === word),
    expected: () => `${name}: ${orList(choices)}`,
  };
}

/** A word made of some letters, each at most once: "rw". `none` stands for no letter at all. */
export function lettersArg(name: string, letters: string, none: string): ArgSpec<string> {
  return {
    name,
    parse: (word) => {
      if (word === none) return '';
      const known = [...word].every((letter) => letters.includes(letter));
      return known && new Set(word).size === word.length && word !== '' ? word : undefined;
    },
    expected: () => `${name}: letters of ${[...letters].join(' ')}, or ${none}`,
  };
}

/** Numbers with commas between them: "2,5". */
export function listArg(name: string, min: number, max: number): ArgSpec<readonly number[]> {
  return {
    name,
    parse: (word) => parseList(word, min, max),
    expected: () => `${name}: numbers from ${min} to ${max} with commas between them`,
  };
}

export function parseList(word: string, min: number, max: number): readonly number[] | undefined {
  const numbers = word.split(',').map((part) => parseBetween(part, min, max));
  return numbers.every((number) => number !== undefined) ? numbers : undefined;
}

/** The number of a buffer that an mmap or mremap named before. */
export function bufferArg(): ArgSpec<number> {
  return {
    name: 'buffer',
    parse: (word, scope) => {
      const id = parseBetween(word, 0, BUFFER_ID_MAX);
      return id !== undefined && scope.knowsBuffer(id) ? id : undefined;
    },
    expected: () => 'buffer: the number of a buffer that an mmap or mremap of this process named',
  };
}

/** The number of a buffer that this operation maps. */
export function newBufferArg(): ArgSpec<number> {
  return { ...intArg('buffer', 0, BUFFER_ID_MAX), names: 'buffer' };
}

/** Which of the machine's devices of one driver, in the order of the header. */
export function deviceArg(driver: string): ArgSpec<number> {
  const count = (scope: Scope): number =>
    scope.machine.devices.filter((device) => device.driver === driver).length;
  return {
    name: 'device',
    parse: (word, scope) => parseBetween(word, 0, count(scope) - 1),
    expected: (scope) => expectedNumber(`device`, driver, count(scope)),
  };
}

function expectedNumber(name: string, what: string, count: number): string {
  if (count === 0) return `${name}: a ${what} of the machine, but it has none`;
  return `${name}: a ${what} of the machine, ${count === 1 ? '0' : `0 to ${count - 1}`}`;
}

/** The same argument, but it may be left out; only the last ones may. */
export function optional<T>(spec: ArgSpec<T>): ArgSpec<T | undefined> {
  return { ...spec, optional: true };
}

/** "a, b or c" */
export function orList(words: readonly string[]): string {
  if (words.length < 2) return words.join('');
  return `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}
