/** What `hmmlab run --record FILE` adds to a run. */
import { basename } from 'node:path';
import type { Machine } from '../core/machine.ts';
import { checkRecordingPath, writeRecording } from '../node/recording-file.ts';
import type { MachineSpec } from '../program/index.ts';
import { Recorder } from '../trace/recorder.ts';
import { outputPath } from './output-path.ts';
import type { ReplayRequest } from './replay.ts';

export class RunRecording {
  readonly #path: string;
  #recorder: Recorder | null = null;

  /** @throws UsageError or InputError where nothing can be written there */
  constructor(path: string, inputs: readonly string[]) {
    this.#path = recordingPath(path, inputs);
  }

  start(machine: Machine, spec: MachineSpec, program: string): void {
    this.#recorder = startRecorder(machine, spec, program);
  }

  /** The same for a schedule, which starts and writes it itself. */
  ofSchedule(spec: MachineSpec, program: string): ReplayRequest['record'] {
    return { path: this.#path, start: (machine) => startRecorder(machine, spec, program) };
  }

  /** Writes what was recorded; returns how many records. */
  write(): number {
    const recording = this.#recorder!.stop();
    writeRecording(this.#path, recording);
    return recording.length;
  }
}

/**
 * The value of `--record`.
 *
 * @throws UsageError or InputError where nothing can be written there
 */
export function recordingPath(path: string, inputs: readonly string[]): string {
  checkRecordingPath(outputPath('--record', path, inputs));
  return path;
}

function startRecorder(machine: Machine, { devices }: MachineSpec, program: string): Recorder {
  const drivers = new Map(machine.drivers.map(({ name }, i) => [name, devices[i]!.driver]));
  return new Recorder(machine, { program: basename(program), drivers });
}
