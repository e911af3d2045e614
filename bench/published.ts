// npm run bench:published: published numbers of unified memory beside those of the emulator in time.

import { parseArgs } from 'node:util';
import { publishedRows, type Row } from './published-rows.ts';

const USAGE = `npm run bench:published -- [options]

  --scale N    part of the work to do, above 0 and up to 1 (1)
  --json       one JSON object a row
`;

const EXIT_USAGE = 2;

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function printTable(rows: readonly Row[]): void {
  const cells = rows.map(({ claim, published, ours, verdict }) => [
    claim,
    published,
    ours,
    verdict,
  ]);
  const table = [['', 'published', 'ours', ''], ...cells];
  const widths = [0, 1, 2, 3].map((i) => Math.max(...table.map((row) => row[i]!.length)));
  for (const row of table) {
    print(
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    );
  }
  print('');
  for (const { claim, note, source } of rows) print(`${claim} (${source}): ${note}.`);
  print('');
  const count = (verdict: string): number => rows.filter((row) => row.verdict === verdict).length;
  const verdicts = ['in range', 'direction', 'differs', 'not modelled'];
  print(verdicts.map((verdict) => `${count(verdict)} ${verdict}`).join(', '));
}

function readOptions(): { readonly scale: number; readonly json: boolean } | null {
  const { values } = parseArgs({
    options: {
      scale: { type: 'string', default: '1' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return null;
  const scale = Number(values.scale);
  if (!(scale > 0 && scale <= 1)) {
    throw new TypeError(`--scale ${values.scale}: expected a number above 0, up to 1`);
  }
  return { scale, json: values.json };
}

function main(): number {
  let options: ReturnType<typeof readOptions>;
  try {
    options = readOptions();
  } catch (error) {
    process.stderr.write(`bench:published: ${(error as Error).message}\n\n${USAGE}`);
    return EXIT_USAGE;
  }
  if (options === null) {
    print(USAGE);
    return 0;
  }
  const rows: Row[] = [];
  for (const row of publishedRows(options.scale)) {
    rows.push(row);
    if (options.json) print(JSON.stringify(row));
  }
  if (!options.json) printTable(rows);
  return 0;
}

process.exitCode = main();
