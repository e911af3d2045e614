// The ultravisor alone: its calls, and what its guest sees.
import { beforeEach, describe, expect, it } from 'vitest';
import { EFAULT } from '../../src/core/errno.ts';
import { MiB } from '../../src/core/units.ts';
import {
  H_AUTHORITY,
  H_PARAMETER,
  H_STATE,
  H_SUCCESS,
  H_SVM_INIT_ABORT,
  H_SVM_INIT_DONE,
  H_SVM_INIT_START,
  H_SVM_PAGE_IN,
  U_P2,
  U_P3,
  U_P4,
  U_P5,
  U_PARAMETER,
  U_PERMISSION,
  U_SUCCESS,
} from '../../src/hw/svm-codes.ts';
import { LPID, NO_VM, PAGE, ra, SHIFT, UvLab } from './ultravisor-lab.ts';

let lab: UvLab;

beforeEach(() => {
  lab = new UvLab();
});

describe('UV_WRITE_PATE', () => {
  it('makes and removes partitions, but not secure ones', () => {
    expect(lab.uv.writePate(LPID, true)).toBe(U_SUCCESS);
    expect(lab.uv.writePate(LPID, false)).toBe(U_SUCCESS);
    expect(lab.uv.svmTerminate(LPID)).toBe(U_PARAMETER);
    lab.runningGuest();
    expect(lab.uv.writePate(LPID, false)).toBe(U_PERMISSION);
    expect(lab.uv.svmTerminate(LPID)).toBe(U_SUCCESS);
    expect(lab.uv.writePate(LPID, false)).toBe(U_SUCCESS);
  });
});

describe('UV_REGISTER_MEM_SLOT and UV_UNREGISTER_MEM_SLOT', () => {
  it.each([
    ['no such partition', [NO_VM, 1, 1, 1, 0], U_PARAMETER],
    ['a start within a page', [LPID, 1, 1, 1, 0], U_P2],
    ['a start within another slot', [LPID, PAGE, 1, 1, 0], U_P2],
    ['no size', [LPID, 8 * PAGE, 0, 1, 0], U_P3],
    ['a size that is not whole pages', [LPID, 8 * PAGE, PAGE + 1, 1, 0], U_P3],
    ['flags', [LPID, 8 * PAGE, PAGE, 1, 0], U_P4],
    ['a number that is taken', [LPID, 8 * PAGE, PAGE, 0, 0], U_P5],
    ['nothing', [LPID, 8 * PAGE, PAGE, 0, 1], U_SUCCESS],
  ] as const)('refuses %s', (_, args, code) => {
    expect(lab.uv.registerMemSlot(LPID, 0, 4 * PAGE, 0, 0)).toBe(U_SUCCESS);
    expect(
      lab.uv.registerMemSlot(...(args as unknown as [number, number, number, number, number])),
    ).toBe(code);
  });

  it('forgets the pages of a slot', () => {
    lab.runningGuest();
    expect(lab.uv.unregisterMemSlot(NO_VM, 0)).toBe(U_PARAMETER);
    expect(lab.uv.unregisterMemSlot(LPID, 1)).toBe(U_P2);
    expect(lab.uv.whereIs(LPID, 0)).toBe('secure');
    expect(lab.uv.unregisterMemSlot(LPID, 0)).toBe(U_SUCCESS);
    expect(lab.uv.whereIs(LPID, 0)).toBeNull();
    expect(lab.run(lab.uv.load32(LPID, 0))).toBe(-EFAULT);
  });
});

