// Hypercalls, ultracalls and sealed pages in time.

import { describe, expect, it } from 'vitest';
import { NO_SECURE_TIME, NO_TIME, type SecureTiming } from '../../src/core/timing.ts';
import { answersOf } from './lab.ts';

const SECURE = `
machine page 64KiB
device kvm-uvmem
program guest
mmap 0 4 anon rw
cpu_write 0 0 4 100
vm_slot 0 0 0 4 0
svm_esm
guest_read 0 1
`;

/** Virtual nanoseconds that the lines take behind those of SECURE. */
function timeOf(lines: readonly string[], secure: Partial<SecureTiming>): number {
  const timing = { ...NO_TIME, secure: { ...NO_SECURE_TIME, ...secure } };
  const [before, after] = [[], lines].map((more) => {
    const { machine, answers } = answersOf(`${SECURE}${more.join('\n')}\nend\n`, { timing });
    expect(answers.every((answer) => !answer.startsWith('error'))).toBe(true);
    return machine.scheduler.nowNs;
  });
  return after! - before!;
}

describe('a secure guest', () => {
  it('pays for each hypercall', () => {
    expect(timeOf(['svm_page_out 3 0 -'], { hypercallNs: 1000 })).toBe(1000);
    expect(timeOf(['guest_write 0 4 9'], { hypercallNs: 1000 })).toBe(0);
  });

  it('pays for each ultracall, of its own and of the hypervisor', () => {
    // UV_PAGE_OUT of one page; then UV_SHARE_PAGE and, in it, UV_PAGE_IN.
    expect(timeOf(['svm_page_out 3 0 -'], { ultracallNs: 700 })).toBe(700);
    expect(timeOf(['svm_share 2 1'], { ultracallNs: 700 })).toBeGreaterThanOrEqual(1400);
  });

  it('pays for what is sealed and opened, by the byte', () => {
    const rates = { encryptBytesPerSecond: 1e9, decryptBytesPerSecond: 0.5e9 };
    expect(timeOf(['svm_page_out 3 0 -'], rates)).toBe(65_536);
    expect(timeOf(['svm_page_out 3 0 -', 'guest_read 3 1'], rates)).toBe(3 * 65_536);
    // The host gets at it only sealed, and it comes back when the guest needs it.
    expect(timeOf(['cpu_read 0 1 2'], rates)).toBe(2 * 65_536);
  });

  it('starts in a time that grows with its pages', () => {
    const start = (pages: number): number => {
      const text = SECURE.replace('mmap 0 4', `mmap 0 ${pages}`)
        .replace('cpu_write 0 0 4', `cpu_write 0 0 ${pages}`)
        .replace('vm_slot 0 0 0 4', `vm_slot 0 0 0 ${pages}`);
      const secure = { ...NO_SECURE_TIME, hypercallNs: 10, ultracallNs: 1 };
      return answersOf(`${text}end\n`, { timing: { ...NO_TIME, secure } }).machine.scheduler.nowNs;
    };
    const [four, eight, twelve] = [4, 8, 12].map(start);
    expect(four).toBeGreaterThan(40);
    expect(eight! - four!).toBe(twelve! - eight!);
  });
});
