/** Figures for people: a table on the terminal, and one for the documentation. */
import type { ComparedRuns } from './compare.ts';
import type { BenchDocument } from './document.ts';
import type { Figure, Target } from './figure.ts';
import { median } from './statistics.ts';

/** A figure whose samples lie further apart than this is marked. */
export const SPREAD_WARNING = 0.1;

const COLUMNS = ['', '', 'measured', 'spread', 'target', '', 'ratio', 'to'] as const;
const WIDTHS = [4, 52, 15, 7, 24, 5, 8, 0] as const;
const TO_THE_RIGHT: ReadonlySet<number> = new Set([2, 3, 6]);

/** Three digits that count, with commas: 1,240,000 or 0.123. */
export function numberText(value: number): string {
  if (Math.abs(value) < 100) return String(Number(value.toPrecision(3)));
  return Number(value.toPrecision(3)).toLocaleString('en-US');
}

/** A round number as it was given. */
function boundText(bound: number): string {
  return Number.isInteger(bound) ? bound.toLocaleString('en-US') : numberText(bound);
}

function percent(part: number): string {
  return `${(part * 100).toFixed(part < 0.0995 ? 1 : 0)}%`;
}

/** Near 1, where a percent may decide, with a digit more. */
function ratioText(ratio: number | null): string {
  if (ratio === null) return '';
  return `${Math.abs(ratio - 1) < 0.1 ? ratio.toFixed(3) : numberText(ratio)}x`;
}

function targetText({ better, targets }: Figure, unit: string): string {
  const sign = better === 'more' ? '>=' : '<=';
  const one = ({ bound, on }: Target): string =>
    `${sign} ${boundText(bound)}${on === 'ratio' ? 'x' : unit}`;
  return targets.map(one).join(', ');
}

function verdict({ holds }: Figure): string {
  return holds === null ? '' : holds ? 'holds' : 'FAILS';
}

function row(cells: readonly string[]): string {
  return cells
    .map((cell, i) => (TO_THE_RIGHT.has(i) ? cell.padStart(WIDTHS[i]!) : cell.padEnd(WIDTHS[i]!)))
    .join('  ')
    .trimEnd();
}

export function headerLine(): string {
  return row(COLUMNS);
}

export function figureLine(figure: Figure): string {
  const { section, name, unit, samples, spread, yardstick, ratio } = figure;
  const apart = samples.length === 1 ? 'once' : `±${percent(spread)}`;
  return row([
    section,
    name,
    `${numberText(figure.median)}${unit}`,
    spread > SPREAD_WARNING ? `${apart}!` : apart,
    targetText(figure, unit),
    verdict(figure),
    ratioText(ratio),
    yardstick === null ? '' : `${numberText(median(yardstick.samples))} ${yardstick.name}`,
  ]);
}

/** What is behind the figures, and which of them deserve doubt. */
export function closingLines(figures: readonly Figure[]): string[] {
  const notes = figures.map(({ name, note, samples, unit }) => {
    const range = samples.length === 1 ? [] : [Math.min(...samples), Math.max(...samples)];
    const between = range.length === 0 ? '' : ` [${range.map(numberText).join(' to ')}${unit}]`;
    return `  ${name}: ${note}${between}`;
  });
  const judged = figures.filter(({ holds }) => holds !== null);
  const failing = judged.filter(({ holds }) => holds === false);
  const loose = figures.filter(({ spread }) => spread > SPREAD_WARNING);
  const lines = ['', ...notes, '', `${judged.length - failing.length} of ${judged.length} hold`];
  for (const { name } of failing) lines.push(`  fails: ${name}`);
  for (const { name, spread } of loose) {
    lines.push(`  doubtful: ${name}: its samples spread by ${percent(spread)}`);
  }
  return lines;
}

/** Sizes are the same on every computer, speeds are not: those are shown as ratios only. */
function isSize({ unit }: Figure): boolean {
  return unit === ' bytes' || unit === ' MiB';
}

/** What is asked, and how much of that was measured. */
function reachedText(figure: Figure): string {
  const { better, targets, median: value, ratio, unit } = figure;
  const sign = better === 'more' ? 'at least' : 'at most';
  return targets
    .map(({ bound, on }) => {
      const reached = (on === 'value' ? value : ratio!) / bound;
      const of = on === 'value' ? unit : 'x';
      return `${sign} ${boundText(bound)}${of}: ${(reached * 100).toFixed(0)}%`;
    })
    .join(', ');
}

export function markdownLines({ figures, node, cores, quick }: BenchDocument): string[] {
  const lines = [
    `Node ${node}, ${cores} cores${quick ? ', smaller sizes' : ''}.`,
    '',
    '| target | figure | ratio | to | asked: reached | |',
    '| --- | --- | --- | --- | --- | --- |',
  ];
  for (const figure of figures) {
    const { section, name, unit, yardstick } = figure;
    const size = isSize(figure) ? `${numberText(figure.median)}${unit}` : '';
    const cells = [
      section,
      name,
      size === '' ? ratioText(figure.ratio) : size,
      yardstick?.name ?? '',
      reachedText(figure),
      verdict(figure),
    ];
    lines.push(`| ${cells.join(' | ')} |`.replace(/ {2,}/g, ' '));
  }
  return lines;
}

export function comparisonLines(compared: ComparedRuns, path: string): string[] {
  const { figures, added, gone, doubts } = compared;
  const lines = [`compared with ${path}: above 1 is better than it was; * more than the spread`];
  for (const doubt of doubts) lines.push(`  not the same: ${doubt}`);
  for (const { name, better, yardstick, certain } of figures) {
    const mark = certain ? '*' : ' ';
    const machine = yardstick === null ? '' : `  yardstick ${yardstick.toFixed(2)}x`;
    lines.push(`  ${name.padEnd(WIDTHS[1])}  ${better.toFixed(2).padStart(6)}x ${mark}${machine}`);
  }
  for (const name of added) lines.push(`  ${name}: new`);
  for (const name of gone) lines.push(`  ${name}: not measured now`);
  return lines.map((line) => line.trimEnd());
}
