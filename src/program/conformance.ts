/** Replays recordings and compares what the machine answers with what the kernel answered. */
import type { Machine } from '../core/machine.ts';
import type { Language } from './language.ts';
import { OwnershipMap } from './ownership-map.ts';
import type { KernelRecording, RecordedProgram } from './recording.ts';
import { type BuildOptions, buildMachine, ProgramRunner, resultLine } from './run.ts';
import type { Json, Result } from './types.ts';

/** Of so many differences of a recording the ownership maps are drawn. */
const MAPS_MAX = 10;

/** The first operation of a program that was answered differently. */
export interface Difference {
  readonly file: string;
  readonly program: string;
  readonly line: number;
  /** As in a program text: "@1 cpu_read 0 0 4". */
  readonly operation: string;
  /** The results only, as JSON. */
  readonly expected: string;
  /** The results, or what went wrong: "error: …". */
  readonly got: string;
  /** Ownership maps before and after the operation; empty for later differences. */
  readonly mapBefore: readonly string[];
  readonly mapAfter: readonly string[];
  readonly legend: readonly string[];
}

/** What came of one program. */
export interface ProgramReport {
  readonly program: string;
  readonly operations: number;
  /** How many of them were answered as recorded. */
  readonly equal: number;
  readonly difference: Difference | null;
}

/**
 * Replays a recording program by program. One machine serves them all, as one kernel did, until
 * a program goes astray; the next one then gets a new machine. `options` say how a machine is
 * driven: with a timing, say.
 */
export function* replayRecording(
  recording: KernelRecording,
  language: Language,
  options: BuildOptions = {},
): Generator<ProgramReport, void, undefined> {
  let machine: Machine | null = null;
  let differences = 0;
  for (const recorded of recording.programs) {
    machine ??= buildMachine(recording.machine, language, undefined, options);
    const maps = differences < MAPS_MAX;
    const report = replayProgram({ recording, recorded, language, maps }, machine);
    if (report.difference !== null) {
      machine = null;
      differences++;
    }
    yield report;
  }
}

interface Replay {
  readonly recording: KernelRecording;
  readonly recorded: RecordedProgram;
  readonly language: Language;
  /** Draw ownership maps of a difference. */
  readonly maps: boolean;
}

function replayProgram(replay: Replay, machine: Machine): ProgramReport {
  const { program, lines, answers } = replay.recorded;
  const { steps } = program;
  let equal = 0;
  let difference: Difference | null = null;
  const differs = (index: number, got: string, runner: ProgramRunner | null): void => {
    difference ??= describe(replay, index, got, runner);
  };
  let runner: ProgramRunner | null = null;
  let done = 0;
  try {
    runner = new ProgramRunner(machine);
    for (; done < steps.length; done++) {
      const result = runner.step(steps[done]!);
      const isAnswer =
        isSameResult(result, answers[done]!) ||
        isEqual(resultLine(steps[done]!, result), lines[done]!);
      if (isAnswer) equal++;
      else differs(done, JSON.stringify(result), runner);
    }
    runner.finish();
  } catch (error) {
    // What is thrown while the processes end comes after the last answer; it counts against it.
    const index = Math.min(done, steps.length - 1);
    if (done === steps.length && equal === steps.length) equal = Math.max(0, equal - 1);
    if (index >= 0) differs(index, `error: ${messageOf(error)}`, runner);
    else throw error;
  }
  return { program: program.name, operations: steps.length, equal, difference };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Of the result that is compared: names are looked up in no object that way, which is slow. */
const names: string[] = [];
const values: Json[] = [];

/**
 * The results of a line, without the text in between, where they are plainly the same, and in the
 * same order.
 */
function isSameResult(result: Result, answer: Result): boolean {
  let count = 0;
  for (const name in result) {
    names[count] = name;
    values[count] = result[name]!;
    count++;
  }
  let at = 0;
  for (const name in answer) {
    // What was asked stands there, too.
    if (name === 'op' || name === 'proc' || name === 'args') continue;
    if (at === count || names[at] !== name) return false;
    if (!isSameValue(values[at]!, answer[name]!)) return false;
    at++;
  }
  return at === count;
}

function isSameValue(got: Json, expected: Json): boolean {
  if (got === expected) return true;
  if (!Array.isArray(got) || !Array.isArray(expected) || got.length !== expected.length)
    return false;
  for (let i = 0; i < got.length; i++) if (got[i] !== expected[i]) return false;
  return true;
}

/** Equal as text, or at least as JSON, whatever the order of its fields. */
function isEqual(got: string, expected: string): boolean {
  return got === expected || canonical(got) === canonical(expected);
}

function canonical(line: string): string {
  // Process 0 may be named or not.
  const { proc = 0, ...others } = JSON.parse(line) as Record<string, Json>;
  const fields = Object.entries({ proc, ...others });
  return JSON.stringify(fields.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function describe(
  replay: Replay,
  index: number,
  got: string,
  runner: ProgramRunner | null,
): Difference {
  const { recording, recorded, language, maps } = replay;
  const { program, lines } = recorded;
  const step = program.steps[index]!;
  const prefix = step.process === 0 ? [] : [`@${step.process}`];
  const mapBefore = maps ? mapAfterSteps(recording, program.steps.slice(0, index), language) : [];
  const map = runner === null || !maps ? null : new OwnershipMap(runner.machine);
  const mapAfter = map === null ? [] : map.draw(runner!.processes.values());
  return {
    file: recording.file,
    program: program.name,
    line: step.line,
    operation: [...prefix, step.operation.name, ...step.words].join(' '),
    expected: resultsOf(lines[index]!),
    got,
    mapBefore,
    mapAfter,
    legend: map?.legend([...mapBefore, ...mapAfter]) ?? [],
  };
}

/** The map before an operation: the steps that led there, done once more on a new machine. */
function mapAfterSteps(
  recording: KernelRecording,
  steps: RecordedProgram['program']['steps'],
  language: Language,
): string[] {
  try {
    const machine = buildMachine(recording.machine, language);
    const runner = new ProgramRunner(machine);
    for (const step of steps) runner.step(step);
    return new OwnershipMap(machine).draw(runner.processes.values());
  } catch (error) {
    return [`error: ${messageOf(error)}`];
  }
}

function resultsOf(line: string): string {
  const { op: _op, proc: _proc, args: _args, ...results } = JSON.parse(line) as Result;
  return JSON.stringify(results);
}
