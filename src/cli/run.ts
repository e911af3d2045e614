/** hmmlab run: runs programs and shows what each operation answered and where the pages are. */
import { type CommandDef, defineCommand } from 'citty';
import { SimError } from '../core/errors.ts';
import type { TrespassInfo } from '../core/events/types.ts';
import type { Machine } from '../core/machine.ts';
import type { Timing } from '../core/timing.ts';
import { readText } from '../node/read-text.ts';
import {
  buildMachine,
  type ExpectationResult,
  expectationError,
  OwnershipMap,
  ownershipTable,
  type Program,
  type ProgramRunner,
  parsePrograms,
  resultLine,
  runProgram,
  type Step,
  type StepResult,
} from '../program/index.ts';
import { TrespassWatch } from '../trace/trespass-watch.ts';
import colors from './colors.ts';
import { EXIT_DIFFERENT, EXIT_OK, UsageError } from './errors.ts';
import { languageFor, parseEra, programNamed } from './flags.ts';
import { indented, kernelLine, namedStepText, resultText, stepText, tableLines } from './format.ts';
import { Breather, print, printAll, printError } from './output.ts';
import type { RunRecording } from './run-record.ts';
import { foldTrespasses, trespassText } from './trespass-text.ts';

const args = {
  // In capitals, for --program is another.
  PROGRAM: {
    type: 'positional',
    description: 'A text of programs, plain or gzip',
    required: true,
  },
  json: { type: 'boolean', description: 'One JSON object an operation, as in recordings' },
  era: { type: 'string', description: 'Kernel rules to use, instead of those the program names' },
  owners: { type: 'boolean', description: 'Draw where every page is after every operation' },
  driver: { type: 'string', description: 'A driver of your own; may be given more than once' },
  record: { type: 'string', description: 'Write all events to this file; see explain, report' },
  spec: {
    type: 'string',
    description: 'A file that says how long things take; see docs/timing.md',
  },
  schedule: { type: 'string', description: 'Replay a schedule that explore found: its token' },
  program: { type: 'string', description: 'Only the program of this name', valueHint: 'NAME' },
  time: { type: 'boolean', description: 'Say at the end where simulated time went; needs --spec' },
} as const;

export const runCommand: CommandDef<typeof args> = defineCommand({
  meta: { name: 'run', description: 'Runs programs of memory operations' },
  args,
  async run({ args: given, rawArgs }) {
    if (given.json === true && given.owners === true) {
      throw new UsageError('--owners draws for people; it does not go with --json');
    }
    if (given.time === true && given.spec === undefined) {
      throw new UsageError('--time needs --spec FILE: without it no time passes');
    }
    const timing = given.spec === undefined ? null : await timingOf(given.spec);
    const path = given.PROGRAM;
    const era = given.era === undefined ? undefined : parseEra(given.era);
    const language = await languageFor(rawArgs);
    const text = readText(path);
    const options = { file: path, language };
    const parsed = parsePrograms(text, era === undefined ? options : { ...options, era });
    const recording =
      given.record === undefined ? null : await recordingTo(given.record, [path, given.spec ?? '']);
    const programs =
      given.program === undefined ? parsed.programs : [programNamed(parsed, given.program, path)];
    if (given.schedule !== undefined) {
      if (given.owners === true) throw new UsageError('--owners does not go with --schedule');
      if (given.spec !== undefined) throw new UsageError('--spec does not go with --schedule');
      const [program] = programs;
      if (programs.length > 1) {
        throw new UsageError(`--schedule: ${path} has several programs; expected --program NAME`);
      }
      const { replaySchedule } = await import('./replay.ts');
      return replaySchedule({
        text: parsed,
        program: program!,
        language,
        token: given.schedule,
        json: given.json === true,
        path,
        record: recording?.ofSchedule(parsed.machine, path) ?? null,
      });
    }
    const timed = timing === null ? {} : { timing, accounts: given.time === true };
    const machine = buildMachine(parsed.machine, language, undefined, timed);
    recording?.start(machine, parsed.machine, path);
    if (given.json === true) print(JSON.stringify(kernelLine(parsed.machine)));
    const breather = new Breather();
    let exitCode = EXIT_OK;
    for (const program of programs) {
      const view =
        given.json === true ? new JsonView() : new TextView(machine, given.owners === true);
      view.begin(program);
      const beforeEnd = (runner: ProgramRunner): void => view.end(runner);
      const afterStep = (runner: ProgramRunner, done: StepResult): void => view.step(runner, done);
      const afterExpect = (_runner: ProgramRunner, result: ExpectationResult): void => {
        if (result.holds) return;
        exitCode = EXIT_DIFFERENT;
        printError(`${path}:${expectationError(result).message.replace(/^line /, '')}`);
      };
      let failing: Step | undefined;
      const failed = (step: Step): void => {
        failing = step;
      };
      const hooks = { afterStep, afterExpect, failed, beforeEnd };
      try {
        for (const _ of runProgram(machine, program, hooks)) await breather.breathe();
      } catch (error) {
        // What led to an error is what a recording is for.
        recording?.write();
        throw located(error, path, failing);
      }
    }
    if (recording !== null) {
      const records = recording.write();
      if (given.json !== true) print(`${records} records in ${given.record}`);
    }
    if (given.time === true) await tellTime(machine, given.json === true);
    return exitCode;
  },
});

