/** Where a recording has pages. */
import type { Va } from '../core/units.ts';
import type { History } from './history.ts';

/** Pages of one process that follow each other. */
export interface PageRange {
  readonly pid: number;
  /** First byte, and the first after the last. */
  readonly start: Va;
  readonly end: Va;
}

/** Every range that had pages at some time, by process and address. */
export function pageRanges(history: History): PageRange[] {
  const { pageSize } = history.recording.meta;
  const ranges: PageRange[] = [];
  for (const { pid, va } of history.pages()) {
    const last = ranges.at(-1);
    if (last?.pid === pid && last.end === va) {
      ranges[ranges.length - 1] = { ...last, end: va + pageSize };
    } else ranges.push({ pid, start: va, end: va + pageSize });
  }
  return ranges;
}
