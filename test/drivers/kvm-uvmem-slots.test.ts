// Memory slots: before, during and after a VM's way to secure mode.
import { describe, expect, it } from 'vitest';
import { VM_MERGEABLE } from '../../src/core/mm/vma.ts';
import { RESCHEDULE, type Task } from '../../src/core/sched/task.ts';
import type { KvmVm } from '../../src/drivers/kvm-uvmem/index.ts';
import { H_SVM_INIT_ABORT, H_SVM_INIT_DONE, hcallResultName } from '../../src/hw/svm-codes.ts';
import { MARK, UvmemLab } from './kvm-uvmem-lab.ts';

const EINVAL = -22;
const EEXIST = -17;

/** The VMAs of the buffer that KSM may merge, as their first and last page. */
function mergeable(lab: UvmemLab): string[] {
  return [...lab.proc.mm.vmas]
    .filter(({ flags }) => (flags & VM_MERGEABLE) !== 0)
    .map(({ start, end }) => {
      const [from, to] = [start, end].map((va) => (va - lab.buffer) / lab.pageSize);
      return `${from}-${to! - 1}`;
    });
}

function allowMerging(lab: UvmemLab): void {
  for (const vma of lab.proc.mm.vmas) vma.flags |= VM_MERGEABLE;
}

describe('KVM_SET_USER_MEMORY_REGION', () => {
  const region = { slot: 1, gfn: 100, pages: 2, address: 0x7100_0000_0000 };

  it.each([
    ['a slot number that is too high', { ...region, slot: 32_767 }, EINVAL],
    ['an address within a page', { ...region, address: region.address + 4096 }, EINVAL],
    ['an address beyond those of a process', { ...region, address: 2 ** 47 }, EINVAL],
    ['guest pages that are no numbers', { ...region, gfn: -1 }, EINVAL],
    ['guest pages beyond all numbers', { ...region, gfn: 2 ** 50 }, EINVAL],
    ['taking away what is not there', { ...region, pages: 0 }, EINVAL],
    ['guest pages that another slot has', { ...region, gfn: 7 }, EEXIST],
    ['nothing', region, 0],
  ])('refuses %s', (_, wanted, code) => {
    const lab = new UvmemLab();
    expect(lab.vm.setMemoryRegion(wanted)).toBe(code);
  });

  it('changes nothing of a slot but its place', () => {
    const lab = new UvmemLab();
    lab.fill();
    const slot = { slot: 0, gfn: 0, pages: 8, address: lab.buffer };
    expect(lab.vm.setMemoryRegion(slot)).toBe(0);
    expect(lab.vm.setMemoryRegion({ ...slot, pages: 4 })).toBe(EINVAL);
    expect(lab.vm.setMemoryRegion({ ...slot, address: lab.at(1) })).toBe(EINVAL);
    expect(lab.vm.guestLoad32(0)).toBe(MARK);
    expect(lab.vm.setMemoryRegion({ ...slot, gfn: 4 })).toBe(0);
    expect(lab.vm.guestLoad32(0)).toBe(-14);
    expect(lab.vm.guestLoad32(lab.gpa(4))).toBe(MARK);
    lab.check();
  });

  it('takes a slot of a normal VM away with all that the guest has mapped', () => {
    const lab = new UvmemLab();
    lab.fill();
    lab.vm.guestLoad32(0);
    expect(lab.kvm.mappingOf(lab.proc, lab.at(0))).toBe('rw');
    expect(lab.vm.setMemoryRegion({ slot: 0, gfn: 0, pages: 0, address: 0 })).toBe(0);
    expect(lab.vm.guestLoad32(0)).toBe(-14);
    expect(lab.kvm.mappingOf(lab.proc, lab.at(0))).toBeNull();
  });

  it('meets slots by the hash of their numbers', () => {
    const lab = new UvmemLab({ slot: false });
    for (let id = 0; id < 4; id++) lab.addSlot(id, id, 1);
    expect([...lab.vm.slots].map(({ id }) => id)).toEqual([0, 3, 1, 2]);
    const calls = lab.calls(() => lab.vm.svmInitStart());
    expect(calls).toEqual([
      'UV_REGISTER_MEM_SLOT 0',
      'UV_REGISTER_MEM_SLOT 0',
      'UV_REGISTER_MEM_SLOT 0',
      'UV_REGISTER_MEM_SLOT 0',
      'H_SVM_INIT_START 0',
    ]);
  });
});

