// The command line: what it prints, what it refuses, and its exit codes.

import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { hmmlab, MAIN, ROOT } from './cli.ts';

const FOLDER = mkdtempSync(join(tmpdir(), 'hmmlab-'));
afterAll(() => rmSync(FOLDER, { recursive: true }));

function file(name: string, contents: string | Uint8Array): string {
  const path = join(FOLDER, name);
  writeFileSync(path, contents);
  return path;
}

const PROGRAM = [
  'program pass',
  'mmap 0 4 anon rw',
  'cpu_write 0 0 2 7',
  'migrate_to_dev 0 0 0 2',
  'fork 1',
  '@1 cpu_read 0 0 1',
  'end',
  '',
].join('\n');

const LINES = [
  '{"kernel":"6.1"}',
  '{"program":"pass"}',
  '{"op":"mmap","args":[0,4,"anon","rw"],"ret":"0"}',
  '{"op":"cpu_write","args":[0,0,2,7],"data":["ok","ok"]}',
  '{"op":"migrate_to_dev","args":[0,0,0,2],"ret":"0","cpages":2,"faults":0,"data":[7,8]}',
  '{"op":"fork","args":[1],"ret":"0"}',
  '{"op":"cpu_read","proc":1,"args":[0,0,1],"data":[7]}',
  '',
];

const program = file('program.txt', PROGRAM);
const recording = file('recording.jsonl', LINES.join('\n'));
const packed = file('recording.jsonl.gz', gzipSync(LINES.join('\n')));
const wrong = file('wrong.jsonl', LINES.join('\n').replace('"data":[7,8]', '"data":[7,9]'));
mkdirSync(join(FOLDER, 'folder'));

describe('hmmlab run', () => {
  it('prints results and a table of pages', () => {
    const { status, stdout, stderr } = hmmlab(['run', program]);
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect(stdout).toBe(
      [
        'program pass',
        '  mmap 0 4 anon rw        ret 0',
        '  cpu_write 0 0 2 7       data ok ok',
        '  migrate_to_dev 0 0 0 2  ret 0  cpages 2  faults 0  data 7 8',
        '  fork 1                  ret 0',
        '  @1 cpu_read 0 0 1       data 7',
        '',
        '  buffer  pages  where         owner         process 0  process 1',
        '  0       0      RAM           system        r          r',
        '  0       1      hmm_dmirror0  hmm_dmirror0  device     device',
        '  0       2-3    nowhere       -             -          -',
        '',
        '',
      ].join('\n'),
    );
  });

  it('prints what recordings are made of', () => {
    const { status, stdout } = hmmlab(['run', '--json', program]);
    expect(status).toBe(0);
    expect(stdout).toBe(LINES.join('\n'));
  });

  it('names the kernel of another era', () => {
    const { stdout } = hmmlab(['run', '--json', '--era', 'v5.7', program]);
    expect(stdout.split('\n')[0]).toBe('{"kernel":"5.10-rule5.7"}');
  });

  it('runs nothing of a file that has a fault anywhere', () => {
    const bad = file('bad.txt', `${PROGRAM}program more\nmmap 0 65537 anon rw\nend\n`);
    const { status, stdout, stderr } = hmmlab(['run', bad]);
    expect(status).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toBe(
      `hmmlab: ${bad}:9: expected pages: a number from 0 to 65536; found "65537"\n`,
    );
  });
});

describe('hmmlab conformance', () => {
  it('says that all is equal', () => {
    const { status, stdout, stderr } = hmmlab(['conformance', recording, packed]);
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^conformance: 2\/2 programs, 10\/10 operations, \d+\.\d s\n$/);
  });

  it('shows what differs, and the map around it', () => {
    const { status, stdout } = hmmlab(['conformance', wrong]);
    expect(status).toBe(1);
    expect(stdout.replace(/\d+\.\d s/, 'S s')).toBe(
      [
        `${wrong}:5: program pass`,
        '  operation  migrate_to_dev 0 0 0 2',
        '  expected   {"ret":"0","cpages":2,"faults":0,"data":[7,9]}',
        '  got        {"ret":"0","cpages":2,"faults":0,"data":[7,8]}',
        '  owners before',
        '    process 0  buffer 0  RR..',
        '  owners after',
        '    process 0  buffer 0  00..',
        '  . nothing   R RAM   0 hmm_dmirror0',
        '',
        'conformance: 0/1 programs, 4/5 operations, S s',
        '',
      ].join('\n'),
    );
  });

  it('prints JSON', () => {
    const { status, stdout } = hmmlab(['conformance', '--json', wrong]);
    expect(status).toBe(1);
    const [difference, summary] = stdout.split('\n').map((line) => JSON.parse(line || 'null'));
    expect(difference.difference).toMatchObject({ program: 'pass', line: 5, file: wrong });
    expect(summary.conformance).toMatchObject({
      programs: 1,
      programsEqual: 0,
      operations: 5,
      operationsEqual: 4,
      equal: false,
    });
  });
});

