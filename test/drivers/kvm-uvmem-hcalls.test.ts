// Every return code of the hypercalls that begin and end secure mode, in the order in which the
// kernel checks: each row has what comes before it right, and what comes after it wrong.
import { describe, expect, it } from 'vitest';
import { KvmUvmem } from '../../src/drivers/kvm-uvmem/index.ts';
import {
  H_FUNCTION,
  H_PAGE_IN_SHARED,
  H_SVM_INIT_ABORT,
  H_SVM_INIT_DONE,
  H_SVM_INIT_START,
} from '../../src/hw/svm-codes.ts';
import { UvmemLab } from './kvm-uvmem-lab.ts';
import { check, inStart } from './kvm-uvmem-rows.ts';

/** A VM that fails every check of H_SVM_INIT_START from the platform's on. */
function nothingRight(): UvmemLab {
  const lab = new UvmemLab({ securePages: 0, radix: false });
  lab.unmap(0, lab.pages);
  return lab;
}

describe('H_SVM_INIT_START', () => {
  check([
    {
      when: 'the call is not from the ultravisor',
      lab: nothingRight,
      call: ({ vm }) => vm.hcall(H_SVM_INIT_START, [], 'guest'),
      code: 'H_UNSUPPORTED',
      secureGuest: 0,
    },
    {
      when: 'the platform has no secure memory; the state is set all the same',
      lab: nothingRight,
      call: ({ vm }) => vm.svmInitStart(),
      code: 'H_UNSUPPORTED',
      secureGuest: 1,
    },
    {
      when: 'the guest has a hashed page table; the state is set all the same',
      lab: () => {
        const lab = new UvmemLab({ radix: false, secureGuest: false });
        lab.unmap(0, lab.pages);
        return lab;
      },
      call: ({ vm }) => vm.svmInitStart(),
      code: 'H_UNSUPPORTED',
      secureGuest: 1,
    },
    {
      when: 'the process did not enable secure guests; the state is set all the same',
      lab: () => {
        const lab = new UvmemLab({ secureGuest: false });
        lab.unmap(0, lab.pages);
        return lab;
      },
      call: ({ vm }) => vm.svmInitStart(),
      code: 'H_AUTHORITY',
      secureGuest: 1,
    },
    {
      when: 'the end of a slot is not mapped; the state is set all the same',
      lab: () => {
        const lab = new UvmemLab();
        lab.unmap(4, 8);
        return lab;
      },
      call: ({ vm }) => vm.svmInitStart(),
      code: 'H_PARAMETER',
      secureGuest: 1,
    },
    {
      when: 'the ultravisor refuses a slot; the state is set all the same',
      lab: () => inStart(),
      call: ({ vm }) => vm.svmInitStart(),
      code: 'H_PARAMETER',
      secureGuest: 1,
      after: ({ vm }) => expect(vm.uvmemSlots.length).toBe(1),
    },
    {
      when: 'all is right',
      call: ({ vm }) => vm.svmInitStart(),
      code: 'H_SUCCESS',
      secureGuest: 1,
      states: '........',
    },
    {
      when: 'there is no memory at all',
      lab: () => new UvmemLab({ slot: false }),
      call: ({ vm }) => vm.svmInitStart(),
      code: 'H_SUCCESS',
      secureGuest: 1,
    },
  ]);
});

