// kvm-uvmem in the program language.
import { describe, expect, it } from 'vitest';
import { dmirrorFactory } from '../../src/drivers/dmirror/index.ts';
import { KvmUvmem, kvmUvmemFactory } from '../../src/drivers/kvm-uvmem/index.ts';
import {
  buildMachine,
  Language,
  parsePrograms,
  type Result,
  runProgram,
} from '../../src/program/index.ts';

const LANGUAGE = new Language({
  drivers: [dmirrorFactory, kvmUvmemFactory],
  defaultDevices: [],
});

function results(text: string): Result[] {
  const { machine: spec, programs } = parsePrograms(text, { file: 'test', language: LANGUAGE });
  const machine = buildMachine(spec, LANGUAGE);
  const found: Result[] = [];
  for (const program of programs) {
    for (const { result } of runProgram(machine, program)) {
      expect(machine.verify({ full: true })).toEqual([]);
      found.push(result);
    }
  }
  return found;
}

function program(lines: string[], header = 'device kvm-uvmem secure 1MiB'): string {
  return [header, 'program test', ...lines, 'end', ''].join('\n');
}

describe('the life of a secure guest', () => {
  const lines = [
    'mmap 0 4 anon rw',
    'cpu_write 0 0 4 100',
    'vm_slot 0 0 0 4 16',
    'guest_read 16 2',
    'svm_esm',
    'vm_state',
    'guest_write 16 4 500',
    'cpu_write 0 1 1 7',
    'vm_state',
    'guest_read 16 4',
    'svm_share 19 1',
    'guest_write 19 1 9',
    'cpu_read 0 3 1',
    'svm_unshare 19 1',
    'svm_page_out 16 0 -',
    'vm_state',
    'svm_off',
    'vm_slot_delete 0',
    'vm_state',
  ];
  const expected: Result[] = [
    { ret: '0' },
    { data: ['ok', 'ok', 'ok', 'ok'] },
    { ret: '0' },
    { ret: '0', data: [100, 101] },
    { ret: 'H_SUCCESS' },
    { state: 'secure', gfns: 'SSSS' },
    { ret: '0' },
    { data: ['ok'] },
    { state: 'secure', gfns: 'SESS' },
    { ret: 'H_PARAMETER', data: [500, 'H_PARAMETER', 502, 503] },
    { ret: 'U_SUCCESS' },
    { ret: '0' },
    { data: [9] },
    { ret: 'U_SUCCESS' },
    { ret: 'H_SUCCESS' },
    { state: 'secure', gfns: 'EESS' },
    { ret: '0' },
    { ret: '0' },
    { state: 'normal', gfns: '' },
  ];

  it.each(['4KiB', '16KiB', '64KiB'])('with pages of %s', (page) => {
    const header = `machine page ${page}\ndevice kvm-uvmem secure 1MiB`;
    expect(results(program(lines, header))).toEqual(expected);
  });
});

describe('each call', () => {
  it('answers with the name of its code', () => {
    const answers = results(
      program([
        'mmap 0 4 anon rw',
        'vm_slot 0 0 0 2 0',
        'vm_slot 1 0 2 2 1',
        'vm_slot 1 0 2 2 2',
        'svm_init_abort',
        'svm_init_done',
        'svm_init_start',
        'guest_read 0 1',
        'svm_page_in 0 0 13',
        'svm_page_in 0 2 12',
        'svm_page_in 0 1 -',
        'svm_page_in 9 0 -',
        'svm_page_out 0 1 -',
        'svm_init_done',
        'vm_state',
        'svm_init_abort',
        'svm_share 9 1',
        'svm_unshare 1 9',
        'guest_read 9 1',
        'vm_slot_delete 5',
      ]),
    );
    expect(answers.map(({ ret, gfns }) => ret ?? gfns)).toEqual([
      '0',
      '0',
      'EEXIST',
      '0',
      'H_UNSUPPORTED',
      'H_UNSUPPORTED',
      'H_SUCCESS',
      'EBUSY',
      'H_P3',
      'H_P2',
      'H_SUCCESS',
      'H_PARAMETER',
      'H_P2',
      'H_SUCCESS',
      'HS SS',
      'H_STATE',
      'U_PARAMETER',
      'U_P2',
      'EFAULT',
      'EINVAL',
    ]);
  });

  it('is about the VM of the process that makes it', () => {
    const answers = results(
      program([
        'mmap 0 2 anon rw',
        'cpu_write 0 0 2 1',
        'vm_slot 0 0 0 2 0',
        'svm_esm',
        'fork 1',
        '@1 vm_state',
        '@1 vm_slot 0 0 0 2 0',
        '@1 guest_read 0 1',
        'guest_read 0 2',
        '@1 exit',
        'vm_state',
      ]),
    );
    expect(answers[5]).toEqual({ state: 'normal', gfns: '' });
    expect(answers[8]).toEqual({ ret: '0', data: [1, 2] });
    expect(answers[10]).toEqual({ state: 'secure', gfns: 'SS' });
  });
});

describe('the header', () => {
  it('says how much secure memory there is', () => {
    const text = program(['vm_state'], 'device kvm-uvmem secure 128KiB');
    const { machine: spec } = parsePrograms(text, { file: 'test', language: LANGUAGE });
    const [kvm] = buildMachine(spec, LANGUAGE).drivers;
    expect((kvm as KvmUvmem).secureBytes).toBe(128 * 1024);
    expect(new KvmUvmem().secureBytes).toBe(16 * 1024 * 1024);
  });

  it.each([
    ['device kvm-uvmem secure 4KiB', 'a multiple of 64KiB'],
    ['device kvm-uvmem private', 'an option of kvm-uvmem: secure'],
    ['device kvm-uvmem\ndevice kvm-uvmem', 'at most 1 kvm-uvmem in a machine'],
  ])('refuses %j', (header, message) => {
    expect(() => results(program([], header))).toThrow(message);
  });

  it.each([
    ['svm_page_in 0 0 x', "or - for the machine's page shift"],
    ['svm_page_in 0 256 -', 'flags: a number from 0 to 255'],
    ['vm_slot 40000 0 0 1 0', 'slot: a number from 0 to 32766'],
    ['guest_read 99999999 1', 'gfn: a number from 0 to 16777215'],
  ])('and %j', (line, message) => {
    expect(() => results(program(['mmap 0 1 anon rw', line]))).toThrow(message);
  });
});
