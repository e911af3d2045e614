/** The life of a page as lines for people. */

import { hex } from '../core/units.ts';
import type {
  AttemptExplained,
  Cause,
  ChangeExplained,
  Invalidation,
  PageExplained,
} from './explain.ts';
import type { OwnerSpan } from './history.ts';
import { ownerWords, toldWords, type Worded, words } from './words.ts';

/** What a page is called besides its address: "buffer 0, page 3"; null for nothing. */
export type PlaceNames = (va: number) => string | null;

/** One block a change, with the owners in order before them. */
export function explainLines(page: PageExplained, nameOf: PlaceNames = () => null): string[] {
  const name = nameOf(page.start);
  const called = name === null ? '' : ` (${name})`;
  const head = `process ${page.pid}, page ${hex(page.start)}-${hex(page.end)}${called}`;
  const moment = momentLines(page);
  return [
    head,
    ...ownerLines(page.owners),
    ...moment,
    ...page.steps.flatMap((step) => [
      '',
      ...(step.type === 'change' ? changeLines(step) : attemptLines(step)),
    ]),
  ];
}

function momentLines({ at, owner, steps }: PageExplained): string[] {
  if (at === null) return [];
  const when = 'event' in at ? `at record #${at.event}` : `at ${at.timeNs} ns`;
  const how = steps.length === 0 ? ' No record before it speaks of the page.' : '';
  return ['', `${when} it belonged to ${ownerWords(owner)}.${how}`];
}

/** Where no virtual time passed, record numbers say it all. */
function ownerLines(owners: readonly OwnerSpan[]): string[] {
  const timed = owners.some(({ fromNs, toNs }) => fromNs > 0 || (toNs ?? 0) > 0);
  return owners.map((span) => `  ${spanText(span, timed)}`.trimEnd());
}

function spanText({ owner, page, begin, end, fromNs, toNs }: OwnerSpan, timed: boolean): string {
  const from = begin === null ? 'the start' : `#${begin.id}`;
  const to = end === null ? 'the end' : `#${end.id}`;
  const time = timed ? `${fromNs} ns to ${toNs === null ? 'the end' : `${toNs} ns`}` : '';
  const frame = page === null ? '' : `, frame ${page}`;
  return `${`${from} to ${to}`.padEnd(18)} ${`${ownerWords(owner)}${frame}`.padEnd(32)} ${time}`;
}

function changeLines(step: ChangeExplained): string[] {
  const { change, chain, complete, steps, invalidations, trespasses } = step;
  const rows: (readonly [Worded, number | null])[] = [];
  if (!complete) {
    rows.push([{ label: '…', text: 'what led to it came before the recording began' }, null]);
  }
  for (const cause of chain.slice(0, -1)) rows.push(rowOf(cause));
  if (steps.length > 0) {
    const text = steps.map(({ step: name, begin }) => `${name} #${begin}`).join(', ');
    rows.push([{ label: 'steps', text }, null]);
  }
  for (const one of invalidations) rows.push(toldRow(one, change.pid));
  for (const one of trespasses) rows.push([words(one, null), one.id]);
  rows.push([{ label: 'result', text: resultText(step) }, change.id]);
  const { from, to } = change;
  const what =
    from === to ? `${ownerWords(to)}, another frame` : `${ownerWords(from)} -> ${ownerWords(to)}`;
  const title = `#${change.id}  ${what}`;
  return [`${title}, at ${change.timeNs} ns`, ...rowLines(rows)];
}

function attemptLines({ chain, owner, times }: AttemptExplained): string[] {
  const { event } = chain.at(-1)!;
  const rows = chain.map(rowOf);
  const result = { label: 'result', text: `the page stays with ${ownerWords(owner)}` };
  const who = times === 1 ? 'a migration' : `${times} migrations in a row`;
  const title = `#${event.id}  ${who} left it where it was, at ${event.timeNs} ns`;
  return [title, ...rowLines([...rows, [result, null]])];
}

function rowOf({ event, end }: Cause): readonly [Worded, number] {
  return [words(event, end), event.id];
}

function toldRow({ invalidate, told }: Invalidation, pid: number): readonly [Worded, number] {
  const { event, owner, id } = invalidate;
  const by = owner === null ? '' : ` by ${owner}`;
  const whose = invalidate.pid === pid ? '' : ` in process ${invalidate.pid}`;
  return [{ label: 'told', text: `"${event}"${by}${whose}: ${toldWords(told)}` }, id];
}

function resultText({ change, frameBefore }: ChangeExplained): string {
  const { from, to, page } = change;
  const was = frameBefore === null ? '' : `; it was frame ${frameBefore}`;
  if (to === null) return 'the process maps no page there any more';
  if (from === to) return `still ${ownerWords(to)}, but another one: frame ${page}${was}`;
  return `${ownerWords(to)} has the page: frame ${page}${was}`;
}

function rowLines(rows: readonly (readonly [Worded, number | null])[]): string[] {
  return rows.map(([{ label, text }, id]) => {
    const number = id === null ? '' : `#${id}`;
    return `    ${label.padEnd(12)}  ${number.padEnd(7)} ${text}`;
  });
}
