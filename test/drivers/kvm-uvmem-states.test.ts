// The state tables of a VM and of a guest page, cell by cell, quirks included.
import { describe, expect, it } from 'vitest';
import { RESCHEDULE, type Task } from '../../src/core/sched/task.ts';
import { KvmUvmem } from '../../src/drivers/kvm-uvmem/index.ts';
import {
  H_PAGE_IN_SHARED,
  H_SVM_INIT_ABORT,
  H_SVM_INIT_DONE,
  hcallResultName,
} from '../../src/hw/svm-codes.ts';
import { MARK, UvmemLab } from './kvm-uvmem-lab.ts';

/** A VM in each state. */
const VMS = {
  normal: () => new UvmemLab(),
  transient: () => {
    const lab = new UvmemLab();
    expect(hcallResultName(lab.vm.svmInitStart())).toBe('H_SUCCESS');
    return lab;
  },
  secure: () => new UvmemLab().secure(),
} as const;

type VmStateName = keyof typeof VMS;

describe('states of a VM', () => {
  it('start with normal', () => {
    const lab = VMS.normal();
    expect(lab.vm.state).toBe('normal');
    expect(lab.kvm.open(lab.proc).state).toBe('normal');
  });

  it.each([
    ['normal', 'H_SVM_INIT_START', 'H_SUCCESS', 'transient'],
    ['normal', 'H_SVM_INIT_DONE', 'H_UNSUPPORTED', 'normal'],
    ['normal', 'H_SVM_INIT_ABORT', 'H_UNSUPPORTED', 'normal'],
    ['normal', 'KVM_PPC_SVM_OFF', 'H_SUCCESS', 'normal'],
    // Nothing checks that the VM is secure already: the registration of slots begins anew, and
    // fails at the ultravisor. That the guest was secure is forgotten.
    ['secure', 'H_SVM_INIT_START', 'H_PARAMETER', 'transient'],
    // Nothing is left to move, so nothing fails.
    ['secure', 'H_SVM_INIT_DONE', 'H_SUCCESS', 'secure'],
    ['secure', 'H_SVM_INIT_ABORT', 'H_STATE', 'secure'],
    ['secure', 'KVM_PPC_SVM_OFF', 'H_SUCCESS', 'normal'],
    ['transient', 'H_SVM_INIT_START', 'H_PARAMETER', 'transient'],
    ['transient', 'H_SVM_INIT_DONE', 'H_SUCCESS', 'secure'],
    ['transient', 'H_SVM_INIT_ABORT', 'H_PARAMETER', 'normal'],
    ['transient', 'KVM_PPC_SVM_OFF', 'H_SUCCESS', 'normal'],
  ] as const)('%s, %s: %s, %s', (before, call, code, after) => {
    const lab = VMS[before as VmStateName]();
    const { vm } = lab;
    expect(vm.state).toBe(before);
    const results = {
      H_SVM_INIT_START: () => vm.svmInitStart(),
      H_SVM_INIT_DONE: () => vm.svmInitDone(),
      H_SVM_INIT_ABORT: () => vm.svmInitAbort(),
      KVM_PPC_SVM_OFF: () => vm.svmOff(),
    };
    expect(hcallResultName(results[call]())).toBe(code);
    expect(vm.state).toBe(after);
    lab.check();
  });

  it('can be gone through again', () => {
    const lab = new UvmemLab();
    lab.fill();
    for (let round = 0; round < 3; round++) {
      lab.secure();
      expect(lab.vm.guestLoad32(0)).toBe(round === 0 ? MARK : 0);
      expect(lab.vm.guestStore32(0, 9)).toBe(0);
      expect(lab.vm.svmOff()).toBe(0);
      expect(lab.states()).toBe('........');
      // What was secure is lost with the key.
      expect(lab.vm.guestLoad32(0)).toBe(0);
      lab.check();
    }
  });
});

describe('a VM whose H_SVM_INIT_START failed', () => {
  it('runs on as a normal one, and yet has pages moved', () => {
    const lab = new UvmemLab({ secureGuest: false });
    lab.fill();
    expect(hcallResultName(lab.vm.svmInitStart())).toBe('H_AUTHORITY');
    expect(lab.vm.state).toBe('transient');
    expect(lab.vm.guestLoad32(0)).toBe(MARK);
    // The ultravisor takes no page of memory it does not know.
    expect(hcallResultName(lab.vm.svmPageIn(0))).toBe('H_PARAMETER');
    expect(lab.vm.guestLoad32(0)).toBe(MARK);
    // A page that was never touched is not even shown to it.
    const fresh = new UvmemLab({ secureGuest: false });
    fresh.vm.svmInitStart();
    expect(hcallResultName(fresh.vm.svmPageIn(0))).toBe('H_SUCCESS');
    expect(fresh.kvm.pagesInUse).toBe(1);
    // But no table has it, so nobody can bring it home: the kernel faults for ever.
    expect(fresh.states()).toBe('........');
    expect(() => fresh.proc.load32(fresh.at(0))).toThrow(/10000 times/);
  });

  it('keeps what it wrote meanwhile when it becomes secure after all', () => {
    const lab = new UvmemLab({ secureGuest: false });
    lab.vm.svmInitStart();
    expect(hcallResultName(lab.vm.svmPageIn(0))).toBe('H_SUCCESS');
    lab.proc.dontneed(lab.at(0), lab.pageSize);
    expect(lab.vm.guestStore32(0, 5)).toBe(0);
    lab.vm.enableSecureGuest();
    lab.secure();
    expect(lab.vm.guestLoad32(0)).toBe(5);
    lab.check();
  });

  it('gets out of it by H_SVM_INIT_ABORT', () => {
    const lab = new UvmemLab({ secureGuest: false });
    lab.vm.svmInitStart();
    expect(hcallResultName(lab.vm.svmInitAbort())).toBe('H_PARAMETER');
    expect(lab.vm.state).toBe('normal');
  });
});

