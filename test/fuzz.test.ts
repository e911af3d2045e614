// Random programs, a few of the many that `npm run fuzz` runs, and proof that they find faults.

import { describe, expect, it } from 'vitest';
import type { EraName } from '../src/core/era.ts';
import { LANGUAGE } from '../src/drivers/index.ts';
import { parsePrograms } from '../src/program/index.ts';
import { type FuzzReport, fuzz } from './fuzz/fuzz.ts';
import { MUTATIONS, type Mutation } from './fuzz/mutations.ts';
import { FuzzError, runFuzzProgram } from './fuzz/run-program.ts';

const SEED = 20_260;
const OPERATIONS = 60;

function fuzzMutated(mutation: Mutation): FuzzReport {
  const { prepare } = mutation;
  const undo = mutation.plant();
  try {
    const options = { programs: 1000, seed: SEED, operations: OPERATIONS, era: 'v6.1' } as const;
    return fuzz(prepare === undefined ? options : { ...options, prepare });
  } finally {
    undo();
  }
}

describe('random programs', () => {
  const ERAS: readonly (readonly [EraName, number])[] = [
    ['v6.1', 600],
    ['v6.12', 300],
    ['v5.10', 200],
    ['v5.7', 100],
    ['v5.6', 100],
  ];

  it.each(ERAS)('find nothing in era %s (%i programs)', (era, programs) => {
    const report = fuzz({ programs, seed: SEED, operations: OPERATIONS, era });
    expect(report.failure).toBeNull();
    expect(report.stats.programs).toBe(programs);
    // They do something: pages change hands.
    expect(report.stats.moves).toBeGreaterThan(programs / 2);
  });

  it('are the same for the same seed', () => {
    const options = { programs: 20, seed: SEED, operations: OPERATIONS, era: 'v6.1' } as const;
    expect(fuzz(options)).toEqual(fuzz(options));
  });
});

describe('a planted fault is found within 1,000 programs', () => {
  it.each(MUTATIONS)('$name: $summary', (mutation) => {
    const { failure } = fuzzMutated(mutation);
    expect(failure).not.toBeNull();
    // The smallest program is short, and a program like any other.
    const { programs } = parsePrograms(failure!.program, { file: 'found', language: LANGUAGE });
    expect(programs[0]!.steps.length).toBeLessThanOrEqual(8);
    // Without the fault nothing is wrong with it.
    expect(() => runFuzzProgram(failure!.program)).not.toThrow();
  });

  it('says which line went wrong, and how', () => {
    const owner = MUTATIONS.find(({ name }) => name === 'owner')!;
    const found = fuzzMutated(owner).failure!;
    expect(() => runFuzzProgram(found.program, { prepare: owner.prepare! })).toThrow(FuzzError);
    expect(found.finding).toMatch(/^line \d+, .*:\n {2}\S/);
    expect(found.path).toMatch(/^\d+(:\d+)*$/);
  });
});