describe('H_SVM_INIT_START and KSM', () => {
  it('forbids merging for whole VMAs, also where the slot has a part of one', () => {
    const lab = new UvmemLab({ slot: false });
    allowMerging(lab);
    lab.addSlot(0, 2, 2);
    lab.vm.svmInitStart();
    expect(mergeable(lab)).toEqual([]);
  });

  it('allows it again where the ultravisor refuses the slot', () => {
    const lab = new UvmemLab();
    expect(lab.kvm.ultravisor.registerMemSlot(lab.vm.lpid, 0, lab.pageSize, 0, 9)).toBe(0);
    allowMerging(lab);
    expect(hcallResultName(lab.vm.svmInitStart())).toBe('H_PARAMETER');
    expect(mergeable(lab)).toEqual(['0-7']);
    expect(lab.vm.uvmemSlots.length).toBe(0);
  });

  it('goes over holes, as long as the last page is mapped', () => {
    const lab = new UvmemLab();
    allowMerging(lab);
    lab.unmap(2, 4);
    expect(hcallResultName(lab.vm.svmInitStart())).toBe('H_SUCCESS');
    expect(mergeable(lab)).toEqual([]);
  });

  it('leaves the VMAs before a hole at the end forbidden', () => {
    const lab = new UvmemLab();
    allowMerging(lab);
    lab.unmap(4, 8);
    expect(hcallResultName(lab.vm.svmInitStart())).toBe('H_PARAMETER');
    expect(mergeable(lab)).toEqual([]);
  });

  it('allows merging only where it could be', () => {
    const lab = new UvmemLab({ slot: false });
    const shared = lab.proc.mmap({ pages: 2, shared: true });
    expect(lab.vm.setMemoryRegion({ slot: 0, gfn: 0, pages: 2, address: shared })).toBe(0);
    lab.kvm.ultravisor.registerMemSlot(lab.vm.lpid, 0, lab.pageSize, 0, 9);
    lab.vm.svmInitStart();
    expect(mergeable(lab)).toEqual([]);
  });
});

describe('H_SVM_INIT_START that fails at a later slot', () => {
  /** Slots 0, 3 and 1 come in this order; the memory of slot 1 ends in a hole. */
  function failing(): UvmemLab {
    const lab = new UvmemLab({ slot: false });
    lab.fill();
    allowMerging(lab);
    lab.addSlot(0, 0, 2);
    lab.addSlot(3, 2, 2);
    lab.addSlot(1, 6, 2);
    lab.unmap(7, 8);
    return lab;
  }

  it('undoes the slot that failed, once for each slot before it', () => {
    const lab = failing();
    const calls = lab.calls(() =>
      expect(hcallResultName(lab.vm.svmInitStart())).toBe('H_PARAMETER'),
    );
    expect(calls).toEqual([
      'UV_REGISTER_MEM_SLOT 0',
      'UV_REGISTER_MEM_SLOT 0',
      // U_P2: the ultravisor does not know it.
      'UV_UNREGISTER_MEM_SLOT -55',
      'UV_UNREGISTER_MEM_SLOT -55',
      'H_SVM_INIT_START -4',
    ]);
    // The slots before it stay registered, and have their tables.
    expect(lab.vm.uvmemSlots.length).toBe(2);
    expect(lab.kvm.ultravisor.registerMemSlot(lab.vm.lpid, 0, lab.pageSize, 0, 9)).not.toBe(0);
    expect(lab.vm.secureGuest).toBe(1);
    // Merging was forbidden for the one VMA of all slots, and allowed again for the slot that failed.
    expect(mergeable(lab)).toEqual(['0-6']);
  });

  it('leaves a guest that runs on', () => {
    const lab = failing();
    lab.vm.svmInitStart();
    for (let i = 0; i < 4; i++) expect(lab.vm.guestLoad32(lab.gpa(i))).toBe(MARK + i);
    // What is in the tables moves in and out again; as nothing is secret yet, as it is.
    expect(hcallResultName(lab.vm.svmPageIn(0))).toBe('H_SUCCESS');
    expect(lab.vm.gfnState(0)).toBe('S');
    expect(lab.vm.guestLoad32(0)).toBe(MARK);
    lab.check();
  });

  it('does nothing about the first slot that fails', () => {
    const lab = new UvmemLab();
    lab.unmap(7, 8);
    expect(lab.calls(() => lab.vm.svmInitStart())).toEqual(['H_SVM_INIT_START -4']);
  });
});

