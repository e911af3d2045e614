// Pages that a guest shares with the hypervisor.
import { beforeEach, describe, expect, it } from 'vitest';
import { EFAULT } from '../../src/core/errno.ts';
import type { Page } from '../../src/core/units.ts';
import {
  H_PAGE_IN_SHARED,
  H_PARAMETER,
  H_SUCCESS,
  H_SVM_PAGE_IN,
  U_P2,
  U_P3,
  U_PARAMETER,
  U_SUCCESS,
} from '../../src/hw/svm-codes.ts';
import { LPID, NO_VM, PAGE, ra, SHIFT, UvLab } from './ultravisor-lab.ts';

let lab: UvLab;

beforeEach(() => {
  lab = new UvLab();
});

describe('sharing', () => {
  let shared: Page;

  beforeEach(() => {
    lab.runningGuest();
    shared = lab.ramPage(31_337);
    lab.host.answers.set(H_SVM_PAGE_IN, ([gpa, flags]) => {
      if (flags === H_PAGE_IN_SHARED) return lab.uv.pageIn(LPID, ra(shared), gpa!, 0, SHIFT);
      return H_SUCCESS;
    });
  });

  it('maps a page of the hypervisor, emptied', () => {
    expect(lab.run(lab.uv.sharePages(LPID, 1, 1))).toBe(U_SUCCESS);
    expect(lab.uv.whereIs(LPID, PAGE)).toBe('shared');
    expect(lab.wordsOf(shared).every((word) => word === 0)).toBe(true);
    expect(lab.run(lab.uv.store32(LPID, PAGE + 4, 8))).toBe(0);
    expect(lab.machine.kernel.pages.read32(shared, 1)).toBe(8);
    lab.machine.kernel.pages.write32(shared, 2, 9);
    expect(lab.run(lab.uv.load32(LPID, PAGE + 8))).toBe(9);
  });

  it('empties a page that is shared already, without a call', () => {
    lab.run(lab.uv.sharePages(LPID, 1, 1));
    lab.run(lab.uv.store32(LPID, PAGE, 5));
    lab.host.calls.length = 0;
    expect(lab.run(lab.uv.sharePages(LPID, 1, 1))).toBe(U_SUCCESS);
    expect(lab.host.calls).toEqual([]);
    expect(lab.run(lab.uv.load32(LPID, PAGE))).toBe(0);
  });

  it('leaves the page alone on UV_PAGE_OUT', () => {
    lab.run(lab.uv.sharePages(LPID, 1, 1));
    const page = lab.ramPage(77);
    expect(lab.uv.pageOut(LPID, ra(page), PAGE, 0, SHIFT)).toBe(U_SUCCESS);
    expect(lab.wordsOf(page)[0]).toBe(77);
  });

  it('ends with UV_PAGE_INVAL, until the hypervisor maps a page again', () => {
    expect(lab.uv.pageInval(NO_VM, PAGE, SHIFT)).toBe(U_PARAMETER);
    expect(lab.uv.pageInval(LPID, PAGE, 12)).toBe(U_P2);
    lab.run(lab.uv.sharePages(LPID, 1, 1));
    expect(lab.uv.pageInval(LPID, PAGE, 12)).toBe(U_P3);
    expect(lab.uv.pageInval(LPID, PAGE, SHIFT)).toBe(U_SUCCESS);
    expect(lab.run(lab.uv.load32(LPID, PAGE))).toBe(-EFAULT);
    const moved = lab.ramPage(4711);
    lab.host.onFault = (gpa) => lab.uv.pageIn(LPID, ra(moved), gpa, 0, SHIFT);
    expect(lab.run(lab.uv.load32(LPID, PAGE))).toBe(4711);
    expect(lab.run(lab.uv.store32(LPID, PAGE, 1))).toBe(0);
    expect(lab.machine.kernel.pages.read32(moved, 0)).toBe(1);
  });

  it('keeps the page where the hypervisor does not share', () => {
    lab.host.answers.set(H_SVM_PAGE_IN, () => H_PARAMETER);
    expect(lab.run(lab.uv.sharePages(LPID, 1, 1))).toBe(U_PARAMETER);
    expect(lab.run(lab.uv.load32(LPID, PAGE))).toBe(200_000);
    // And a page that the hypervisor maps on its own account is none.
    expect(lab.uv.pageIn(LPID, ra(shared), PAGE, 0, SHIFT)).toBe(U_P3);
  });

  it('is undone by UV_UNSHARE_PAGE, emptied again', () => {
    lab.run(lab.uv.sharePages(LPID, 1, 2));
    lab.run(lab.uv.store32(LPID, PAGE, 5));
    expect(lab.run(lab.uv.unsharePages(LPID, 1, 1))).toBe(U_SUCCESS);
    expect(lab.host.calls.at(-1)).toBe(`H_SVM_PAGE_IN ${PAGE} 0 ${SHIFT}`);
    expect(lab.uv.whereIs(LPID, PAGE)).toBe('secure');
    expect(lab.run(lab.uv.load32(LPID, PAGE))).toBe(0);
    expect(lab.machine.kernel.pages.read32(shared, 0)).toBe(5);
    expect(lab.run(lab.uv.unshareAllPages(LPID))).toBe(U_SUCCESS);
    expect(lab.uv.whereIs(LPID, 2 * PAGE)).toBe('secure');
  });

  it('empties a secure page on UV_UNSHARE_PAGE', () => {
    expect(lab.run(lab.uv.unsharePages(LPID, 0, 1))).toBe(U_SUCCESS);
    expect(lab.run(lab.uv.load32(LPID, 0))).toBe(0);
    expect(lab.host.calls.filter((call) => call.startsWith('H_SVM_PAGE_IN'))).toEqual([]);
  });

  it('takes no page for another that is out', () => {
    lab.out(0);
    lab.host.answers.set(H_SVM_PAGE_IN, () => H_SUCCESS);
    expect(lab.run(lab.uv.unsharePages(LPID, 0, 1))).toBe(U_PARAMETER);
    expect(lab.uv.whereIs(LPID, 0)).toBe('out');
  });

  it.each([
    ['no such guest', NO_VM, 0, 1, U_PARAMETER],
    ['a page that is none', LPID, 64, 1, U_PARAMETER],
    ['a range that reaches beyond memory', LPID, 2, 3, U_P2],
    ['no pages', LPID, 0, 0, U_P2],
  ])('refuses %s', (_, lpid, gfn, count, code) => {
    expect(lab.run(lab.uv.sharePages(lpid, gfn, count))).toBe(code);
    expect(lab.run(lab.uv.unsharePages(lpid, gfn, count))).toBe(code);
  });

  it('is for guests that run', () => {
    lab.uv.svmTerminate(LPID);
    lab.uv.registerMemSlot(LPID, 0, PAGE, 0, 0);
    expect(lab.run(lab.uv.sharePages(LPID, 0, 1))).toBe(U_PARAMETER);
    expect(lab.run(lab.uv.unshareAllPages(LPID))).toBe(U_PARAMETER);
  });
});
