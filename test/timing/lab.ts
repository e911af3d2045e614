// Timings of round numbers, and programs run in them, for the tests of time.

import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Machine, type MachineOptions } from '../../src/core/machine.ts';
import {
  type DeviceTiming,
  type LinkTiming,
  NO_DEVICE_TIME,
  NO_LANE_TIME,
  NO_TIME,
  type Timing,
} from '../../src/core/timing.ts';
import { LANGUAGE } from '../../src/drivers/index.ts';
import { Nouveau, type NouveauFile, type NouveauOptions } from '../../src/drivers/nouveau/index.ts';
import { readTiming } from '../../src/node/timing-file.ts';
import {
  buildMachine,
  type Language,
  ProgramRunner,
  parsePrograms,
  resultLine,
} from '../../src/program/index.ts';

export const SPECS_FOLDER: string = fileURLToPath(
  new URL('../../examples/specs/', import.meta.url),
);

export const SPEC_NAMES: readonly string[] = readdirSync(SPECS_FOLDER)
  .filter((name) => name.endsWith('.json'))
  .map((name) => name.slice(0, -'.json'.length));

export function spec(name: string): Timing {
  return readTiming(`${SPECS_FOLDER}${name}.json`);
}

/** A link of 1 GB/s both ways, so that a byte takes a nanosecond. */
export function linkOf(link: Partial<LinkTiming> = {}): LinkTiming {
  const lane = { ...NO_LANE_TIME, bytesPerSecond: 1e9 };
  return {
    name: 'wire',
    shared: false,
    packetBytes: 0,
    headerBytes: 0,
    toDevice: lane,
    toHost: lane,
    ...link,
  };
}

/** Devices on that link, which take no time for anything else. */
export function timingOf(device: Partial<DeviceTiming> = {}, link: LinkTiming = linkOf()): Timing {
  const devices = [{ ...NO_DEVICE_TIME, link: link.name, ...device }];
  return { ...NO_TIME, name: 'test', links: [link], devices };
}

export interface GpuPlace {
  readonly machine: Machine;
  readonly gpu: Nouveau;
  readonly file: NouveauFile;
  /** `pages` pages that the CPU has written: page i is i + 1. */
  readonly buffer: number;
  /** Virtual nanoseconds that `action` takes. */
  time(action: () => void): number;
}

export function gpuPlace(timing: Timing, pages: number, options: NouveauOptions = {}): GpuPlace {
  const machine = new Machine({ timing, accounts: true });
  const gpu = machine.attach(new Nouveau(options));
  const proc = machine.createProcess();
  const file = gpu.open(proc);
  const buffer = proc.mmap({ pages });
  for (let i = 0; i < pages; i++) proc.store32(buffer + i * machine.pageSize, i + 1);
  const time = (action: () => void): number => {
    const startNs = machine.scheduler.nowNs;
    action();
    return machine.scheduler.nowNs - startNs;
  };
  return { machine, gpu, file, buffer, time };
}

/** Every answer of the programs in a text, and the error that ended one, if one did. */
export function answersOf(
  text: string,
  options: Pick<MachineOptions, 'timing' | 'accounts'> = {},
  language: Language = LANGUAGE,
): { readonly answers: string[]; readonly machine: Machine } {
  const parsed = parsePrograms(text, { file: 'text', language });
  const machine = buildMachine(parsed.machine, language, undefined, options);
  const answers: string[] = [];
  for (const program of parsed.programs) {
    const runner = new ProgramRunner(machine);
    try {
      for (const step of program.steps) {
        if (runner.processes.has(step.process)) answers.push(resultLine(step, runner.step(step)));
      }
      runner.finish();
    } catch (error) {
      answers.push(`error: ${error instanceof Error ? error.name : String(error)}`);
      break;
    }
  }
  return { answers, machine };
}
