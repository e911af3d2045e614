/** hmmlab demo: a recorded kernel program, replayed step by step with owners drawn. */
import { fileURLToPath } from 'node:url';
import { type CommandDef, defineCommand } from 'citty';
import { SimError } from '../core/errors.ts';
import { LANGUAGE } from '../drivers/index.ts';
import { readText } from '../node/read-text.ts';
import {
  buildMachine,
  type KernelRecording,
  OwnershipMap,
  ProgramRunner,
  parseRecording,
  type RecordedProgram,
  type Result,
  resultLine,
  rowOf,
  type Step,
} from '../program/index.ts';
import colors from './colors.ts';
import { isEqual, replayAll, summaryLine } from './conformance.ts';
import { EXIT_DIFFERENT, EXIT_OK } from './errors.ts';
import { columnLines, stepText } from './format.ts';
import { print, printAll } from './output.ts';

/** Two devices and the CPU pass one buffer around. */
const PROGRAM = 't-owners-00712';
const RECORDING: URL = new URL('../../test/recordings/linux-6.1.jsonl.gz', import.meta.url);
const FILE_NAME = 'linux-6.1.jsonl.gz';

export const demoCommand: CommandDef = defineCommand({
  meta: { name: 'demo', description: 'Replays a recorded kernel program and shows who owns what' },
  args: {},
  async run() {
    const text = readText(fileURLToPath(RECORDING));
    const recording = parseRecording(text, FILE_NAME, LANGUAGE);
    const recorded = recording.programs.find(({ program }) => program.name === PROGRAM);
    if (recorded === undefined) {
      throw new SimError('bad-argument', `${FILE_NAME} has no program ${PROGRAM}`);
    }
    showProgram(recording, recorded);
    print(`\nEvery program of ${FILE_NAME}, as Linux ${recording.kernel} answered it:`);
    const tally = await replayAll([recording]);
    print((isEqual(tally) ? colors.green : colors.red)(summaryLine(tally)));
    return isEqual(tally) ? EXIT_OK : EXIT_DIFFERENT;
  },
});

function showProgram(recording: KernelRecording, { program, lines }: RecordedProgram): void {
  const machine = buildMachine(recording.machine, LANGUAGE);
  const map = new OwnershipMap(machine);
  const runner = new ProgramRunner(machine);
  const drawn: string[] = [];
  const rows = [['operation', 'owners', 'what happens', 'answer', `as Linux ${recording.kernel}`]];
  for (const [i, step] of program.steps.entries()) {
    const result = runner.step(step);
    const equal = resultLine(step, result) === lines[i] ? 'yes' : 'NO';
    const owners = map.draw(runner.processes.values()).map(rowOf);
    drawn.push(...owners);
    rows.push([stepText(step), owners.map(coloured).join(' '), story(step), answer(result), equal]);
  }
  runner.finish();
  print(`Program ${program.name}, recorded on Linux ${recording.kernel}, one character a page:`);
  print(`  ${map.legend(drawn).join('   ')}\n`);
  printAll(columnLines(rows));
}

/** The numbers of a result; contents and page rights would not fit the line. */
function answer(result: Result): string {
  const { ret, cpages, faults, data } = result;
  if (ret === undefined) return Array.isArray(data) ? `${data[0]}, …` : '';
  if (cpages === undefined) return String(ret);
  const words = [`${ret}`, cpages === 1 ? '1 page' : `${cpages} pages`];
  return faults === undefined || faults === 0 ? words.join(', ') : `${words.join(', ')}, faulted`;
}

/** An operation of the recorded programs in words. */
function story(step: Step): string {
  const values = step.values as readonly number[];
  const pages = (first: number): string => {
    const [from, count] = [values[first]!, values[first + 1]!];
    return count === 1 ? `page ${from}` : `pages ${from} to ${from + count - 1}`;
  };
  switch (step.operation.name) {
    case 'mmap':
      return `the process maps ${values[1]} pages; there is nothing in them yet`;
    case 'cpu_write':
      return `the CPU writes ${pages(1)}`;
    case 'cpu_read':
      return `the CPU reads ${pages(1)}`;
    case 'migrate_to_dev':
      return `device ${values[0]} takes from RAM what it can of ${pages(2)}`;
    case 'migrate_to_sys':
      return `device ${values[0]} sends home its own among ${pages(2)}`;
    case 'dev_read':
      return `device ${values[0]} reads ${pages(2)}`;
    case 'dev_write':
      return `device ${values[0]} writes ${pages(2)}`;
    case 'snapshot':
      return `device ${values[0]} looks at ${pages(2)}`;
    case 'release':
      return `device ${values[0]} gives up all its memory`;
    default:
      return step.operation.summary;
  }
}

const COLOURS: ReadonlyMap<string, (text: string) => string> = new Map([
  ['0', colors.cyan],
  ['1', colors.magenta],
  ['R', colors.green],
]);

function coloured(row: string): string {
  return [...row].map((symbol) => COLOURS.get(symbol)?.(symbol) ?? symbol).join('');
}