/** A guest page 0 in each state, of a VM on its way to secure mode. */
const GFNS = {
  S: (lab: UvmemLab) => lab.vm.svmPageIn(0),
  E: (lab: UvmemLab) => {
    lab.vm.svmPageIn(0);
    return lab.vm.svmPageOut(0);
  },
  H: (lab: UvmemLab) => lab.vm.svmPageIn(0, H_PAGE_IN_SHARED),
  '.': () => 0,
} as const;

const EVENTS = {
  share: (lab: UvmemLab) => lab.vm.svmPageIn(0, H_PAGE_IN_SHARED),
  unshare: (lab: UvmemLab) => lab.vm.svmPageIn(0),
  abort: (lab: UvmemLab) => lab.vm.svmInitAbort(),
  terminate: (lab: UvmemLab) => lab.vm.svmOff(),
  done: (lab: UvmemLab) => lab.vm.svmInitDone(),
} as const;

describe('states of a guest page', () => {
  const cells: [keyof typeof GFNS, keyof typeof EVENTS, string, string][] = [
    ['S', 'share', 'H_SUCCESS', 'H'],
    // Secure already: the call fails, the page stays what it is.
    ['S', 'unshare', 'H_PARAMETER', 'S'],
    ['S', 'abort', 'H_PARAMETER', '.'],
    ['S', 'terminate', 'H_SUCCESS', '.'],
    ['S', 'done', 'H_SUCCESS', 'S'],
    // Secure, too, but paged out.
    ['E', 'share', 'H_SUCCESS', 'H'],
    ['E', 'unshare', 'H_SUCCESS', 'S'],
    ['E', 'abort', 'H_PARAMETER', '.'],
    ['E', 'terminate', 'H_SUCCESS', '.'],
    ['E', 'done', 'H_SUCCESS', 'E'],
    ['H', 'share', 'H_SUCCESS', 'H'],
    ['H', 'unshare', 'H_SUCCESS', 'S'],
    ['H', 'abort', 'H_PARAMETER', '.'],
    ['H', 'terminate', 'H_SUCCESS', '.'],
    ['H', 'done', 'H_SUCCESS', 'H'],
    ['.', 'share', 'H_SUCCESS', 'H'],
    ['.', 'unshare', 'H_SUCCESS', 'S'],
    ['.', 'abort', 'H_PARAMETER', '.'],
    ['.', 'terminate', 'H_SUCCESS', '.'],
    ['.', 'done', 'H_SUCCESS', 'S'],
  ];

  it.each(cells)('%s, %s: %s, %s', (before, event, code, after) => {
    const lab = VMS.transient();
    lab.fill();
    expect(GFNS[before](lab)).toBe(0);
    expect(lab.vm.gfnState(0)).toBe(before);
    expect(hcallResultName(EVENTS[event](lab))).toBe(code);
    expect(lab.vm.gfnState(0)).toBe(after);
    lab.check();
  });

  it('of a secure VM all end with it', () => {
    const lab = new UvmemLab();
    lab.fill();
    lab.secure();
    lab.vm.svmPageOut(1);
    lab.vm.share(2);
    expect(lab.states()).toBe('SEHSSSSS');
    expect(lab.vm.svmOff()).toBe(0);
    expect(lab.states()).toBe('........');
    lab.check();
  });

  it.each([4096, 65_536])('abort leaves the contents as they were (pages of %i)', (pageSize) => {
    for (const before of ['S', 'E', '.'] as const) {
      const lab = new UvmemLab({ pageSize });
      lab.fill();
      lab.vm.svmInitStart();
      GFNS[before](lab);
      lab.vm.svmInitAbort();
      for (let i = 0; i < lab.pages; i++) expect(lab.proc.load32(lab.at(i))).toBe(MARK + i);
      expect(lab.vm.guestLoad32(0)).toBe(MARK);
      lab.check();
    }
  });

  it('a running guest shares and takes back, and pages are empty each time', () => {
    const lab = new UvmemLab();
    lab.fill();
    lab.secure();
    for (const gfn of [0, 1]) {
      if (gfn === 1) lab.vm.svmPageOut(1);
      expect(lab.vm.share(gfn)).toBe(0);
      expect(lab.vm.gfnState(gfn)).toBe('H');
      expect(lab.proc.load32(lab.at(gfn))).toBe(0);
      lab.proc.store32(lab.at(gfn), 5);
      expect(lab.vm.guestLoad32(lab.gpa(gfn))).toBe(5);
      expect(lab.vm.share(gfn)).toBe(0);
      expect(lab.proc.load32(lab.at(gfn))).toBe(0);
      expect(lab.vm.unshare(gfn)).toBe(0);
      expect(lab.vm.gfnState(gfn)).toBe('S');
      expect(lab.vm.guestLoad32(lab.gpa(gfn))).toBe(0);
      lab.check();
    }
    expect(lab.vm.share(2, 3)).toBe(0);
    expect(lab.states()).toBe('SSHHHSSS');
    expect(lab.vm.unshareAll()).toBe(0);
    expect(lab.states()).toBe('SSSSSSSS');
    lab.check();
  });
});

