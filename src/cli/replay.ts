/** hmmlab run --schedule: one schedule of a program again, step by step. */

import { SimError } from '../core/errors.ts';
import type { Machine } from '../core/machine.ts';
import { describeSchedule, parseToken, programScenario } from '../explore/index.ts';
import type { Language, Program, ProgramText } from '../program/index.ts';
import type { Recorder } from '../trace/recorder.ts';
import type { Recording } from '../trace/recording.ts';
import colors from './colors.ts';
import { EXIT_DIFFERENT, EXIT_OK, UsageError } from './errors.ts';
import { indented } from './format.ts';
import { print, printAll } from './output.ts';

export interface ReplayRequest {
  readonly text: ProgramText;
  readonly program: Program;
  readonly language: Language;
  readonly token: string;
  readonly json: boolean;
  /** Makes a recorder for a machine; null if nothing is to be recorded. */
  readonly record: ((machine: Machine) => Recorder) | null;
}

export interface Replayed {
  readonly exitCode: number;
  readonly recording: Recording | null;
}

/** Runs the schedule and prints what happened, and what went wrong. */
export function replaySchedule(request: ReplayRequest): Replayed {
  const { text, program, language, token, json, record } = request;
  let recorder: Recorder | null = null;
  const onMachine = (machine: Machine): void => {
    recorder = record === null ? null : record(machine);
  };
  const scenario = programScenario(text, program, language, { onMachine });
  const schedule = badToken(() => parseToken(scenario, token));
  const { lines, verdict } = badToken(() => describeSchedule(scenario, schedule));
  const { failures } = verdict;
  if (json) print(JSON.stringify({ program: program.name, token, failures, lines }));
  else {
    print(colors.bold(`program ${program.name}, schedule ${token}`));
    printAll(indented(lines.slice(0, lines.length - countOf(failures))));
    for (const { kind, message, detail } of failures) {
      print(colors.red(`  ${kind}: ${message}`));
      printAll(indented(detail, '    '));
    }
    if (failures.length === 0) print(colors.green('  nothing went wrong'));
  }
  const finished = recorder as Recorder | null;
  return {
    exitCode: failures.length > 0 ? EXIT_DIFFERENT : EXIT_OK,
    recording: finished === null ? null : finished.stop(),
  };
}

/** The lines with which a story tells of failures. */
function countOf(failures: readonly { readonly detail: readonly string[] }[]): number {
  return failures.reduce((sum, { detail }) => sum + 1 + detail.length, 0);
}

/** A token that does not fit is a matter of the command line. */
function badToken<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    const isToken = error instanceof SimError && error.code === 'bad-argument';
    throw isToken ? new UsageError(`--schedule: ${error.message}`) : error;
  }
}
