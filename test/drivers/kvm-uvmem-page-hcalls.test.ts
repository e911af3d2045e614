// Every return code of the hypercalls that move pages, in the order in which the
// kernel checks: each row has what comes before it right, and what comes after it wrong.
import { describe, expect } from 'vitest';
import { putUserPage } from '../../src/core/mm/gup.ts';
import { H_PAGE_IN_SHARED, H_SVM_PAGE_IN, H_SVM_PAGE_OUT } from '../../src/hw/svm-codes.ts';
import { UvmemLab } from './kvm-uvmem-lab.ts';
import {
  check,
  inStart,
  NO_GFN,
  page,
  pin,
  type Row,
  WRONG_FLAGS,
  WRONG_SHIFT,
} from './kvm-uvmem-rows.ts';

describe('H_SVM_PAGE_IN', () => {
  /** A secure page whose place in the process is gone: only a child still maps the device page. */
  function secureAndUnmapped(): UvmemLab {
    const lab = inStart();
    lab.vm.svmPageIn(0);
    lab.proc.fork();
    lab.unmap(0, 1);
    expect(lab.states()).toBe('S.......');
    return lab;
  }

  check([
    {
      when: 'the call is not from the ultravisor',
      lab: () => inStart(),
      call: page(H_SVM_PAGE_IN, NO_GFN, WRONG_FLAGS, WRONG_SHIFT, 'guest'),
      code: 'H_UNSUPPORTED',
    },
    {
      when: 'H_SVM_INIT_START was not called',
      call: page(H_SVM_PAGE_IN, NO_GFN, WRONG_FLAGS, WRONG_SHIFT),
      code: 'H_UNSUPPORTED',
    },
    {
      when: "the page size is not the machine's",
      lab: () => inStart(),
      call: page(H_SVM_PAGE_IN, NO_GFN, WRONG_FLAGS, WRONG_SHIFT),
      code: 'H_P3',
    },
    {
      when: 'there are unknown flags',
      lab: () => inStart(),
      call: page(H_SVM_PAGE_IN, NO_GFN, WRONG_FLAGS),
      code: 'H_P2',
    },
    {
      when: 'there are unknown flags beside H_PAGE_IN_SHARED',
      lab: () => inStart(),
      call: page(H_SVM_PAGE_IN, NO_GFN, WRONG_FLAGS | H_PAGE_IN_SHARED),
      code: 'H_P2',
    },
    {
      when: 'there are unknown flags in the upper half of the register',
      lab: () => inStart(),
      call: page(H_SVM_PAGE_IN, NO_GFN, 2 ** 32),
      code: 'H_P2',
    },
    {
      when: 'no slot has the guest page',
      lab: () => inStart(),
      call: page(H_SVM_PAGE_IN, NO_GFN),
      code: 'H_PARAMETER',
      migrates: false,
    },
    {
      when: 'the page is secure already',
      lab: secureAndUnmapped,
      call: page(H_SVM_PAGE_IN, 0),
      code: 'H_PARAMETER',
      migrates: false,
      states: 'S.......',
    },
    {
      when: 'the page is secure already, and the process has another one in its place',
      lab: () => {
        const lab = secureAndUnmapped();
        lab.proc.mmap({ pages: 1, addr: lab.at(0) });
        lab.fill(0, 1);
        return lab;
      },
      call: page(H_SVM_PAGE_IN, 0),
      code: 'H_PARAMETER',
      migrates: false,
      states: 'S.......',
    },
    {
      when: 'nothing is mapped in the process',
      lab: () => {
        const lab = inStart({ securePages: 1 });
        lab.vm.svmPageIn(1);
        lab.unmap(0, 1);
        return lab;
      },
      call: page(H_SVM_PAGE_IN, 0),
      code: 'H_PARAMETER',
      migrates: false,
      states: '.S......',
    },
    {
      when: 'somebody holds the page, so it does not move',
      lab: () => {
        const lab = inStart();
        pin(lab.machine, lab, 0);
        return lab;
      },
      call: page(H_SVM_PAGE_IN, 0),
      code: 'H_PARAMETER',
      migrates: true,
      states: '........',
      after: (lab) => putUserPage(lab.machine.kernel, lab.page(0), false),
    },
    {
      when: 'secure memory is full',
      lab: () => {
        const lab = inStart({ securePages: 1 });
        lab.vm.svmPageIn(1);
        return lab;
      },
      call: page(H_SVM_PAGE_IN, 0),
      code: 'H_PARAMETER',
      migrates: true,
      states: '.S......',
    },
    {
      when: 'the ultravisor refuses the page; it counts as paged out then',
      lab: () => {
        const lab = inStart();
        lab.vm.svmPageIn(0);
        lab.proc.store32(lab.at(0), 1);
        lab.proc.store32(lab.at(0) + 4, 2);
        expect(lab.states()).toBe('E.......');
        return lab;
      },
      call: page(H_SVM_PAGE_IN, 0),
      code: 'H_PARAMETER',
      migrates: true,
      states: 'E.......',
      after: (lab) => expect(lab.kvm.pagesInUse).toBe(0),
    },
    {
      when: 'all is right',
      lab: () => inStart(),
      call: page(H_SVM_PAGE_IN, 0),
      code: 'H_SUCCESS',
      migrates: true,
      states: 'S.......',
    },
    {
      when: 'the page was never touched: nothing goes to the ultravisor',
      lab: () => {
        const lab = new UvmemLab();
        lab.vm.svmInitStart();
        return lab;
      },
      call: page(H_SVM_PAGE_IN, 0),
      code: 'H_SUCCESS',
      states: 'S.......',
    },
    {
      when: 'the page is out',
      lab: () => {
        const lab = inStart();
        lab.vm.svmPageIn(0);
        lab.vm.svmPageOut(0);
        return lab;
      },
      call: page(H_SVM_PAGE_IN, 0),
      code: 'H_SUCCESS',
      states: 'S.......',
    },
    {
      when: 'the guest page was shared',
      lab: () => {
        const lab = inStart();
        lab.vm.svmPageIn(0, H_PAGE_IN_SHARED);
        return lab;
      },
      call: page(H_SVM_PAGE_IN, 0),
      code: 'H_SUCCESS',
      states: 'S.......',
    },
  ]);
});

