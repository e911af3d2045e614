// hmmlab report and hmmlab export: what they print, what they refuse, and what they leave behind.

import {
  type ChildProcess,
  type SpawnOptionsWithStdioTuple,
  type StdioNull,
  type StdioPipe,
  spawn,
} from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Machine } from '../../src/core/machine.ts';
import { writeRecording } from '../../src/node/recording-file.ts';
import { exportChrome } from '../../src/trace/export-chrome.ts';
import { exportJsonl } from '../../src/trace/export-jsonl.ts';
import { exportKfd } from '../../src/trace/export-kfd.ts';
import type { Recording } from '../../src/trace/recording.ts';
import { makeReport } from '../../src/trace/report.ts';
import { hmmlab, MAIN, ROOT } from '../program/cli.ts';
import { problemsOf } from './chrome-validator.ts';
import { recordingOf, recordingOfText } from './sources.ts';

const FOLDER = mkdtempSync(join(tmpdir(), 'hmmlab-export-'));
afterAll(() => rmSync(FOLDER, { recursive: true }));

const PROGRAM = `machine ram 64MiB
device dmirror private
device dmirror private
program hand-over
mmap 0 8 anon rw
cpu_write 0 0 8 100
migrate_to_dev 0 0 0 4
migrate_to_dev 1 0 4 4
cpu_read 0 0 2
dev_write 1 0 2 1 9
end
`;

const path = join(FOLDER, 'hand-over.rec');
let recording: Recording;

beforeAll(() => {
  recording = recordingOfText(PROGRAM, 'hand-over');
  writeRecording(path, recording);
});

/** A recording that takes a while to export. */
function longRecording(): string {
  const long = join(FOLDER, 'long.rec');
  const machine = new Machine();
  const source = recordingOf(machine, () => {
    for (let i = 0; i < 400_000; i++) machine.events.pageFree(i, null);
  });
  writeRecording(long, source);
  return long;
}

describe('hmmlab report', () => {
  it('prints what a person wants to know', () => {
    const { status, stdout, stderr } = hmmlab(['report', path]);
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect(stdout).toBe(
      [
        'recording',
        `  era v6.1, program hand-over, ${recording.length} records, pages of 4 KiB`,
        '  no virtual time passed in this recording: times and throughput are 0',
        '',
        'migrations',
        '  device        direction       count  pages  bytes   average  min     max     causes',
        '  hmm_dmirror0  host to device  1      4      16 KiB  16 KiB   16 KiB  16 KiB  driver 1',
        '  hmm_dmirror0  device to host  3      3      12 KiB  4 KiB    4 KiB   4 KiB   cpu_fault 2, device_fault 1',
        '  hmm_dmirror1  host to device  1      4      16 KiB  16 KiB   16 KiB  16 KiB  driver 1',
        '  5 migrations: 11 pages moved, 0 could not; 0 moved nothing',
        '',
        'faults',
        '                faults  by access        failed  faulted again',
        '  CPU           10      write 8, read 2  -       0',
        '  hmm_dmirror1  1       write 1          -       0',
        '',
        'invalidations',
        '  device        told  ignored  by event',
        '  hmm_dmirror0  3     4        migrate 1, release 1, unmap 1',
        '  hmm_dmirror1  6     1        migrate 4, release 1, unmap 1',
        '',
        'pages that change owner most',
        '  process  page         changes  owners in turn',
        '  1        0x100000000  2        system > hmm_dmirror0 > system',
        '  1        0x100001000  2        system > hmm_dmirror0 > system',
        '  1        0x100002000  2        system > hmm_dmirror0 > system',
        '',
        'trespasses',
        '  none: nobody touched device memory of another owner',
        '',
        '',
      ].join('\n'),
    );
  });

  it('prints the same as JSON', () => {
    const { status, stdout } = hmmlab(['report', '--json', path]);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toEqual(JSON.parse(JSON.stringify(makeReport(recording))));
  });

  it('lists as many pages as one asks for', () => {
    expect(hmmlab(['report', path, '--pages', '1']).stdout).not.toContain('0x100001000');
    const { status, stderr } = hmmlab(['report', path, '--pages', 'many']);
    expect(status).toBe(2);
    expect(stderr).toBe('hmmlab: --pages: expected a number from 0 to 1000000; found "many"\n');
  });

  it('refuses what is no recording', () => {
    const text = join(FOLDER, 'program.txt');
    writeFileSync(text, PROGRAM);
    for (const args of [[text], [join(FOLDER, 'missing')], [FOLDER], []]) {
      const { status, stdout, stderr } = hmmlab(['report', ...args]);
      expect(status).toBe(2);
      expect(stdout).toBe('');
      expect(stderr).toMatch(/^hmmlab: [^\n]+\n$/);
    }
  });
});

