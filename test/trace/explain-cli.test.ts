// hmmlab run --record and hmmlab explain, as a person types them.

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readRecording, writeRecording } from '../../src/node/recording-file.ts';
import { hmmlab } from '../program/cli.ts';
import { recordProgram } from './record.ts';

const FOLDER = mkdtempSync(join(tmpdir(), 'hmmlab-'));
afterAll(() => rmSync(FOLDER, { recursive: true }));

const TEXT = `machine ram 64MiB
device dmirror private
program one
mmap 0 2 anon rw
cpu_write 0 0 2 100
migrate_to_dev 0 0 0 2
fork 1
@1 cpu_read 0 0 1
end
`;
const PROGRAM = join(FOLDER, 'one.txt');
const FILE = join(FOLDER, 'one.rec');

beforeAll(() => {
  writeFileSync(PROGRAM, TEXT);
  writeRecording(FILE, recordProgram(TEXT).recording);
});

function parts(): string[] {
  return readdirSync(FOLDER).filter((name) => name.includes('.part'));
}

describe('hmmlab run --record', () => {
  it('writes a recording, and says the rest as ever', () => {
    const path = join(FOLDER, 'a.rec');
    const plain = hmmlab(['run', PROGRAM]);
    const { status, stdout, stderr } = hmmlab(['run', PROGRAM, '--record', path]);
    expect([status, stderr]).toEqual([0, '']);
    const recording = readRecording(path);
    expect(stdout).toBe(`${plain.stdout}${recording.length} records in ${path}\n`);
    expect(recording.meta).toMatchObject({ program: 'one.txt', era: 'v6.1' });
    expect(recording.meta.devices).toEqual([
      { name: 'hmm_dmirror0', driver: 'dmirror', owners: ['hmm_dmirror0'] },
    ]);
    expect([...recording]).toEqual([...recordProgram(TEXT).recording]);
    expect(parts()).toEqual([]);
  });

  it('goes with --json, --owners and --era', () => {
    const path = join(FOLDER, 'b.rec');
    const plain = hmmlab(['run', '--json', PROGRAM]);
    const json = hmmlab(['run', '--json', '--record', path, PROGRAM]);
    expect(json).toEqual(plain);
    const length = readRecording(path).length;
    const owners = hmmlab(['run', '--owners', '--era', 'v5.10', '--record', path, PROGRAM]);
    expect(owners.stdout).toContain('process 0  buffer 0  00');
    expect(readRecording(path).meta.era).toBe('v5.10');
    expect(readRecording(path).length).not.toBe(length);
  });

  it('writes through a link, and replaces what was there', () => {
    const target = join(FOLDER, 'target.rec');
    const link = join(FOLDER, 'link.rec');
    writeFileSync(target, 'something else');
    symlinkSync(target, link);
    expect(hmmlab(['run', '--json', '--record', link, PROGRAM]).status).toBe(0);
    expect(readRecording(target).length).toBeGreaterThan(10);
    expect(readFileSync(link)).toEqual(readFileSync(target));
  });

  it('records a run that ends with an error, and still says so', () => {
    const path = join(FOLDER, 'full.rec');
    const program = join(FOLDER, 'full.txt');
    // Pinned pages are copied by fork, for which there is no room.
    const lines = [
      'program full',
      'mmap 0 256 anon rw',
      'cpu_write 0 0 256 1',
      'lab_pin 0 0 4 w pin',
    ];
    const text = ['machine ram 1MiB', 'device pgmaplab', ...lines, 'fork 1', '@1 cpu_read 0 0 1'];
    writeFileSync(program, [...text, 'end', ''].join('\n'));
    const { status, stderr } = hmmlab(['run', program, '--record', path]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^hmmlab: .*full\.txt:8: @1 cpu_read 0 0 1: .* its fork failed\n$/);
    const recording = readRecording(path);
    expect([...recording.of('call')].some(({ name }) => name.startsWith('line 7: fork'))).toBe(
      true,
    );
  });

  it('refuses a place where it cannot write, before it runs anything', () => {
    mkdirSync(join(FOLDER, 'folder'));
    const refused: readonly (readonly [string, string])[] = [
      ['-', '--record: expected a file to write; found "-"'],
      ['', '--record: expected a file to write; found nothing'],
      [
        join(FOLDER, 'folder'),
        `${join(FOLDER, 'folder')}: expected a file to write; found a directory`,
      ],
      ['/nowhere/a.rec', '/nowhere/a.rec: cannot write it: there is no such folder'],
      [`${PROGRAM}/a`, `${PROGRAM}/a: cannot write it: a part of the path is no folder`],
    ];
    for (const [path, message] of refused) {
      const done = hmmlab(['run', PROGRAM, '--record', path]);
      expect(done).toEqual({ status: 2, stdout: '', stderr: `hmmlab: ${message}\n` });
    }
    expect(parts()).toEqual([]);
  });

  it('leaves what was there where the program is wrong', () => {
    const path = join(FOLDER, 'kept.rec');
    writeFileSync(path, 'kept');
    const wrong = join(FOLDER, 'wrong.txt');
    writeFileSync(wrong, 'program x\nwalk\nend\n');
    expect(hmmlab(['run', wrong, '--record', path]).status).toBe(2);
    expect(readFileSync(path, 'utf8')).toBe('kept');
  });
});

