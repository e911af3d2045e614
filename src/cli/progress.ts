/** How far reading a long input is: a bar, a rate, and the time left. */
import type { ReadProgress } from '../node/trace-input.ts';
import { Progress } from './output.ts';

const BAR_CELLS = 24;

/** Shown on a terminal while a trace is read; quiet in a pipe. */
export class ReadingBar {
  readonly #line: Progress = new Progress();
  readonly #began: number = performance.now();

  update(progress: ReadProgress): void {
    this.#line.update(barText(progress, (performance.now() - this.#began) / 1000));
  }

  clear(): void {
    this.#line.clear();
  }

  /** Accesses a second since it was made. */
  rate(accesses: number): number {
    return accesses / Math.max(1e-3, (performance.now() - this.#began) / 1000);
  }
}

/** "[####....]  43%  12.3 M accesses/s  8 s left" */
export function barText({ bytes, bytesTotal, counts }: ReadProgress, seconds: number): string {
  const rate = `${rateText(counts.accesses / Math.max(seconds, 1e-3))} accesses/s`;
  if (bytesTotal === null || bytesTotal === 0)
    return `${rateText(counts.accesses)} accesses  ${rate}`;
  const part = Math.min(1, bytes / bytesTotal);
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