describe('a slot that is added after H_SVM_INIT_START', () => {
  it('becomes secure at once, without its contents', () => {
    const lab = new UvmemLab({ slot: false });
    lab.fill();
    lab.addSlot(0, 0, 2);
    lab.secure();
    const calls = lab.calls(() => lab.addSlot(1, 4, 4));
    expect(calls).toEqual(['UV_REGISTER_MEM_SLOT 0', 'KVM_SET_USER_MEMORY_REGION 0']);
    expect(lab.states()).toBe('SS SSSS');
    expect(lab.vm.guestLoad32(lab.gpa(4))).toBe(0);
    expect(lab.vm.guestStore32(lab.gpa(4), 7)).toBe(0);
    expect(lab.proc.load32(lab.at(4))).not.toBe(7);
    expect(lab.vm.guestLoad32(lab.gpa(4))).toBe(7);
    lab.check();
  });

  it('is there even where it did not become secure', () => {
    const lab = new UvmemLab({ slot: false, securePages: 4 });
    lab.fill();
    lab.addSlot(0, 0, 2);
    lab.secure();
    lab.addSlot(1, 4, 4);
    expect(lab.states()).toBe('SS SS..');
    // The ultravisor has the memory, whatever the hypervisor thinks of it.
    expect(lab.vm.guestLoad32(lab.gpa(7))).toBe(0);
    lab.check();
  });
});

describe('a slot that is added and is no good', () => {
  it('is there all the same, without a table, and the guest has no memory in it', () => {
    const lab = new UvmemLab({ slot: false });
    lab.fill();
    lab.addSlot(0, 0, 2);
    lab.secure();
    lab.unmap(6, 8);
    expect(lab.calls(() => lab.addSlot(1, 4, 4))).toEqual(['KVM_SET_USER_MEMORY_REGION 0']);
    expect(lab.states()).toBe('SS ....');
    expect(lab.vm.uvmemSlots.length).toBe(1);
    expect(lab.vm.guestLoad32(lab.gpa(4))).toBe(-14);
    expect(lab.proc.load32(lab.at(4))).toBe(MARK + 4);
    lab.check();
  });

  it('is not even moved where only the ultravisor refuses it', () => {
    const lab = new UvmemLab({ slot: false });
    lab.fill();
    lab.addSlot(0, 0, 2);
    lab.secure();
    allowMerging(lab);
    lab.kvm.ultravisor.registerMemSlot(lab.vm.lpid, lab.gpa(5), lab.pageSize, 0, 9);
    const calls = lab.calls(() => lab.addSlot(1, 4, 4));
    expect(calls).toEqual(['UV_REGISTER_MEM_SLOT -55', 'KVM_SET_USER_MEMORY_REGION 0']);
    expect(lab.states()).toBe('SS ....');
    expect(mergeable(lab)).toEqual(['0-7']);
    lab.check();
  });
});

describe('a slot of a secure VM that is moved', () => {
  /** Slot 0 of a secure VM, with shared page 0, is at guest page 100 now. */
  function moved(): UvmemLab {
    const lab = new UvmemLab();
    lab.fill();
    lab.secure();
    lab.vm.share(0);
    const slot = { slot: 0, gfn: 100, pages: 8, address: lab.buffer };
    expect(lab.vm.setMemoryRegion(slot)).toBe(0);
    return lab;
  }

  it('gives up its pages, and neither its table nor the ultravisor hears of its new place', () => {
    const lab = moved();
    expect(lab.states()).toBe('........');
    expect(lab.kvm.pagesInUse).toBe(0);
    expect(lab.vm.uvmemSlots.length).toBe(1);
    expect(lab.vm.guestLoad32(lab.gpa(100))).toBe(-14);
    // What the ultravisor has it keeps.
    expect(lab.vm.guestLoad32(lab.gpa(1))).toBe(MARK + 1);
    lab.check();
  });

  it('leaves no shared page behind that could be somebody else’s later', () => {
    const lab = moved();
    lab.unmap(0, 1);
    const other = lab.machine.createProcess();
    const address = other.mmap({ pages: 2 });
    for (const i of [0, 1]) other.store32(address + i * lab.pageSize, 40 + i);
    expect(lab.vm.guestStore32(0, 7)).toBe(-14);
    expect([0, 1].map((i) => other.load32(address + i * lab.pageSize))).toEqual([40, 41]);
    lab.check();
  });
});

