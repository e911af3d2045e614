// Reports and exports of many programs: what must hold for each of them, whatever it does.

import { describe, expect, it } from 'vitest';
import { Machine } from '../../src/core/machine.ts';
import { PAGE_SIZE } from '../../src/core/units.ts';
import { LANGUAGE } from '../../src/drivers/index.ts';
import { Nouveau } from '../../src/drivers/nouveau/index.ts';
import type { GpuAccess } from '../../src/hw/gpu-access.ts';
import { readText } from '../../src/node/read-text.ts';
import { buildMachine, parseRecording, runProgram } from '../../src/program/index.ts';
import { exportChrome } from '../../src/trace/export-chrome.ts';
import { exportKfd } from '../../src/trace/export-kfd.ts';
import { Recorder } from '../../src/trace/recorder.ts';
import type { Recording } from '../../src/trace/recording.ts';
import { makeReport } from '../../src/trace/report.ts';
import { problemsOf } from './chrome-validator.ts';
import { KFD_FORMS, KFD_LINE_MAX } from './kfd-forms.ts';
import { GUEST_AND_GPUS } from './programs.ts';
import { recordingOf, recordingOfText } from './sources.ts';

const PROGRAMS_MAX = 40;

/** What the machine did in each of the first programs of a conformance recording. */
function recordingsOf(name: string): Recording[] {
  const file = `test/recordings/${name}.jsonl.gz`;
  const { machine: spec, programs } = parseRecording(readText(file), file, LANGUAGE);
  const machine = buildMachine(spec, LANGUAGE);
  return programs.slice(0, PROGRAMS_MAX).map(({ program }) => {
    const recorder = new Recorder(machine, { program: program.name });
    for (const _ of runProgram(machine, program));
    return recorder.stop();
  });
}

/** Two GPUs that copy at the same time, on threads of their own. */
function timedRecording(): Recording {
  const machine = new Machine();
  const gpus = [500, 700].map((copyLatencyNs) => {
    return machine.attach(new Nouveau({ copyLatencyNs, faultEntries: 8 }));
  });
  const proc = machine.createProcess();
  const va = proc.mmap({ pages: 64 });
  return recordingOf(machine, () => {
    for (let i = 0; i < 64; i++) proc.store32(va + i * PAGE_SIZE, i);
    const files = gpus.map((gpu) => gpu.open(proc));
    files.forEach((file, i) => {
      machine.spawn(`app ${i}`, file.svmBindTask(va + i * 16 * PAGE_SIZE, 32 * PAGE_SIZE));
    });
    machine.runAll();
    files.forEach((file, i) => {
      const kind = i === 0 ? 'write' : 'read';
      const at = (k: number): GpuAccess => ({ kind, va: va + k * 3 * PAGE_SIZE, value: k });
      const accesses = Array.from({ length: 20 }, (_, k) => at(k));
      machine.spawn(`app ${i}`, file.executeTask(accesses));
    });
    machine.runAll();
  });
}

const SOURCES: Readonly<Record<string, () => Recording[]>> = {
  'programs of Linux 6.1': () => recordingsOf('linux-6.1'),
  'programs of pgmaplab on Linux 6.1': () => recordingsOf('linux-6.1-lab'),
  'programs of the rules of v5.6': () => recordingsOf('linux-5.10-rule5.6'),
  'a secure guest and GPUs': () => [recordingOfText(GUEST_AND_GPUS)],
  'GPUs that take time': () => [timedRecording()],
};

describe.each(Object.keys(SOURCES))('%s', (name) => {
  const recordings = SOURCES[name]!();

  it('give traces that obey all rules', () => {
    for (const recording of recordings) {
      expect(problemsOf([...exportChrome(recording)].join(''))).toEqual([]);
    }
  });

  it('give lines of KFD in their forms, each migration with beginning and end', () => {
    for (const recording of recordings) {
      const open: string[] = [];
      for (const line of exportKfd(recording).lines) {
        expect(line.length).toBeLessThan(KFD_LINE_MAX);
        expect(line.trimEnd()).toMatch(KFD_FORMS[line[0]!]!);
        const [id, , ...where] = line.trimEnd().split(' ');
        if (id === '5') open.push([...where.slice(0, 3), where[4]].join(' '));
        if (id === '6')
          expect(open.splice(open.indexOf(where.join(' ')), 1)).toEqual([where.join(' ')]);
      }
      expect(open).toEqual([]);
    }
  });

  it('give reports that account for every page that moved', () => {
    let moved = 0;
    for (const recording of recordings) {
      const { devices, hmmlab } = makeReport(recording);
      const { page_size: pageSize, migrations } = hmmlab;
      const directions = devices.flatMap((device) => Object.values(device.migrations));
      const bytes = directions.reduce((sum, one) => sum + one.total_size_bytes, 0);
      const filled = hmmlab.devices.reduce((sum, one) => sum + one.filled_pages, 0);
      const inRam = migrations.within_ram_pages + migrations.filled_ram_pages;
      expect(bytes / pageSize + filled + inRam).toBe(migrations.migrated_pages);
      expect(migrations.migrated_pages + migrations.failed_pages).toBe(migrations.selected_pages);
      moved += migrations.migrated_pages;
    }
    expect(moved).toBeGreaterThan(50);
  });
});