describe('H_SVM_INIT_DONE', () => {
  check([
    {
      when: 'the call is not from the ultravisor',
      lab: () => inStart(),
      call: ({ vm }) => vm.hcall(H_SVM_INIT_DONE, [], 'guest'),
      code: 'H_UNSUPPORTED',
      secureGuest: 1,
      states: '........',
      migrates: false,
    },
    {
      when: 'H_SVM_INIT_START was not called',
      lab: () => {
        const lab = new UvmemLab();
        lab.unmap(0, 8);
        return lab;
      },
      call: ({ vm }) => vm.svmInitDone(),
      code: 'H_UNSUPPORTED',
      secureGuest: 0,
      migrates: false,
    },
    {
      when: 'a page is not mapped; those before it have moved',
      lab: () => {
        const lab = inStart();
        lab.unmap(3, 4);
        return lab;
      },
      call: ({ vm }) => vm.svmInitDone(),
      code: 'H_STATE',
      secureGuest: 1,
      states: 'SSS.....',
    },
    {
      when: 'no slot has the page: the table is left from an earlier start, and was for more',
      lab: () => {
        const lab = new UvmemLab();
        lab.vm.svmInitStart();
        lab.vm.svmInitAbort();
        lab.vm.setMemoryRegion({ slot: 0, gfn: 0, pages: 0, address: 0 });
        lab.vm.svmInitStart();
        // The memory of the new slot ends in a hole, so it gets no table of its own.
        lab.unmap(3, 4);
        lab.addSlot(1, 0, 4);
        lab.proc.mmap({ pages: 1, addr: lab.at(3) });
        expect(lab.vm.uvmemSlots.length).toBe(1);
        return lab;
      },
      call: ({ vm }) => vm.svmInitDone(),
      code: 'H_STATE',
      secureGuest: 1,
      states: 'SSSS',
    },
    {
      when: 'a page does not move; those before it have moved',
      lab: () => inStart({ securePages: 5 }),
      call: ({ vm }) => vm.svmInitDone(),
      code: 'H_STATE',
      secureGuest: 1,
      states: 'SSSSS...',
    },
    {
      when: 'all is right',
      lab: () => inStart(),
      call: ({ vm }) => vm.svmInitDone(),
      code: 'H_SUCCESS',
      secureGuest: 3,
      states: 'SSSSSSSS',
    },
    {
      when: 'pages have moved, are out or are shared: they stay what they are',
      lab: () => {
        const lab = inStart();
        lab.vm.svmPageIn(0);
        lab.vm.svmPageIn(1);
        lab.vm.svmPageOut(1);
        lab.vm.svmPageIn(2, H_PAGE_IN_SHARED);
        expect(lab.states()).toBe('SEH.....');
        return lab;
      },
      call: ({ vm }) => vm.svmInitDone(),
      code: 'H_SUCCESS',
      secureGuest: 3,
      states: 'SEHSSSSS',
    },
    {
      when: 'it goes on where it failed before',
      lab: () => {
        const lab = inStart();
        lab.unmap(3, 4);
        lab.vm.svmInitDone();
        lab.proc.mmap({ pages: 1, addr: lab.at(3) });
        return lab;
      },
      call: ({ vm }) => vm.svmInitDone(),
      code: 'H_SUCCESS',
      secureGuest: 3,
      states: 'SSSSSSSS',
    },
  ]);
});

describe('H_SVM_INIT_ABORT', () => {
  check([
    {
      when: 'H_SVM_INIT_START was not called',
      call: ({ vm }) => vm.svmInitAbort(),
      code: 'H_UNSUPPORTED',
      secureGuest: 0,
    },
    {
      when: 'the guest is secure',
      lab: () => new UvmemLab().secure(),
      call: ({ vm }) => vm.svmInitAbort(),
      code: 'H_STATE',
      secureGuest: 3,
      states: 'SSSSSSSS',
    },
    {
      when: 'it is done: the guest learns that its UV_ESM failed',
      lab: () => {
        const lab = inStart();
        lab.vm.svmPageIn(0);
        lab.vm.svmPageIn(1, H_PAGE_IN_SHARED);
        return lab;
      },
      call: ({ vm }) => vm.svmInitAbort(),
      code: 'H_PARAMETER',
      secureGuest: 0,
      states: '........',
      after: (lab) => expect(lab.kvm.pagesInUse).toBe(0),
    },
    {
      when: 'it may come with the MSR of the guest',
      lab: () => inStart(),
      call: ({ vm }) => vm.hcall(H_SVM_INIT_ABORT, [], 'guest'),
      code: 'H_PARAMETER',
      secureGuest: 0,
    },
  ]);
});

describe('other calls', () => {
  it('are not answered here', () => {
    expect(new UvmemLab().vm.hcall(0xef10)).toBe(H_FUNCTION);
  });

  it('need a machine', () => {
    expect(() => new KvmUvmem().ultravisor).toThrow(/not attached/);
    expect(() => new KvmUvmem().machine).toThrow(/not attached/);
  });
});
