/** Loads and stores that need no fault. */
import { Machine, MiB, PAGE_SIZE } from '../src/index.ts';
import { bestRate, type Figure, keep, secondsOf } from './measure.ts';
import { arrayReads } from './yardsticks.ts';

const PAGES = 4096;
const PASSES = 512;

export function accessFigures(rounds: number): Figure[] {
  const machine = new Machine({ ramBytes: 64 * MiB });
  const proc = machine.createProcess();
  const buffer = proc.mmap({ pages: PAGES });
  for (let i = 0; i < PAGES; i++) proc.store32(buffer + i * PAGE_SIZE, 1);
  const count = PAGES * PASSES;
  const loads = bestRate(rounds, () => {
    const seconds = secondsOf(() => {
      let sum = 0;
      for (let pass = 0; pass < PASSES; pass++) {
        const word = buffer + pass * 4;
        for (let i = 0; i < PAGES; i++) sum += proc.load32(word + i * PAGE_SIZE);
      }
      keep(sum);
    });
    return { count, seconds };
  });
  const stores = bestRate(rounds, () => {
    const seconds = secondsOf(() => {
      for (let pass = 0; pass < PASSES; pass++) {
        const word = buffer + pass * 4;
        for (let i = 0; i < PAGES; i++) proc.store32(word + i * PAGE_SIZE, pass);
      }
    });
    return { count, seconds };
  });
  const yardstick = arrayReads(rounds, PAGES, PASSES);
  const common = { unit: '/s', yardstick, lessIsBetter: false } as const;
  const note = `a word of each of ${PAGES} resident pages in turn, ${PASSES} times`;
  return [
    { ...common, name: 'loads without a fault', value: loads, floor: 20_000_000, note },
    { ...common, name: 'stores without a fault', value: stores, floor: null, note },
  ];
}
