/** What a comparison of eras says to people. */
import { hex } from '../core/units.ts';
import type { Result } from '../program/index.ts';
import type { ComparableText, OperationDifference, ProgramComparison } from '../trace/compare.ts';
import type { EraPageState, PageRun } from '../trace/compare-fold.ts';
import type { RuleChange, Verdict } from '../trace/compare-rules.ts';
import type { OperationPlace, Outcome, Trespass } from '../trace/compare-run.ts';
import colors from './colors.ts';
import { columnLines, indented, resultText } from './format.ts';
import { foldTrespasses, type TrespassRun, trespassText } from './trespass-text.ts';

/** So many runs of pages, and so many trespasses of an era, are shown; JSON has them all. */
const SHOWN_MAX = 20;

export function leftOutLines({ eras, leftOut }: ComparableText): string[] {
  if (leftOut.length === 0) return [];
  const lines = leftOut.map(({ era, reason }) => `${era} is left out: ${reason}`);
  return [...lines, `compared are ${eras.join(', ')}`, ''];
}

export function comparisonLines(comparison: ProgramComparison): string[] {
  const { program, eras, equal, differences, stopped } = comparison;
  const name = colors.bold(`program ${program}`);
  if (equal) return [`${name}  the same in ${andList(eras)}`, ...stoppedLines(comparison)];
  const told = new Set<string>();
  const lines = [`${name}  differs between ${andList(eras)}`];
  differences.forEach((difference, i) => {
    const title = i === 0 ? 'first difference' : `first between ${pairsText(difference.why)}`;
    lines.push(...differenceLines(difference, title, eras, told));
  });
  if (differences.length === 0) lines.push('  every operation is answered the same');
  if (stopped !== null) lines.push(...stoppedLines(comparison));
  lines.push(...pagesLines(comparison, told), ...trespassLines(comparison, told));
  return lines;
}

function differenceLines(
  difference: OperationDifference,
  title: string,
  eras: readonly string[],
  told: Set<string>,
): string[] {
  const answers = eras.map((era, i) => [era, outcomeText(difference.outcomes[i]!)]);
  return [
    `  ${title}: ${placeText(difference)}`,
    ...indented(columnLines([['', ''], ...answers]).slice(1), '    '),
    ...indented(
      difference.why.flatMap((verdict) => verdictLines(verdict, 'answer', eras, told)),
      '    ',
    ),
  ];
}

function outcomeText(outcome: Outcome): string {
  if ('result' in outcome) return resultOr(outcome.result);
  const { code, message } = outcome.error;
  const hangs = code === 'deadlock' || code === 'refault-livelock';
  return `${hangs ? 'never returns' : 'breaks down'}: ${message.replaceAll('\n', ' ')}`;
}

function resultOr(result: Result): string {
  const text = resultText(result);
  return text === '' ? 'ends well' : text;
}

function stoppedLines({ stopped }: ProgramComparison): string[] {
  if (stopped === null) return [];
  const where = placeText(stopped);
  return [`  ${andList(stopped.eras)} got no further than ${where}; compared is what came so far`];
}

/** "v5.6 and v5.7, v6.1 and v6.12" */
function pairsText(why: readonly Verdict[]): string {
  return why.map(({ older, newer }) => `${older} and ${newer}`).join(', ');
}

/** "line 7: cpu_write 0 0 4 1" */
function placeText({ line, operation }: OperationPlace): string {
  return line === null ? 'the end of the program' : `line ${line}: ${operation}`;
}

// --- Why --------------------------------------------------------------------------------------

/** A rule, and what the experiments showed, is explained where it is named for the first time. */
function verdictLines(
  verdict: Verdict,
  what: 'answer' | 'page' | 'trespasses',
  eras: readonly string[],
  told: Set<string>,
): string[] {
  const { rules, older, newer } = verdict;
  const head = eras.length > 2 ? `why ${older} to ${newer}  ` : 'why  ';
  const space = ' '.repeat(head.length);
  const lines = rules.map((rule, i) => `${i === 0 ? head : space}${ruleText(rule, told)}`);
  const proof = proofText(verdict, what);
  const key = `${older} ${newer} ${proof}`;
  if (told.has(key)) return lines;
  told.add(key);
  return [...lines, `${space}${proof}`];
}

