/** What `hmmlab explore` says of a search, for people and for programs. */
import {
  describeSchedule,
  type Failure,
  type FoundFailure,
  type Scenario,
  type Schedule,
  type SearchOptions,
  type StrategyName,
} from '../explore/index.ts';
import type { ExploreSum } from '../node/explore-pool.ts';
import type { ExploreSubject } from '../node/explore-worker.ts';
import type { Program } from '../program/index.ts';
import colors from './colors.ts';
import { indented, listText, namedStepText, resultText } from './format.ts';

/** What happens under a schedule, and what goes wrong at its end. */
export interface Story {
  readonly lines: readonly string[];
  readonly failures: readonly Failure[];
}

/** One failure, as small as it got. */
export interface ToldFailure {
  readonly found: FoundFailure;
  readonly schedule: Schedule;
  readonly token: string;
  readonly failure: Failure;
  /** Null where it has been told already, or there is none. */
  readonly story: Story | null;
}

/** One program's search, under way or over. */
export interface Explored {
  readonly subject: ExploreSubject;
  readonly program: Program;
  /** The text has other programs, too. */
  readonly many: boolean;
  readonly options: SearchOptions & { readonly strategy: StrategyName };
  readonly sum: ExploreSum;
  /** Exhaustive: different states seen. */
  readonly states: number;
  /** Exhaustive: nothing is left to search. */
  readonly complete: boolean;
  readonly seconds: number;
  readonly told: readonly ToldFailure[];
  readonly interrupted: boolean;
}

const OUTCOMES_SHOWN = 20;
/** Failures that are not told in full. */
const SHORT_SHOWN = 20;

/** @throws SimError `bad-argument` if the schedule does not fit */
export function storyOf(scenario: Scenario, schedule: Schedule): Story {
  const { lines, verdict } = describeSchedule(scenario, schedule);
  const { failures } = verdict;
  // The last lines tell of the failures; those are shown in their own way.
  const ends = failures.reduce((sum, { detail }) => sum + 1 + detail.length, 0);
  return { lines: lines.slice(0, lines.length - ends), failures };
}

export function progressText(explored: Explored, bound: number | null): string {
  const { subject, sum, seconds, options } = explored;
  const parts = [counted(sum.runs, 'schedule'), rate(sum.runs, seconds)];
  if (options.outcomes === true) parts.push(counted(sum.outcomes.length, 'outcome'));
  if (bound !== null) parts.push(`overtaking at most ${counted(bound, 'time')}`);
  if (sum.findings.length > 0) parts.push(counted(sum.findings.length, 'failure'));
  return `${subject.program}: ${parts.join(', ')}`;
}

export function explorationLines(explored: Explored): string[] {
  const { subject, options, sum, states, seconds, told, interrupted } = explored;
  const points = sum.runs === 0 ? 0 : sum.points / sum.runs;
  const ways = [
    `${counted(sum.runs, 'schedule')} in ${seconds.toFixed(1)} s (${rate(sum.runs, seconds)})`,
    `${points.toFixed(0)} choice points each`,
    ...(states === 0 ? [] : [counted(states, 'state')]),
    ...(interrupted ? ['interrupted'] : []),
  ];
  const stories = told.filter(({ story }) => story !== null);
  return [
    colors.bold(`program ${subject.program}`),
    `  ${options.strategy}: ${ways.join(', ')}`,
    ...notesOf(explored).map((note) => `  note: ${note}`),
    ...stories.flatMap((one) => failureLines(explored, one)),
    ...shortLines(explored),
    ...(sum.findings.length === 0 ? [`  ${nothingFound(explored)}`] : []),
    ...(sum.outcomes.length === 0 ? [] : outcomeLines(explored)),
    '',
  ];
}

function notesOf({ program, sum, options }: Explored): readonly string[] {
  const hasThreads = program.steps.some(({ thread }) => thread !== null);
  if (hasThreads || options.faults != null) return sum.notes;
  return ['it has no parallel block: only what drivers do on their own has an order', ...sum.notes];
}

function nothingFound({ complete, interrupted, options }: Explored): string {
  if (interrupted) return 'nothing found so far';
  if (options.strategy !== 'exhaustive') return colors.green('nothing found');
  if (!complete) return 'nothing found; not every schedule was run';
  const { bound, faults } = options;
  const within =
    typeof bound === 'number' ? ` that overtakes at most ${counted(bound, 'time')}` : '';
  const even = faults == null ? '' : `, not even with ${counted(faults.most ?? 1, 'fault')}`;
  return colors.green(`nothing goes wrong in any order${within}${even}`);
}

/** The story, then what is wrong, then how to see it again. */
function failureLines(explored: Explored, told: ToldFailure): string[] {
  const { found, schedule, failure, token, story } = told;
  const { lines, failures } = story!;
  const { deviations, lockstep } = found.schedule;
  const isOrdinary = deviations.length === 0 && lockstep === null;
  const by = `found by schedule ${found.index + 1}${isOrdinary ? ', the ordinary order' : ''}`;
  return [
    headline(failure),
    `    ${by}; in short${withoutText(explored.program, schedule)}:`,
    ...indented(lines, '      '),
    ...indented(failureTexts(failures), '      '),
    `    again: ${replayCommand(explored, token)}`,
  ];
}

