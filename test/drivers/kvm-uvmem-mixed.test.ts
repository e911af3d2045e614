// A secure guest in a process whose memory two GPUs and a dmirror work on, at random.
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ERAS } from '../../src/core/era.ts';
import type { Machine } from '../../src/core/machine.ts';
import { LANGUAGE } from '../../src/drivers/index.ts';
import { buildMachine, parsePrograms, runProgram } from '../../src/program/index.ts';

const PAGES = 6;
/** What the guest writes is from here on; nobody else writes such numbers. */
const SECRET = 3_000_000_000;

/** By a page and a small number. */
const OPERATIONS: readonly ((page: number, value: number) => string)[] = [
  (page, value) => `guest_write ${page} 1 ${SECRET + value}`,
  (page, value) => `guest_write ${page} 2 ${SECRET + value}`,
  (page) => `guest_read ${page} 2`,
  (page) => `guest_read ${page} 1`,
  (page) => `cpu_read 0 ${page} 2`,
  (page, value) => `cpu_write 0 ${page} 1 ${value}`,
  (page) => `dontneed 0 ${page} 1`,
  (page) => `mprotect 0 ${page} 1 r`,
  (page) => `mprotect 0 ${page} 1 rw`,
  (page) => `gpu_bind 0 0 ${page} 3`,
  (page) => `gpu_bind 1 0 ${page} 2`,
  (page) => `gpu_read 0 0 ${page} 2`,
  (page) => `gpu_read 1 0 ${page} 1`,
  (page, value) => `gpu_write 0 0 ${page} 1 ${value}`,
  (page, value) => `gpu_write 1 0 ${page} 2 ${value}`,
  (page) => `gpu_atomic 1 0 ${page} 1 1`,
  () => 'gpu_suspend 0',
  () => 'gpu_resume 0',
  (page) => `dev_read 0 0 ${page} 2`,
  (page, value) => `dev_write 0 0 ${page} 1 ${value}`,
  (page) => `migrate_to_dev 0 0 ${page} 2`,
  (page) => `svm_page_out ${page} 0 -`,
  (page) => `svm_page_in ${page} 0 -`,
];

const steps = fc.array(fc.tuple(fc.nat(OPERATIONS.length - 1), fc.nat(PAGES - 1), fc.nat(99)), {
  minLength: 10,
  maxLength: 40,
});

function programOf(era: string, page: string, lines: readonly string[]): string {
  return [
    `machine era ${era} ram 8MiB page ${page}`,
    'device kvm-uvmem secure 512KiB',
    'device nouveau vram 2MiB',
    'device nouveau vram 2MiB',
    'device dmirror chunk 1MiB',
    'program mixed',
    `mmap 0 ${PAGES} anon rw`,
    `vm_slot 0 0 0 ${PAGES} 0`,
    'svm_esm',
    ...lines,
    'end',
    '',
  ].join('\n');
}

/** Whether a page that the hypervisor or a device can reach holds what only the guest wrote. */
function hasSecret({ kernel }: Machine): boolean {
  const { pages } = kernel;
  for (let page = 1; page < pages.rows; page++) {
    const word = pages.read32(page, 0);
    if (word >= SECRET && word < SECRET + PAGES + 100) return true;
  }
  return false;
}

it.each(ERAS.map(({ name }) => name))('nobody sees what the guest writes (%s)', (era) => {
  const property = fc.property(fc.constantFrom('4KiB', '64KiB'), steps, (page, wanted) => {
    const lines = wanted.map(([at, first, value]) => OPERATIONS[at]!(first, value));
    const text = programOf(era, page, lines);
    const { machine: spec, programs } = parsePrograms(text, { file: 'mixed', language: LANGUAGE });
    const machine = buildMachine(spec, LANGUAGE);
    for (const { step } of runProgram(machine, programs[0]!)) {
      const found = machine.verify({ full: true });
      expect([step.operation.name, found]).toEqual([step.operation.name, []]);
      expect([step.operation.name, hasSecret(machine)]).toEqual([step.operation.name, false]);
      if (era !== 'v5.6') expect(machine.kernel.trespasses).toBe(0);
    }
    expect(machine.kernel.pages.ramUsed).toBe(0);
  });
  fc.assert(property, { numRuns: 60 });
});
