// Runs a text of programs with a recorder, and hears everything a second time.

import { readFileSync } from 'node:fs';
import type { EraName } from '../../src/core/era.ts';
import type { SimEvent } from '../../src/core/events/types.ts';
import { LANGUAGE } from '../../src/drivers/index.ts';
import { buildMachine, parsePrograms, runProgram } from '../../src/program/index.ts';
import { Recorder } from '../../src/trace/recorder.ts';
import type { Recording } from '../../src/trace/recording.ts';

export interface Heard {
  readonly recording: Recording;
  readonly events: readonly SimEvent[];
}

export function recordProgram(text: string, era?: EraName): Heard {
  const options = { file: 'program.txt', language: LANGUAGE };
  const parsed = parsePrograms(text, era === undefined ? options : { ...options, era });
  const machine = buildMachine(parsed.machine, LANGUAGE);
  const drivers = new Map(
    machine.drivers.map(({ name }, i) => [name, parsed.machine.devices[i]!.driver]),
  );
  const events: SimEvent[] = [];
  const recorder = new Recorder(machine, { program: 'program.txt', drivers });
  machine.events.on('*', (event) => events.push(event));
  for (const program of parsed.programs) for (const _ of runProgram(machine, program));
  return { recording: recorder.stop(), events };
}

export function exampleText(name: string): string {
  return readFileSync(new URL(`../../examples/${name}/program.txt`, import.meta.url), 'utf8');
}

/** Two GPUs, one of which may not have the other's page. */
export const TWO_GPUS = `machine ram 64MiB
device nouveau vram 4MiB
device nouveau vram 4MiB
program two-gpus
mmap 0 4 anon rw
cpu_write 0 0 4 100
gpu_bind 0 0 0 2
gpu_bind 1 0 0 4
gpu_read 0 0 2 2
cpu_read 0 0 4
end
`;
