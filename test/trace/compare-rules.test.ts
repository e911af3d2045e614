// The rules that a comparison names: their words are complete, and they are held against the
// recordings of real kernels, where a machine with that rule changed must answer as the other kernel.

import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ERA_RULES, ERAS, type Era, eraNamed } from '../../src/core/era.ts';
import { LANGUAGE } from '../../src/drivers/index.ts';
import { readText } from '../../src/node/read-text.ts';
import {
  buildMachine,
  type KernelRecording,
  ProgramRunner,
  parseRecording,
  resultLine,
} from '../../src/program/index.ts';
import { compareProgram } from '../../src/trace/compare.ts';

describe('the words for the rules', () => {
  it('name every change from era to era, once, in the order of the releases', () => {
    const changes = ERAS.slice(1).flatMap((era, i) =>
      (Object.keys(era) as (keyof Era)[])
        .filter((key) => key !== 'name' && era[key] !== ERAS[i]![key])
        .map((key) => `${key}=${era[key]}`),
    );
    expect(ERA_RULES.map(({ key, value }) => `${key}=${value}`).sort()).toEqual(changes.sort());
    const releases = ERA_RULES.map(({ since }) => releaseNumber(since));
    expect(releases).toEqual([...releases].sort((a, b) => a - b));
  });

  it('name a release after the older era and not after the newer one', () => {
    for (const { key, value, since } of ERA_RULES) {
      const at = ERAS.findIndex((era) => era[key] === value);
      expect(releaseNumber(since)).toBeGreaterThan(releaseNumber(ERAS[at - 1]!.name));
      expect(releaseNumber(since)).toBeLessThanOrEqual(releaseNumber(ERAS[at]!.name));
    }
  });
});

function releaseNumber(name: string): number {
  const [major, minor] = name.slice(1).split('.').map(Number);
  return major! * 1000 + minor!;
}

// --- Against real kernels -----------------------------------------------------------------------

const KERNELS = [
  ['v5.6', 'linux-5.10-rule5.6'],
  ['v5.7', 'linux-5.10-rule5.7'],
  ['v5.10', 'linux-5.10'],
] as const;
const PROGRAMS = 60;

function recordingOf(name: string): KernelRecording {
  const path = fileURLToPath(new URL(`../recordings/${name}.jsonl.gz`, import.meta.url));
  return parseRecording(readText(path), name, LANGUAGE);
}

/** What a machine of any rules answers to a program, as lines of a recording; it may break down. */
function linesUnder(recording: KernelRecording, at: number, era: Era, count: number): string[] {
  const { program } = recording.programs[at]!;
  const runner = new ProgramRunner(buildMachine(recording.machine, LANGUAGE, era));
  return program.steps.slice(0, count).map((step) => resultLine(step, runner.step(step)));
}

describe('recorded programs under the eras they were recorded in', () => {
  const recordings = KERNELS.map(([, name]) => recordingOf(name));
  const eras = KERNELS.map(([era]) => era);
  const programs = recordings[0]!.programs.slice(0, PROGRAMS);
  const comparisons = programs.map(({ program }) =>
    compareProgram({ program, machine: recordings[0]!.machine, language: LANGUAGE }, eras),
  );

  it('differ first where the kernels did', () => {
    comparisons.forEach((found, at) => {
      const lines = recordings.map((recording) => recording.programs[at]!.lines);
      const first = lines[0]!.findIndex((line, i) => lines.some((other) => other[i] !== line));
      expect([found.program, found.differences[0]?.index ?? -1]).toEqual([found.program, first]);
    });
    expect(comparisons.filter(({ equal }) => !equal).length).toBeGreaterThan(PROGRAMS / 2);
  });

  it('differ by the rules that are named: changed alone, they give the other kernel its answer', () => {
    let proved = 0;
    comparisons.forEach((found, at) => {
      for (const { index, why } of found.differences) {
        for (const { older, newer, rules, need, back } of why) {
          const [from, to] = [eraNamed(older), eraNamed(newer)];
          const named = rules.map(({ key }) => key as keyof Era);
          for (const key of named) expect(from[key]).not.toBe(to[key]);
          expect([need, back]).toEqual(['one', true]);
          const pick = (era: Era): object =>
            Object.fromEntries(named.map((key) => [key, era[key]]));
          const recorded = (era: string): readonly string[] =>
            recordings[eras.indexOf(era as never)]!.programs[at]!.lines.slice(0, index + 1);
          const forward = { ...from, ...pick(to) };
          const backward = { ...to, ...pick(from) };
          expect(linesUnder(recordings[0]!, at, forward, index + 1)).toEqual(recorded(newer));
          expect(linesUnder(recordings[0]!, at, backward, index + 1)).toEqual(recorded(older));
          expect(recorded(older).at(-1)).not.toBe(recorded(newer).at(-1));
          proved++;
        }
      }
    });
    expect(proved).toBeGreaterThan(PROGRAMS);
  });

  it('never trespass from v5.7 on', () => {
    let old = 0;
    for (const { trespasses } of comparisons) {
      const [v5_6, ...others] = trespasses;
      old += v5_6!.count;
      for (const { count } of others) expect(count).toBe(0);
    }
    expect(old).toBeGreaterThan(100);
  });
});