describe('UV_PAGE_IN', () => {
  it.each([
    ['no such partition', [NO_VM, 1, 1, 1, 0], U_PARAMETER],
    ['an address within a page', [LPID, 1, 1, 1, 0], U_P2],
    ['an address where there is no memory', [LPID, 2 ** 45, 1, 1, 0], U_P2],
    ['a guest address within a page', [LPID, PAGE, 4, 1, 0], U_P3],
    ['a guest address without memory', [LPID, PAGE, 64 * PAGE, 1, 0], U_P3],
    ['flags', [LPID, PAGE, 8 * PAGE, 1, 0], U_P4],
    ['another page size', [LPID, PAGE, 8 * PAGE, 0, 12], U_P5],
    ['nothing', [LPID, PAGE, 8 * PAGE, 0, SHIFT], U_SUCCESS],
  ] as const)('refuses %s', (_, args, code) => {
    lab.uv.registerMemSlot(LPID, 8 * PAGE, 4 * PAGE, 0, 0);
    lab.ramPage(1);
    expect(lab.uv.pageIn(...(args as unknown as [number, number, number, number, number]))).toBe(
      code,
    );
  });

  it('takes plain contents until the guest runs, and then none', () => {
    lab.runningGuest();
    expect(lab.run(lab.uv.load32(LPID, PAGE))).toBe(200_000);
    expect(lab.run(lab.uv.load32(LPID, PAGE + 12))).toBe(200_003);
    lab.uv.registerMemSlot(LPID, 8 * PAGE, PAGE, 0, 1);
    // A page that was never here is empty, not what the hypervisor says.
    expect(lab.uv.pageIn(LPID, ra(lab.ramPage(9)), 8 * PAGE, 0, SHIFT)).toBe(U_P3);
    expect(lab.run(lab.uv.load32(LPID, 8 * PAGE))).toBe(0);
    // Nor does it replace one that is here.
    expect(lab.uv.pageIn(LPID, ra(lab.ramPage(9)), 0, 0, SHIFT)).toBe(U_P3);
    expect(lab.run(lab.uv.load32(LPID, 0))).toBe(100_000);
  });

  it('takes each page once', () => {
    lab.run(lab.uv.hcall(LPID, H_SVM_INIT_START, []));
    lab.uv.registerMemSlot(LPID, 0, PAGE, 0, 0);
    expect(lab.uv.pageIn(LPID, ra(lab.ramPage(5)), 0, 0, SHIFT)).toBe(U_SUCCESS);
    expect(lab.uv.pageIn(LPID, ra(lab.ramPage(6)), 0, 0, SHIFT)).toBe(U_P3);
    lab.run(lab.uv.hcall(LPID, H_SVM_INIT_DONE, []));
    expect(lab.run(lab.uv.load32(LPID, 0))).toBe(5);
  });

  it('takes a page back unchanged', () => {
    lab.runningGuest();
    const sealed = lab.out(0);
    expect(lab.uv.whereIs(LPID, 0)).toBe('out');
    expect(lab.uv.pageIn(LPID, ra(sealed), 0, 0, SHIFT)).toBe(U_SUCCESS);
    expect(lab.run(lab.uv.load32(LPID, 0))).toBe(100_000);
    expect(lab.run(lab.uv.load32(LPID, PAGE - 4))).toBe(100_000 + PAGE / 4 - 1);
  });

  it('refuses a page that was tampered with', () => {
    lab.runningGuest();
    const sealed = lab.out(0);
    const { pages } = lab.machine.kernel;
    pages.write32(sealed, 3, pages.read32(sealed, 3) ^ 1);
    expect(lab.uv.pageIn(LPID, ra(sealed), 0, 0, SHIFT)).toBe(U_PERMISSION);
    expect(lab.uv.whereIs(LPID, 0)).toBe('out');
    pages.write32(sealed, 3, pages.read32(sealed, 3) ^ 1);
    expect(lab.uv.pageIn(LPID, ra(sealed), 0, 0, SHIFT)).toBe(U_SUCCESS);
  });

  it('refuses an old version of a page', () => {
    lab.runningGuest();
    const old = lab.out(0);
    expect(lab.uv.pageIn(LPID, ra(old), 0, 0, SHIFT)).toBe(U_SUCCESS);
    expect(lab.run(lab.uv.store32(LPID, 0, 1))).toBe(0);
    const latest = lab.out(0);
    expect(lab.uv.pageIn(LPID, ra(old), 0, 0, SHIFT)).toBe(U_PERMISSION);
    expect(lab.uv.pageIn(LPID, ra(latest), 0, 0, SHIFT)).toBe(U_SUCCESS);
    expect(lab.run(lab.uv.load32(LPID, 0))).toBe(1);
  });

  it("refuses another page's contents, and another guest's", () => {
    lab.runningGuest();
    lab.runningGuest(LPID + 1);
    const pages = [lab.out(0), lab.out(PAGE), lab.out(0, LPID + 1)] as const;
    expect(lab.uv.pageIn(LPID, ra(pages[1]), 0, 0, SHIFT)).toBe(U_PERMISSION);
    expect(lab.uv.pageIn(LPID, ra(pages[2]), 0, 0, SHIFT)).toBe(U_PERMISSION);
    expect(lab.uv.pageIn(LPID, ra(lab.ramPage()), 0, 0, SHIFT)).toBe(U_PERMISSION);
    expect(lab.uv.pageIn(LPID, ra(pages[0]), 0, 0, SHIFT)).toBe(U_SUCCESS);
  });
});