describe('H_SVM_PAGE_IN with H_PAGE_IN_SHARED', () => {
  const share = (gfn: number): Row['call'] => page(H_SVM_PAGE_IN, gfn, H_PAGE_IN_SHARED);

  check([
    {
      when: 'no slot has the guest page',
      lab: () => inStart(),
      call: share(NO_GFN),
      code: 'H_PARAMETER',
    },
    {
      when: 'nothing is mapped in the process',
      lab: () => {
        const lab = inStart();
        lab.unmap(0, 1);
        return lab;
      },
      call: share(0),
      code: 'H_PARAMETER',
      states: '........',
    },
    {
      when: 'the process may not write to the page',
      lab: () => {
        const lab = inStart();
        lab.proc.mprotect(lab.at(0), lab.pageSize, 'r');
        return lab;
      },
      call: share(0),
      code: 'H_PARAMETER',
      states: '........',
    },
    {
      when: 'the ultravisor knows nothing of the memory',
      lab: () => {
        const lab = inStart();
        expect(lab.kvm.ultravisor.unregisterMemSlot(lab.vm.lpid, 0)).toBe(0);
        return lab;
      },
      call: share(0),
      code: 'H_PARAMETER',
      states: '........',
    },
    {
      when: 'the ultravisor knows nothing of the memory of a secure page, which is home by then',
      lab: () => {
        const lab = inStart();
        lab.vm.svmPageIn(0);
        lab.kvm.ultravisor.unregisterMemSlot(lab.vm.lpid, 0);
        return lab;
      },
      call: share(0),
      code: 'H_PARAMETER',
      states: 'E.......',
      migrates: true,
      after: (lab) => expect(lab.kvm.pagesInUse).toBe(0),
    },
    {
      when: 'the page is out',
      lab: () => {
        const lab = inStart();
        lab.vm.svmPageIn(0);
        lab.vm.svmPageOut(0);
        return lab;
      },
      call: share(0),
      code: 'H_SUCCESS',
      states: 'H.......',
      migrates: false,
    },
    {
      when: 'the page is normal',
      lab: () => inStart(),
      call: share(0),
      code: 'H_SUCCESS',
      states: 'H.......',
      migrates: false,
    },
    {
      when: 'the page is secure: it goes home without its contents',
      lab: () => {
        const lab = inStart();
        lab.vm.svmPageIn(0);
        return lab;
      },
      call: share(0),
      code: 'H_SUCCESS',
      states: 'H.......',
      migrates: true,
      after: (lab) => {
        expect(lab.kvm.pagesInUse).toBe(0);
        expect(lab.proc.load32(lab.at(0))).toBe(0);
      },
    },
    {
      when: 'the page is shared already',
      lab: () => {
        const lab = inStart();
        lab.vm.svmPageIn(0, H_PAGE_IN_SHARED);
        return lab;
      },
      call: share(0),
      code: 'H_SUCCESS',
      states: 'H.......',
    },
  ]);
});