function ruleText({ key, since, commit, summary }: RuleChange, told: Set<string>): string {
  const name = colors.bold(key);
  const release = commit === null ? since : `${since}, ${commit}`;
  const id = `${key} ${since}`;
  if (told.has(id)) return `${name} (${since})`;
  told.add(id);
  return `${name} (${release}): ${summary}`;
}

/** What the experiments showed. */
function proofText({ need, older, newer, back }: Verdict, what: string): string {
  const rules = {
    one: 'this rule alone gives',
    any: 'each of these rules alone gives',
    all: 'only together they give',
  };
  const forward = `${rules[need]} ${older} the ${what} of ${newer}`;
  const without = need === 'one' ? 'without it' : 'without them';
  return back ? `${forward}; ${without} ${newer} has the ${what} of ${older}` : forward;
}

// --- Pages ------------------------------------------------------------------------------------

function pagesLines({ pages, eras }: ProgramComparison, told: Set<string>): string[] {
  if (pages.length === 0) return ['  no page differs at the end'];
  const lines = ['  pages that differ at the end'];
  for (const run of pages.slice(0, SHOWN_MAX)) {
    const { process: number, buffer, first, last, address, since } = run;
    const range = first === last ? `page ${first}` : `pages ${first}-${last}`;
    const place = `process ${number}, buffer ${buffer}, ${range} at ${hex(address)}`;
    lines.push(`    ${place}, since ${placeText(since)}`);
    lines.push(...indented(columnLines(stateRows(run, eras)), '      '));
    const why = run.why.flatMap((verdict) => verdictLines(verdict, 'page', eras, told));
    lines.push(...indented(why, '      '));
  }
  const more = pages.length - SHOWN_MAX;
  if (more > 0) lines.push(`    ${more} more runs of pages; --json lists them`);
  return lines;
}

/** A heading with the eras, and a row for all that differs; whose the page is always has one. */
function stateRows({ states, contents }: PageRun, eras: readonly string[]): string[][] {
  const rows = [
    ['', ...eras],
    ['owner', ...cells(states, ownerText)],
  ];
  const mappings = cells(states, ({ mapping }) => mapping);
  if (new Set(mappings).size > 1) rows.push(['mapping', ...mappings]);
  const devices = states.flatMap((state) => ('absent' in state ? [] : Object.keys(state.devices)));
  for (const device of new Set(devices)) {
    const mapped = cells(states, (state) => state.devices[device] ?? '');
    if (new Set(mapped).size > 1) rows.push([`in ${device}`, ...mapped]);
  }
  if (contents !== null) {
    const { word, words, values } = contents;
    const more = words === 1 ? '' : `, first of ${words}`;
    rows.push([`word ${word}${more}`, ...values.map((value) => String(value ?? '-'))]);
  }
  return rows;
}

function cells(states: PageRun['states'], of: (state: EraPageState) => string): string[] {
  return states.map((state) => ('absent' in state ? 'no buffer' : of(state) || '-'));
}

function ownerText({ owner, where }: EraPageState): string {
  if (owner === where) return owner;
  return owner === '' ? where : `${owner} (${where})`;
}

// --- Trespasses -------------------------------------------------------------------------------

function trespassLines(comparison: ProgramComparison, told: Set<string>): string[] {
  const { trespasses, whyTrespasses, eras, pageSize } = comparison;
  const lines = trespasses.flatMap(({ era, list }) => {
    const runs = foldTrespasses(list, pageSize);
    const shown = runs.slice(0, SHOWN_MAX).map((run) => `    ${era}  ${placedText(run)}`);
    const more = runs.length - shown.length;
    return more > 0 ? [...shown, `    ${era}  and ${more} more; --json lists them`] : shown;
  });
  if (lines.length === 0) return [];
  const why = whyTrespasses.flatMap((verdict) => verdictLines(verdict, 'trespasses', eras, told));
  return ['  device memory used by others than its owner', ...lines, ...indented(why, '    ')];
}

function placedText(run: TrespassRun<Trespass>): string {
  const { line } = run.first;
  return `${line === null ? 'at the end' : `line ${line}`}: ${trespassText(run)}`;
}

/** "v5.6, v5.7 and v5.10" */
function andList(words: readonly string[]): string {
  if (words.length < 2) return words.join('');
  return `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}