describe('UV_PAGE_OUT', () => {
  it.each([
    ['no such partition', [NO_VM, 1, 1, 1, 0], U_PARAMETER],
    ['an address within a page', [LPID, 1, 1, 1, 0], U_P2],
    ['a guest address within a page', [LPID, PAGE, 4, 1, 0], U_P3],
    ['a guest address without memory', [LPID, PAGE, 64 * PAGE, 1, 0], U_P3],
    ['flags', [LPID, PAGE, 0, 1, 0], U_P4],
    ['another page size', [LPID, PAGE, 0, 0, 12], U_P5],
    ['nothing', [LPID, PAGE, 0, 0, SHIFT], U_SUCCESS],
  ] as const)('refuses %s', (_, args, code) => {
    lab.runningGuest();
    lab.ramPage(1);
    expect(lab.uv.pageOut(...(args as unknown as [number, number, number, number, number]))).toBe(
      code,
    );
  });

  it('gives nothing of the plain contents away, in every word of the page', () => {
    lab.runningGuest();
    const sealed = lab.wordsOf(lab.out(0));
    const plain = Array.from({ length: PAGE / 4 }, (_, i) => 100_000 + i);
    expect(sealed.filter((word, i) => word === plain[i]).length).toBeLessThan(3);
    expect(new Set(sealed).size).toBeGreaterThan(PAGE / 4 - 10);
  });

  it('seals a page that was never written, too', () => {
    lab.runningGuest();
    lab.uv.registerMemSlot(LPID, 8 * PAGE, PAGE, 0, 1);
    const sealed = lab.out(8 * PAGE);
    expect(new Set(lab.wordsOf(sealed)).size).toBeGreaterThan(1000);
    expect(lab.uv.pageIn(LPID, ra(sealed), 8 * PAGE, 0, SHIFT)).toBe(U_SUCCESS);
    expect(lab.run(lab.uv.load32(LPID, 8 * PAGE))).toBe(0);
  });

  it('has nothing to give a second time', () => {
    lab.runningGuest();
    const first = lab.out(0);
    const second = lab.ramPage(77);
    expect(lab.uv.pageOut(LPID, ra(second), 0, 0, SHIFT)).toBe(U_SUCCESS);
    expect(lab.wordsOf(second).every((word) => word === 0)).toBe(true);
    expect(lab.uv.pageIn(LPID, ra(first), 0, 0, SHIFT)).toBe(U_SUCCESS);
  });
});

