// hmmlab compare: what it prints, what it refuses, and its exit codes.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ERAS } from '../../src/core/era.ts';
import { hmmlab } from './cli.ts';

const FOLDER = mkdtempSync(join(tmpdir(), 'hmmlab-compare-'));
afterAll(() => rmSync(FOLDER, { recursive: true }));

function file(name: string, lines: readonly string[]): string {
  const path = join(FOLDER, name);
  writeFileSync(path, `${lines.join('\n')}\n`);
  return path;
}

const seed = file('seed.txt', [
  'machine era v6.1',
  'device pgmaplab',
  'program seed',
  'mmap 0 4 anon rw',
  'cpu_write 0 0 4 1',
  'lab_migrate null S 0 0 0 2',
  'lab_migrate null S 1 0 2 2',
  'lab_migrate 1 P ram 0 0 4',
  'end',
  'program quiet',
  'mmap 0 1 anon rw',
  'end',
]);
const quiet = file('quiet.txt', ['program quiet', 'mmap 0 1 anon rw', 'cpu_write 0 0 1 3', 'end']);
const coherent = file('coherent.txt', [
  'device dmirror coherent',
  'program c',
  'mmap 0 1 anon rw',
  'end',
]);

describe('hmmlab compare', () => {
  it('shows the operation, the pages, the owners and the rule', () => {
    const { status, stdout, stderr } = hmmlab(['compare', seed, '--era', 'v5.6', '--era=v5.7']);
    expect(stderr).toBe('');
    expect(status).toBe(1);
    expect(stdout.split('\n')).toEqual([
      'program seed  differs between v5.6 and v5.7',
      '  first difference: line 8: lab_migrate 1 P ram 0 0 4',
      '    v5.6  ret 0  cpages 4  setup VMW:0 VMW:0 VMW:1 VMW:1  pages VMW:0 VMW:0 VMW:1 VMW:1',
      '    v5.7  ret 0  cpages 2  setup - - VMW:1 VMW:1  pages - - VMW:1 VMW:1',
      '    why  selection (v5.7, 800bb1c8dc80): migrate_vma takes only device pages of src_owner, ' +
        'or without one only ordinary pages',
      '         this rule alone gives v5.6 the answer of v5.7; without it v5.7 has the answer of v5.6',
      '  pages that differ at the end',
      '    process 0, buffer 0, pages 0-1 at 0x100000000, since line 8: lab_migrate 1 P ram 0 0 4',
      '               v5.6          v5.7',
      '      owner    system (RAM)  lab owner 0 (lab 0)',
      '      mapping  rw            device',
      '      why  selection (v5.7)',
      '           this rule alone gives v5.6 the page of v5.7; without it v5.7 has the page of v5.6',
      '  device memory used by others than its owner',
      "    v5.6  line 8: lab owner 1's migration took 2 pages from 0x100000000 " +
        'of process 0, owned by lab owner 0',
      '    why  selection (v5.7)',
      '         this rule alone gives v5.6 the trespasses of v5.7; ' +
        'without it v5.7 has the trespasses of v5.6',
      '',
      'program quiet  the same in v5.6 and v5.7',
      '',
      'compare: 2 programs, 1 with differences',
      '',
    ]);
  });

  it('prints one JSON object a program and a summary', () => {
    const { status, stdout } = hmmlab([
      'compare',
      '--json',
      seed,
      '--era',
      'v5.7',
      '--era',
      'v5.6',
    ]);
    expect(status).toBe(1);
    const [first, second, summary, ...others] = stdout
      .trimEnd()
      .split('\n')
      .map((text) => JSON.parse(text));
    expect(others).toEqual([]);
    expect(Object.keys(first.comparison)).toEqual([
      'program',
      'line',
      'eras',
      'pageSize',
      'compared',
      'operations',
      'stopped',
      'differences',
      'pages',
      'trespasses',
      'whyTrespasses',
      'equal',
    ]);
    expect(first.comparison).toMatchObject({ program: 'seed', line: 3, eras: ['v5.6', 'v5.7'] });
    expect(first.comparison.pages[0]).toMatchObject({ first: 0, last: 1, address: 0x1_0000_0000 });
    expect(second.comparison).toMatchObject({ program: 'quiet', equal: true });
    expect(summary).toEqual({
      compare: {
        file: seed,
        eras: ['v5.6', 'v5.7'],
        leftOut: [],
        programs: 2,
        different: 1,
        equal: false,
      },
    });
  });

  it('compares all eras unless told otherwise, and exits with 0 where nothing differs', () => {
    const { status, stdout } = hmmlab(['compare', quiet]);
    expect(status).toBe(0);
    const names = ERAS.map(({ name }) => name);
    expect(stdout).toBe(
      [
        `program quiet  the same in ${names.slice(0, -1).join(', ')} and ${names.at(-1)}`,
        '',
        'compare: 1 program, no difference',
        '',
      ].join('\n'),
    );
  });

  it('leaves out eras in which the devices cannot exist, and says so', () => {
    const { status, stdout } = hmmlab(['compare', coherent]);
    expect(status).toBe(0);
    expect(stdout).toContain(
      `v5.10 is left out: ${coherent}:1: expected a device of era v5.10; found dmirror coherent`,
    );
    expect(stdout).toContain('compared are v6.1, v6.12\n');
  });

  it.each([
    [
      'a device that an era cannot have',
      [coherent, '--era', 'v5.7', '--era', 'v6.1'],
      `${coherent}:1: expected a device of era v5.7; found dmirror coherent, since v6.1`,
    ],
    ['a single era', [seed, '--era', 'v5.6'], '--era: expected two eras or more; found only v5.6'],
    [
      'one era twice',
      [seed, '--era', 'v5.6', '--era', 'v5.6'],
      '--era: expected two eras or more; found only v5.6',
    ],
    [
      'an era that is none',
      [seed, '--era', 'v5.6', '--era', 'v9'],
      '--era: expected one of v5.6, v5.7, v5.10, v6.1, v6.12; found "v9"',
    ],
    ['no file', [join(FOLDER, 'none')], `${join(FOLDER, 'none')}: no such file`],
    ['a flag that is none', [seed, '--eras', 'v5.6'], 'compare: Unknown option'],
  ])('exits with 2 for %s', (_, args, message) => {
    const { status, stdout, stderr } = hmmlab(['compare', ...args]);
    expect(stderr).toContain(`hmmlab: ${message}`);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(stdout).toBe('');
    expect(status).toBe(2);
  });

  it('tells since when a page differs between those eras in which it ends up different', () => {
    const done = hmmlab(['compare', 'examples/03-seed-bug/program.txt']);
    // After line 9 v5.7 and v5.10 map it differently on the GPU; at the end that is gone.
    expect(done.stdout).toContain('at 0x100000000, since line 12: gpu_bind 1 0 0 4\n');
    expect(done.stdout).toContain('why v5.6 to v5.7  selection');
    expect(done.status).toBe(1);
  });
});
