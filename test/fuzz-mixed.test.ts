// Random programs on mixed machines, a few of the many that `npm run fuzz:mixed` runs, and proof
// that they find faults.

import { describe, expect, it } from 'vitest';
import type { EraName } from '../src/core/era.ts';
import { parsePrograms } from '../src/program/index.ts';
import { fuzzMixed } from './fuzz/mixed/fuzz.ts';
import { MIXED, newStats, runMixedProgram } from './fuzz/mixed/judge.ts';
import { MIXED_MUTATIONS } from './fuzz/mixed/mutations.ts';

const OPERATIONS = 40;

describe('random programs with GPUs, dmirrors and a secure guest', () => {
  const ERAS: readonly (readonly [EraName, number])[] = [
    ['v5.6', 100],
    ['v5.7', 100],
    ['v5.10', 100],
    ['v6.1', 200],
    ['v6.12', 100],
  ];

  it.each(ERAS)('find nothing in era %s (%i programs)', (era, programs) => {
    const { failure, stats } = fuzzMixed({ era, programs, seed: 20_270, operations: OPERATIONS });
    expect(failure).toBeNull();
    expect(stats.programs).toBe(programs);
    // They do something: pages go every way, and guests have secrets.
    for (const way of ['ram to gpu', 'gpu to ram', 'ram to uv', 'uv to ram']) {
      expect(stats.moves.get(way), way).toBeGreaterThan(programs / 20);
    }
    expect(stats.secrets).toBeGreaterThan(programs / 10);
  });

  it('are the same for the same seed', () => {
    const options = { era: 'v6.1', programs: 10, seed: 7, operations: OPERATIONS } as const;
    expect(fuzzMixed(options)).toEqual(fuzzMixed(options));
  });

  it('end in v5.6 with the first page that somebody takes from its owner, and with both names', () => {
    const { stats } = fuzzMixed({ era: 'v5.6', programs: 40, seed: 1, operations: OPERATIONS });
    expect(stats.ends.get('a trespass')).toBeGreaterThan(4);
  });
});

describe('a planted fault is found within 1,000 programs', () => {
  it.each(MIXED_MUTATIONS)('$name: $summary', (mutation) => {
    const { prepare } = mutation;
    const undo = mutation.plant();
    try {
      const options = { era: 'v6.1', programs: 1000, seed: 1001, operations: OPERATIONS } as const;
      const { failure } = fuzzMixed(prepare === undefined ? options : { ...options, prepare });
      expect(failure).not.toBeNull();
      expect(failure!.finding).toMatch(/^line \d+, .*:\n {2}\S|^after the end:\n {2}\S/);
      expect(failure!.finding).toMatch(mutation.finding);
      // The smallest program is short, and a program like any other.
      const { programs } = parsePrograms(failure!.program, { file: 'found', language: MIXED });
      expect(programs[0]!.steps.length).toBeLessThanOrEqual(8);
      undo();
      // Without the fault nothing is wrong with it.
      const stats = newStats();
      expect(() => runMixedProgram(failure!.program, { stats })).not.toThrow();
      expect(stats.programs).toBe(1);
    } finally {
      undo();
    }
  });
});
