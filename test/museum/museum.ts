// The museum: its exhibits, how to search one, and the parts of its pages that are generated.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { factory as eager } from '../../examples/museum/drivers/eager-gpu.ts';
import { DRIVERS, LANGUAGE } from '../../src/drivers/index.ts';
import {
  describeSchedule,
  explore,
  type FailureKind,
  type FoundFailure,
  programScenario,
  type Scenario,
  type Shrunk,
  shrink,
} from '../../src/explore/index.ts';
import {
  Language,
  type Program,
  type ProgramText,
  parsePrograms,
} from '../../src/program/index.ts';

export const MUSEUM: string = fileURLToPath(new URL('../../examples/museum/', import.meta.url));

/** One folder of the museum, with a program that is broken and one that is mended. */
export interface Exhibit {
  readonly folder: string;
  /** In one line. */
  readonly bug: string;
  /** Which kernels had it. */
  readonly kernels: string;
  readonly kind: FailureKind;
  /**
   * The search finds it within so many schedules: twice what the worst of 40 seeds took
   * (`npx tsx test/museum/budgets.ts`).
   */
  readonly schedules: number;
  /** A driver of its own, a path in the museum. */
  readonly driver?: string;
  /** A schedule that is unfair for ever counts as a failure. */
  readonly starvation?: boolean;
}

export type Side = 'broken' | 'mended';

export const EXHIBITS: readonly Exhibit[] = JSON.parse(textOf('exhibits.json'));

const DRIVER_FILES = new Map([['drivers/eager-gpu.ts', eager]]);

/** A file of the museum. */
export function textOf(...path: readonly string[]): string {
  return readFileSync(join(MUSEUM, ...path), 'utf8');
}

export function scenarioOf(exhibit: Exhibit, side: Side): Scenario {
  const { text, program, language } = programOf(exhibit, side);
  return programScenario(text, program, language);
}

interface Parsed {
  readonly text: ProgramText;
  readonly program: Program;
  readonly language: Language;
}

function programOf({ folder, driver }: Exhibit, side: Side): Parsed {
  const path = join(folder, `${side}.txt`);
  const language = driver === undefined ? LANGUAGE : withDriver(driver);
  const text = parsePrograms(textOf(path), { file: path, language });
  return { text, program: text.programs[0]!, language };
}

function withDriver(driver: string): Language {
  const factory = DRIVER_FILES.get(driver);
  if (factory === undefined) throw new Error(`${driver}: no such driver in the museum`);
  const { defaultDevices } = LANGUAGE;
  return new Language({ drivers: [...DRIVERS, factory], defaultDevices });
}

/** The first failure in so many schedules; null if there is none. */
export function searched(
  scenario: Scenario,
  { starvation = false }: Exhibit,
  options: { readonly seed: number; readonly schedules: number },
): FoundFailure | null {
  const search = explore(scenario, { ...options, starvation });
  while (search.step());
  return search.findings[0] ?? null;
}

/** What a search of the broken program finds within its budget, made as small as it gets. */
export function found(exhibit: Exhibit, scenario: Scenario, seed: number): Shrunk | null {
  const first = searched(scenario, exhibit, { seed, schedules: exhibit.schedules });
  return first === null ? null : shrink(scenario, first.schedule, first.failure.kind);
}

// Generated parts --------------------------------------------------------------------------------

const BEGIN = '<!-- generated from here: npx vitest run test/museum -u -->';
const END = '<!-- to here -->';
const COLUMNS = 118;

/** A page with the part between its marks made anew. */
export function pageWith(page: string, generated: readonly string[]): string {
  const [before, inside, after, ...more] = page.split(new RegExp(`${BEGIN}|${END}`));
  if (inside === undefined || after === undefined || more.length > 0) {
    throw new Error(`expected one "${BEGIN}" and one "${END}" after it`);
  }
  return [before, BEGIN, '\n\n', generated.join('\n'), '\n\n', END, after].join('');
}

/** The broken program, what mends it, and the shrunk schedule as a drawing and in words. */
export function drawnLines(exhibit: Exhibit, scenario: Scenario, shrunk: Shrunk): string[] {
  const { lines, mermaid } = describeSchedule(scenario, shrunk.schedule);
  const path = `examples/museum/${exhibit.folder}/broken.txt`;
  const driver = exhibit.driver === undefined ? '' : ` --driver examples/museum/${exhibit.driver}`;
  return [
    ...fenced('hmmlab', textOf(exhibit.folder, 'broken.txt').trimEnd().split('\n')),
    '',
    'In `mended.txt` it says:',
    '',
    ...fenced('diff', differences(exhibit)),
    '',
    `The schedule that the search finds, as small as it gets${without(exhibit, shrunk)}:`,
    '',
    ...fenced('mermaid', mermaid.trimEnd().split('\n')),
    '',
    ...fenced('text', lines.flatMap(wrapped)),
    '',
    'To see it again:',
    '',
    `    npx hmmlab run ${path}${driver} --schedule ${shrunk.token}`,
  ];
}

/** Which lines a schedule leaves out. */
function without(exhibit: Exhibit, { schedule: { omitted } }: Shrunk): string {
  if (omitted.length === 0) return '';
  const { steps } = programOf(exhibit, 'broken').program;
  const lines = omitted.map((index) => steps[index]!.line);
  const word = lines.length === 1 ? 'line' : 'lines';
  return `, without ${word} ${lines.join(', ').replace(/, (\d+)$/, ' and $1')}`;
}

function fenced(language: string, lines: readonly string[]): string[] {
  return [`\`\`\`${language}`, ...lines, '```'];
}

/** Lines of the broken program that the mended one has otherwise; both have as many. */
export function differences({ folder }: Exhibit): string[] {
  const [broken, mended] = (['broken', 'mended'] as const).map((side) =>
    textOf(folder, `${side}.txt`).split('\n'),
  );
  if (broken!.length !== mended!.length) throw new Error(`${folder}: expected as many lines`);
  return broken!.flatMap((line, i) => {
    const other = mended![i]!;
    return line === other ? [] : [`- ${line}`, `+ ${other}`];
  });
}

/** A long line, broken at spaces, its rest below what comes after the name of the thread. */
function wrapped(line: string): string[] {
  const lines: string[] = [];
  let rest = line;
  const start = /^.*? {2,}/.exec(line)?.[0].length ?? 0;
  const indent = ' '.repeat(start + 2);
  while (rest.length > COLUMNS) {
    const space = rest.lastIndexOf(' ', COLUMNS);
    if (space <= indent.length) break;
    lines.push(rest.slice(0, space));
    rest = `${indent}${rest.slice(space + 1)}`;
  }
  return [...lines, rest];
}

/** The table of all exhibits. */
export function overview(): string[] {
  return [
    '| | the bug | kernels that had it | found in | found as |',
    '| --- | --- | --- | --: | --- |',
    ...EXHIBITS.map(({ folder, bug, kernels, schedules, kind }) => {
      const name = `[${folder}](${folder}/README.md)`;
      return `| ${name} | ${bug} | ${kernels} | ${schedules} | ${kind.replace('_', ' ')} |`;
    }),
  ];
}
