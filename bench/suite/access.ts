/** Target 3: loads and stores that need no fault. */
import { PAGE_SIZE, type Process } from '../../src/index.ts';
import type { Sampled } from '../harness/figure.ts';
import {
  expectEqual,
  interleave,
  keep,
  type Round,
  rateOf,
  scrambled,
} from '../harness/measure.ts';
import type { Measurement } from '../harness/types.ts';
import { filledBuffer, newMachine } from './lab.ts';

const PAGES = 2 ** 18;
const PAGES_QUICK = 2 ** 14;
const PAGE_WORDS = PAGE_SIZE / 4;
/** Accesses of one pattern, done so many times for a sample. */
const ADDRESSES = 2 ** 20;
const PASSES = 4;

const PATTERNS = {
  'words in a row': (i: number): number => i,
  'pages in a row': (i: number, pages: number): number => (i % pages) * PAGE_WORDS + (i >>> 18),
  'random words': (i: number, pages: number): number => scrambled(i) % (pages * PAGE_WORDS),
} as const;

type Pattern = keyof typeof PATTERNS;

const NAMES = Object.keys(PATTERNS) as Pattern[];

/** Which words of the buffer are touched, in order. */
function wordsOf(pattern: Pattern, pages: number): Uint32Array {
  return Uint32Array.from({ length: ADDRESSES }, (_, i) => PATTERNS[pattern](i, pages));
}

function loads(proc: Process, buffer: number, at: Uint32Array): number {
  let sum = 0;
  for (let i = 0; i < at.length; i++) sum += proc.load32(buffer + at[i]! * 4);
  return sum;
}

function stores(proc: Process, buffer: number, at: Uint32Array, value: number): void {
  for (let i = 0; i < at.length; i++) proc.store32(buffer + at[i]! * 4, value);
}

function bareLoads(words: Uint32Array, at: Uint32Array): number {
  let sum = 0;
  for (let i = 0; i < at.length; i++) sum += words[at[i]!]!;
  return sum;
}

function bareStores(words: Uint32Array, at: Uint32Array, value: number): void {
  for (let i = 0; i < at.length; i++) words[at[i]!] = value;
}

/** The same contents as `filledBuffer`, every word in memory of its own. */
function filledArray(pages: number): Uint32Array {
  const words = new Uint32Array(pages * PAGE_WORDS).fill(1).fill(0);
  for (let page = 0; page < pages; page++) {
    words[page * PAGE_WORDS] = page + 1;
    words[page * PAGE_WORDS + PAGE_WORDS - 1] = page + 1;
  }
  return words;
}

const rate = (work: () => void): number =>
  rateOf(ADDRESSES * PASSES, () => {
    for (let pass = 0; pass < PASSES; pass++) work();
  });

function figureName(what: 'loads' | 'stores', pattern: Pattern): string {
  return `${what}, ${pattern}`;
}

const LOAD_TARGETS = [
  { bound: 1 / 3, on: 'ratio' },
  { bound: 30_000_000, on: 'value' },
] as const;

export const ACCESS: Measurement = {
  name: 'access',
  section: '3',
  figures: (['loads', 'stores'] as const).flatMap((what) =>
    NAMES.map((pattern) => ({
      name: figureName(what, pattern),
      unit: '/s',
      better: 'more' as const,
      targets: what === 'loads' ? LOAD_TARGETS : [],
      note: `2^20 addresses of a buffer of 2^18 resident pages with contents`,
    })),
  ),
  async run({ rounds, quick }) {
    const pages = quick ? PAGES_QUICK : PAGES;
    const proc = newMachine().createProcess();
    const buffer = filledBuffer(proc, pages);
    const words = filledArray(pages);
    const things: Record<string, Round> = {};
    for (const pattern of NAMES) {
      const at = wordsOf(pattern, pages);
      expectEqual(`sum of ${pattern}`, loads(proc, buffer, at), bareLoads(words, at));
      things[figureName('loads', pattern)] = () => rate(() => keep(loads(proc, buffer, at)));
      things[`bare ${figureName('loads', pattern)}`] = () => rate(() => keep(bareLoads(words, at)));
    }
    for (const pattern of NAMES) {
      const at = wordsOf(pattern, pages);
      things[figureName('stores', pattern)] = () => rate(() => stores(proc, buffer, at, 7));
      things[`bare ${figureName('stores', pattern)}`] = () => rate(() => bareStores(words, at, 7));
    }
    const samples = await interleave(rounds, things);
    return (['loads', 'stores'] as const).flatMap((what) =>
      NAMES.map((pattern): Sampled => {
        const name = figureName(what, pattern);
        const bare = `/s, the same of a typed array`;
        const yardstick = { name: bare, samples: samples[`bare ${name}`]! };
        return { name, samples: samples[name]!, yardstick, small: quick };
      }),
    );
  },
};
