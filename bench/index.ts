// npm run bench: how fast the emulator is, what is asked of it, and what this computer can do.

import { rmSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { compareRuns } from './harness/compare.ts';
import {
  type BenchDocument,
  DOCUMENT_VERSION,
  DocumentError,
  readDocument,
} from './harness/document.ts';
import type { Figure } from './harness/figure.ts';
import { type Options, readOptions, USAGE, UsageError } from './harness/options.ts';
import {
  closingLines,
  comparisonLines,
  figureLine,
  headerLine,
  markdownLines,
} from './harness/print.ts';
import { compileProject } from './harness/project.ts';
import { type Answer, runMeasurement } from './harness/run.ts';
import { type Choice, choose } from './harness/select.ts';
import { SUITE } from './suite/index.ts';

const EXIT_OK = 0;
const EXIT_TARGET_MISSED = 1;
const EXIT_USAGE = 2;

/** Others may have the processor for this part of the time; it is not counted, but caches suffer. */
const WAITED_WARNING = 0.05;

function print(lines: readonly string[]): void {
  for (const line of lines) process.stdout.write(`${line}\n`);
}

/** What is said while measuring: next to the table, or beside the document. */
function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function warnOfLoad(when: string): void {
  const [load] = loadavg();
  // One core is what a measurement takes itself.
  const free = cpus().length - 1;
  if (load! > Math.max(free, 0.5) + (when === 'after' ? 1 : 0)) {
    say(`the machine is busy ${when} measuring: load ${load!.toFixed(2)}, ${cpus().length} cores`);
  }
}

/** Measurements that came to no figures. */
let failures = 0;

async function measure(choice: Choice, options: Options): Promise<Figure[]> {
  warnOfLoad('before');
  const talks = !options.json && !options.markdown;
  const folder = compileProject();
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', remove);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => process.exit(signal === 'SIGINT' ? 130 : 143));
  }
  const figures: Figure[] = [];
  if (talks) print([headerLine()]);
  for (const { measurement, names } of choice) {
    if (!talks) say(measurement.name);
    let answer: Answer;
    try {
      answer = await runMeasurement(folder, measurement, options);
    } catch (error) {
      say(`bench: ${(error as Error).message}`);
      failures++;
      continue;
    }
    if (answer.waited > WAITED_WARNING) {
      const part = `${Math.round(answer.waited * 100)}%`;
      say(`${measurement.name}: other programs had its processor for ${part} of the time`);
    }
    for (const figure of answer.figures) {
      if (!names.has(figure.name)) continue;
      figures.push(figure);
      if (talks) print([figureLine(figure)]);
    }
  }
  warnOfLoad('after');
  return figures;
}

async function documentOf(options: Options): Promise<BenchDocument | null> {
  if (options.from !== null) return readDocument(options.from);
  const choice = choose(SUITE, options.only);
  if (options.list) {
    print(choice.flatMap(({ measurement, names }) => [measurement.name, ...indented(names)]));
    return null;
  }
  return {
    version: DOCUMENT_VERSION,
    node: process.version,
    processor: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    quick: options.quick,
    figures: await measure(choice, options),
  };
}

function indented(names: ReadonlySet<string>): string[] {
  return [...names].map((name) => `  ${name}`);
}

async function run(options: Options): Promise<number> {
  // Before minutes of measuring, not after them.
  const before = options.compare === null ? null : readDocument(options.compare);
  const document = await documentOf(options);
  if (document === null) return EXIT_OK;
  const { figures } = document;
  if (options.json) print([JSON.stringify(document, null, 1)]);
  else if (options.markdown) print(markdownLines(document));
  else {
    if (options.from !== null) print([headerLine(), ...figures.map(figureLine)]);
    print(closingLines(figures));
    if (failures > 0) print([`${failures} measurements failed`]);
  }
  if (before !== null) {
    const compared = compareRuns(before, document);
    const wanted = options.only.length === 0 ? compared : { ...compared, gone: [] };
    const lines = comparisonLines(wanted, options.compare!);
    if (options.json || options.markdown) lines.forEach(say);
    else print(['', ...lines]);
  }
  const misses = figures.some(({ holds }) => holds === false);
  return misses || failures > 0 ? EXIT_TARGET_MISSED : EXIT_OK;
}

async function main(): Promise<number> {
  try {
    const options = readOptions(process.argv.slice(2));
    if (options !== null) return await run(options);
    print([USAGE]);
    return EXIT_OK;
  } catch (error) {
    if (error instanceof DocumentError) say(`bench: ${error.message}`);
    else if (error instanceof UsageError) say(`bench: ${error.message}\n\n${USAGE}`);
    else throw error;
    return EXIT_USAGE;
  }
}

process.exitCode = await main();
