/** hmmlab demo: a recorded kernel program, replayed step by step with owners drawn. */
import { fileURLToPath } from 'node:url';
import { type CommandDef, defineCommand } from 'citty';
import colors from 'picocolors';
import { SimError } from '../core/errors.ts';
import { LANGUAGE } from '../drivers/index.ts';
import { readText } from '../node/read-text.ts';
import {
  buildMachine,
  OwnershipMap,
  ProgramRunner,
  parseRecording,
  type RecordedProgram,
  type Recording,
  resultLine,
} from '../program/index.ts';
import { isEqual, replayAll, summaryLine } from './conformance.ts';
import { EXIT_DIFFERENT, EXIT_OK } from './errors.ts';
import { columnLines, stepText } from './format.ts';
import { print, printAll } from './output.ts';

/** Two devices and the CPU pass one buffer around. */
const PROGRAM = 't-owners-00001';
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

function showProgram(recording: Recording, { program, lines }: RecordedProgram): void {
  const machine = buildMachine(recording.machine, LANGUAGE);
  const map = new OwnershipMap(machine);
  const runner = new ProgramRunner(machine);
  print(`Program ${program.name}, recorded on Linux ${recording.kernel}. Where each page is:\n`);
  printAll(map.legend().map((entry) => `  ${entry}`));
  print('');
  const rows = [['operation', 'owners', 'what it does', 'as the kernel']];
  for (const [i, step] of program.steps.entries()) {
    const result = runner.step(step);
    const equal = resultLine(step, result) === lines[i] ? 'yes' : 'NO';
    const drawn = map.draw(runner.processes.values()).map((line) => line.replace(/^.* /, ''));
    rows.push([stepText(step), drawn.join(' '), step.operation.summary, equal]);
  }
  runner.finish();
  printAll(columnLines(rows));
}
