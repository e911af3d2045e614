/** hmmlab conformance: replays recordings and compares every answer with the kernel's. */
import { type CommandDef, defineCommand } from 'citty';
import type { Timing } from '../core/timing.ts';
import { LANGUAGE } from '../drivers/index.ts';
import { readText } from '../node/read-text.ts';
import { readTiming } from '../node/timing-file.ts';
import {
  type Difference,
  type KernelRecording,
  parseRecording,
  replayRecording,
} from '../program/index.ts';
import colors from './colors.ts';
import { EXIT_DIFFERENT, EXIT_OK } from './errors.ts';
import { indented } from './format.ts';
import { Breather, Progress, print, printAll } from './output.ts';

/** So many differences are shown to people; JSON has them all. */
const SHOWN_MAX = 10;

const args = {
  file: {
    type: 'positional',
    description: 'Recordings (.jsonl, .jsonl.gz); one or more',
    required: true,
  },
  json: { type: 'boolean', description: 'One JSON object a difference, and a summary' },
  spec: { type: 'string', description: 'A file that says how long things take' },
} as const;

export const conformanceCommand: CommandDef<typeof args> = defineCommand({
  meta: { name: 'conformance', description: 'Replays what a real kernel answered, and compares' },
  args,
  async run({ args: given }) {
    // All of them are read before anything runs, so a bad file stops the command at once.
    const recordings = given._.map((path) => parseRecording(readText(path), path, LANGUAGE));
    const timing = given.spec === undefined ? undefined : readTiming(given.spec);
    const tally = await replayAll(recordings, timing);
    if (given.json === true) printJson(tally);
    else printText(tally);
    return isEqual(tally) ? EXIT_OK : EXIT_DIFFERENT;
  },
});

export interface Tally {
  programs: number;
  programsEqual: number;
  operations: number;
  operationsEqual: number;
  seconds: number;
  readonly differences: Difference[];
}

export function isEqual(tally: Tally): boolean {
  return tally.programsEqual === tally.programs && tally.operationsEqual === tally.operations;
}

/** Replays recordings one after another, with progress on a terminal; in time, if given. */
export async function replayAll(
  recordings: readonly KernelRecording[],
  timing?: Timing,
): Promise<Tally> {
  const tally: Tally = {
    programs: 0,
    programsEqual: 0,
    operations: 0,
    operationsEqual: 0,
    seconds: 0,
    differences: [],
  };
  const total = recordings.reduce((sum, { programs }) => sum + programs.length, 0);
  const progress = new Progress();
  const breather = new Breather();
  const start = performance.now();
  for (const recording of recordings) {
    for (const report of replayRecording(recording, LANGUAGE, { ...(timing && { timing }) })) {
      tally.programs++;
      tally.operations += report.operations;
      tally.operationsEqual += report.equal;
      if (report.difference === null) tally.programsEqual++;
      else tally.differences.push(report.difference);
      progress.update(`${recording.file}: ${tally.programs} of ${total} programs`);
      await breather.breathe();
    }
  }
  progress.clear();
  tally.seconds = (performance.now() - start) / 1000;
  return tally;
}

/** The line that says it all. */
export function summaryLine(tally: Tally): string {
  const { programs, programsEqual, operations, operationsEqual, seconds } = tally;
  const counts = `${programsEqual}/${programs} programs, ${operationsEqual}/${operations} operations`;
  return `conformance: ${counts}, ${seconds.toFixed(1)} s`;
}

function printText(tally: Tally): void {
  const { differences } = tally;
  for (const difference of differences.slice(0, SHOWN_MAX)) {
    printAll(differenceLines(difference));
    print('');
  }
  const more = differences.length - SHOWN_MAX;
  if (more > 0) print(`${more} more programs differ; --json lists them\n`);
  print((isEqual(tally) ? colors.green : colors.red)(summaryLine(tally)));
}

function differenceLines(difference: Difference): string[] {
  const { file, line, program, operation, expected, got } = difference;
  const { mapBefore, mapAfter, legend } = difference;
  const maps = [
    ['before', mapBefore],
    ['after', mapAfter],
  ] as const;
  return [
    colors.bold(`${file}:${line}: program ${program}`),
    `  operation  ${operation}`,
    `  expected   ${expected}`,
    `  got        ${got}`,
    ...maps.flatMap(([name, rows]) =>
      rows.length === 0 ? [] : [`  owners ${name}`, ...indented(rows, '    ')],
    ),
    ...(legend.length === 0 ? [] : [colors.dim(`  ${legend.join('   ')}`)]),
  ];
}

function printJson(tally: Tally): void {
  const { differences, seconds, ...counts } = tally;
  for (const difference of differences) print(JSON.stringify({ difference }));
  const conformance = { ...counts, seconds: Number(seconds.toFixed(3)), equal: isEqual(tally) };
  print(JSON.stringify({ conformance }));
}
