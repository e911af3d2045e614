/** The recordings of Linux 6.1 and 6.12, read and replayed. */
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { LANGUAGE, parseRecording, replayRecording } from '../src/index.ts';
import { readText } from '../src/node/index.ts';
import { expectEqual, type Figure, keep, secondsOf } from './measure.ts';

const FOLDER = fileURLToPath(new URL('../test/recordings/', import.meta.url));
const FILES = /^linux-6.*\.jsonl\.gz$/;

export function replayFigures(rounds: number): Figure[] {
  const names = readdirSync(FOLDER).filter((name) => FILES.test(name));
  expectEqual('recordings', names.length, 5);
  let best = Number.POSITIVE_INFINITY;
  let parsing = Number.POSITIVE_INFINITY;
  let operations = 0;
  for (let round = 0; round < rounds; round++) {
    operations = 0;
    const seconds = secondsOf(() => {
      for (const name of names) operations += replay(name);
    });
    best = Math.min(best, seconds);
    parsing = Math.min(
      parsing,
      secondsOf(() => names.forEach(parseLines)),
    );
  }
  return [
    {
      name: 'replay of five recordings',
      unit: ' s',
      value: best,
      yardstick: { name: 's to parse their JSON', value: parsing },
      floor: 20,
      lessIsBetter: true,
      note: `${operations} operations, read, checked, run and compared`,
    },
  ];
}

function replay(name: string): number {
  const recording = parseRecording(readText(FOLDER + name), name, LANGUAGE);
  let operations = 0;
  for (const report of replayRecording(recording, LANGUAGE)) {
    if (report.difference !== null) throw new Error(`${name}: ${report.program} differs`);
    operations += report.operations;
  }
  return operations;
}

function parseLines(name: string): void {
  const lines = readText(FOLDER + name).split('\n');
  for (const line of lines) if (line !== '') keep(Object.keys(JSON.parse(line)).length);
}
