/** Access patterns made up, not recorded: the shapes that programs on several devices have. */
import type { WorkloadSink } from '../types.ts';

export interface MixOptions {
  /** Pages of the working set, 16 or more. */
  readonly pages: number;
  /** Devices, 1 to 64. Thread 0 is the CPU, thread 1 + i the i-th device. */
  readonly devices: number;
  /** How many accesses to make. */
  readonly accesses: number;
  /** A whole number; where chance has a say, the same seed gives the same accesses. */
  readonly seed: number;
}

/** What a mix is written as. */
export interface MixSteps {
  readonly name: string;
  /** One line for people. */
  readonly about: string;
  /**
   * Announces its mappings, then makes its accesses, with a pause after each pass over its memory or less:
   * for whoever has other things to do meanwhile.
   */
  steps(options: MixOptions, sink: WorkloadSink): Generator<void, void>;
}

export interface Mix extends MixSteps {
  /** All steps at once. */
  generate(options: MixOptions, sink: WorkloadSink): void;
}
