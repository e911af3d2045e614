// A driver in a file of its own, on the command line: what works, and what is refused in one line.

import { spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { hmmlab, MAIN, ROOT } from '../program/cli.ts';
import { DRIVER_PATH } from './planted.ts';

// Outside the project: there the package is not installed, and no package.json says what .js is.
const FOLDER = mkdtempSync(join(tmpdir(), 'hmmlab-driver-'));
afterAll(() => rmSync(FOLDER, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(FOLDER, name);
  writeFileSync(path, text);
  return path;
}

const OWN = file('my-driver.ts', readFileSync(DRIVER_PATH, 'utf8'));
const PROGRAM = [
  'device mine',
  'program own',
  'mmap 0 2 anon rw',
  'cpu_write 0 0 2 7',
  'mine_to_device 0 0 2',
  'mine_read 0 0 2',
  'end',
  '',
].join('\n');

describe('run --driver', () => {
  it('knows the device and its operations, wherever the file lies', () => {
    const done = hmmlab(['run', '--driver', OWN, '--json', '-'], PROGRAM);
    expect(done.stderr).toBe('');
    expect(done.status).toBe(0);
    expect(done.stdout).toContain('{"op":"mine_read","args":[0,0,2],"ret":"0","data":[7,8]}');
  });

  it('says at which operation a driver broke, and where in the driver', () => {
    const text = readFileSync(DRIVER_PATH, 'utf8').replace(
      '    let result = yield*',
      "    if (count > 1) throw new TypeError('oh no');\n    let result = yield*",
    );
    const path = file('broken.ts', text);
    const done = hmmlab(['run', '--driver', path, '-'], PROGRAM);
    expect(done.status).toBe(1);
    expect(done.stderr).toContain('hmmlab: -:5: mine_to_device 0 0 2: TypeError: oh no\n');
    expect(done.stderr).toContain(path);
  });

  it('takes several drivers, also in JavaScript', () => {
    const other = file(
      'other.js',
      `import { Dmirror, errnoName, operation } from 'hmmlab';
       export default {
         name: 'other', summary: 'a second one', options: [], create: () => new Dmirror(),
         operations: [operation({
           name: 'other_open', summary: 'whether it is open', args: [],
           *run(ctx) { return { ret: errnoName(ctx.file(ctx.devices(Dmirror)[0]).closed ? -5 : 0) }; },
         })],
       };`,
    );
    const program = PROGRAM.replace('device mine', 'device mine\ndevice other').replace(
      'end',
      'other_open\nend',
    );
    const done = hmmlab(['run', '--driver', OWN, `--driver=${other}`, '--json', '-'], program);
    expect(done.stderr).toBe('');
    expect(done.stdout).toContain('{"op":"other_open","args":[],"ret":"0"}');
  });

  it('is known to compare as well', () => {
    const path = file('program.txt', PROGRAM);
    const eras = ['--era', 'v6.1', '--era', 'v6.12'];
    const done = hmmlab(['compare', path, '--driver', OWN, ...eras]);
    expect(done.stderr).toBe('');
    expect(done.status).toBe(0);
  });

  const FACTORY = "{ name: 'x', summary: 'x', options: [], operations: [], create() {} }";
  it.each([
    ['a file that is not there', 'nowhere.ts', null, 'no such file'],
    [
      'another kind of file',
      'driver.txt',
      '',
      'expected a driver in a .ts, .mts, .js or .mjs file',
    ],
    ['what does not parse', 'a.ts', 'export const x: = 1;', 'cannot be loaded: '],
    ['what throws', 'b.mjs', "throw new Error('boom');", 'cannot be loaded: boom'],
    ['a missing import', 'c.mjs', "import './none.mjs';", 'cannot be loaded: Cannot find module'],
    ['no exports', 'd.ts', 'export {};', 'a DriverFactory, an object with name, summary, options'],
    ['other exports', 'e.ts', 'export const x = 1;', 'found the exports x'],
    [
      'a factory without a good name',
      'f.js',
      `export const f = ${FACTORY.replace("'x'", "'My Driver'")};`,
      'the DriverFactory f: expected name: a word of small letters, digits, - and _',
    ],
    [
      'a factory without operations',
      'g.js',
      `export const f = ${FACTORY.replace('operations: [], ', '')};`,
      'the DriverFactory f: expected operations: a list; found nothing',
    ],
    [
      'operations that are none',
      'h.js',
      `export const f = ${FACTORY.replace('operations: []', "operations: [{ name: 'x' }]")};`,
      'expected operations made by operation({ name, summary, args, run }); number 0 is none',
    ],
    [
      'the name of a driver that is there',
      'i.js',
      `export const f = ${FACTORY.replace("'x'", "'dmirror'")};`,
      'there is already a driver named dmirror',
    ],
    [
      'the name of an operation that is there',
      'j.js',
      `import { operation } from 'hmmlab';
       const op = operation({ name: 'mmap', summary: '', args: [], *run() { return {}; } });
       export const f = ${FACTORY.replace('operations: []', 'operations: [op]')};`,
      'two operations are named mmap',
    ],
  ])('refuses %s', (_, name, text, told) => {
    const path = text === null ? join(FOLDER, name) : file(name, text);
    const done = hmmlab(['run', '--driver', path, '-'], PROGRAM);
    expect(done.stdout).toBe('');
    expect(done.status).toBe(2);
    expect(done.stderr.trimEnd().split('\n').length).toBe(1);
    expect(done.stderr.startsWith(`hmmlab: ${path}: `)).toBe(true);
    expect(done.stderr).toContain(told);
  });

  it('is refused by check-driver as well where its name is taken', () => {
    const path = file('taken.js', `export const f = ${FACTORY.replace("'x'", "'dmirror'")};`);
    const done = hmmlab(['check-driver', path]);
    expect([done.status, done.stdout]).toEqual([2, '']);
    expect(done.stderr).toBe(`hmmlab: ${path}: there is already a driver named dmirror\n`);
  });

  it('refuses one driver twice', () => {
    const twin = join(FOLDER, 'twin.ts');
    copyFileSync(OWN, twin);
    const done = hmmlab(['run', '--driver', OWN, '--driver', twin, '-'], PROGRAM);
    expect(done.status).toBe(2);
    expect(done.stderr).toBe(`hmmlab: ${twin}: there is already a driver named mine\n`);
  });
});

describe('check-driver', () => {
  it('prints a line a case and exits with 0', () => {
    const done = hmmlab(['check-driver', OWN]);
    expect(done.status).toBe(0);
    const lines = done.stdout.trimEnd().split('\n');
    expect(lines.at(-1)).toBe(`${OWN}: ${count(lines, 'ok')} ok, 0 failed, 8 skipped`);
    expect(count(lines, 'ok')).toBeGreaterThan(40);
  });

  it('names the fault and exits with 1', () => {
    const text = readFileSync(DRIVER_PATH, 'utf8').replace(', faultPage: page }', ' }');
    const done = hmmlab(['check-driver', file('faulty.ts', text), '--json']);
    expect(done.status).toBe(1);
    const lines = done.stdout.trimEnd().split('\n');
    const results = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    const failed = results.filter(({ outcome }) => outcome === 'failed');
    expect(failed[0]).toMatchObject({
      name: 'home: a CPU load brings a page home',
      section: 'home',
      message: expect.stringContaining('the driver forgets fault_page'),
    });
    expect(results.at(-1)).toMatchObject({ failed: failed.length, skipped: 8 });
  });

  it('needs a spec', () => {
    const text = readFileSync(DRIVER_PATH, 'utf8').replace('export const spec', 'const spec');
    const path = file('no-spec.ts', text);
    const done = hmmlab(['check-driver', path]);
    expect(done.status).toBe(2);
    expect(done.stderr).toContain(`${path}: expected an export that is a DriverSpec`);
  });
});

function count(lines: readonly string[], word: string): number {
  return lines.filter((line) => line.startsWith(`${word} `)).length;
}

describe('a driver that never ends', () => {
  it('can be interrupted', async () => {
    const text = readFileSync(DRIVER_PATH, 'utf8').replace(
      '    let result = yield*',
      "    process.stderr.write('busy');\n    for (;;);\n    let result = yield*",
    );
    const endless = file('endless.ts', text);
    const child = spawn(process.execPath, [MAIN, 'check-driver', endless], { cwd: ROOT });
    child.stderr.once('data', () => child.kill('SIGINT'));
    const signal = await new Promise((resolve) => child.on('close', (_, by) => resolve(by)));
    expect(signal).toBe('SIGINT');
  });
});
