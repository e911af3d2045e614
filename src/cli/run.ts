/** hmmlab run: runs programs and shows what each operation answered and where the pages are. */
import { type CommandDef, defineCommand } from 'citty';
import { ERAS, type EraName } from '../core/era.ts';
import { SimError } from '../core/errors.ts';
import type { Machine } from '../core/machine.ts';
import { LANGUAGE } from '../drivers/index.ts';
import { readText } from '../node/read-text.ts';
import {
  buildMachine,
  kernelOf,
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
import colors from './colors.ts';
import { EXIT_OK, UsageError } from './errors.ts';
import { indented, resultText, stepText, tableLines } from './format.ts';
import { Breather, print, printAll } from './output.ts';

const args = {
  program: {
    type: 'positional',
    description: 'A text of programs, plain or gzip',
    required: true,
  },
  json: { type: 'boolean', description: 'One JSON object an operation, as in recordings' },
  era: { type: 'string', description: 'Kernel rules to use, instead of those the program names' },
  owners: { type: 'boolean', description: 'Draw where every page is after every operation' },
} as const;

export const runCommand: CommandDef<typeof args> = defineCommand({
  meta: { name: 'run', description: 'Runs programs of memory operations' },
  args,
  async run({ args: given }) {
    if (given.json === true && given.owners === true) {
      throw new UsageError('--owners draws for people; it does not go with --json');
    }
    const path = given.program;
    const era = parseEra(given.era);
    const text = readText(path);
    const options = { file: path, language: LANGUAGE };
    const parsed = parsePrograms(text, era === undefined ? options : { ...options, era });
    const machine = buildMachine(parsed.machine, LANGUAGE);
    if (given.json === true) print(JSON.stringify({ kernel: kernelOf(parsed.machine.era) }));
    const breather = new Breather();
    for (const program of parsed.programs) {
      const view =
        given.json === true ? new JsonView() : new TextView(machine, given.owners === true);
      view.begin(program);
      const beforeEnd = (runner: ProgramRunner): void => view.end(runner);
      const afterStep = (runner: ProgramRunner, done: StepResult): void => view.step(runner, done);
      let done = 0;
      try {
        for (const _ of runProgram(machine, program, { afterStep, beforeEnd })) {
          done++;
          await breather.breathe();
        }
      } catch (error) {
        throw located(error, path, program.steps[done]);
      }
    }
    return EXIT_OK;
  },
});

/** Says which operation the machine could not carry out. */
function located(error: unknown, path: string, step: Step | undefined): unknown {
  if (!(error instanceof SimError) || step === undefined) return error;
  const where = `${path}:${step.line}: ${stepText(step)}`;
  return new SimError(error.code, `${where}: ${error.message}`, error.detail);
}

function parseEra(name: string | undefined): EraName | undefined {
  if (name === undefined) return undefined;
  const era = ERAS.find((one) => one.name === name);
  if (era !== undefined) return era.name;
  const names = ERAS.map((one) => one.name).join(', ');
  throw new UsageError(`--era: expected one of ${names}; found ${JSON.stringify(name)}`);
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
  #width = 0;

  constructor(machine: Machine, owners: boolean) {
    this.#machine = machine;
    this.#map = new OwnershipMap(machine);
    this.#owners = owners;
  }

  begin(program: Program): void {
    print(colors.bold(`program ${program.name}`));
    if (this.#owners) print(`  ${colors.dim(this.#map.legend().join('   '))}`);
    const longest = program.steps.reduce((most, step) => Math.max(most, stepText(step).length), 0);
    this.#width = Math.min(40, longest);
  }

  step(runner: ProgramRunner, { step, result }: StepResult): void {
    print(`  ${stepText(step).padEnd(this.#width)}  ${resultText(result)}`);
    if (this.#owners) printAll(indented(this.#map.draw(runner.processes.values()), '      '));
  }

  end(runner: ProgramRunner): void {
    const table = ownershipTable(this.#machine, this.#map, runner.processes.values());
    print('');
    if (table.rows.length === 0) print('  no buffers');
    else printAll(indented(tableLines(table)));
    print('');
  }
}
