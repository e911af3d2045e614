/** Target 7: what real kernels answered, replayed. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  type KernelRecording,
  LANGUAGE,
  parseRecording,
  replayRecording,
} from '../../src/index.ts';
import { readText } from '../../src/node/index.ts';
import { interleave, keep, rateOf } from '../harness/measure.ts';
import { ROOT } from '../harness/project.ts';
import type { Measurement } from '../harness/types.ts';

/** A sample takes seconds. */
const ROUNDS_MAX = 5;
const FOLDER = join(ROOT, 'test', 'recordings');
const PARSED = 'operations replayed, recordings parsed before';
const FROM_FILE = 'operations replayed, from the files';

function read(name: string): KernelRecording {
  return parseRecording(readText(join(FOLDER, name)), name, LANGUAGE);
}

function replayAll(recordings: readonly KernelRecording[]): number {
  let operations = 0;
  for (const recording of recordings) {
    for (const report of replayRecording(recording, LANGUAGE)) {
      if (report.difference !== null) throw new Error(`${recording.file}: ${report.program}`);
      operations += report.operations;
    }
  }
  return operations;
}

function parseLines(texts: readonly string[]): void {
  for (const text of texts) {
    for (const line of text.split('\n')) {
      if (line !== '') keep(JSON.stringify(JSON.parse(line)).length);
    }
  }
}

const common = {
  unit: '/s',
  better: 'more',
  targets: [{ bound: 400_000, on: 'value' }],
} as const;

export const CONFORMANCE: Measurement = {
  name: 'conformance',
  section: '7',
  oneCore: true,
  figures: [
    { ...common, name: PARSED, note: 'run and compared with what the kernel answered; one core' },
    { ...common, name: FROM_FILE, note: 'unpacked, parsed, checked, run, compared; one core' },
  ],
  async run({ rounds }) {
    const names = readdirSync(FOLDER).filter((name) => name.endsWith('.jsonl.gz'));
    if (names.length < 8) throw new Error(`only ${names.length} recordings`);
    const recordings = names.map(read);
    const texts = names.map((name) => readText(join(FOLDER, name)));
    const operations = replayAll(recordings);
    const got = await interleave(
      Math.min(rounds, ROUNDS_MAX),
      {
        parsed: () => rateOf(operations, () => keep(replayAll(recordings))),
        fromFile: () => rateOf(operations, () => keep(replayAll(names.map(read)))),
        json: () => rateOf(operations, () => parseLines(texts)),
      },
      1,
    );
    const yardstick = { name: '/s, lines of JSON parsed and printed', samples: got.json };
    const detail = `${operations} operations of ${names.length} recordings`;
    return [
      { name: PARSED, samples: got.parsed, yardstick, detail },
      { name: FROM_FILE, samples: got.fromFile, yardstick, detail },
    ];
  },
};
