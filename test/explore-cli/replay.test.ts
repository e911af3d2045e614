// hmmlab run --schedule, and what run says of blocks and expectations.

import { describe, expect, it } from 'vitest';
import { hmmlab } from '../program/cli.ts';
import { programFiles } from './programs.ts';

const FILES = programFiles();
const EXPECTED = 'line 12: expected r.data=8; found r.data=7';

/** The token of the ordinary order, and so how all tokens of the program begin. */
const TOKEN = /token="(.*)"/.exec(
  hmmlab(['run', FILES.race, '--schedule', 'h1-ffff']).stderr.replace(
    /.*its check is ffff, expected (....)\n/s,
    'token="h1-$1"',
  ),
)![1]!;

describe('hmmlab run --schedule', () => {
  it('nothing goes wrong in the ordinary order', () => {
    const { status, stdout, stderr } = hmmlab(['run', FILES.race, '--schedule', TOKEN]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain('A is through; B goes on'.replace(' is', '       is'));
    expect(stdout).toContain('  nothing went wrong\n');
  });

  it('--json: the steps as in a recording, and at last what happened', () => {
    const done = hmmlab(['run', FILES.race, '--schedule', `${TOKEN}-0.1`, '--json']);
    expect(done).toMatchObject({ status: 1, stderr: '' });
    const [kernel, program, ...lines] = done.stdout
      .trimEnd()
      .split('\n')
      .map((one) => JSON.parse(one));
    expect(kernel).toEqual({ kernel: '6.1' });
    expect(program).toEqual({ program: 'race' });
    expect(lines.slice(0, -1)).toEqual([
      { op: 'mmap', args: [0, 1, 'anon', 'rw'], ret: '0' },
      { op: 'cpu_write', args: [0, 0, 1, 7], data: ['ok'] },
      { op: 'cpu_read', thread: 'B', args: [0, 0, 1], data: [7] },
      { op: 'cpu_write', thread: 'A', args: [0, 0, 1, 8], data: ['ok'] },
    ]);
    expect(lines.at(-1)).toEqual({
      schedule: {
        token: `${TOKEN}-0.1`,
        failures: [{ kind: 'expectation', message: EXPECTED, detail: [] }],
        story: expect.arrayContaining([expect.stringContaining('A goes on')]),
      },
    });
  });

  it('--record: a recording that explain reads', () => {
    const recording = FILES.path('race.rec');
    const done = hmmlab(['run', FILES.race, '--schedule', `${TOKEN}-0.1`, '--record', recording]);
    expect(done).toMatchObject({ status: 1, stderr: '' });
    expect(done.stdout).toMatch(/\d+ records in .*race\.rec\n$/);
    const explained = hmmlab(['explain', recording, '--page', '0x100000000']);
    expect(explained).toMatchObject({ status: 0, stderr: '' });
    expect(explained.stdout).toContain('program, line 5: cpu_write 0 0 1 7');
  });

  it.each([
    ['nonsense', '"nonsense" cannot be used: it is not a schedule token, such as h1-3f9a-12.1'],
    ['h2-3f9a', '"h2-3f9a" cannot be used: it is of version h2; this version reads h1'],
    [`${TOKEN}-900.1`, 'does not fit program race: the run ends after '],
    [`${TOKEN}-0.9`, 'does not fit program race: decision 0 has 2 alternatives, and '],
  ])('the token %s is refused', (token, message) => {
    const { status, stdout, stderr } = hmmlab(['run', FILES.race, '--schedule', token]);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain(`hmmlab: --schedule: ${FILES.race}: the schedule "`);
    expect(stderr).toContain(message);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });

  it('a token belongs to one program', () => {
    const other = hmmlab(['run', FILES.all, '--program', 'quiet', '--schedule', TOKEN]);
    expect(other).toMatchObject({ status: 2, stdout: '' });
    expect(other.stderr).toContain('it belongs to another program or machine than program quiet');
    // Where it stands in its file does not matter.
    expect(hmmlab(['run', FILES.all, '--program', 'race', '--schedule', TOKEN]).status).toBe(0);
    const many = hmmlab(['run', FILES.all, '--schedule', TOKEN]);
    expect(many).toMatchObject({ status: 2, stdout: '' });
    expect(many.stderr).toMatch(/has several programs; expected --program NAME\n$/);
  });
});

describe('hmmlab run', () => {
  it('shows threads and names of results; an expectation that fails is no end', () => {
    const { status, stdout, stderr } = hmmlab(['run', FILES.all]);
    expect(status).toBe(1);
    expect(stderr).toBe(`hmmlab: ${FILES.all}:7: expected r.data=8; found r.data=7\n`);
    expect(stdout.match(/^program \w+$/gm)).toEqual([
      'program wrong',
      'program quiet',
      'program race',
    ]);
    expect(stdout).toContain('  A: cpu_write 0 0 1 8 ');
    expect(stdout).toContain('  B: r = cpu_read 0 0 1  data 8\n');
  });

  it('--json: tells the rules that a header sets', () => {
    const text = 'machine era v6.1 rules faultPage=false\nprogram p\nend\n';
    const [first] = hmmlab(['run', '--json', '-'], text).stdout.split('\n');
    expect(JSON.parse(first!)).toEqual({ kernel: '6.1', rules: { faultPage: false } });
  });
});
