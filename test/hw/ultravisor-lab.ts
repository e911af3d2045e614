// An ultravisor whose hypervisor does what a test says.
import { expect } from 'vitest';
import { EFAULT } from '../../src/core/errno.ts';
import { Machine } from '../../src/core/machine.ts';
import type { Task } from '../../src/core/sched/task.ts';
import { KiB, MiB, type Page } from '../../src/core/units.ts';
import { BusMaster } from '../../src/hw/bus.ts';
import {
  H_SUCCESS,
  H_SVM_INIT_DONE,
  H_SVM_INIT_START,
  svmCallName,
  U_SUCCESS,
} from '../../src/hw/svm-codes.ts';
import type { SvmHypervisor } from '../../src/hw/svm-hypervisor.ts';
import { Ultravisor } from '../../src/hw/ultravisor.ts';

export const PAGE: number = 64 * KiB;
export const SHIFT = 16;
export const LPID = 7;
export const NO_VM = 99;

type Answer = (args: readonly number[]) => number;

/** Notes what it is asked, and answers as it was told. */
class Hypervisor implements SvmHypervisor {
  readonly calls: string[] = [];
  readonly answers: Map<number, Answer> = new Map();
  onFault: (gpa: number) => number = () => -EFAULT;

  // biome-ignore lint/correctness/useYield: a hypercall is a task, also one that never sleeps
  *hcall(_lpid: number, call: number, args: readonly number[]): Task<number> {
    this.calls.push([svmCallName(call), ...args].join(' '));
    return this.answers.get(call)?.(args) ?? H_SUCCESS;
  }

  // biome-ignore lint/correctness/useYield: the same
  *pageFault(_lpid: number, gpa: number): Task<number> {
    this.calls.push(`fault ${gpa}`);
    return this.onFault(gpa);
  }
}

export class UvLab {
  readonly machine: Machine = new Machine({ pageSize: PAGE, ramBytes: 64 * MiB });
  readonly host: Hypervisor = new Hypervisor();
  readonly uv: Ultravisor;

  constructor() {
    const { kernel } = this.machine;
    this.uv = new Ultravisor(kernel, new BusMaster(kernel, { name: 'uv' }), this.host);
    this.uv.writePate(LPID, true);
  }

  /** A page of RAM whose words are `first`, `first + 1`, …, or zeros. */
  ramPage(first = 0): Page {
    const { pages } = this.machine.kernel;
    const page = pages.allocate();
    const words = Uint32Array.from({ length: PAGE / 4 }, (_, i) => first + i);
    if (first !== 0) pages.writePage(page, words);
    return page;
  }

  wordsOf(page: Page): number[] {
    return [...this.machine.kernel.pages.readPage(page)];
  }

  run(task: Task<number>): number {
    return this.machine.run(task);
  }

  /** A running guest with four pages; page i was taken in with words from (i + 1) * 100000 on. */
  runningGuest(lpid: number = LPID): void {
    const { uv } = this;
    uv.writePate(lpid, true);
    this.run(uv.hcall(lpid, H_SVM_INIT_START, []));
    expect(uv.registerMemSlot(lpid, 0, 4 * PAGE, 0, 0)).toBe(U_SUCCESS);
    for (let i = 0; i < 4; i++) {
      const page = this.ramPage((i + 1) * 100_000);
      expect(uv.pageIn(lpid, ra(page), i * PAGE, 0, SHIFT)).toBe(U_SUCCESS);
      this.machine.kernel.pages.put(page);
    }
    expect(this.run(uv.hcall(lpid, H_SVM_INIT_DONE, []))).toBe(H_SUCCESS);
  }

  /** The page at `gpa` goes out to a fresh page of RAM. */
  out(gpa: number, lpid: number = LPID): Page {
    const page = this.ramPage();
    expect(this.uv.pageOut(lpid, ra(page), gpa, 0, SHIFT)).toBe(U_SUCCESS);
    return page;
  }
}

/** The real address of a page. */
export function ra(page: Page): number {
  return page * PAGE;
}
