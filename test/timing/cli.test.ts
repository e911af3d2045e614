// The command line: --spec and --time, and what it says of a specification that is wrong.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { hmmlab } from '../program/cli.ts';

const FOLDER = mkdtempSync(join(tmpdir(), 'hmmlab-time-'));
afterAll(() => rmSync(FOLDER, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(FOLDER, name);
  writeFileSync(path, text);
  return path;
}

const PROGRAM = file(
  'program.txt',
  `device nouveau
program p
mmap 0 32 anon rw
cpu_write 0 0 32 1
gpu_read 0 0 0 32
gpu_bind 0 0 0 32
cpu_read 0 0 32
end
`,
);
const PCIE = 'examples/specs/pcie3-gtx1080.json';

describe('hmmlab run --spec', () => {
  it('prints the same answers', () => {
    const plain = hmmlab(['run', PROGRAM]);
    expect(plain.status).toBe(0);
    expect(hmmlab(['run', PROGRAM, '--spec', PCIE])).toEqual(plain);
  });

  it('says with --time where it went', () => {
    const { status, stdout, stderr } = hmmlab(['run', PROGRAM, '--spec', PCIE, '--time']);
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^simulated time \d+(\.\d+)? (us|ms), GTX 1080 on PCIe 3\.0 x16$/m);
    for (const title of ['tasks', 'devices', 'most of it', 'links']) {
      expect(stdout).toMatch(new RegExp(`^${title}$`, 'm'));
    }
    expect(stdout).toMatch(/^ {2}main +\d.*100\.0%/m);
    expect(stdout).toMatch(/^ {2}nouveau0 fault worker /m);
    expect(stdout).toMatch(/^ {2}pcie of nouveau0 +to the device +129 KiB +64 /m);
  });

  it('with --json adds one line', () => {
    const plain = hmmlab(['run', PROGRAM, '--json']);
    const { stdout } = hmmlab(['run', PROGRAM, '--json', '--spec', PCIE, '--time']);
    const lines = stdout.trimEnd().split('\n');
    const { time } = JSON.parse(lines.pop()!) as { time: { totalNs: number; links: unknown[] } };
    expect(`${lines.join('\n')}\n`).toBe(plain.stdout);
    expect(time.totalNs).toBeGreaterThan(10_000);
    expect(time.links).toHaveLength(2);
  });

  it('with zeros says that no time passed', () => {
    const zero = 'examples/specs/zero.json';
    const { stdout } = hmmlab(['run', PROGRAM, '--spec', zero, '--time']);
    expect(stdout).toMatch(/^simulated time 0 ns, no time$/m);
  });

  it.each([
    [['--time'], '--time needs --spec FILE: without it no time passes'],
    [['--spec', 'nowhere.json'], 'nowhere.json: no such file'],
    [['--spec', PROGRAM], `${PROGRAM}:1: expected JSON; found "d" where it cannot stand`],
    [
      [
        '--spec',
        file('wrong.json', readFileSync(PCIE, 'utf8').replace('"kernelEntry"', '"entry"')),
      ],
      `${join(FOLDER, 'wrong.json')}: cpu: expected one of cpus, kernelEntry,`,
    ],
  ])('%j is refused', (flags, message) => {
    for (const command of [
      ['run', PROGRAM],
      ...(flags.length > 1 ? [['conformance', recording()]] : []),
    ]) {
      const { status, stdout, stderr } = hmmlab([...command, ...flags]);
      expect([status, stdout]).toEqual([2, '']);
      expect(stderr).toContain(message);
      expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    }
  });
});

function recording(): string {
  const lines = [
    '{"kernel":"6.1"}',
    '{"program":"pass"}',
    '{"op":"mmap","args":[0,4,"anon","rw"],"ret":"0"}',
    '{"op":"cpu_write","args":[0,0,2,7],"data":["ok","ok"]}',
    '{"op":"migrate_to_dev","args":[0,0,0,2],"ret":"0","cpages":2,"faults":0,"data":[7,8]}',
  ];
  return file('recording.jsonl', `${lines.join('\n')}\n`);
}

describe('hmmlab conformance --spec', () => {
  it('compares with time on', () => {
    const { status, stdout } = hmmlab(['conformance', recording(), '--spec', PCIE]);
    expect(status).toBe(0);
    expect(stdout).toContain('1/1 programs, 3/3 operations');
  });
});