describe('the start of a secure guest', () => {
  it('asks for every page and is done', () => {
    lab.host.answers.set(H_SVM_INIT_START, () => lab.uv.registerMemSlot(LPID, 0, 2 * PAGE, 0, 0));
    expect(lab.run(lab.uv.esm(LPID))).toBe(U_SUCCESS);
    expect(lab.host.calls).toEqual([
      'H_SVM_INIT_START',
      `H_SVM_PAGE_IN 0 0 ${SHIFT}`,
      `H_SVM_PAGE_IN ${PAGE} 0 ${SHIFT}`,
      'H_SVM_INIT_DONE',
    ]);
    expect(lab.uv.isRunning(LPID)).toBe(true);
    expect(lab.run(lab.uv.esm(LPID))).toBe(U_SUCCESS);
    expect(lab.host.calls).toHaveLength(4);
  });

  it('is given up where a page does not come', () => {
    lab.host.answers.set(H_SVM_INIT_START, () => lab.uv.registerMemSlot(LPID, 0, 2 * PAGE, 0, 0));
    lab.host.answers.set(H_SVM_PAGE_IN, ([gpa]) => (gpa === 0 ? H_SUCCESS : H_PARAMETER));
    lab.host.answers.set(H_SVM_INIT_ABORT, () => H_PARAMETER);
    expect(lab.run(lab.uv.esm(LPID))).toBe(H_PARAMETER);
    expect(lab.host.calls.at(-1)).toBe('H_SVM_INIT_ABORT');
    expect(lab.uv.isRunning(LPID)).toBe(false);
  });

  it('is given up where the hypervisor cannot finish it', () => {
    lab.host.answers.set(H_SVM_INIT_DONE, () => H_STATE);
    lab.host.answers.set(H_SVM_INIT_ABORT, () => H_PARAMETER);
    expect(lab.run(lab.uv.esm(LPID))).toBe(H_PARAMETER);
  });

  it('does not begin where the hypervisor refuses it', () => {
    lab.host.answers.set(H_SVM_INIT_START, () => H_AUTHORITY);
    expect(lab.run(lab.uv.esm(LPID))).toBe(H_AUTHORITY);
    expect(lab.host.calls).toEqual(['H_SVM_INIT_START']);
    expect(lab.uv.isStarting(LPID)).toBe(false);
    expect(lab.run(lab.uv.esm(NO_VM))).toBe(U_PARAMETER);
  });

  it('gives pages back as they came when it is given up', () => {
    lab.uv.registerMemSlot(LPID, 0, 2 * PAGE, 0, 0);
    lab.run(lab.uv.hcall(LPID, H_SVM_INIT_START, []));
    lab.uv.pageIn(LPID, ra(lab.ramPage(500)), 0, 0, SHIFT);
    // Went out meanwhile, sealed; comes back before anything else.
    lab.uv.pageIn(LPID, ra(lab.ramPage(700)), PAGE, 0, SHIFT);
    const sealed = lab.out(PAGE);
    expect(lab.wordsOf(sealed)[0]).not.toBe(700);
    lab.host.answers.set(H_SVM_PAGE_IN, ([gpa]) => lab.uv.pageIn(LPID, ra(sealed), gpa!, 0, SHIFT));
    const back = [lab.ramPage(), lab.ramPage()] as const;
    lab.host.answers.set(H_SVM_INIT_ABORT, () => {
      lab.uv.pageOut(LPID, ra(back[0]), 0, 0, SHIFT);
      lab.uv.pageOut(LPID, ra(back[1]), PAGE, 0, SHIFT);
      lab.uv.svmTerminate(LPID);
      return H_PARAMETER;
    });
    expect(lab.run(lab.uv.hcall(LPID, H_SVM_INIT_ABORT, []))).toBe(H_PARAMETER);
    expect([lab.wordsOf(back[0])[0], lab.wordsOf(back[1])[1]]).toEqual([500, 701]);
  });
});

