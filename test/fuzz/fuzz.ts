/** Runs random programs until one goes wrong, and makes that one as small as possible. */
import fc from 'fast-check';
import type { EraName } from '../../src/core/era.ts';
import { type Plan, plans, programText } from './commands.ts';
import { type FuzzStats, type RunOptions, runFuzzProgram } from './run-program.ts';

export interface FuzzOptions extends Omit<RunOptions, 'stats'> {
  readonly programs: number;
  readonly seed: number;
  /** Operations of a program, at most. */
  readonly operations: number;
  readonly era: EraName;
  /** Where an earlier run found something: runs that program first. */
  readonly path?: string;
  /** Called before every program. */
  readonly progress?: (stats: FuzzStats) => void;
}

export interface FuzzFailure {
  /** The smallest program found. */
  readonly program: string;
  readonly finding: string;
  /** How many programs ran until the first failure, that one included. */
  readonly programs: number;
  readonly shrinks: number;
  readonly path: string;
}

export interface FuzzReport {
  readonly stats: FuzzStats;
  readonly failure: FuzzFailure | null;
}

export function fuzz(options: FuzzOptions): FuzzReport {
  const { programs, seed, operations, era, path, progress, prepare } = options;
  const stats: FuzzStats = { programs: 0, operations: 0, moves: 0 };
  const runOptions = prepare === undefined ? { stats } : { stats, prepare };
  const property = fc.property(plans(operations), (plan: Plan) => {
    progress?.(stats);
    runFuzzProgram(programText(plan, era), runOptions);
  });
  const details = fc.check(property, {
    numRuns: programs,
    seed,
    ...(path === undefined ? {} : { path }),
  });
  if (!details.failed) return { stats, failure: null };
  const { counterexample, errorInstance, counterexamplePath, numRuns, numShrinks } = details;
  const [plan] = counterexample!;
  const finding = errorInstance instanceof Error ? errorInstance.message : String(errorInstance);
  const failure = {
    program: programText(plan, era),
    finding,
    programs: numRuns,
    shrinks: numShrinks,
    path: counterexamplePath!,
  };
  return { stats, failure };
}
