// Time changes nothing of what a machine answers.

import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { eventStream } from '../../src/core/events/stream.ts';
import type { SimEvent } from '../../src/core/events/types.ts';
import type { Timing } from '../../src/core/timing.ts';
import { LANGUAGE } from '../../src/drivers/index.ts';
import { readText } from '../../src/node/read-text.ts';
import {
  buildMachine,
  type KernelRecording,
  parsePrograms,
  parseRecording,
  replayRecording,
  runProgram,
} from '../../src/program/index.ts';
import { generate, textOf } from '../fuzz/mixed/generate.ts';
import { MIXED } from '../fuzz/mixed/judge.ts';
import { answersOf, SPEC_NAMES, spec } from './lab.ts';

const RECORDINGS = [
  'linux-6.1',
  'linux-6.1-heavy',
  'linux-6.12-heavy',
  'linux-6.1-lab',
  'linux-6.12-lab',
  'linux-5.10',
  'linux-5.10-rule5.7',
  'linux-5.10-rule5.6',
];

function recordingOf(name: string): KernelRecording {
  const path = fileURLToPath(new URL(`../recordings/${name}.jsonl.gz`, import.meta.url));
  return parseRecording(readText(path), name, LANGUAGE);
}

/** Every `step`-th program of a recording. */
function sample(recording: KernelRecording, step: number): KernelRecording {
  const programs = recording.programs.filter((_, i) => i % step === 0);
  return { ...recording, programs };
}

const GPUS = `
device nouveau vram 4MiB faults 8
device nouveau
device dmirror
program gpus
mmap 0 40 anon rw
cpu_write 0 0 40 100
gpu_read 0 0 0 40
gpu_bind 0 0 0 20
gpu_write 0 0 4 30 7
gpu_atomic 1 0 0 8 5
cpu_read 0 0 40
fork 1
gpu_write 1 0 0 10 50
@1 cpu_write 0 0 12 9
@1 gpu_read 0 0 0 12
gpu_access 0 0 r0,w1,a2,p3,r39
gpu_suspend 0
gpu_read 0 0 0 4
migrate_to_dev 0 0 20 20
cpu_read 0 0 40
gpu_fail_copy 0 1
gpu_bind 0 0 0 8
gpu_remove 0
gpu_read 1 0 0 40
end
`;

const GUEST = `
machine page 64KiB
device kvm-uvmem
device dmirror
program guest
mmap 0 8 anon rw
cpu_write 0 0 8 100
vm_slot 0 0 0 8 0
svm_esm
guest_read 0 8
guest_write 2 4 70
svm_page_out 3 0 -
cpu_read 0 2 4
guest_read 2 4
svm_share 6 2
cpu_write 0 6 2 5
guest_read 6 2
svm_unshare 6 1
vm_state
migrate_to_dev 0 0 0 8
guest_read 0 8
svm_off
vm_state
end
`;

describe('programs answer as without time', () => {
  it.each(SPEC_NAMES)('GPUs and a secure guest, %s', (name) => {
    for (const text of [GPUS, GUEST]) {
      const plain = answersOf(text);
      const timed = answersOf(text, { timing: spec(name), accounts: true });
      expect(timed.answers).toEqual(plain.answers);
      expect(timed.answers.at(-1)).not.toContain('error');
      expect(timed.machine.verify({ full: true })).toEqual([]);
      const { entries } = timed.machine.scheduler.accounts!;
      expect(entries.some(({ reason }) => reason === 'work')).toBe(name !== 'zero');
    }
  });

  it.each(['pcie3-gtx1080', 'c2c-gh200', 'power-uvmem'])(
    'random ones with all drivers, %s',
    (name) => {
      const timing = spec(name);
      for (let seed = 1; seed <= 30; seed++) {
        const text = textOf(
          generate(seed, { era: seed % 3 === 0 ? 'v5.10' : 'v6.1', operations: 40 }),
        );
        const { answers } = answersOf(text, {}, MIXED);
        expect(answersOf(text, { timing }, MIXED).answers, `seed ${seed}`).toEqual(answers);
      }
    },
  );
});

describe('recordings are answered as by the kernel', () => {
  it.each(RECORDINGS)('%s, a part of it with each specification', (name) => {
    const recording = recordingOf(name);
    SPEC_NAMES.forEach((specName, i) => {
      const part = sample({ ...recording, programs: recording.programs.slice(i) }, 40);
      const reports = [...replayRecording(part, LANGUAGE, { timing: spec(specName) })];
      expect(reports.length).toBe(part.programs.length);
      const differences = reports.map(({ difference }) => difference).filter(Boolean);
      expect(differences, specName).toEqual([]);
    });
  });
});

/** Every event of a run of programs. */
function eventsOf(text: string, timing?: Timing): SimEvent[] {
  const parsed = parsePrograms(text, { file: 'text', language: LANGUAGE });
  const machine = buildMachine(parsed.machine, LANGUAGE, undefined, timing && { timing });
  const events: SimEvent[] = [];
  eventStream(machine.events).subscribe((event) => events.push({ ...event }));
  for (const program of parsed.programs) for (const _ of runProgram(machine, program));
  return events;
}

describe('a specification of zeros', () => {
  it('is the plain machine, event by event', () => {
    for (const text of [GPUS, GUEST]) {
      const plain = eventsOf(text);
      expect(plain.length).toBeGreaterThan(200);
      expect(eventsOf(text, spec('zero'))).toEqual(plain);
    }
  });
});
