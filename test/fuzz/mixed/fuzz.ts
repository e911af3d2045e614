/** Runs random programs on mixed machines until one goes wrong. */
import type { EraName } from '../../../src/core/era.ts';
import type { Machine } from '../../../src/core/machine.ts';
import { generate, textOf } from './generate.ts';
import { type MixedStats, newStats, runMixedProgram } from './judge.ts';
import { shrink } from './shrink.ts';

export interface MixedOptions {
  readonly era: EraName;
  readonly programs: number;
  /** The first program's; each further one has the next number. */
  readonly seed: number;
  /** Lines of a program after its start, at most. */
  readonly operations: number;
  readonly prepare?: (machine: Machine) => void;
  /** Called before every program. */
  readonly progress?: (stats: MixedStats) => void;
}

export interface MixedFailure {
  /** Of the program that went wrong. */
  readonly seed: number;
  /** The smallest program found that goes wrong. */
  readonly program: string;
  readonly finding: string;
  readonly tries: number;
}

export interface MixedReport {
  readonly stats: MixedStats;
  readonly failure: MixedFailure | null;
}

export function fuzzMixed(options: MixedOptions): MixedReport {
  const { programs, seed, era, operations, prepare, progress } = options;
  const stats = newStats();
  const prepared = prepare === undefined ? {} : { prepare };
  const check = (text: string, counted: boolean): string | null => {
    try {
      runMixedProgram(text, counted ? { stats, ...prepared } : prepared);
      return null;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  };
  for (let i = 0; i < programs; i++) {
    progress?.(stats);
    const program = generate(seed + i, { era, operations });
    const finding = check(textOf(program), true);
    if (finding === null) continue;
    const small = shrink(program, finding, (text) => check(text, false));
    const text = textOf(small.program);
    const failure = { seed: seed + i, program: text, finding: small.finding, tries: small.tries };
    return { stats, failure };
  }
  return { stats, failure: null };
}