describe('the guest', () => {
  it('gets a page back by asking for it', () => {
    lab.runningGuest();
    const sealed = lab.out(0);
    lab.host.answers.set(H_SVM_PAGE_IN, ([gpa]) => lab.uv.pageIn(LPID, ra(sealed), gpa!, 0, SHIFT));
    expect(lab.run(lab.uv.load32(LPID, 4))).toBe(100_001);
    expect(lab.host.calls.at(-1)).toBe(`H_SVM_PAGE_IN 0 0 ${SHIFT}`);
  });

  it('sees that a page was tampered with, at the first try', () => {
    lab.runningGuest();
    const sealed = lab.out(0);
    lab.machine.kernel.pages.write32(sealed, 0, 1);
    lab.host.answers.set(H_SVM_PAGE_IN, ([gpa]) =>
      lab.uv.pageIn(LPID, ra(sealed), gpa!, 0, SHIFT) === U_SUCCESS ? H_SUCCESS : H_PARAMETER,
    );
    lab.host.calls.length = 0;
    expect(lab.run(lab.uv.load32(LPID, 0))).toBe(H_PARAMETER);
    expect(lab.host.calls).toHaveLength(1);
  });

  it('takes nothing for a page that does not come', () => {
    lab.runningGuest();
    lab.out(0);
    expect(lab.run(lab.uv.load32(LPID, 0))).toBe(U_PERMISSION);
    expect(lab.run(lab.uv.store32(LPID, 0, 1))).toBe(U_PERMISSION);
  });

  it('asks again for a page that cannot move just now', () => {
    lab.runningGuest();
    const sealed = lab.out(0);
    let busy = 2;
    lab.host.answers.set(H_SVM_PAGE_IN, ([gpa]) => {
      if (busy-- > 0) return H_PARAMETER;
      return lab.uv.pageIn(LPID, ra(sealed), gpa!, 0, SHIFT);
    });
    expect(lab.run(lab.uv.load32(LPID, 0))).toBe(100_000);
    expect(lab.machine.scheduler.nowNs).toBeGreaterThan(0);
    lab.out(0);
    busy = 100;
    expect(lab.run(lab.uv.load32(LPID, 0))).toBe(H_PARAMETER);
  });

  it('asks again also for a page that was tampered with once', () => {
    lab.runningGuest();
    const sealed = lab.out(0);
    const { pages } = lab.machine.kernel;
    let busy = 0;
    lab.host.answers.set(H_SVM_PAGE_IN, ([gpa]) => {
      if (busy-- > 0) return H_PARAMETER;
      const result = lab.uv.pageIn(LPID, ra(sealed), gpa!, 0, SHIFT);
      return result === U_SUCCESS ? H_SUCCESS : H_PARAMETER;
    });
    pages.write32(sealed, 0, pages.read32(sealed, 0) ^ 1);
    expect(lab.run(lab.uv.load32(LPID, 0))).toBe(H_PARAMETER);
    pages.write32(sealed, 0, pages.read32(sealed, 0) ^ 1);
    busy = 2;
    expect(lab.run(lab.uv.load32(LPID, 0))).toBe(100_000);
  });

  it('does not run before it is secure, nor after its end', () => {
    expect(lab.run(lab.uv.load32(LPID, 0))).toBe(-EFAULT);
    lab.runningGuest();
    expect(lab.run(lab.uv.load32(LPID, 64 * PAGE))).toBe(-EFAULT);
    expect(lab.uv.svmTerminate(LPID)).toBe(U_SUCCESS);
    expect(lab.run(lab.uv.load32(LPID, 0))).toBe(-EFAULT);
    expect(lab.uv.svmTerminate(LPID)).toBe(U_PARAMETER);
    expect(lab.uv.svmTerminate(NO_VM)).toBe(U_PARAMETER);
  });

  it('has another key after its end', () => {
    lab.runningGuest();
    const old = lab.out(0);
    lab.uv.svmTerminate(LPID);
    lab.runningGuest();
    lab.out(0);
    expect(lab.uv.pageIn(LPID, ra(old), 0, 0, SHIFT)).toBe(U_PERMISSION);
  });
});

describe('memory of a device', () => {
  it('does not answer the ultravisor, and the trespass is counted', () => {
    const owner = { name: 'gpu' };
    const pagemap = lab.machine.memremapPages({
      type: 'private',
      owner,
      bytes: MiB,
      name: 'vram',
      ops: { pageFree() {}, migrateToRam: () => 0 },
    });
    if (typeof pagemap === 'number') throw new Error('no device memory');
    lab.machine.kernel.pages.write32(pagemap.firstPage, 0, 42);
    lab.run(lab.uv.hcall(LPID, H_SVM_INIT_START, []));
    lab.uv.registerMemSlot(LPID, 0, PAGE, 0, 0);
    expect(lab.uv.pageIn(LPID, ra(pagemap.firstPage), 0, 0, SHIFT)).toBe(U_SUCCESS);
    expect(lab.machine.kernel.trespasses).toBe(1);
    lab.run(lab.uv.hcall(LPID, H_SVM_INIT_DONE, []));
    expect(lab.run(lab.uv.load32(LPID, 0))).toBe(0xffffffff);
    // And nothing is written to it.
    expect(lab.uv.pageOut(LPID, ra(pagemap.firstPage), 0, 0, SHIFT)).toBe(U_P2);
  });
});
