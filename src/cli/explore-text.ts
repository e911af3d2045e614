/** What `hmmlab explore` says of a search, for people and for programs. */
import type { Failure, FoundFailure, Outcome, Schedule } from '../explore/index.ts';
import type { ExploreSum } from '../node/explore-pool.ts';
import type { ExploreSubject } from '../node/explore-worker.ts';
import colors from './colors.ts';
import { indented } from './format.ts';

/** One program's search, under way or over. */
export interface Explored {
  readonly subject: ExploreSubject;
  /** The text has other programs, too. */
  readonly many: boolean;
  readonly strategy: string;
  readonly sum: ExploreSum;
  /** Exhaustive: nothing is left to search. */
  readonly complete: boolean;
  readonly seconds: number;
  readonly failures: readonly {
    readonly found: FoundFailure;
    readonly schedule: Schedule;
    readonly token: string;
    readonly failure: Failure;
    readonly lines: readonly string[];
  }[];
  readonly interrupted?: boolean;
}

const OUTCOMES_SHOWN = 20;

export function progressText(name: string, explored: Explored, bound: number | null): string {
  const { sum, seconds } = explored;
  const level = bound === null ? '' : `, overtaking at most ${bound} times`;
  const outcomes = sum.outcomes.length === 0 ? '' : `, ${counted(sum.outcomes.length, 'outcome')}`;
  return `${name}: ${counted(sum.runs, 'schedule')}, ${rate(sum.runs, seconds)}${outcomes}${level}`;
}

export function explorationLines(explored: Explored): string[] {
  const { subject, strategy, sum, complete, seconds, failures, interrupted } = explored;
  const lines = [colors.bold(`program ${subject.program}`)];
  const points = sum.runs === 0 ? 0 : sum.points / sum.runs;
  lines.push(
    `  ${strategy}: ${counted(sum.runs, 'schedule')} in ${seconds.toFixed(1)} s ` +
      `(${rate(sum.runs, seconds)}), ${points.toFixed(0)} choice points each`,
  );
  lines.push(...indented(sum.notes.map((note) => `note: ${note}`)));
  for (const failure of failures) lines.push(...failureLines(explored, failure));
  if (sum.findings.length === 0) lines.push(`  ${nothingFound(complete, interrupted === true)}`);
  else if (interrupted === true) {
    for (const { failure, token } of sum.findings) {
      lines.push(colors.red(`  ${failure.kind}: ${failure.message}`), `    ${token}`);
    }
  }
  if (sum.outcomes.length > 0) lines.push(...outcomeLines(sum.outcomes));
  lines.push('');
  return lines;
}

function nothingFound(complete: boolean, interrupted: boolean): string {
  if (interrupted) return 'interrupted; nothing was found so far';
  return colors.green(complete ? 'nothing goes wrong, in any order' : 'nothing found');
}

function failureLines(explored: Explored, failure: Explored['failures'][number]): string[] {
  const { kind, message, detail } = failure.failure;
  return [
    colors.red(`  ${kind}: ${message}`),
    ...indented(detail, '    '),
    `    found by schedule ${failure.found.index + 1}; in short:`,
    ...indented(failure.lines, '      '),
    `    again: ${replayCommand(explored, failure.token)}`,
  ];
}

/** The command that shows a failure again. */
function replayCommand({ subject, many }: Explored, token: string): string {
  const { file, program, drivers, era } = subject;
  const flags = [
    ...(many ? ['--program-name', program] : []),
    ...drivers.flatMap((path) => ['--driver', path]),
    ...(era === null ? [] : ['--era', era]),
  ];
  return ['hmmlab', 'run', file, ...flags, '--schedule', token].join(' ');
}

function outcomeLines(outcomes: readonly Outcome[]): string[] {
  const width = String(outcomes[0]!.count).length;
  const lines = [`  ${counted(outcomes.length, 'outcome')}:`];
  for (const { state, count, token, failed } of outcomes.slice(0, OUTCOMES_SHOWN)) {
    const [first = '', ...rest] = state.split('\n');
    const mark = failed ? colors.red('!') : ' ';
    lines.push(`  ${mark} ${String(count).padStart(width)} ×  ${first}`);
    lines.push(...indented(rest, ' '.repeat(width + 8)));
    lines.push(colors.dim(`${' '.repeat(width + 8)}${token}`));
  }
  const more = outcomes.length - OUTCOMES_SHOWN;
  if (more > 0) lines.push(`    and ${more} more; --json has them all`);
  return lines;
}

export function explorationJson(explored: Explored): object {
  const { subject, strategy, sum, complete, seconds, failures } = explored;
  return {
    program: subject.program,
    strategy,
    schedules: sum.runs,
    points: sum.points,
    seconds: Number(seconds.toFixed(3)),
    complete,
    notes: sum.notes,
    failures: failures.map(({ found, token, failure, lines }) => ({
      ...failure,
      schedule: found.index,
      foundToken: found.token,
      token,
      lines,
    })),
    outcomes: sum.outcomes,
  };
}

function counted(count: number, what: string): string {
  return `${count.toLocaleString('en-US')} ${what}${count === 1 ? '' : 's'}`;
}

function rate(count: number, seconds: number): string {
  return `${Math.round(count / Math.max(seconds, 0.001)).toLocaleString('en-US')}/s`;
}
