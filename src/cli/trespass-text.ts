/** Trespasses in words: "nouveau1's migration took page 0x100000000 of process 0, owned by nouveau0". */
import { hex } from '../core/units.ts';
import type { Trespass } from '../trace/compare-run.ts';

/** What is told of a trespass; those of one `index` may be told together. */
export type ToldTrespass = Pick<
  Trespass,
  'index' | 'by' | 'what' | 'owner' | 'process' | 'va' | 'page'
>;

/** Pages that one operation took, one after another. */
export interface TrespassRun<T extends ToldTrespass = ToldTrespass> {
  readonly first: T;
  readonly last: T;
  readonly pages: number;
}

export function foldTrespasses<T extends ToldTrespass>(
  list: readonly T[],
  pageSize: number,
): TrespassRun<T>[] {
  const runs: TrespassRun<T>[] = [];
  for (const trespass of list) {
    const before = runs.at(-1);
    if (before !== undefined && follows(trespass, before.last, pageSize)) {
      runs[runs.length - 1] = { ...before, last: trespass, pages: before.pages + 1 };
    } else runs.push({ first: trespass, last: trespass, pages: 1 });
  }
  return runs;
}

function follows(next: ToldTrespass, last: ToldTrespass, pageSize: number): boolean {
  const alike = (['index', 'by', 'what', 'owner', 'process'] as const).every(
    (key) => next[key] === last[key],
  );
  if (!alike) return false;
  return last.va === null
    ? next.va === null && next.page === last.page + 1
    : next.va === last.va + pageSize;
}

export function trespassText({ first, pages }: TrespassRun): string {
  const { by, what, owner, process: number } = first;
  const deed = { migrate: `${by}'s migration took`, read: `${by} read`, write: `${by} wrote` };
  const space = number === null ? '' : ` of process ${number}`;
  const object =
    pages === 1 ? `page ${addressOf(first)}` : `${pages} pages from ${addressOf(first)}`;
  return `${deed[what]} ${object}${space}, owned by ${owner}`;
}

function addressOf({ va, page }: ToldTrespass): string {
  return va === null ? `number ${page}` : hex(va);
}
