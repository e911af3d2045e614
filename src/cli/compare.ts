/** hmmlab compare: one text of programs under several eras, side by side. */
import { type CommandDef, defineCommand } from 'citty';
import type { EraName } from '../core/era.ts';
import { readText } from '../node/read-text.ts';
import type { Language } from '../program/index.ts';
import {
  type ComparableText,
  compareText,
  type ProgramComparison,
  readComparable,
} from '../trace/compare.ts';
import colors from './colors.ts';
import { comparisonLines, leftOutLines } from './compare-text.ts';
import { EXIT_DIFFERENT, EXIT_OK, EXIT_USAGE, isBadInput, UsageError } from './errors.ts';
import { languageFor, parseEra, valuesOf } from './flags.ts';
import { Breather, print, printAll, printUnexpected } from './output.ts';

const args = {
  program: {
    type: 'positional',
    description: 'A text of programs, plain or gzip',
    required: true,
  },
  era: {
    type: 'string',
    description: 'An era to compare; twice or more, all eras unless given',
    valueHint: 'v5.6',
  },
  driver: { type: 'string', description: 'A driver of your own; may be given more than once' },
  json: { type: 'boolean', description: 'One JSON object a program, and a summary' },
} as const;

/** Answers as diff does: 0 the same, 1 different, 2 trouble. */
export const compareCommand: CommandDef<typeof args> = defineCommand({
  meta: { name: 'compare', description: 'Runs programs under several eras and shows what differs' },
  args,
  async run({ args: given, rawArgs }) {
    try {
      const language = await languageFor(rawArgs);
      const eras = parseEras(rawArgs);
      return await compareFile(given.program, language, eras, given.json === true);
    } catch (error) {
      if (isBadInput(error)) throw error;
      // Whatever else went wrong, the programs were not compared.
      printUnexpected(error);
      return EXIT_USAGE;
    }
  },
});

function parseEras(rawArgs: readonly string[]): readonly EraName[] | undefined {
  const eras = valuesOf('era', rawArgs).map(parseEra);
  if (eras.length === 0) return undefined;
  if (new Set(eras).size < 2) {
    throw new UsageError(`--era: expected two eras or more; found only ${eras[0]}`);
  }
  return eras;
}

async function compareFile(
  file: string,
  language: Language,
  eras: readonly EraName[] | undefined,
  json: boolean,
): Promise<number> {
  const options = { file, language };
  const text = readText(file);
  const comparable = readComparable(text, eras === undefined ? options : { ...options, eras });
  if (!json) printAll(leftOutLines(comparable));
  const breather = new Breather();
  let programs = 0;
  let different = 0;
  for (const comparison of compareText(comparable, language)) {
    programs++;
    if (!comparison.equal) different++;
    show(comparison, json);
    await breather.breathe();
  }
  if (json) print(JSON.stringify({ compare: summary(file, comparable, programs, different) }));
  else print((different === 0 ? colors.green : colors.red)(summaryLine(programs, different)));
  return different === 0 ? EXIT_OK : EXIT_DIFFERENT;
}

function show(comparison: ProgramComparison, json: boolean): void {
  if (json) print(JSON.stringify({ comparison }));
  else {
    printAll(comparisonLines(comparison));
    print('');
  }
}

function summary(
  file: string,
  { eras, leftOut }: ComparableText,
  programs: number,
  different: number,
): object {
  return { file, eras, leftOut, programs, different, equal: different === 0 };
}

function summaryLine(programs: number, different: number): string {
  const total = programs === 1 ? '1 program' : `${programs} programs`;
  if (different === 0) return `compare: ${total}, no difference`;
  return `compare: ${total}, ${different} with differences`;
}
