// GPUs in programs: the header's device lines and the operations gpu_*.

import { describe, expect, it } from 'vitest';
import { MiB } from '../../src/core/units.ts';
import { Nouveau, nouveauFactory } from '../../src/drivers/nouveau/index.ts';
import {
  buildMachine,
  Language,
  OwnershipMap,
  ownershipTable,
  ProgramError,
  ProgramRunner,
  parsePrograms,
  type Result,
} from '../../src/program/index.ts';

const LANGUAGE = new Language({ drivers: [nouveauFactory], defaultDevices: ['nouveau'] });

function parse(lines: readonly string[]): ReturnType<typeof parsePrograms> {
  return parsePrograms(lines.join('\n'), { file: 'f', language: LANGUAGE });
}

/** Runs one program, verifying after each line; the results, and the runner before its end. */
function run(
  lines: readonly string[],
  header: readonly string[] = ['machine era v6.1 ram 16MiB', 'device nouveau'],
): { results: Result[]; runner: ProgramRunner; gpus: readonly Nouveau[] } {
  const text = parse([...header, 'program a', ...lines, 'end']);
  const machine = buildMachine(text.machine, LANGUAGE);
  const runner = new ProgramRunner(machine);
  const results = text.programs[0]!.steps.map((step) => {
    const result = runner.step(step);
    expect(machine.verify({ full: true })).toEqual([]);
    return result;
  });
  return { results, runner, gpus: runner.devices(Nouveau) };
}

describe('device nouveau', () => {
  it('has 16 MiB of VRAM and 64 fault entries, and the faults of the kernel', () => {
    const { gpus } = run([]);
    expect(gpus.map(({ vramBytes, mended }) => [vramBytes, mended])).toEqual([[16 * MiB, false]]);
    expect(gpus[0]!.gpu.faultBuffer.entries).toBe(64);
  });

  it('has what its line says', () => {
    const { gpus } = run(
      [],
      [
        'machine era v5.7 ram 16MiB page 4KiB',
        'device nouveau vram 4MiB faults 8',
        'device nouveau mended',
      ],
    );
    expect(gpus.map(({ name, vramBytes, mended }) => [name, vramBytes, mended])).toEqual([
      ['nouveau0', 4 * MiB, false],
      ['nouveau1', 16 * MiB, true],
    ]);
    expect(gpus[0]!.gpu.faultBuffer.entries).toBe(8);
  });

  it.each(['vram 100KiB', 'faults 1', 'faults 70000', 'shiny'])('refuses %s', (option) => {
    expect(() => parse([`machine era v6.1 ram 16MiB`, `device nouveau ${option}`])).toThrow(
      ProgramError,
    );
  });
});

