// hmmlab import and hmmlab replay, as one types them.

import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { AccessWriter } from '../../src/workloads/access-writer.ts';
import { PagesWriter } from '../../src/workloads/formats/index.ts';
import { hmmlab, ROOT } from '../program/cli.ts';

const FOLDER = mkdtempSync(join(tmpdir(), 'hmmlab-traces-'));
const FIXTURE = join(ROOT, 'test/workloads/fixtures/threads.lackey.gz');
const TRACE = join(ROOT, 'examples/traces/bfs.pages.gz');

afterAll(() => rmSync(FOLDER, { recursive: true }));

function file(name: string, contents: string | Uint8Array = ''): string {
  const path = join(FOLDER, name);
  writeFileSync(path, contents);
  return path;
}

/** Waits until a command that has just begun is at work: ten times what `--version` takes now, or more. */
async function atWork(): Promise<void> {
  const start = performance.now();
  hmmlab(['--version']);
  const ms = Math.max(700, 9 * (performance.now() - start));
  await new Promise((resolve) => setTimeout(resolve, ms));
}

describe('hmmlab import', () => {
  it('turns a packed trace into a page stream, and says what it read', () => {
    const out = join(FOLDER, 'threads.pages.gz');
    const done = hmmlab(['import', FIXTURE, '--out', out, '--json']);
    expect(done).toMatchObject({ status: 0, stderr: '' });
    const told = JSON.parse(done.stdout);
    expect(told).toMatchObject({ format: 'lackey', filter: 64, threads: 3, out });
    expect(told.records).toBeLessThan(told.accesses);
    expect(readFileSync(out).length).toBe(told.bytes);
    expect(gunzipSync(readFileSync(out)).toString('latin1')).toMatch(
      /^\{"hmmlab":"pages","version":1,"pageSize":4096,"source":"lackey","program":"threads.lackey.gz","filter":64\}\n/,
    );
    const again = hmmlab(['import', out, '--out', join(FOLDER, 'again.pages.gz'), '--json']);
    expect(JSON.parse(again.stdout)).toMatchObject({ format: 'pages', accesses: told.accesses });
  });

  it('reads standard input', () => {
    const out = join(FOLDER, 'stdin.pages');
    const done = hmmlab(
      ['import', '-', '--out', out, '--filter', '0'],
      ' L 00001000,8\n S 00002000,8\n',
    );
    expect(done.stdout).toContain('-: lackey, 2 lines, 2 accesses by 1 threads (all kept)');
  });

  const damaged = file('damaged.gz', readFileSync(FIXTURE).subarray(0, 9000));
  const header =
    '{"hmmlab":"pages","version":1,"pageSize":65536,"source":"x","program":"","filter":0}';
  const large = file('large.pages', `${header}\n`);
  const REFUSED: [string[], string][] = [
    [['import', FIXTURE], '--out: expected a file to write; found nothing'],
    [['import', join(FOLDER, 'none'), '--out', 'x'], 'no such file'],
    [['import', FOLDER, '--out', 'x'], 'expected a file; found a directory'],
    [['import', file('empty'), '--out', 'x'], 'the file is empty'],
    [['import', file('text', 'hello\n'.repeat(1000)), '--out', 'x'], 'found something else'],
    [['import', damaged, '--out', 'x'], 'expected more of the gzip file; found its end'],
    [['import', FIXTURE, '--out', 'x', '--format', 'kfd'], 'line 1 (byte 0): expected a KFD event'],
    [['import', FIXTURE, '--out', 'x', '--format', 'elf'], '--format: expected one of pages'],
    [['import', FIXTURE, '--out', 'x', '--filter', '-1'], '--filter'],
    [
      ['import', FIXTURE, '--out', 'x', '--page-size', '5000'],
      '--page-size: expected a power of two',
    ],
    [['import', FIXTURE, '--out', join(FOLDER, 'no', 'x')], 'there is no such folder'],
    [['replay', TRACE, '--devices', '0'], '--devices: expected a whole number from 1 to 64'],
    [['replay', TRACE, '--devices', '65'], '--devices: expected a whole number from 1 to 64'],
    [['replay', TRACE, '--assign', 'who'], '--assign: expected thread'],
    [['replay', TRACE, '--assign', 'thread:0=gpu7'], '--assign: expected cpu or gpu0 to gpu1'],
    [['replay', TRACE, '--driver', 'amdgpu'], '--driver: expected nouveau or dmirror'],
    [['replay', TRACE, '--memory', '12'], '--memory: expected a size from 4096 bytes on'],
    [['replay', TRACE, '--pressure', '0'], '--pressure: expected a whole number from 1'],
    [['replay', TRACE, '--era', 'v4'], '--era: expected one of'],
    [['replay', TRACE, '--pressure', '150', '--memory', '1M'], 'it does not go with --memory'],
    [['replay', large, '--assign', 'range:4096'], '--assign: expected range:BYTES, whole pages of'],
    [['import', FIXTURE, '--out', '-'], '--out: expected a file to write; found "-"'],
    [['import', TRACE, '--out', file('own.pages'), '--page-size', '4096'], 'says that itself'],
    [['import', TRACE, '--out', file('own.pages'), '--instructions'], "of lackey's lines; found"],
    [['replay', TRACE, '--assign', 'range:0x5-0x1=gpu0,*=cpu'], 'that end after they begin'],
    [['replay', TRACE, '--limit', '0'], '--limit: expected a whole number from 1'],
    [['replay', TRACE, '--record', '-'], '--record: expected a file to write'],
    [['replay', TRACE, '--record', join(FOLDER, 'no', 'x')], 'there is no such folder'],
    [['replay', 'mix:nothing'], 'expected a mix of streaming'],
    [['replay', 'mix:bfs', '--pages', '3'], '--pages: expected a whole number from 16'],
    [['replay', file('cut.pages.gz', readFileSync(TRACE).subarray(0, 50_000))], 'it is cut off'],
  ];
  it.each(REFUSED)('refuses %j', (args, message) => {
    const before = readdirSync(FOLDER);
    const { status, stdout, stderr } = hmmlab(args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain(message);
    expect(stderr.trimEnd()).not.toContain('\n');
    expect(readdirSync(FOLDER)).toEqual(before);
  });

  it('says how many lines were not of valgrind', () => {
    const out = join(FOLDER, 'talk.pages');
    const text = '==1== lackey\nhello\n L 00001000,8\n Q 042,8\n S 00002000,8\n S 00003000,8\n';
    const done = hmmlab(['import', '-', '--out', out], text);
    expect(done).toMatchObject({ status: 0, stderr: '' });
    expect(done.stdout).toContain('3 pages, 0 changes of mappings, 2 lines passed over\n');
  });

  it('and all others leave alone what they read', () => {
    const trace = file('own.pages.gz', readFileSync(TRACE));
    const program = file('own.txt', 'machine ram 64MiB\nprogram p\nmmap 0 1 anon rw\nend\n');
    const recording = join(FOLDER, 'own.hmmrec');
    expect(hmmlab(['run', program, '--record', recording]).status).toBe(0);
    const link = join(FOLDER, 'link.pages.gz');
    symlinkSync(trace, link);
    for (const [args, path] of [
      [['import', trace, '--out', trace], trace],
      [['import', trace, '--out', link], trace],
      [['replay', trace, '--record', trace], trace],
      [['run', program, '--record', program], program],
      [['export', recording, '--format', 'kfd', '--output', recording], recording],
    ] as const) {
      const before = readFileSync(path);
      const refused = hmmlab([...args]);
      expect(refused).toMatchObject({ status: 2, stdout: '' });
      expect(refused.stderr).toMatch(/: expected another file than the one that is read; found /);
      expect(readFileSync(path)).toEqual(before);
    }
  });

  it('leaves nothing behind where it is interrupted', async () => {
    const out = join(FOLDER, 'interrupted.pages.gz');
    const main = join(ROOT, 'dist/cli/main.js');
    const child = spawn(process.execPath, [
      main,
      'import',
      '-',
      '--format',
      'lackey',
      '--out',
      out,
    ]);
    child.stdin.write(' L 00001000,8\n'.repeat(100_000));
    await atWork();
    child.kill('SIGINT');
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect(code).toBe(130);
    expect(readdirSync(FOLDER).filter((name) => name.startsWith('interrupted'))).toEqual([]);
  });
});

describe('hmmlab replay', () => {
  it('says what the pages did, the same every time', () => {
    const args = ['replay', TRACE, '--devices', '2', '--pressure', '150', '--json'];
    const first = hmmlab(args);
    expect(first).toMatchObject({ status: 0, stderr: '' });
    expect(hmmlab(args).stdout).toBe(first.stdout);
    const report = JSON.parse(first.stdout);
    expect(report).toMatchObject({ program: 'bfs', devices: 2, mismatches: 0, findings: [] });
    expect(report.devicePages).toBe(Math.ceil((395 * 100) / 150 / 2));
    expect(report.agents.map(({ name }: { name: string }) => name)).toEqual([
      'cpu',
      'gpu0',
      'gpu1',
    ]);
  });

  it('plays lackey text as it is', () => {
    const done = hmmlab(['replay', FIXTURE, '--assign', 'thread', '--devices', '2']);
    expect(done).toMatchObject({ status: 0, stderr: '' });
    expect(done.stdout).toContain('2 x nouveau on v6.1, as much memory as they need; thread');
  });

  it('stops after so many accesses, and records what happened', () => {
    const recording = join(FOLDER, 'replayed.rec');
    const args = ['replay', TRACE, '--limit', '200000', '--json'];
    const done = hmmlab([...args, '--record', recording]);
    expect(done).toMatchObject({ status: 0, stderr: '' });
    expect(hmmlab(args).stdout).toBe(done.stdout);
    const { accesses, agents } = JSON.parse(done.stdout);
    // The last record stands for some accesses more.
    expect(accesses).toBeGreaterThanOrEqual(200_000);
    expect(accesses).toBeLessThan(210_000);
    const report = JSON.parse(hmmlab(['report', recording, '--json']).stdout);
    expect(JSON.stringify(report)).toContain('"bfs.pages.gz"');
    expect(agents[1].device.hostToDevice.pages).toBeGreaterThan(0);
    expect(hmmlab(['replay', 'mix:stencil', '--limit', '1000', '--json']).stdout).toContain(
      '"accesses":1000,',
    );
  });

  it('plays a mix', () => {
    const args = [
      'replay',
      'mix:stencil',
      '--devices',
      '3',
      '--accesses',
      '20000',
      '--pages',
      '256',
    ];
    const done = hmmlab([...args, '--memory', '128K', '--driver', 'dmirror']);
    expect(done).toMatchObject({ status: 0, stderr: '' });
    expect(done.stdout).toContain('3 x dmirror on v6.1, 128 KiB each; thread');
  });

  it.each([
    [[TRACE, '--pages', '64'], '--pages is of mixes; a trace has its own'],
    [[TRACE, '--accesses', '64'], '--limit stops a trace early'],
    [[TRACE, '--seed', '1'], '--seed is of mixes'],
    [['mix:gemm', '--format', 'pages'], '--format is of files'],
  ])('refuses %j, which would say nothing', (args, message) => {
    const refused = hmmlab(['replay', ...args, '--record', file('never.hmmrec', '')]);
    expect(refused).toMatchObject({ status: 2, stdout: '' });
    expect(refused.stderr).toContain(message);
    expect(refused.stderr.trim().split('\n')).toHaveLength(1);
  });

  it('ends a mix in order when it is interrupted', async () => {
    const main = join(ROOT, 'dist/cli/main.js');
    const record = join(FOLDER, 'mix.hmmrec');
    const args = ['replay', 'mix:hot-cold', '--accesses', '1000000000', '--pages', '256'];
    const child = spawn(process.execPath, [
      main,
      ...args,
      '--record',
      record,
      '--limit',
      '900000000',
    ]);
    let stderr = '';
    child.stderr.on('data', (data) => {
      stderr += data;
    });
    await atWork();
    child.kill('SIGINT');
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect([code, stderr]).toEqual([130, 'hmmlab: interrupted\n']);
    expect(existsSync(record)).toBe(false);
  });

  it('ends in order when it is interrupted', async () => {
    const parts: Uint8Array[] = [];
    const header = { pageSize: 4096, source: 'test', program: '', filter: 0 };
    const writer = new PagesWriter(header, (bytes) => parts.push(bytes));
    const out = new AccessWriter(writer);
    for (let i = 0; i < 3_000_000; i++) out.access((i * 7919) % 5003, 0, true);
    out.flush();
    writer.end();
    const long = file('long.pages', Buffer.concat(parts));
    const main = join(ROOT, 'dist/cli/main.js');
    const child = spawn(process.execPath, [main, 'replay', long, '--assign', 'phase:500']);
    let stderr = '';
    child.stderr.on('data', (data) => {
      stderr += data;
    });
    await atWork();
    child.kill('SIGINT');
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect([code, stderr]).toEqual([130, 'hmmlab: interrupted\n']);
  });
});