describe('hmmlab export', () => {
  it('writes each format to standard output', () => {
    const chrome = hmmlab(['export', path, '--format', 'chrome']);
    expect(problemsOf(chrome.stdout)).toEqual([]);
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      version: string;
    };
    expect(chrome.stdout).toBe([...exportChrome(recording, { version })].join(''));
    const jsonl = hmmlab(['export', '--format=jsonl', path]);
    expect(jsonl.stdout).toBe([...exportJsonl(recording)].join(''));
    for (const { status, stderr } of [chrome, jsonl]) expect([status, stderr]).toEqual([0, '']);
  });

  it('says on the other channel what KFD has no line for', () => {
    const { status, stdout, stderr } = hmmlab(['export', path, '--format', 'kfd']);
    expect(status).toBe(0);
    expect(stdout).toBe([...exportKfd(recording).lines].join(''));
    const [nodes, time, leftOut, ...rest] = stderr.split('\n');
    expect(nodes).toMatch(/^hmmlab: nodes: 0 RAM, [0-9a-f]+ hmm_dmirror0, [0-9a-f]+ hmm_dmirror1$/);
    expect(time).toBe('hmmlab: no virtual time passed: each record counts as 1 us');
    expect(leftOut).toContain('10 cpu_fault');
    expect(rest).toEqual(['']);
  });

  it('writes to a file, packed where its name says so', () => {
    const whole = hmmlab(['export', path, '--format', 'jsonl']).stdout;
    const plain = join(FOLDER, 'out.jsonl');
    const packed = join(FOLDER, 'out.jsonl.gz');
    writeFileSync(plain, 'what was there before');
    for (const [flag, file] of [
      ['-o', plain],
      ['--output', packed],
    ] as const) {
      const { status, stdout, stderr } = hmmlab(['export', path, '--format', 'jsonl', flag, file]);
      expect([status, stdout, stderr]).toEqual([0, '', '']);
    }
    expect(readFileSync(plain, 'utf8')).toBe(whole);
    expect(gunzipSync(readFileSync(packed)).toString()).toBe(whole);
  });

  it('writes through links, and to what is no file', () => {
    const target = join(FOLDER, 'target.jsonl');
    const link = join(FOLDER, 'link.jsonl');
    writeFileSync(target, '');
    symlinkSync(target, link);
    expect(hmmlab(['export', path, '--format', 'jsonl', '-o', link]).status).toBe(0);
    expect(readFileSync(target, 'utf8')).toContain('"hmmlab":"events"');
    expect(hmmlab(['export', path, '--format', 'jsonl', '-o', '/dev/null']).status).toBe(0);
    const { stdout } = hmmlab(['export', path, '--format', 'jsonl', '-o', '-']);
    expect(stdout).toContain('"hmmlab":"events"');
  });

  it('refuses, and leaves nothing behind', () => {
    mkdirSync(join(FOLDER, 'folder'));
    const before = readdirSync(FOLDER);
    const offences: readonly (readonly [readonly string[], string])[] = [
      [[path], '--format: expected one of chrome, kfd, jsonl; found no --format'],
      [[path, '--format', 'x'], '--format: expected one of chrome, kfd, jsonl; found "x"'],
      [[path, '--format', 'kfd', '-o', ''], '--output: expected a file; found nothing'],
      [
        [path, '--format', 'kfd', '-o', join(FOLDER, 'folder')],
        `${join(FOLDER, 'folder')}: expected a file to write; found a directory`,
      ],
      [
        [path, '--format', 'kfd', '-o', join(FOLDER, 'no', 'where')],
        `${join(FOLDER, 'no', 'where')}: cannot write it: there is no such folder`,
      ],
      [
        [join(FOLDER, 'missing'), '--format', 'kfd', '-o', join(FOLDER, 'out')],
        `${join(FOLDER, 'missing')}: no such file`,
      ],
    ];
    for (const [args, message] of offences) {
      const { status, stdout, stderr } = hmmlab(['export', ...args]);
      expect([status, stdout, stderr]).toEqual([2, '', `hmmlab: ${message}\n`]);
    }
    expect(readdirSync(FOLDER)).toEqual(before);
  });

  it('stops at Ctrl-C without a trace, and when nobody reads', async () => {
    const long = longRecording();
    const out = join(FOLDER, 'long.jsonl');
    const args = [MAIN, 'export', long, '--format', 'jsonl'];
    const options: SpawnOptionsWithStdioTuple<StdioNull, StdioPipe, StdioPipe> = {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
    };

    for (const [signal, code] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      const writing = spawn(process.execPath, [...args, '-o', out], options);
      // Not the empty one by which it tries the path before it begins.
      while (!isBeingWritten()) {
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      writing.kill(signal);
      expect(await exitOf(writing)).toBe(code);
      expect(existsSync(out)).toBe(false);
      expect(readdirSync(FOLDER).filter((name) => name.endsWith('.part'))).toEqual([]);
    }

    const piping = spawn(process.execPath, args, options);
    let complaints = '';
    piping.stderr.on('data', (text: Buffer) => {
      complaints += text.toString();
    });
    piping.stdout.once('data', () => piping.stdout.destroy());
    expect(await exitOf(piping)).toBe(141);
    expect(complaints).toBe('');
  });
});

function isBeingWritten(): boolean {
  return readdirSync(FOLDER)
    .filter((name) => name.endsWith('.part'))
    .some((name) => (statSync(join(FOLDER, name), { throwIfNoEntry: false })?.size ?? 0) > 0);
}

function exitOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => child.once('exit', resolve));
}
