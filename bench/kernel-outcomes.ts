// What a real kernel showed on two CPUs beside what the search finds possible, as a table.

import { parseArgs } from 'node:util';
import type { Search } from '../src/explore/index.ts';
import {
  EXEMPT,
  type KernelOutcome,
  missingOutcomes,
  type OurOutcome,
  type OutcomeCase,
  outcomeCases,
  outcomesOf,
  ownOutcomes,
  resultsText,
  sameOutcome,
  startSearch,
} from './outcome-rows.ts';

const USAGE = `npx tsx bench/kernel-outcomes.ts [options]

  --program NAME   one program only
  --bound N        at most N preemptions in the last search of each program (without limit)
  --seconds S      at most so long for the last search of each program (120)
  --own            the outcomes of ours that the kernel never showed, too
`;

const EXIT_USAGE = 2;
/** Preemptions tried one after the other until every outcome is found. */
const BOUNDS_TRIED = 5;
/** What a search is bound to that takes longer than it may without a bound. */
const BOUND_OF_LONG = 3;

interface Needed {
  readonly bound: number;
  /** Of all bounds up to this one together. */
  readonly schedules: number;
}

interface Options {
  readonly program: string | null;
  readonly bound: number | null;
  readonly seconds: number;
  readonly own: boolean;
}

interface Row {
  readonly one: OutcomeCase;
  readonly found: ReadonlyMap<string, OurOutcome>;
  readonly missing: readonly KernelOutcome[];
  readonly needed: Needed | null;
  readonly last: string;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** With how few preemptions every outcome but the exempt ones is found; null for none tried. */
function neededFor(one: OutcomeCase): Needed | null {
  let schedules = 0;
  for (let bound = 0; bound < BOUNDS_TRIED; bound++) {
    const search = startSearch(one, { bound });
    while (search.step());
    schedules += search.progress.runs;
    const missing = missingOutcomes(one, outcomesOf(one, search));
    if (missing.every(({ exempt }) => exempt !== undefined)) return { bound, schedules };
  }
  return null;
}

function rowOf(one: OutcomeCase, options: Options): Row {
  let search = wholeSearch(one, options.bound, options.seconds);
  let { bound } = options;
  if (!search.complete && bound === null) {
    // A part of a search without a bound says less than a whole one with a bound.
    bound = BOUND_OF_LONG;
    search = wholeSearch(one, bound, options.seconds);
  }
  const found = outcomesOf(one, search);
  const runs = search.progress.runs.toLocaleString('en');
  const last = `${runs} | ${bound ?? 'none'}${search.complete ? '' : ', not to the end'}`;
  return { one, found, missing: missingOutcomes(one, found), needed: neededFor(one), last };
}

function wholeSearch(one: OutcomeCase, bound: number | null, seconds: number): Search {
  const search = startSearch(one, { bound });
  const end = performance.now() + 1000 * seconds;
  while (search.step() && performance.now() < end);
  return search;
}

function printTable(rows: readonly Row[]): void {
  print(
    '| program | kernel runs | outcomes of the kernel, with counts | all among ours | ours ' +
      '| schedules until all were found (bound) | schedules of the whole search | bound |',
  );
  print('|---|---|---|---|---|---|---|---|');
  for (const { one, found, missing, needed, last } of rows) {
    const { program, runs, outcomes } = one.kernel;
    const counts = outcomes.map(({ count }) => count.toLocaleString('en')).join(' · ');
    const without = missing.filter(({ exempt }) => exempt === undefined).length;
    const exempt = outcomes.filter((outcome) => outcome.exempt !== undefined);
    const share = exempt.reduce((sum, { count }) => sum + count, 0);
    const all =
      without > 0
        ? `**no: ${without} missing**`
        : exempt.length === 0
          ? 'yes'
          : `yes, but for ${exempt.length} exempt (${share} ${share === 1 ? 'run' : 'runs'})`;
    const until =
      needed === null ? 'not found' : `${needed.schedules.toLocaleString('en')} (${needed.bound})`;
    print(
      `| ${program} | ${runs.toLocaleString('en')} | ${outcomes.length}: ${counts} | ${all} ` +
        `| ${found.size} | ${until} | ${last} |`,
    );
  }
  print('');
  for (const [name, why] of Object.entries(EXEMPT)) print(`Exempt, ${name}: ${why}.`);
}

function printOutcomes({ one, found }: Row, own: boolean): void {
  const { program, outcomes } = one.kernel;
  print(`\n### ${program}\n`);
  print('| kernel | of these stalled | what came out | ours |');
  print('|---|---|---|---|');
  for (const outcome of outcomes) {
    const { count, stalled, results, freed, exempt } = outcome;
    const ours = sameOutcome(found, outcome)?.token ?? (exempt ? `exempt: ${exempt}` : 'no');
    const note = freed === undefined ? '' : ` (${freed.join(' and ')}: freed memory)`;
    print(`| ${count} | ${stalled} | ${resultsText(results)}${note} | ${ours} |`);
  }
  if (!own) return;
  for (const { token, results } of ownOutcomes(one, found)) {
    print(`| 0 | 0 | ${resultsText(results)} | ${token} |`);
  }
}

function readOptions(): Options | null {
  const { values } = parseArgs({
    options: {
      program: { type: 'string' },
      bound: { type: 'string' },
      seconds: { type: 'string', default: '120' },
      own: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return null;
  const bound = values.bound === undefined ? null : Number(values.bound);
  if (bound !== null && !(Number.isSafeInteger(bound) && bound >= 0)) {
    throw new TypeError(`--bound ${values.bound}: expected a whole number from 0 on`);
  }
  const seconds = Number(values.seconds);
  if (!(seconds > 0)) throw new TypeError(`--seconds ${values.seconds}: expected more than 0`);
  return { program: values.program ?? null, bound, seconds, own: values.own };
}

function main(): number {
  let options: Options | null;
  try {
    options = readOptions();
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${USAGE}`);
    return EXIT_USAGE;
  }
  if (options === null) {
    print(USAGE);
    return 0;
  }
  const wanted = options;
  const cases = outcomeCases().filter(
    ({ kernel }) => wanted.program === null || kernel.program === wanted.program,
  );
  if (cases.length === 0) {
    process.stderr.write(`--program ${wanted.program}: there is no such program\n\n${USAGE}`);
    return EXIT_USAGE;
  }
  const rows = cases.map((one) => rowOf(one, wanted));
  printTable(rows);
  for (const row of rows) printOutcomes(row, wanted.own);
  const lost = rows.some(({ missing }) => missing.some(({ exempt }) => exempt === undefined));
  return lost ? 1 : 0;
}

process.exitCode = main();