describe('a recording file', () => {
  it('may be plain', () => {
    const path = join(FOLDER, 'plain.rec');
    writeFileSync(path, gunzipSync(readFileSync(FILE)));
    expect([...readRecording(path)]).toEqual([...readRecording(FILE)]);
  });

  it('is left as it was where writing fails', () => {
    const folder = join(FOLDER, 'read-only');
    mkdirSync(folder);
    const path = join(folder, 'a.rec');
    const recording = readRecording(FILE);
    writeRecording(path, recording);
    const before = readFileSync(path);
    mkdirSync(`${path}.${process.pid}.part`);
    expect(() => writeRecording(path, recording)).toThrow(/a\.rec: cannot write it/);
    expect(readFileSync(path)).toEqual(before);
    expect(readdirSync(folder)).toHaveLength(2);
  });
});

describe('hmmlab explain', () => {
  it('tells the life of a page in every process', () => {
    const { status, stdout, stderr } = hmmlab(['explain', FILE, '--page', '0x100000fff']);
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^process 1, page 0x100000000-0x100001000 \(buffer 0, page 0\)\n/);
    expect(stdout).toMatch(/\n\nprocess 2, page 0x100000000-0x100001000 \(buffer 0, page 0\)\n/);
    expect(stdout).toContain('program, line 6: migrate_to_dev 0 0 0 2');
    const decimal = hmmlab(['explain', FILE, '--page', String(0x1_0000_0000), '--pid', '2']);
    expect(stdout.endsWith(decimal.stdout)).toBe(true);
    expect(decimal.stdout).toMatch(/^process 2/);
  });

  it('tells one moment', () => {
    const { stdout } = hmmlab(['explain', FILE, '--page', '0x100001000', '--at', '#12']);
    expect(stdout).toContain('\nat record #12 it belonged to system (RAM).\n');
    const time = hmmlab(['explain', FILE, '--page', '0x100001000', '--at', '0', '--pid', '1']);
    expect(time.stdout).toContain('\nat 0 ns it belonged to nobody.\n');
  });

  it('prints JSON as docs/recordings.md has it', () => {
    const { status, stdout } = hmmlab(['explain', FILE, '--json', '--page', '0x100000000']);
    expect(status).toBe(0);
    const { recording, pages } = JSON.parse(stdout);
    expect(recording).toEqual({ era: 'v6.1', pageSize: 4096, program: 'program.txt' });
    expect(pages.map(({ pid }: { pid: number }) => pid)).toEqual([1, 2]);
    const [page] = pages;
    const keys = ['pid', 'start', 'end', 'owners', 'at', 'owner', 'steps'];
    expect(Object.keys(page)).toEqual(keys);
    expect(Object.keys(page.owners[0])).toEqual([
      'owner',
      'page',
      'fromNs',
      'toNs',
      'begin',
      'end',
    ]);
    const [first, second] = page.steps;
    expect(Object.keys(first)).toEqual([
      'type',
      'change',
      'frameBefore',
      'chain',
      'complete',
      'steps',
      'invalidations',
      'trespasses',
    ]);
    const kinds = second.chain.map(({ event }: { event: { kind: string } }) => event.kind);
    expect(kinds).toEqual(['call', 'call', 'migrate', 'owner_change']);
    expect(second.chain[2].end).toMatchObject({ kind: 'migrate', selected: 2, migrated: 2 });
  });

  const refused: readonly (readonly [string[], string])[] = [
    [[], 'explain: expected --page ADDR; see hmmlab explain --help'],
    [['--page', 'x'], '--page: expected an address, as 0x100000000; found "x"'],
    [['--page', '-1'], "explain: Option '--page' argument is ambiguous; see hmmlab explain --help"],
    [
      ['--page', '0x5000'],
      '--page 0x5000: no page was ever there; pages were at process 1 0x100000000-0x100002000, ' +
        'process 2 0x100000000-0x100002000',
    ],
    [
      ['--page', '0x100000000', '--pid', '7'],
      '--page 0x100000000: no page of process 7 was ever there; pages were at process 1 ' +
        '0x100000000-0x100002000, process 2 0x100000000-0x100002000',
    ],
    [
      ['--page', '0x100000000', '--at', 'now'],
      '--at: expected nanoseconds, or #N for record N; found "now"',
    ],
    [
      ['--page', '0x100000000', '--at', '#999999'],
      `--at: expected a record up to #${recordProgram(TEXT).recording.length}; found #999999`,
    ],
    [['--page', '0x100000000', '--pid', 'x'], '--pid: expected a number; found "x"'],
  ];
  it.each(refused)('refuses %j', (args, message) => {
    const done = hmmlab(['explain', FILE, ...args]);
    expect(done).toEqual({ status: 2, stdout: '', stderr: `hmmlab: ${message}\n` });
  });

  it('refuses what is no recording', () => {
    const whole = gunzipSync(readFileSync(FILE));
    const files: readonly (readonly [string, Uint8Array | string, RegExp])[] = [
      ['empty', '', /: the file is empty\n$/],
      ['text', TEXT, /: not a recording of hmmlab: its first bytes are others\n$/],
      ['cut', readFileSync(FILE).subarray(0, 200), /: the gzip file is damaged \(.*\)\n$/],
      ['half', gzipSync(whole.subarray(0, 500)), /: the recording is damaged at byte 500: .*\n$/],
      ['new', gzipSync(whole.fill(9, 8, 9)), /: a recording of version 9; this hmmlab reads .*\n$/],
    ];
    for (const [name, contents, message] of files) {
      const path = join(FOLDER, name);
      writeFileSync(path, contents);
      const { status, stdout, stderr } = hmmlab(['explain', path, '--page', '0x100000000']);
      expect([status, stdout]).toEqual([2, '']);
      expect(stderr.startsWith(`hmmlab: ${path}: `)).toBe(true);
      expect(stderr).toMatch(message);
    }
    expect(existsSync(join(FOLDER, 'nothing'))).toBe(false);
    expect(hmmlab(['explain', join(FOLDER, 'nothing'), '--page', '1']).status).toBe(2);
  });
});

describe('docs/recordings.md', () => {
  const page = readFileSync(new URL('../../docs/recordings.md', import.meta.url), 'utf8');
  const block = (language: string): string =>
    new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'ms').exec(page)?.[1] ?? '';

  it('shows what explain prints', () => {
    const path = join(FOLDER, 'docs.rec');
    expect(hmmlab(['run', '-', '--record', path], block('hmmlab')).status).toBe(0);
    expect(hmmlab(['explain', path, '--page', '0x100000000']).stdout).toBe(block('text'));
  });

  it('names every field of the JSON', () => {
    const { pages } = JSON.parse(
      hmmlab(['explain', FILE, '--json', '--page', '0x100000000']).stdout,
    );
    const fields = [pages[0], pages[0].owners[0], ...pages[0].steps].flatMap(Object.keys);
    for (const name of new Set(fields)) expect(page).toContain(`\`${name}\``);
  });
});