describe('hmmlab demo', () => {
  it('shows a recorded program step by step, then a whole recording', () => {
    const { status, stdout, stderr } = hmmlab(['demo']);
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect(stdout).toMatch(/ 0000001111 /);
    expect(stdout).toMatch(/ 111RRRRRR1 /);
    expect(stdout).not.toMatch(/ NO$/m);
    expect(stdout).toMatch(/^conformance: 900\/900 programs, 31879\/31879 operations/m);
  });
});

const COMMANDS =
  'run, explore, conformance, compare, report, export, explain, check-driver, replay, import, demo';
const RUN_HELP = 'see hmmlab run --help';

/** Arguments, and the one line on standard error. */
const REFUSED: readonly (readonly [args: readonly string[], message: string])[] = [
  [[], `expected a command: ${COMMANDS}; see hmmlab --help`],
  [['walk'], `unknown command "walk"; expected one of ${COMMANDS}`],
  [['--fast'], `unknown flag "--fast"; expected one of ${COMMANDS}`],
  [['run'], `run: expected PROGRAM; ${RUN_HELP}`],
  [['run', program, 'b'], 'run: expected PROGRAM; found also "b"'],
  [['run', '--fast', program], `run: Unknown option '--fast'; ${RUN_HELP}`],
  [['run', '--no-json', program], `run: Unknown option '--no-json'; ${RUN_HELP}`],
  [['run', '-j', program], `run: Unknown option '-j'; ${RUN_HELP}`],
  [['run', '--json=1', program], `run: Option '--json' does not take an argument; ${RUN_HELP}`],
  [['run', program, '--era'], `run: Option '--era <value>' argument missing; ${RUN_HELP}`],
  [
    ['run', '--era', 'v4.4', program],
    '--era: expected one of v5.6, v5.7, v5.10, v6.1, v6.12; found "v4.4"',
  ],
  [['run', '--json', '--owners', program], '--owners draws for people; it does not go with --json'],
  [
    ['run', '--era', 'v5.6', '--era=v5.7', program],
    'run: expected one --era; found more; see hmmlab run --help',
  ],
  [['conformance'], 'conformance: expected FILE; see hmmlab conformance --help'],
  [['demo', 'x'], 'demo: expected no file; found also "x"'],
  [['run', '/nowhere/a.txt'], '/nowhere/a.txt: no such file'],
  [['run', `${program}/a.txt`], `${program}/a.txt: a part of the path is no directory`],
  [
    ['run', join(FOLDER, 'folder')],
    `${join(FOLDER, 'folder')}: expected a file; found a directory`,
  ],
  [['run', file('empty.txt', '')], `${join(FOLDER, 'empty.txt')}: the file is empty`],
  [['run', file('blank.txt', '\n \n')], `${join(FOLDER, 'blank.txt')}: the file is empty`],
  [
    ['run', file('binary.txt', Uint8Array.of(1, 200, 255, 0))],
    `${join(FOLDER, 'binary.txt')}: expected text in UTF-8; found other bytes`,
  ],
  [
    ['conformance', file('plain.gz', 'text')],
    `${join(FOLDER, 'plain.gz')}: expected a gzip file; found something else`,
  ],
  [
    ['conformance', recording, file('half.gz', gzipSync(LINES.join('\n')).subarray(0, 60))],
    `${join(FOLDER, 'half.gz')}: the gzip file is damaged (unexpected end of file)`,
  ],
  [
    ['conformance', file('bomb.gz', gzipSync(new Uint8Array(70_000_000)))],
    `${join(FOLDER, 'bomb.gz')}: expected at most 67108864 bytes of text; found more`,
  ],
];

describe('refuses, with one line and exit code 2', () => {
  it.each(REFUSED)('%j', (args, message) => {
    expect(hmmlab(args)).toEqual({ status: 2, stdout: '', stderr: `hmmlab: ${message}\n` });
  });
});

describe('ends quietly', () => {
  it('prints help and a version, without colours in a pipe', () => {
    for (const args of [['--help'], ['run', '--help'], ['conformance', '-h'], ['--version']]) {
      const { status, stdout, stderr } = hmmlab(args);
      expect([status, stderr]).toEqual([0, '']);
      expect(stdout).not.toBe('');
      expect(stdout).not.toContain('\u001b');
    }
  });

  it('when nobody reads its output', async () => {
    const long = `${PROGRAM.replace('end\n', 'cpu_read 0 0 4\n'.repeat(20_000))}end\n`;
    const child = spawn(process.execPath, [MAIN, 'run', file('long.txt', long)], {
      cwd: ROOT,
    });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    child.stdout.once('data', () => child.stdout.destroy());
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect([code, stderr]).toEqual([141, '']);
  });

  it('when it is interrupted', async () => {
    const recordings = Array(30).fill('test/recordings/linux-6.1.jsonl.gz');
    const child = spawn(process.execPath, [MAIN, 'conformance', ...recordings], {
      cwd: ROOT,
    });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    // Time enough to start on a busy machine; the work itself would take far longer.
    setTimeout(() => child.kill('SIGINT'), 3000);
    const signal = await new Promise((resolve) => child.on('close', (_, by) => resolve(by)));
    expect([signal, output]).toEqual(['SIGINT', '']);
  });
});
