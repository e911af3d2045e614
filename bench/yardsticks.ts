/** Things every JavaScript program does, at the speed this computer does them now. */
import { bestRate, keep, secondsOf, type Yardstick } from './measure.ts';

const PAGE_WORDS = 1024;

/** A generator that is made, runs to its end and answers: what a call that may sleep costs. */
export function emptyGenerators(rounds: number): Yardstick {
  const count = 2_000_000;
  const value = bestRate(rounds, () => {
    const seconds = secondsOf(() => {
      let sum = 0;
      for (let i = 0; i < count; i++) sum += emptyTask(i).next().value;
      keep(sum);
    });
    return { count, seconds };
  });
  return { name: 'empty generators/s', value };
}

// biome-ignore lint/correctness/useYield: what is measured is a generator that does nothing
function* emptyTask(value: number): Generator<never, number, undefined> {
  return value;
}

/** Copies `pages` pages of 4 KiB between two arrays, page by page. */
export function pageCopies(rounds: number, pages: number): Yardstick {
  const from = new Uint32Array(pages * PAGE_WORDS).fill(1);
  const to = new Uint32Array(pages * PAGE_WORDS);
  const value = bestRate(rounds, () => {
    const seconds = secondsOf(() => {
      for (let page = 0; page < pages; page++) {
        const at = page * PAGE_WORDS;
        to.set(from.subarray(at, at + PAGE_WORDS), at);
      }
    });
    keep(to[PAGE_WORDS * (pages - 1)]!);
    return { count: pages, seconds };
  });
  return { name: 'page copies/s', value };
}

/** Reads the words of an array at the same distances as the loads that are measured. */
export function arrayReads(rounds: number, pages: number, passes: number): Yardstick {
  const words = new Uint32Array(pages * PAGE_WORDS).fill(1);
  const value = bestRate(rounds, () => {
    const seconds = secondsOf(() => {
      let sum = 0;
      for (let pass = 0; pass < passes; pass++) {
        for (let page = 0; page < pages; page++) sum += words[page * PAGE_WORDS + pass]!;
      }
      keep(sum);
    });
    return { count: pages * passes, seconds };
  });
  return { name: 'array reads/s', value };
}
