/** hmmlab run --schedule: one schedule of a program again, step by step. */
import { SimError } from '../core/errors.ts';
import type { Machine } from '../core/machine.ts';
import type { Thread } from '../core/sched/thread.ts';
import { type Listener, parseToken, programScenario, replay } from '../explore/index.ts';
import { writeRecording } from '../node/recording-file.ts';
import type { Language, Program, ProgramText, Result, Step } from '../program/index.ts';
import type { Recorder } from '../trace/recorder.ts';
import colors from './colors.ts';
import { EXIT_DIFFERENT, EXIT_OK, UsageError } from './errors.ts';
import { failureTexts, storyOf, withoutText } from './explore-text.ts';
import { indented, kernelLine, namedStepText, resultText } from './format.ts';
import { print, printAll } from './output.ts';

export interface ReplayRequest {
  readonly text: ProgramText;
  readonly program: Program;
  readonly language: Language;
  /** Of the program's file, for messages. */
  readonly path: string;
  readonly token: string;
  readonly json: boolean;
  /** Where events are written to; null if nowhere. */
  readonly record: { readonly path: string; start(machine: Machine): Recorder } | null;
}

/**
 * Runs the schedule and prints each operation when it ends, what happened in between, and what went
 * wrong. Returns the exit code. Throws a `UsageError` for a token that is not the program's.
 */
export function replaySchedule(request: ReplayRequest): number {
  const { text, program, language, path, token, json, record } = request;
  let recorder: Recorder | null = null;
  const scenario = programScenario(text, program, language, {
    onMachine: (machine) => {
      if (record !== null) recorder = record.start(machine);
    },
  });
  const log = new StepLog(program);
  const { schedule, failures } = whereTokenFits(path, () => {
    const parsed = parseToken(scenario, token);
    return { schedule: parsed, failures: replay(scenario, parsed, { listener: log }).failures };
  });
  const recording = (recorder as Recorder | null)?.stop() ?? null;
  if (record !== null && recording !== null) writeRecording(record.path, recording);
  // It fits, and what a schedule does it does every time.
  const story = storyOf(scenario, schedule).lines;
  if (json) {
    print(JSON.stringify(kernelLine(text.machine)));
    print(JSON.stringify({ program: program.name }));
    printAll(log.done.map(({ line }) => line));
    print(JSON.stringify({ schedule: { token, failures, story } }));
  } else {
    const names = log.done.map(({ step }) => namedStepText(step));
    const width = Math.min(40, Math.max(0, ...names.map(({ length }) => length)));
    print(
      colors.bold(`program ${program.name}, schedule ${token}${withoutText(program, schedule)}`),
    );
    for (const [i, { result }] of log.done.entries()) {
      print(`  ${names[i]!.padEnd(width)}  ${resultText(result)}`);
    }
    print('');
    printAll(indented(story));
    printAll(indented(failureTexts(failures)));
    if (failures.length === 0) print(colors.green('  nothing went wrong'));
    if (recording !== null) print(`${recording.length} records in ${record!.path}`);
  }
  return failures.length > 0 ? EXIT_DIFFERENT : EXIT_OK;
}

interface Done {
  readonly step: Step;
  /** As in a recording. */
  readonly line: string;
  readonly result: Result;
}

/** Notes each operation when it ends. */
class StepLog implements Listener {
  readonly done: Done[] = [];
  readonly #steps: ReadonlyMap<number, Step>;

  constructor({ steps }: Program) {
    this.#steps = new Map(steps.map((step) => [step.line, step]));
  }

  ended({ doing }: Thread, line: string): void {
    const [, number] = /^line (\d+):/.exec(doing) ?? [];
    const step = this.#steps.get(Number(number))!;
    const { op: _op, proc: _proc, thread: _thread, args: _args, ...result } = JSON.parse(line);
    this.done.push({ step, line, result });
  }

  point(): void {}

  fault(): void {}

  tell(): void {}
}

/** A token that does not fit is a matter of the command line. */
function whereTokenFits<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const isToken = error instanceof SimError && error.code === 'bad-argument';
    throw isToken ? new UsageError(`--schedule: ${path}: ${error.message}`) : error;
  }
}
