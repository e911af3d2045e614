// npm run bench: how fast the emulator is, what is asked of it, and what this computer can do.

import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { accessFigures } from './access.ts';
import { engineFigures } from './engine.ts';
import { exploreFigures } from './explore.ts';
import { type Figure, passes, ratioOf } from './measure.ts';
import { memoryFigures } from './memory.ts';
import { bulkFigures, faultFigures } from './migration.ts';
import { replayFigures } from './replay.ts';

const USAGE = `npm run bench -- [options]

  --rounds N   the best of so many counts (7)
  --json       one JSON object a figure
`;

const COLUMNS = ['', 'measured', 'floor', '', 'ratio', 'to'] as const;
const EXIT_BELOW_FLOOR = 1;
const EXIT_USAGE = 2;

function* figures(rounds: number): Generator<Figure, void, undefined> {
  // First, while the heap is small.
  yield* memoryFigures();
  yield* faultFigures(rounds);
  yield* bulkFigures(rounds);
  yield* accessFigures(rounds);
  yield* engineFigures(rounds);
  yield* exploreFigures(Math.min(rounds, 5));
  yield* replayFigures(Math.min(rounds, 3));
}

/** Three digits that count, with commas: 1,240,000 or 0.123. */
function numberText(value: number): string {
  if (value < 100) return String(Number(value.toPrecision(3)));
  return Number(value.toPrecision(3)).toLocaleString('en-US');
}

function rowOf(figure: Figure): string[] {
  const { name, value, unit, floor, lessIsBetter, yardstick } = figure;
  const pass = passes(figure);
  const ratio = ratioOf(figure);
  return [
    name,
    `${numberText(value)}${unit}`,
    floor === null ? '' : `${lessIsBetter ? '<= ' : '>= '}${numberText(floor)}`,
    pass === null ? '' : pass ? 'pass' : 'FAIL',
    ratio === null ? '' : numberText(ratio),
    yardstick === null ? '' : `${numberText(yardstick.value)} ${yardstick.name}`,
  ];
}

function printTable(all: readonly Figure[]): void {
  const rows = [[...COLUMNS], ...all.map(rowOf)];
  const widths = COLUMNS.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  for (const row of rows) {
    const cells = row.map((cell, i) =>
      i === 0 || i === COLUMNS.length - 1 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!),
    );
    print(cells.join('  ').trimEnd());
  }
  print('');
  for (const { name, note } of all) print(`${name}: ${note}`);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function readOptions(): { readonly rounds: number; readonly json: boolean } | null {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '7' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return null;
  if (!/^[1-9]\d?$/.test(values.rounds)) {
    throw new TypeError(`--rounds ${values.rounds}: expected a number from 1 to 99`);
  }
  return { rounds: Number(values.rounds), json: values.json };
}

function main(): number {
  let options: ReturnType<typeof readOptions>;
  try {
    options = readOptions();
  } catch (error) {
    process.stderr.write(`bench: ${(error as Error).message}\n\n${USAGE}`);
    return EXIT_USAGE;
  }
  if (options === null) {
    print(USAGE);
    return 0;
  }
  const { rounds, json } = options;
  if (!json) print(`node ${process.version}, ${cpus().length} x ${cpus()[0]?.model}\n`);
  const all: Figure[] = [];
  for (const figure of figures(rounds)) {
    all.push(figure);
    if (json) {
      print(JSON.stringify({ ...figure, ratio: ratioOf(figure), pass: passes(figure) }));
    }
  }
  if (!json) printTable(all);
  return all.some((figure) => passes(figure) === false) ? EXIT_BELOW_FLOOR : 0;
}

process.exitCode = main();
