/** Operations, results and tables as text for people. */
import { stripVTControlCharacters } from 'node:util';
import {
  kernelOf,
  type MachineSpec,
  type OwnershipTable,
  type Result,
  type Step,
} from '../program/index.ts';
import colors from './colors.ts';

const LIST_MAX = 16;

/** The first line of a recording; rules that the header sets are told, too. */
export function kernelLine({ era, rules }: MachineSpec): object {
  return { kernel: kernelOf(era), ...(rules === undefined ? {} : { rules }) };
}

/** As in a program text: "@1 cpu_read 0 0 4". */
export function stepText(step: Step): string {
  const prefix = step.process === 0 ? [] : [`@${step.process}`];
  return [...prefix, step.operation.name, ...step.words].join(' ');
}

/** With its thread and the name of its result: "A: r1 = cpu_read 0 0 1". */
export function namedStepText(step: Step): string {
  const thread = step.thread === null ? '' : `${step.thread}: `;
  const label = step.label === null ? '' : `${step.label} = `;
  return `${thread}${label}${stepText(step)}`;
}

/** "ret 0  cpages 4  data 1 2 3 4"; repeated values are counted, long lists cut. */
export function resultText(result: Result): string {
  return Object.entries(result)
    .map(([name, value]) => `${colors.dim(name)} ${valueText(value)}`)
    .join('  ');
}

function valueText(value: unknown): string {
  if (!Array.isArray(value)) return String(value);
  const runs: { readonly text: string; count: number }[] = [];
  for (const text of value.map(String)) {
    const last = runs.at(-1);
    if (last?.text === text) last.count++;
    else runs.push({ text, count: 1 });
  }
  const shown = runs
    .slice(0, LIST_MAX)
    .map(({ text, count }) => (count > 2 ? `${text} ×${count}` : Array(count).fill(text).join(' ')))
    .join(' ');
  return runs.length > LIST_MAX ? `${shown} … (${value.length} in all)` : shown;
}

/** Lines of columns that are as wide as they need to be; the first line is a heading. */
export function columnLines(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, widthOf(cell));
    });
  }
  return rows.map((row, at) => {
    const line = row
      .map((cell, i) => cell + ' '.repeat(widths[i]! - widthOf(cell)))
      .join('  ')
      .trimEnd();
    return at === 0 ? colors.bold(line) : line;
  });
}

/** Colours take no room. */
function widthOf(cell: string): number {
  return stripVTControlCharacters(cell).length;
}

/** The table of pages; columns in which nothing stands are left out. */
export function tableLines({ columns, rows }: OwnershipTable): string[] {
  const kept = columns
    .map((_, i) => i)
    .filter((i) => columns[i]!.startsWith('process') || rows.some((row) => row.mappings[i] !== ''));
  const heading = ['buffer', 'pages', 'where', 'owner', ...kept.map((i) => columns[i]!)];
  const lines = rows.map((row) => [
    String(row.buffer),
    row.first === row.last ? String(row.first) : `${row.first}-${row.last}`,
    row.where === '' ? 'nowhere' : row.where,
    row.owner === '' ? '-' : row.owner,
    ...kept.map((i) => (row.mappings[i] === '' ? '-' : row.mappings[i]!)),
  ]);
  return columnLines([heading, ...lines]);
}

/** "a, b and c". */
export function listText(words: readonly string[], last: 'and' | 'or'): string {
  return words.join(', ').replace(/, (?=[^,]*$)/, ` ${last} `);
}

export function indented(lines: readonly string[], by = '  '): string[] {
  return lines.map((line) => `${by}${line}`);
}
