// Lines `expect`: what they may ask for, when they hold, and what is said when they do not.

import { describe, expect, it } from 'vitest';
import { SimError } from '../../src/core/errors.ts';
import { LANGUAGE } from '../../src/drivers/index.ts';
import { buildMachine, parsePrograms, runProgram } from '../../src/program/index.ts';

const START = [
  'program a',
  'mmap 0 4 anon rw',
  'w = cpu_write 0 0 2 100',
  'm = migrate_to_dev 1 0 1 1',
  'r = cpu_read 0 0 1',
  'cpu_read 0 2 1',
  'lab_migrate 1 S 1 0 0 1',
];

/** Each line with whether it held and what was found. */
function check(...lines: readonly string[]): [holds: boolean, found: string][] {
  const text = [...START, ...lines, 'end'].join('\n');
  const { machine: spec, programs } = parsePrograms(text, { file: 'f', language: LANGUAGE });
  const machine = buildMachine(spec, LANGUAGE);
  const told: [boolean, string][] = [];
  const afterExpect = (_: unknown, { holds, found }: { holds: boolean; found: string }) =>
    told.push([holds, found]);
  for (const _ of runProgram(machine, programs[0]!, { afterExpect }));
  expect(machine.verify()).toEqual([]);
  return told;
}

function found(line: string): string {
  return check(`expect ${line}`)[0]![1];
}

function holds(line: string): boolean {
  return check(`expect ${line}`)[0]![0];
}

describe('an expect asks for', () => {
  it('fields of results, lists with commas', () => {
    expect(found('r.data=0')).toBe('r.data=100');
    expect(found('w.data=0')).toBe('w.data=ok,ok');
    expect(found('m.ret=0 and m.cpages=0')).toBe('m.ret=0, m.cpages=1');
    expect(holds('w.data=ok,ok')).toBe(true);
    expect(holds('w.data=ok')).toBe(false);
  });

  it('a field that the result does not have, which is nothing', () => {
    expect(found('r.ret=0')).toBe('r.ret=nothing');
    expect(holds('r.ret=0')).toBe(false);
    expect(holds('r.ret=nothing')).toBe(true);
  });

  it('the value of a page, wherever it is, without touching it', () => {
    expect(found('value(0,0)=1 and value(0,1)=1')).toBe('value(0,0)=100, value(0,1)=101');
    // The zero page, nothing, and past the end.
    expect(holds('value(0,2)=0 and value(0,3)=0 and value(0,4)=0')).toBe(true);
    expect(holds('owner(0,1)=hmm_dmirror1')).toBe(true);
  });

  it('the owner of a page', () => {
    expect(found('owner(0,0)=ram and owner(0,1)=ram and owner(0,2)=ram and owner(0,3)=ram')).toBe(
      'owner(0,0)=lab_owner_1, owner(0,1)=hmm_dmirror1, owner(0,2)=none, owner(0,3)=none',
    );
    expect(check('cpu_read 0 1 1', 'expect owner(0,1)=ram')).toEqual([[true, 'owner(0,1)=ram']]);
  });

  it('what another process has', () => {
    expect(
      check(
        'fork 1',
        '@1 cpu_write 0 0 1 7',
        'expect @1:value(0,0)=7 and value(0,0)=100 and @0:value(0,0)=100',
        'expect @1:owner(0,0)=hmm_dmirror0 or @1:owner(0,0)=ram',
      ),
    ).toEqual([
      [true, '@1:value(0,0)=7, value(0,0)=100, @0:value(0,0)=100'],
      [true, '@1:owner(0,0)=ram'],
    ]);
  });
});

describe('an expect holds', () => {
  it('if all of one clause do', () => {
    expect(holds('r.data=100 and value(0,0)=100')).toBe(true);
    expect(holds('r.data=100 and value(0,0)=9')).toBe(false);
    expect(holds('r.data=9 and value(0,0)=100 or r.data=100')).toBe(true);
    expect(holds('r.data=9 or r.data=100 and value(0,0)=9')).toBe(false);
    expect(holds('r.data!=9 and value(0,0)!=9 and owner(0,0)!=ram')).toBe(true);
    expect(holds('r.data!=100')).toBe(false);
  });

  it('or not, at its place', () => {
    expect(
      check(
        'expect value(0,3)=0',
        'cpu_write 0 3 1 5',
        'expect value(0,3)=5',
        'parallel',
        'thread A',
        'cpu_write 0 3 1 6',
        'join',
        'expect value(0,3)=6',
        'munmap 0 3 1',
        'expect value(0,3)=6',
      ),
    ).toEqual([
      [true, 'value(0,3)=0'],
      [true, 'value(0,3)=5'],
      [true, 'value(0,3)=6'],
      [false, 'value(0,3)=0'],
    ]);
  });
});

describe('an expect that does not hold', () => {
  it('says line, what was expected and what was found', () => {
    const text = [...START, 'expect r.data=7 or value(0,1)=9 and r.data!=8', 'end'].join('\n');
    const { machine, programs } = parsePrograms(text, { file: 'f', language: LANGUAGE });
    const run = () => [...runProgram(buildMachine(machine, LANGUAGE), programs[0]!)];
    let error: unknown;
    try {
      run();
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(SimError);
    expect((error as SimError).code).toBe('expectation');
    expect((error as SimError).message).toBe(
      'line 8: expected r.data=7 or value(0,1)=9 and r.data!=8; found r.data=100, value(0,1)=101',
    );
  });
});