describe('H_SVM_PAGE_OUT', () => {
  check([
    {
      when: 'the call is not from the ultravisor',
      lab: () => inStart(),
      call: page(H_SVM_PAGE_OUT, NO_GFN, 1, WRONG_SHIFT, 'guest'),
      code: 'H_UNSUPPORTED',
    },
    {
      when: 'H_SVM_INIT_START was not called',
      call: page(H_SVM_PAGE_OUT, NO_GFN, 1, WRONG_SHIFT),
      code: 'H_UNSUPPORTED',
    },
    {
      when: "the page size is not the machine's",
      lab: () => inStart(),
      call: page(H_SVM_PAGE_OUT, NO_GFN, 1, WRONG_SHIFT),
      code: 'H_P3',
    },
    {
      when: 'there are flags',
      lab: () => inStart(),
      call: page(H_SVM_PAGE_OUT, NO_GFN, 1),
      code: 'H_P2',
    },
    {
      when: 'no slot has the guest page',
      lab: () => inStart(),
      call: page(H_SVM_PAGE_OUT, NO_GFN),
      code: 'H_PARAMETER',
    },
    {
      when: 'nothing is mapped in the process',
      lab: () => {
        const lab = inStart();
        lab.unmap(0, 1);
        return lab;
      },
      call: page(H_SVM_PAGE_OUT, 0),
      code: 'H_PARAMETER',
    },
    {
      when: 'there is no RAM for it',
      lab: () => {
        const lab = inStart({ ramBytes: 10 * 64 * 1024, pages: 2 });
        lab.vm.svmPageIn(0);
        const rest = lab.proc.mmap({ pages: 9 });
        for (let i = 0; i < 9; i++) lab.proc.store32(rest + i * lab.pageSize, 1);
        return lab;
      },
      call: page(H_SVM_PAGE_OUT, 0),
      code: 'H_PARAMETER',
      states: 'S.',
      migrates: true,
    },
    {
      when: 'the ultravisor does not give the page, which stays',
      lab: () => {
        const lab = inStart();
        lab.vm.svmPageIn(0);
        lab.kvm.ultravisor.unregisterMemSlot(lab.vm.lpid, 0);
        return lab;
      },
      call: page(H_SVM_PAGE_OUT, 0),
      code: 'H_PARAMETER',
      states: 'S.......',
      migrates: true,
      after: (lab) => expect(lab.kvm.pagesInUse).toBe(1),
    },
    {
      when: 'the process has moved the page elsewhere: it stays, and the call succeeds',
      lab: () => {
        const lab = inStart();
        lab.vm.svmPageIn(0);
        const elsewhere = lab.proc.mmap({ pages: 1 });
        lab.proc.mremap(lab.at(0), lab.pageSize, elsewhere);
        lab.proc.mmap({ pages: 1, addr: lab.at(0) });
        return lab;
      },
      call: page(H_SVM_PAGE_OUT, 0),
      code: 'H_SUCCESS',
      states: 'S.......',
      migrates: true,
    },
    {
      when: 'the page is out',
      lab: () => {
        const lab = inStart();
        lab.vm.svmPageIn(0);
        lab.vm.svmPageOut(0);
        return lab;
      },
      call: page(H_SVM_PAGE_OUT, 0),
      code: 'H_SUCCESS',
      states: 'E.......',
      migrates: false,
    },
    {
      when: 'the page is shared',
      lab: () => {
        const lab = inStart();
        lab.vm.svmPageIn(0, H_PAGE_IN_SHARED);
        return lab;
      },
      call: page(H_SVM_PAGE_OUT, 0),
      code: 'H_SUCCESS',
      states: 'H.......',
      migrates: false,
    },
    {
      when: 'the page is not secure: there is nothing to do',
      lab: () => inStart(),
      call: page(H_SVM_PAGE_OUT, 0),
      code: 'H_SUCCESS',
      states: '........',
      migrates: false,
    },
    {
      when: 'all is right',
      lab: () => {
        const lab = inStart();
        lab.vm.svmPageIn(0);
        return lab;
      },
      call: page(H_SVM_PAGE_OUT, 0),
      code: 'H_SUCCESS',
      states: 'E.......',
      migrates: true,
      after: (lab) => expect(lab.kvm.pagesInUse).toBe(0),
    },
  ]);
});