describe('a slot that is taken away from a secure VM', () => {
  it('gives up its pages and what they held', () => {
    const lab = new UvmemLab({ slot: false });
    lab.fill();
    allowMerging(lab);
    lab.addSlot(0, 0, 2);
    lab.addSlot(1, 4, 4);
    lab.secure();
    lab.vm.svmPageOut(5);
    expect(lab.states()).toBe('SS SESS');
    const calls = lab.calls(() =>
      lab.vm.setMemoryRegion({ slot: 1, gfn: 0, pages: 0, address: 0 }),
    );
    expect(calls).toEqual(['UV_UNREGISTER_MEM_SLOT 0', 'KVM_SET_USER_MEMORY_REGION (delete) 0']);
    expect(lab.states()).toBe('SS');
    expect(lab.kvm.pagesInUse).toBe(2);
    expect(lab.proc.load32(lab.at(4))).toBe(0);
    expect(lab.vm.guestLoad32(lab.gpa(4))).toBe(-14);
    // By then nobody finds the slot any more, so merging stays forbidden.
    expect(mergeable(lab)).toEqual([]);
    lab.check();
  });

  it('stops at a hole, and whoever still has the device page waits for ever', () => {
    const lab = new UvmemLab().secure();
    const child = lab.proc.fork();
    lab.unmap(0, 1);
    expect(lab.vm.setMemoryRegion({ slot: 0, gfn: 0, pages: 0, address: 0 })).toBe(0);
    expect(() => child.load32(lab.at(0))).toThrow(/10000 times/);
  });
});

