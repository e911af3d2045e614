/** Pages that differ between eras, with runs of pages that differ in the same way as one. */
import type { EraName } from '../core/era.ts';
import type { Va } from '../core/units.ts';
import type { ContentsDifference, PageAspect, PageDifference, PageState } from './compare-pages.ts';
import type { Verdict } from './compare-rules.ts';
import type { OperationPlace } from './compare-run.ts';

/** What one era has there in the end. */
export interface EraPageState extends Omit<PageState, 'page'> {
  readonly era: EraName;
}

/** Pages that follow each other and differ in the same way. */
export interface PageRun {
  readonly process: number;
  readonly buffer: number;
  /** First and last page, counted from the start of the buffer. */
  readonly first: number;
  readonly last: number;
  /** Of the first page. */
  readonly address: Va;
  /** In what the pages differ. */
  readonly aspects: readonly PageAspect[];
  /** By era; `mapping`, `owner` and `where` are "" where nothing is mapped. */
  readonly states: readonly (EraPageState | { readonly era: EraName; readonly absent: true })[];
  /** The values are those of the first page. */
  readonly contents: ContentsDifference | null;
  /** The operation after which the pages differed for the first time. */
  readonly since: OperationPlace;
  /** For each two neighbouring eras that differ here. */
  readonly why: readonly Verdict[];
}

/** A page that differs, with all that was found out about it. */
export interface ExplainedPage {
  readonly difference: PageDifference;
  readonly since: OperationPlace;
  readonly why: readonly Verdict[];
}

/** Folds pages, which come in order, to runs. Equal verdicts must be the same object. */
export function foldPages(eras: readonly EraName[], pages: readonly ExplainedPage[]): PageRun[] {
  const runs: PageRun[] = [];
  let lastKey = '';
  let lastWhy: readonly Verdict[] = [];
  for (const page of pages) {
    const run = runOfOne(eras, page);
    const key = likeness(run);
    const before = runs.at(-1);
    const next = key === lastKey && before?.last === run.first - 1;
    const why = run.why.length === lastWhy.length && run.why.every((one, i) => one === lastWhy[i]);
    if (before !== undefined && next && why) {
      runs[runs.length - 1] = { ...before, last: run.last };
    } else runs.push(run);
    lastKey = key;
    lastWhy = run.why;
  }
  return runs;
}

function runOfOne(eras: readonly EraName[], { difference, since, why }: ExplainedPage): PageRun {
  const { place, aspects, states, contents } = difference;
  const { process, buffer, page, address } = place;
  return {
    process,
    buffer,
    first: page,
    last: page,
    address,
    aspects,
    states: states.map((state, i) => stateIn(eras[i]!, state)),
    contents,
    since,
    why,
  };
}

function stateIn(era: EraName, state: PageState | null): PageRun['states'][number] {
  if (state === null) return { era, absent: true };
  const { where, owner, mapping, devices } = state;
  return { era, where, owner, mapping, devices };
}

/** All but the reasons, the place, and the values, which rarely are the same for two pages. */
function likeness({ process, buffer, aspects, states, contents, since }: PageRun): string {
  const amount = contents === null ? null : [contents.word, contents.words];
  return JSON.stringify([process, buffer, aspects, states, amount, since.index]);
}
