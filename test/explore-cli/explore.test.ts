// hmmlab explore: what it finds, prints and answers.

import { describe, expect, it } from 'vitest';
import { type Done, hmmlab } from '../program/cli.ts';
import { programFiles } from './programs.ts';

const FILES = programFiles();
const EXPECTED = 'expectation: line 12: expected r.data=8; found r.data=0';

/** How long it took is not the same twice. */
function untimed({ status, stdout, stderr }: Done): Done {
  return { status, stdout: stdout.replace(/ in [\d.]+ s \([\d,]+\/s\)/g, ''), stderr };
}

/** The command that is printed under a failure, without `npx hmmlab`. */
function againOf(stdout: string): string[] {
  const [, command] = /^ +again: npx hmmlab (.*)$/m.exec(stdout) ?? [];
  return command!.split(' ');
}

interface Told {
  readonly points: number;
  readonly seconds: number;
  readonly failures: readonly object[];
  readonly outcomes: readonly { readonly count: number }[];
}

/** Objects of --json, a line each. */
function objectsOf(stdout: string): Told[] {
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

describe('hmmlab explore', () => {
  it('finds a race, the same with one worker and two, and prints how to see it again', () => {
    const found = hmmlab(['explore', FILES.race, '--workers', '1']);
    expect(found).toMatchObject({ status: 1, stderr: '' });
    expect(found.stdout).toContain(EXPECTED);
    // The first store has no part in it.
    expect(found.stdout).toMatch(/found by schedule \d+; in short, without line 5:/);
    expect(found.stdout).toMatch(/B +is through; A goes on/);
    const two = hmmlab(['explore', FILES.race, '--workers', '2']);
    expect(untimed(two)).toEqual(untimed(found));

    const command = againOf(found.stdout);
    expect(command.slice(0, 3)).toEqual(['run', FILES.race, '--schedule']);
    const again = hmmlab(command);
    expect(again).toMatchObject({ status: 1, stderr: '' });
    expect(again.stdout).toContain(EXPECTED);
    const steps = again.stdout.split('\n').slice(1, 4);
    expect(steps.map((line) => line.trim())).toEqual([
      'mmap 0 1 anon rw       ret 0',
      'B: r = cpu_read 0 0 1  data 0',
      'A: cpu_write 0 0 1 8   data ok',
    ]);
  });

  it('searches all programs, says what needs no race, and names the program to run again', () => {
    const all = hmmlab(['explore', FILES.all, '--schedules', '80', '--seed', '2']);
    expect(all).toMatchObject({ status: 1, stderr: '' });
    const programs = [...all.stdout.matchAll(/^program (\w+)\n.*: (\d+) schedule/gm)];
    expect(programs.map(([, name]) => name)).toEqual(['wrong', 'quiet', 'race']);
    expect(programs[1]![2]).toBe('80');
    expect(all.stdout).toContain('found by schedule 1, the ordinary order; in short:');
    expect(all.stdout).toContain('  nothing found\n');
    expect(all.stdout.match(/note: it has no parallel block/g)).toHaveLength(1);
    const command = againOf(all.stdout);
    expect(command.slice(0, 5)).toEqual(['run', FILES.all, '--program', 'wrong', '--schedule']);
    expect(hmmlab(command).status).toBe(1);
  });

  it('searches all there is, with faults on purpose, and counts how it ends', () => {
    const flags = ['--strategy', 'exhaustive', '--bound', '1', '--faults', 'ram', '--outcomes'];
    const one = hmmlab(['explore', FILES.quiet, ...flags]);
    expect(one).toMatchObject({ status: 0, stderr: '' });
    expect(one.stdout).toContain('order that overtakes at most 1 time, not even with 1 fault\n');
    // One of the stores is enough; without memory for both there is nothing.
    const quiet = hmmlab(['explore', FILES.quiet, ...flags, '--most-faults', '2']);
    expect(quiet).toMatchObject({ status: 1, stderr: '' });
    expect(quiet.stdout).toMatch(/outcomes, and in what they differ:\n/);
    expect(quiet.stdout).toMatch(/^ +! +\d+ {2}process 0 buffer 0: -$/m);
    expect(quiet.stdout).toContain('A: cpu_write 0 0 1 8  data SIGKILL\n');
  });

  it('finds nothing where nothing is, not even when every schedule runs twice', () => {
    const quiet = hmmlab(['explore', FILES.quiet, '--self-check', '--schedules', '150']);
    expect(quiet).toMatchObject({ status: 0, stderr: '' });
    expect(quiet.stdout).toContain('150 schedules');
    const exhaustive = hmmlab(['explore', FILES.quiet, '--strategy', 'exhaustive']);
    expect(exhaustive).toMatchObject({ status: 0, stderr: '' });
    expect(exhaustive.stdout).toContain('nothing goes wrong in any order\n');
  });

  it('--json: an object a program, with all there is to know', () => {
    const flags = ['--json', '--outcomes', '--keep-going', '--schedules', '40'];
    const all = hmmlab(['explore', FILES.all, ...flags]);
    expect(all).toMatchObject({ status: 1, stderr: '' });
    const [wrong, quiet, race, ...more] = objectsOf(all.stdout);
    expect(more).toEqual([]);
    expect(wrong).toMatchObject({ program: 'wrong', strategy: 'mix', seed: 1, schedules: 40 });
    expect(quiet).toMatchObject({
      program: 'quiet',
      schedules: 40,
      states: 0,
      complete: false,
      interrupted: false,
      notes: [],
      failures: [],
      outcomes: [{ count: 40, failed: false, token: expect.stringMatching(/^h1-[0-9a-f]{4}$/) }],
    });
    expect(quiet!.points).toBeGreaterThan(40);
    expect(quiet!.seconds).toBeGreaterThan(0);
    const token = expect.stringMatching(/^h1-[0-9a-f]{4}-o1-0\.1$/);
    expect(race!.failures).toEqual([
      {
        kind: 'expectation',
        message: EXPECTED.replace('expectation: line 12', 'line 28'),
        detail: [],
        schedule: expect.any(Number),
        token,
        again: expect.stringMatching(/^npx hmmlab run .* --program race --schedule h1-/),
        found: expect.stringMatching(/^h1-[0-9a-f]{4}-/),
        story: expect.arrayContaining([expect.stringContaining('A goes on')]),
      },
    ]);
    const { outcomes } = race!;
    expect(outcomes.reduce((sum, { count }) => sum + count, 0)).toBe(40);
    expect(outcomes).toHaveLength(2);
  });

  it('stops after some time', () => {
    const quiet = hmmlab(['explore', FILES.quiet, '--time', '1']);
    expect(quiet).toMatchObject({ status: 0, stderr: '' });
    expect(quiet.stdout).toContain('nothing found');
  });

  it.each([
    [
      ['--strategy', 'dfs'],
      '--strategy: expected one of mix, random, pct, exhaustive; found "dfs"',
    ],
    [['--schedules', '1e3'], '--schedules: expected a whole number from 1 on; found "1e3"'],
    [['--workers', '65'], '--workers: expected a whole number from 1 to 64; found "65"'],
    [['--faults', 'ram,tea'], '--faults: expected "all" or sites out of ram, '],
    [['--most-faults', '2'], '--most-faults needs --faults'],
    [['--bound', '1'], '--bound goes with --strategy exhaustive, not mix'],
    [
      ['--strategy', 'exhaustive', '--seed', '2'],
      '--seed goes with --strategy random, pct or mix, not exhaustive',
    ],
    [['--program', 'tea'], '--program: expected a program of '],
  ])('%s is refused', (flags, message) => {
    const { status, stdout, stderr } = hmmlab(['explore', FILES.race, ...flags]);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain(`hmmlab: ${message}`);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });
});
