/** What `hmmlab replay --record FILE` adds to a replay. */
import { basename } from 'node:path';
import type { Machine } from '../core/machine.ts';
import { writeRecording } from '../node/recording-file.ts';
import { Recorder } from '../trace/recorder.ts';
import { recordingPath } from './run-record.ts';

export class ReplayRecording {
  readonly #path: string;
  #recorder: Recorder | null = null;

  /** @throws UsageError or InputError where nothing can be written there */
  constructor(path: string, inputs: readonly string[]) {
    this.#path = recordingPath(path, inputs);
  }

  /** Call before the first access. */
  start(machine: Machine, trace: string, driver: string): void {
    const drivers = new Map(machine.drivers.map(({ name }) => [name, driver]));
    this.#recorder = new Recorder(machine, { program: basename(trace), drivers });
  }

  write(): void {
    writeRecording(this.#path, this.#recorder!.stop());
  }
}