/** ", without lines 5 and 9"; empty where all operations are done. */
export function withoutText({ steps }: Program, { omitted }: Schedule): string {
  if (omitted.length === 0) return '';
  const lines = omitted.map((index) => String(steps[index]!.line));
  return `, without ${lines.length === 1 ? 'line' : 'lines'} ${listText(lines, 'and')}`;
}

/** A failure in one line: what its message announces is told elsewhere. */
function headline({ kind, message }: Failure): string {
  return colors.red(`  ${kind}: ${message.replace(/:$/, '')}`);
}

/** All that went wrong in a run. */
export function failureTexts(failures: readonly Failure[]): string[] {
  return failures.flatMap(({ kind, message, detail }) => [
    colors.red(`${kind}: ${message}`),
    ...indented(detail),
  ]);
}

/** Failures without a story: of an interrupted search, or too many of them. */
function shortLines(explored: Explored): string[] {
  const { sum, told } = explored;
  const stories = told.filter(({ story }) => story !== null);
  // What happens in the same run as another, or comes down to the same run, has been told with it.
  const isTold = (one: FoundFailure): boolean =>
    stories.some(({ found, token }) => found.index === one.index || token === tokenOf(told, one));
  const left = sum.findings.filter((one) => !isTold(one));
  const lines = left
    .slice(0, SHORT_SHOWN)
    .flatMap((found) => [
      headline(found.failure),
      ...indented(found.failure.detail, '    '),
      `    again: ${replayCommand(explored, tokenOf(told, found))}`,
    ]);
  const more = left.length - SHORT_SHOWN;
  return more > 0 ? [...lines, `  and ${more} more; --json has them all`] : lines;
}

function tokenOf(told: readonly ToldFailure[], found: FoundFailure): string {
  return told.find((one) => one.found === found)?.token ?? found.token;
}

/** The command that shows a failure again. */
function replayCommand({ subject, many }: Explored, token: string): string {
  const { file, program, drivers, era } = subject;
  const flags = [
    ...(many ? ['--program', program] : []),
    ...drivers.flatMap((path) => ['--driver', path]),
    ...(era === null ? [] : ['--era', era]),
  ];
  return ['npx', 'hmmlab', 'run', file, ...flags, '--schedule', token].map(shellWord).join(' ');
}

/** As a shell takes it for one word. */
function shellWord(word: string): string {
  return /^[\w./:@%+=,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

function outcomeLines({ program, sum: { outcomes } }: Explored): string[] {
  const texts = differing(outcomes.map(({ state }) => state.split('\n')));
  const width = Math.max(...outcomes.map(({ count }) => number(count).length));
  const indent = ' '.repeat(width + 6);
  const note = outcomes.length === 1 ? '' : ', and in what they differ';
  const lines = [`  ${counted(outcomes.length, 'outcome')}${note}:`];
  for (const [i, { count, token, failed }] of outcomes.slice(0, OUTCOMES_SHOWN).entries()) {
    const [first = '-', ...rest] = texts[i]!.map((line) => endText(program, line));
    const mark = failed ? colors.red('!') : ' ';
    lines.push(`  ${mark} ${number(count).padStart(width)}  ${first}`);
    lines.push(...indented([...rest, colors.dim(token)], indent));
  }
  const more = outcomes.length - OUTCOMES_SHOWN;
  if (more > 0) lines.push(`    and ${more} more; --json has them all`);
  return lines;
}

/** Leaves out lines that stand in all of several texts; that of a crash has none in common. */
function differing(texts: readonly (readonly string[])[]): readonly (readonly string[])[] {
  const [first = [], ...others] = texts.filter(([line]) => line!.startsWith('process '));
  if (others.length === 0) return texts;
  const common = new Set(first.filter((line) => others.every((text) => text.includes(line))));
  return texts.map((text) => text.filter((line) => !common.has(line)));
}

/** A line of an outcome; results with their operations. */
function endText({ steps }: Program, line: string): string {
  const [, index, result] = /^step (\d+): (.*)$/.exec(line) ?? [];
  if (result === undefined) return line;
  const step = steps[Number(index)]!;
  return `line ${step.line}: ${namedStepText(step)}  ${resultText(JSON.parse(result))}`;
}

export function explorationJson(explored: Explored): object {
  const { subject, options, sum, states, complete, seconds, told, interrupted } = explored;
  const known = new Set(told.map(({ found }) => found));
  const others = sum.findings.filter((found) => !known.has(found));
  return {
    program: subject.program,
    strategy: options.strategy,
    seed: options.strategy === 'exhaustive' ? null : options.seed,
    schedules: sum.runs,
    points: sum.points,
    states,
    seconds: Number(seconds.toFixed(3)),
    complete,
    interrupted,
    notes: notesOf(explored),
    failures: [
      ...told.map(({ found, token, failure, story }) => ({
        ...failure,
        schedule: found.index,
        token,
        again: replayCommand(explored, token),
        found: found.token,
        story: story?.lines ?? [],
      })),
      ...others.map(({ failure, index, token }) => ({
        ...failure,
        schedule: index,
        token,
        again: replayCommand(explored, token),
      })),
    ],
    outcomes: sum.outcomes,
  };
}

function counted(count: number, what: string): string {
  return `${number(count)} ${what}${count === 1 ? '' : 's'}`;
}

function rate(count: number, seconds: number): string {
  return `${number(Math.round(count / Math.max(seconds, 0.001)))}/s`;
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}
