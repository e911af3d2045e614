// Every operation of every recorded program must be answered as the real kernel answered it.

import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { LANGUAGE } from '../src/drivers/index.ts';
import { readText } from '../src/node/read-text.ts';
import { parseRecording, replayRecording } from '../src/program/index.ts';

/** Names of the recordings with the number of their programs and operations. */
const RECORDINGS = [
  ['linux-6.1', 900, 31_879],
  ['linux-6.1-heavy', 600, 21_755],
  ['linux-6.12-heavy', 600, 21_755],
  ['linux-6.1-lab', 800, 34_998],
  ['linux-6.12-lab', 800, 34_998],
  ['linux-5.10', 500, 17_298],
  ['linux-5.10-rule5.7', 500, 17_298],
  ['linux-5.10-rule5.6', 500, 17_298],
] as const;

describe('the emulator answers as the kernel did', () => {
  it.each(RECORDINGS)('%s: %i programs, %i operations', (name, programs, operations) => {
    const path = fileURLToPath(new URL(`recordings/${name}.jsonl.gz`, import.meta.url));
    const recording = parseRecording(readText(path), name, LANGUAGE);
    const reports = [...replayRecording(recording, LANGUAGE)];
    const differences = reports.map((report) => report.difference).filter((one) => one !== null);
    expect(differences.slice(0, 3)).toEqual([]);
    expect(reports.length).toBe(programs);
    expect(reports.reduce((sum, report) => sum + report.operations, 0)).toBe(operations);
    expect(reports.reduce((sum, report) => sum + report.equal, 0)).toBe(operations);
  });
});