describe('operations', () => {
  it('move, read and write', () => {
    const { results } = run([
      'mmap 0 4 anon rw',
      'cpu_write 0 0 4 100',
      'gpu_bind 0 0 0 2',
      'gpu_read 0 0 0 4',
      'gpu_write 0 0 1 2 200',
      'cpu_read 0 0 4',
      'gpu_read 0 0 0 0',
    ]);
    expect(results.slice(2)).toEqual([
      { ret: '0' },
      { ret: '0', data: [100, 101, 102, 103] },
      { ret: '0' },
      expect.objectContaining({ data: [100, 200, 201, 103] }),
      { ret: '0', data: [] },
    ]);
  });

  it('add atomically, and wrap', () => {
    const { results } = run([
      'mmap 0 2 anon rw',
      'cpu_write 0 0 1 4294967295',
      'gpu_atomic 0 0 0 2 3',
      'gpu_atomic 0 0 0 2 1',
    ]);
    expect(results.slice(2)).toEqual([
      { ret: '0', data: [4_294_967_295, 0] },
      { ret: '0', data: [2, 3] },
    ]);
  });

  it('do a list of accesses at once', () => {
    const { results } = run([
      'mmap 0 4 anon rw',
      'cpu_write 0 0 3 100',
      'gpu_access 0 0 r0,w1,a2,p3,r1',
      'cpu_read 0 0 4',
    ]);
    expect(results[2]).toEqual({ ret: '0', data: [100, 0, 102, 0, 1] });
    expect(results[3]).toMatchObject({ data: [100, 1, 103, 0] });
  });

  it.each(['x0', 'r', 'r0,', '', 'r0;w1', 'r65536', 'R0'])('refuse the list "%s"', (list) => {
    const lines = ['program a', 'mmap 0 1 anon rw', `gpu_access 0 0 ${list}`, 'end'];
    expect(() => parse(['machine era v6.1 ram 16MiB', 'device nouveau', ...lines])).toThrow(
      ProgramError,
    );
  });

  it('say why a channel died, and get a new one', () => {
    const { results } = run([
      'mmap 0 2 anon rw',
      'cpu_write 0 0 2 5',
      'mprotect 0 1 1 r',
      'gpu_write 0 0 0 2 9',
      'gpu_read 0 0 1 1',
      'munmap 0 1 1',
      'gpu_read 0 0 0 2',
      'gpu_read 0 0 0 1',
    ]);
    expect(results.slice(3).map(({ ret }) => ret)).toEqual(['EPERM', '0', '0', 'EFAULT', '0']);
    expect(results[3]).toEqual({ ret: 'EPERM' });
    // The write to page 0 waited together with the one that was refused, and died with it.
    expect(results.at(-1)).toMatchObject({ data: [5] });
  });

  it('suspend, resume and remove', () => {
    const { results } = run([
      'mmap 0 2 anon rw',
      'cpu_write 0 0 2 5',
      'gpu_bind 0 0 0 2',
      'gpu_suspend 0',
      'gpu_resume 0',
      'gpu_read 0 0 0 2',
      'fork 1',
      '@1 gpu_read 0 0 0 2',
      'gpu_remove 0',
      'cpu_read 0 0 2',
      '@1 cpu_read 0 0 2',
      'gpu_read 0 0 0 1',
      'gpu_bind 0 0 0 1',
      'gpu_atomic 0 0 0 1 1',
      'gpu_suspend 0',
      'gpu_remove 0',
      'fork 2',
      '@2 gpu_read 0 0 0 1',
    ]);
    const rets = results.slice(11, 16).map(({ ret }) => ret);
    expect(rets).toEqual(['ENODEV', 'ENODEV', 'ENODEV', 'ENODEV', 'ENODEV']);
    expect(results[5]).toEqual({ ret: '0', data: [5, 6] });
    expect(results[7]).toEqual({ ret: '0', data: [5, 6] });
    expect(results[9]).toMatchObject({ data: [5, 6] });
    expect(results[10]).toMatchObject({ data: [5, 6] });
    expect(results.at(-1)).toEqual({ ret: 'ENODEV' });
  });

  it('share the address space once', () => {
    const { results } = run(['gpu_svm_init 0']);
    expect(results).toEqual([{ ret: 'EBUSY' }]);
  });

  it('let a copy fail', () => {
    const { results, gpus } = run([
      'mmap 0 3 anon rw',
      'cpu_write 0 0 3 5',
      'gpu_fail_copy 0 2',
      'gpu_bind 0 0 0 3',
      'gpu_read 0 0 0 3',
    ]);
    expect(results.at(-1)).toEqual({ ret: '0', data: [5, 6, 7] });
    expect(gpus[0]!.pagesInUse).toBe(2);
  });

  it('let an allocation fail', () => {
    const { results, gpus } = run([
      'mmap 0 3 anon rw',
      'cpu_write 0 0 3 5',
      'gpu_fail_alloc 0 2',
      'gpu_bind 0 0 0 3',
      'gpu_bind 0 0 0 1',
      'gpu_fail_alloc 0 4',
      'gpu_bind 0 0 0 3',
      'gpu_read 0 0 0 3',
    ]);
    expect(results.slice(2).map(({ ret }) => ret)).toEqual(new Array(6).fill('0'));
    expect(results.at(-1)).toEqual({ ret: '0', data: [5, 6, 7] });
    expect(gpus[0]!.pagesInUse).toBe(1);
  });

  it('show in tables how a GPU maps what', () => {
    const { runner } = run([
      'mmap 0 4 anon rw',
      'cpu_write 0 0 3 5',
      'gpu_bind 0 0 0 1',
      'gpu_atomic 0 0 1 1 1',
      'gpu_read 0 0 3 1',
    ]);
    const { machine } = runner;
    const map = new OwnershipMap(machine);
    expect(map.draw(runner.processes.values())).toEqual(['process 0  buffer 0  0XRz']);
    const table = ownershipTable(machine, map, runner.processes.values());
    expect(table.columns).toEqual(['process 0', 'nouveau0']);
    expect(table.rows.map(({ owner, mappings }) => [owner, ...mappings])).toEqual([
      ['nouveau0', 'device', 'rw'],
      ['system', 'exclusive', 'rwa'],
      ['system', 'rw', ''],
      ['', 'r', 'r'],
    ]);
  });

  it('belong to each process, which has the GPU for itself', () => {
    const { results } = run([
      'mmap 0 1 anon rw',
      'cpu_write 0 0 1 5',
      'fork 1',
      '@1 gpu_write 0 0 0 1 6',
      'gpu_read 0 0 0 1',
      '@1 gpu_read 0 0 0 1',
      '@1 exit',
      'gpu_read 0 0 0 1',
    ]);
    expect(results[4]).toEqual({ ret: '0', data: [5] });
    expect(results[5]).toEqual({ ret: '0', data: [6] });
    expect(results[7]).toEqual({ ret: '0', data: [5] });
  });

  it('come home at the end of a program, so that the next one finds a free GPU', () => {
    const { runner, gpus } = run([
      'mmap 0 2 anon rw',
      'cpu_write 0 0 2 5',
      'gpu_bind 0 0 0 2',
      'fork 1',
    ]);
    runner.finish();
    expect(gpus[0]!.pagesInUse).toBe(0);
    expect(gpus[0]!.files).toEqual([]);
    expect(runner.machine.verify({ full: true })).toEqual([]);
  });
});
