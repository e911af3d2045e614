// What older kernels did otherwise, beyond what the recordings of 5.10 show.
import { describe, expect, it } from 'vitest';
import { LANGUAGE } from '../../src/drivers/index.ts';
import { buildMachine, parsePrograms, type Result, runProgram } from '../../src/program/index.ts';

function resultsOf(lines: readonly string[]): { results: Result[]; trespasses: number } {
  const text = parsePrograms(lines.join('\n'), { file: 'f', language: LANGUAGE });
  const machine = buildMachine(text.machine, LANGUAGE);
  const results = [...runProgram(machine, text.programs[0]!)].map(({ result }) => result);
  return { results, trespasses: machine.kernel.trespasses };
}

describe('a page that somebody holds', () => {
  const program = (era: string): string[] => [
    `machine era ${era}`,
    'device dmirror',
    'device pgmaplab',
    'program held',
    'mmap 0 2 anon rw',
    'cpu_write 0 0 2 1',
    'fork 1',
    '@1 dev_read 0 0 0 2',
    '@1 lab_pin 0 0 1 r get',
    'migrate_to_dev 0 0 0 2',
    '@1 dev_read 0 0 0 1',
    'end',
  ];

  it('is not even taken from other processes until v5.15: their devices keep it mapped', () => {
    expect(resultsOf(program('v5.10')).results.at(-1)).toMatchObject({ ret: '0', faults: 0 });
  });

  it('is taken from them, and given back, since v5.16', () => {
    expect(resultsOf(program('v6.1')).results.at(-1)).toMatchObject({ ret: '0', faults: 1 });
  });
});

describe('hmm_range_fault on a page of another device', () => {
  const program = (era: string): string[] => [
    `machine era ${era}`,
    'device dmirror',
    'device dmirror',
    'program foreign',
    'mmap 0 1 anon rw',
    'cpu_write 0 0 1 7',
    'migrate_to_dev 0 0 0 1',
    'snapshot 1 0 0 1',
    'dev_read 1 0 0 1',
    'cpu_read 0 0 1',
    'end',
  ];

  it('reports it to anybody until v5.6, who then reads what nobody answers', () => {
    const { results, trespasses } = resultsOf(program('v5.6'));
    expect(results.slice(3)).toMatchObject([
      { ret: '0', perms: [50] },
      { ret: '0', data: [0xffff_ffff] },
      { data: [7] },
    ]);
    expect(trespasses).toBe(1);
  });

  it('refuses it from v5.7 to v5.18, and brings it home since', () => {
    const old = resultsOf(program('v5.7'));
    expect(old.results.slice(3)).toMatchObject([{ perms: [0] }, { ret: 'EFAULT' }, { data: [7] }]);
    const now = resultsOf(program('v6.1'));
    expect(now.results.slice(4)).toMatchObject([{ ret: '0', data: [7] }, { data: [7] }]);
    expect(old.trespasses + now.trespasses).toBe(0);
  });
});