describe('an abort beside H_SVM_INIT_DONE', () => {
  const SECRET = 0x7777_0001;

  /** One vCPU begins `first`; while it waits for the address space, another goes on to `second`. */
  function race(first: number, second: number): { lab: UvmemLab; results: string[] } {
    const lab = new UvmemLab();
    lab.fill();
    lab.vm.svmInitStart();
    for (let gfn = 0; gfn < 8; gfn++) lab.vm.svmPageIn(gfn);
    const results: string[] = [];
    const { mmapLock } = lab.proc.mm;
    lab.machine.run(mmapLock.write());
    const vcpu = function* (call: number): Task<void> {
      results.push(hcallResultName(yield* lab.vm.hcallTask(call)));
    };
    lab.machine.spawn('first', vcpu(first));
    const next = function* (): Task<void> {
      yield RESCHEDULE;
      mmapLock.unlockWrite();
      yield* vcpu(second);
      if (lab.vm.state === 'secure') yield* lab.vm.guestStoreTask(lab.gpa(7), SECRET);
    };
    lab.machine.spawn('second', next());
    lab.machine.runAll();
    lab.check();
    return { lab, results };
  }

  it('goes first, or not at all: no secret comes home in the clear', () => {
    const { lab, results } = race(H_SVM_INIT_ABORT, H_SVM_INIT_DONE);
    expect(results).toEqual(['H_PARAMETER', 'H_UNSUPPORTED']);
    expect(lab.hostSees((word) => word === SECRET)).toBe(false);
    expect(lab.states()).toBe('........');
    expect(lab.vm.guestLoad32(0)).toBe(MARK);
  });

  it('comes too late when that is under way', () => {
    const { lab, results } = race(H_SVM_INIT_DONE, H_SVM_INIT_ABORT);
    expect(results).toEqual(['H_SUCCESS', 'H_STATE']);
    expect(lab.hostSees((word) => word === SECRET)).toBe(false);
    expect(lab.vm.guestLoad32(lab.gpa(7))).toBe(SECRET);
  });

  it('and out of place, it brings secrets home sealed', () => {
    const lab = new UvmemLab().secure();
    for (let gfn = 0; gfn < 8; gfn++) lab.vm.guestStore32(lab.gpa(gfn), SECRET);
    // The hypervisor forgets that the guest is secure; the ultravisor does not.
    expect(hcallResultName(lab.vm.svmInitStart())).toBe('H_PARAMETER');
    expect(hcallResultName(lab.vm.svmInitAbort())).toBe('H_PARAMETER');
    expect(lab.states()).toBe('........');
    expect(lab.hostSees((word) => word === SECRET)).toBe(false);
    lab.check();
  });
});

describe('KVM_CAP_PPC_SECURE_GUEST', () => {
  it('cannot be enabled without secure memory; a hashed page table is found out later', () => {
    expect(new UvmemLab({ securePages: 0 }).vm.enableSecureGuest()).toBe(-22);
    expect(new UvmemLab({ radix: false, secureGuest: false }).vm.enableSecureGuest()).toBe(0);
    const { vm } = new UvmemLab({ secureGuest: false });
    expect(vm.svmEnabled).toBe(false);
    expect(vm.enableSecureGuest()).toBe(0);
    expect(hcallResultName(vm.svmInitStart())).toBe('H_SUCCESS');
  });

  it('and a machine has one such driver, with whole pages', () => {
    const { machine } = new UvmemLab();
    expect(() => machine.attach(new KvmUvmem({ name: 'again' }))).toThrow(/at most one/);
    expect(() => new UvmemLab({ securePages: 0.5 })).toThrow(/multiple of 65536/);
  });
});