describe('KVM_PPC_SVM_OFF', () => {
  it('has nothing to do for a VM that never started', () => {
    const lab = new UvmemLab();
    expect(lab.calls(() => lab.vm.svmOff())).toEqual(['KVM_PPC_SVM_OFF 0']);
  });

  it('drops pages without asking for their contents', () => {
    const lab = new UvmemLab();
    lab.fill();
    lab.secure();
    lab.vm.svmPageOut(1);
    lab.vm.share(2);
    const calls = lab.calls(() => expect(lab.vm.svmOff()).toBe(0));
    expect(calls.filter((call) => call.startsWith('UV_PAGE_OUT'))).toEqual([]);
    expect(calls.slice(-3)).toEqual([
      'UV_UNREGISTER_MEM_SLOT 0',
      'UV_SVM_TERMINATE 0',
      'KVM_PPC_SVM_OFF 0',
    ]);
    expect(lab.kvm.pagesInUse).toBe(0);
    expect(lab.vm.state).toBe('normal');
    expect(lab.proc.load32(lab.at(0))).toBe(0);
    lab.check();
  });

  it('stops at a hole in the process: the pages behind it stay secure', () => {
    const lab = new UvmemLab();
    lab.fill();
    lab.secure();
    lab.unmap(2, 3);
    expect(lab.vm.svmOff()).toBe(0);
    expect(lab.states()).toBe('..ESSSSS');
    expect(lab.kvm.pagesInUse).toBe(5);
    // There is nobody any more who could open them.
    expect(lab.proc.load32(lab.at(3))).toBe(0);
    expect(lab.states()).toBe('..EESSSS');
    lab.check();
  });

  it('waits for no vCPU', () => {
    const lab = new UvmemLab();
    lab.fill();
    lab.secure();
    lab.vm.share(0);
    lab.proc.fork();
    const results: number[] = [];
    // The guest waits for the address space, in which somebody changes mappings.
    const { mmapLock } = lab.proc.mm;
    lab.machine.run(mmapLock.write());
    lab.machine.spawn('vcpu', lab.vm.guestStoreTask(0, 1));
    lab.machine.spawn(
      'manager',
      (function* () {
        results.push(lab.vm.vcpusRunning, yield* lab.vm.svmOffTask());
        mmapLock.unlockWrite();
      })(),
    );
    lab.machine.runAll();
    expect(results).toEqual([1, -16]);
    expect(lab.vm.guestLoad32(0)).toBe(1);
    expect(lab.vm.svmOff()).toBe(0);
    lab.check();
  });

  it.each([
    ['a hypercall', (vm: KvmVm) => vm.hcallTask(H_SVM_INIT_DONE)],
    ['a hypercall of its own', (vm: KvmVm) => vm.hcallTask(H_SVM_INIT_ABORT, [], 'guest')],
    ['an ultracall', (vm: KvmVm) => vm.esmTask()],
  ])('nor for a vCPU in %s', (_, call) => {
    const lab = new UvmemLab();
    lab.vm.svmInitStart();
    const results: number[] = [];
    const { mmapLock } = lab.proc.mm;
    lab.machine.run(mmapLock.write());
    const vcpu = function* (): Task<void> {
      yield* call(lab.vm);
    };
    lab.machine.spawn('vcpu', vcpu());
    const manager = function* (): Task<void> {
      results.push(yield* lab.vm.svmOffTask());
      mmapLock.unlockWrite();
    };
    lab.machine.spawn('manager', manager());
    lab.machine.runAll();
    expect(results).toEqual([-16]);
    lab.check();
  });

  it('makes a vCPU wait that wants to run meanwhile', () => {
    const lab = new UvmemLab();
    lab.fill();
    lab.secure();
    lab.vm.svmPageOut(0);
    const results: number[] = [];
    const { mmapLock } = lab.proc.mm;
    lab.machine.run(mmapLock.write());
    const manager = function* (): Task<void> {
      results.push(yield* lab.vm.svmOffTask());
    };
    lab.machine.spawn('manager', manager());
    const vcpu = function* (): Task<void> {
      yield RESCHEDULE;
      lab.machine.spawn('holder', holder());
      results.push(yield* lab.vm.guestStoreTask(0, 7));
    };
    const holder = function* (): Task<void> {
      yield RESCHEDULE;
      mmapLock.unlockWrite();
    };
    lab.machine.spawn('vcpu', vcpu());
    lab.machine.runAll();
    // The guest was secure when it wanted to store, and is a normal one when it does.
    expect(results).toEqual([0, 0]);
    expect(lab.proc.load32(lab.at(0))).toBe(7);
    expect(lab.kvm.pagesInUse).toBe(0);
    lab.check();
  });

  it('fails where the ultravisor does not end the guest', () => {
    const lab = new UvmemLab().secure();
    lab.kvm.ultravisor.svmTerminate(lab.vm.lpid);
    expect(lab.vm.svmOff()).toBe(EINVAL);
    expect(lab.vm.secureGuest).toBe(3);
  });
});

describe('the end of a VM', () => {
  it('is told to the ultravisor where it had begun to be secure', () => {
    const lab = new UvmemLab().secure();
    expect(lab.calls(() => lab.vm.close())).toEqual(['UV_SVM_TERMINATE 0']);
    expect(lab.kvm.vms).toEqual([]);
    lab.vm.close();
    // Nothing can be asked of it any more.
    const region = { slot: 1, gfn: 100, pages: 1, address: lab.buffer };
    expect([lab.vm.setMemoryRegion(region), lab.vm.svmOff()]).toEqual([EINVAL, EINVAL]);
    expect(hcallResultName(lab.vm.svmInitStart())).toBe('H_PARAMETER');
    expect(hcallResultName(lab.vm.esm())).toBe('H_PARAMETER');
    const normal = new UvmemLab();
    expect(normal.calls(() => normal.vm.close())).toEqual([]);
    expect(lab.vm.guestLoad32(0)).toBe(-14);
  });

  it('leaves device pages behind that nobody can open', () => {
    const lab = new UvmemLab();
    lab.fill();
    lab.secure();
    lab.vm.close();
    expect(lab.kvm.pagesInUse).toBe(8);
    expect(lab.proc.tryLoad32(lab.at(0))).toBe(-2);
    lab.check();
    lab.proc.exit();
    expect(lab.kvm.pagesInUse).toBe(0);
    lab.check();
  });

  it('comes with the end of the process, after its memory', () => {
    const lab = new UvmemLab().secure();
    lab.vm.share(3);
    lab.proc.exit();
    expect(lab.vm.closed).toBe(true);
    expect(lab.kvm.pagesInUse).toBe(0);
    expect(lab.machine.kernel.pages.ramUsed).toBe(0);
    lab.check();
  });
});