// What few runs need is loaded by those: most of the time of a small program is that of starting.

async function timingOf(path: string): Promise<Timing> {
  return (await import('../node/timing-file.ts')).readTiming(path);
}

async function recordingTo(path: string, inputs: readonly string[]): Promise<RunRecording> {
  const { RunRecording: Made } = await import('./run-record.ts');
  return new Made(path, inputs);
}

async function tellTime(machine: Machine, json: boolean): Promise<void> {
  const { makeTimeReport } = await import('../trace/time/report.ts');
  const { timeLines } = await import('./time-text.ts');
  const time = makeTimeReport(machine);
  if (json) print(JSON.stringify({ time }));
  else printAll(timeLines(time));
}

/** Says which operation the machine could not carry out. */
function located(error: unknown, path: string, step: Step | undefined): unknown {
  if (!(error instanceof Error) || step === undefined) return error;
  const where = `${path}:${step.line}: ${stepText(step)}`;
  if (!(error instanceof SimError)) {
    // A fault of a driver, perhaps of one's own: the stack tells where.
    error.stack = `${where}: ${error.stack ?? error.message}`;
    return error;
  }
  return new SimError(error.code, `${where}: ${error.message}`, error.detail);
}

interface View {
  begin(program: Program): void;
  step(runner: ProgramRunner, done: StepResult): void;
  end(runner: ProgramRunner): void;
}

class JsonView implements View {
  begin(program: Program): void {
    print(JSON.stringify({ program: program.name }));
  }

  step(_runner: ProgramRunner, { step, result }: StepResult): void {
    print(resultLine(step, result));
  }

  end(): void {}
}

class TextView implements View {
  readonly #machine: Machine;
  readonly #map: OwnershipMap;
  readonly #owners: boolean;
  readonly #watch: TrespassWatch | null;
  /** Of the operation that just ran. */
  readonly #trespasses: TrespassInfo[] = [];
  #width = 0;

  constructor(machine: Machine, owners: boolean) {
    this.#machine = machine;
    this.#map = new OwnershipMap(machine);
    this.#owners = owners;
    // Where nobody can take what is another's, nobody need listen.
    const mayTrespass = machine.era.selection === 'any-owner';
    const note = (trespass: TrespassInfo): void => void this.#trespasses.push(trespass);
    this.#watch = mayTrespass ? new TrespassWatch(machine, note) : null;
  }

  begin(program: Program): void {
    print(colors.bold(`program ${program.name}`));
    if (this.#owners) print(`  ${colors.dim(this.#map.legend().join('   '))}`);
    const longest = program.steps.reduce(
      (most, step) => Math.max(most, namedStepText(step).length),
      0,
    );
    this.#width = Math.min(40, longest);
  }

  step(runner: ProgramRunner, { step, result }: StepResult): void {
    print(`  ${namedStepText(step).padEnd(this.#width)}  ${resultText(result)}`);
    printAll(indented(this.#trespassLines(runner), '    '));
    if (this.#owners) printAll(indented(this.#map.draw(runner.processes.values()), '      '));
  }

  #trespassLines(runner: ProgramRunner): string[] {
    this.#watch?.forget();
    const told = this.#trespasses.splice(0).map(({ pid, owner, ...trespass }) => {
      const living = [...runner.processes.values()];
      const process = living.find(({ process: proc }) => proc.pid === pid)?.number ?? null;
      return { ...trespass, index: 0, owner: owner.name, process };
    });
    const runs = foldTrespasses(told, this.#machine.pageSize);
    return runs.map((run) => colors.red(`! ${trespassText(run)}`));
  }

  end(runner: ProgramRunner): void {
    const table = ownershipTable(this.#machine, this.#map, runner.processes.values());
    print('');
    if (table.rows.length === 0) print('  no buffers');
    else printAll(indented(tableLines(table)));
    print('');
  }
}
