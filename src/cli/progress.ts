/** How far reading a long input is: a bar, a rate, and the time left. */
import type { ReadProgress } from '../node/trace-input.ts';
import { Progress } from './output.ts';

const BAR_CELLS = 24;

/** How much of something long is done, in bytes or whatever it comes in. */
export interface Portion {
  readonly done: number;
  /** Null where nobody knows. */
  readonly total: number | null;
  readonly accesses: number;
}

/** Shown on a terminal while a trace is read or made; quiet in a pipe. */
export class ReadingBar {
  readonly #line: Progress = new Progress();
  readonly #began: number = performance.now();

  update(portion: Portion): void {
    this.#line.update(barText(portion, (performance.now() - this.#began) / 1000));
  }

  clear(): void {
    this.#line.clear();
  }

  /** Accesses a second since it was made. */
  rate(accesses: number): number {
    return accesses / Math.max(1e-3, (performance.now() - this.#began) / 1000);
  }
}

/** Of a trace that is read: its bytes. */
export function portionRead({ bytes, bytesTotal, counts }: ReadProgress): Portion {
  return { done: bytes, total: bytesTotal, accesses: counts.accesses };
}

/** "[####....]  43%  12.3 M accesses/s  8 s left" */
export function barText({ done, total, accesses }: Portion, seconds: number): string {
  const rate = `${rateText(accesses / Math.max(seconds, 1e-3))} accesses/s`;
  if (total === null || total === 0) return `${rateText(accesses)} accesses  ${rate}`;
  const part = Math.min(1, done / total);
  const full = Math.round(part * BAR_CELLS);
  const bar = `[${'#'.repeat(full)}${'.'.repeat(BAR_CELLS - full)}]`;
  const percent = `${Math.floor(part * 100)}%`.padStart(4);
  const left = part > 0 ? `  ${Math.ceil((seconds * (1 - part)) / part)} s left` : '';
  return `${bar} ${percent}  ${rate}${left}`;
}

/** Three digits that count, with a unit: "12.3 M". */
export function rateText(value: number): string {
  for (const [unit, size] of UNITS) {
    if (value >= size) return `${(value / size).toPrecision(3)} ${unit}`;
  }
  return String(Math.round(value));
}

const UNITS = [
  ['G', 1e9],
  ['M', 1e6],
  ['k', 1e3],
] as const;
