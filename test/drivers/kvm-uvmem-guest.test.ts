// The guest's loads and stores, as a normal VM and as a secure one, beside whatever else happens.
import { describe, expect, it } from 'vitest';
import type { SimEvent } from '../../src/core/events/types.ts';
import {
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalSetSeq,
} from '../../src/core/hmm/notifier.ts';
import type { Strategy } from '../../src/core/sched/scheduler.ts';
import { RESCHEDULE, type Task } from '../../src/core/sched/task.ts';
import { Dmirror } from '../../src/drivers/dmirror/index.ts';
import { H_PAGE_IN_SHARED, H_SVM_PAGE_IN, hcallResultName } from '../../src/hw/svm-codes.ts';
import { MARK, UvmemLab } from './kvm-uvmem-lab.ts';

describe('a normal guest', () => {
  it('has the memory of the process', () => {
    const lab = new UvmemLab();
    lab.fill(0, 4);
    expect(lab.vm.guestLoad32(lab.gpa(1))).toBe(MARK + 1);
    expect(lab.vm.guestLoad32(lab.gpa(5))).toBe(0);
    expect(lab.vm.guestStore32(lab.gpa(5) + 12, 9)).toBe(0);
    expect(lab.proc.load32(lab.at(5) + 12)).toBe(9);
    lab.proc.store32(lab.at(5) + 12, 10);
    expect(lab.vm.guestLoad32(lab.gpa(5) + 12)).toBe(10);
    lab.check();
  });

  it('faults once for reading and once for writing, as the process does', () => {
    const lab = new UvmemLab();
    lab.proc.load32(lab.at(0));
    const faults: string[] = [];
    lab.machine.events.on('device_fault', (event) => {
      if (event.phase === 'end') faults.push(`${event.device} ${event.access} ${event.result}`);
    });
    lab.vm.guestLoad32(0);
    lab.vm.guestLoad32(4);
    expect(lab.kvm.mappingOf(lab.proc, lab.at(0))).toBe('r');
    lab.vm.guestStore32(0, 1);
    lab.vm.guestStore32(4, 1);
    lab.vm.guestLoad32(4);
    expect(lab.kvm.mappingOf(lab.proc, lab.at(0))).toBe('rw');
    expect(faults).toEqual(['kvm-uvmem read 0', 'kvm-uvmem write 0']);
  });

  it('may write at once to what it read, where the process may', () => {
    const lab = new UvmemLab();
    lab.fill(0, 2);
    const mapping = (gfn: number): string | null => {
      expect(lab.vm.guestLoad32(lab.gpa(gfn))).toBe(MARK + gfn);
      return lab.kvm.mappingOf(lab.proc, lab.at(gfn));
    };
    expect(mapping(0)).toBe('rw');
    // Now a child has it, too: who writes first gets a copy.
    const child = lab.proc.fork();
    expect(lab.kvm.mappingOf(lab.proc, lab.at(0))).toBeNull();
    expect(mapping(0)).toBe('r');
    lab.proc.mprotect(lab.at(1), lab.pageSize, 'r');
    expect(mapping(1)).toBe('r');
    lab.vm.guestStore32(0, 5);
    expect(child.load32(lab.at(0))).toBe(MARK);
    lab.check();
  });

  it("cannot reach what is no memory, or not the process's", () => {
    const lab = new UvmemLab();
    lab.proc.mprotect(lab.at(1), lab.pageSize, 'r');
    lab.proc.mprotect(lab.at(2), lab.pageSize, 'n');
    lab.unmap(3, 4);
    expect(lab.vm.guestLoad32(lab.gpa(100))).toBe(-14);
    expect(lab.vm.guestLoad32(lab.gpa(1))).toBe(0);
    expect(lab.vm.guestStore32(lab.gpa(1), 1)).toBe(-14);
    expect(lab.vm.guestLoad32(lab.gpa(2))).toBe(-14);
    expect(lab.vm.guestLoad32(lab.gpa(3))).toBe(-14);
    expect(() => lab.vm.guestLoad32(2)).toThrow(/multiple of 4/);
    lab.check();
  });

  it('follows its pages to and from a device, and through fork', () => {
    const lab = new UvmemLab();
    const file = lab.machine.attach(new Dmirror()).open(lab.proc);
    lab.fill();
    lab.vm.guestStore32(0, 1);
    file.migrateToDev(lab.at(0), 2);
    expect(lab.kvm.mappingOf(lab.proc, lab.at(0))).toBeNull();
    expect(lab.vm.guestLoad32(0)).toBe(1);
    expect(lab.machine.ownerOf(lab.proc, lab.at(0))).toBe('system');
    const child = lab.proc.fork();
    lab.vm.guestStore32(0, 2);
    expect([lab.proc.load32(lab.at(0)), child.load32(lab.at(0))]).toEqual([2, 1]);
    lab.proc.dontneed(lab.at(0), lab.pageSize);
    expect(lab.vm.guestLoad32(0)).toBe(0);
    lab.check();
  });

  it('does not run on its way to secure mode', () => {
    const lab = new UvmemLab();
    lab.vm.svmInitStart();
    expect(lab.vm.guestLoad32(0)).toBe(-16);
    lab.vm.svmInitAbort();
    expect(lab.vm.guestLoad32(0)).toBe(0);
  });

  it('sees the page as it is after a secure time whose end nobody minded', () => {
    const lab = new UvmemLab();
    lab.fill();
    lab.vm.guestLoad32(0);
    lab.vm.svmInitStart();
    lab.vm.svmPageIn(0, H_PAGE_IN_SHARED);
    lab.vm.svmInitDone();
    lab.proc.mmap({ pages: 1, addr: lab.at(0) });
    // A call that does not belong here makes the VM forget that it was secure.
    expect(hcallResultName(lab.vm.svmInitStart())).toBe('H_PARAMETER');
    expect(hcallResultName(lab.vm.svmInitAbort())).toBe('H_PARAMETER');
    expect(lab.vm.guestLoad32(0)).toBe(0);
    lab.check();
  });
});

describe('a secure guest', () => {
  it('has its memory for itself, word by word', () => {
    const lab = new UvmemLab();
    lab.fill();
    lab.secure();
    for (let at = 0; at < lab.pageSize; at += 4096) {
      expect(lab.vm.guestStore32(lab.gpa(1) + at, at + 1)).toBe(0);
    }
    lab.proc.load32(lab.at(1));
    for (let at = 4096; at < lab.pageSize; at += 4096) {
      expect(lab.vm.guestLoad32(lab.gpa(1) + at)).toBe(at + 1);
    }
    expect(lab.vm.guestLoad32(lab.gpa(1) + lab.pageSize - 4)).toBe(0);
    expect(lab.kvm.mappingOf(lab.proc, lab.at(1))).toBe('s');
    lab.vm.svmPageOut(1);
    expect(lab.kvm.mappingOf(lab.proc, lab.at(1))).toBe('e');
    lab.vm.share(1);
    expect(lab.kvm.mappingOf(lab.proc, lab.at(1))).toBe('h');
    expect(lab.kvm.mappingOf(lab.proc, 0)).toBeNull();
    expect(lab.kvm.mappingOf(lab.machine.createProcess(), lab.at(1))).toBeNull();
  });

  it('and another one have nothing in common', () => {
    const lab = new UvmemLab();
    lab.fill();
    lab.secure();
    const other = lab.machine.createProcess();
    const address = other.mmap({ pages: 8 });
    const vm = lab.kvm.open(other);
    expect(vm.setMemoryRegion({ slot: 0, gfn: 0, pages: 8, address })).toBe(0);
    expect(vm.esm()).toBe(0);
    vm.guestStore32(0, 5);
    expect([lab.vm.guestLoad32(0), vm.guestLoad32(0)]).toEqual([MARK, 5]);
    lab.proc.load32(lab.at(0));
    other.load32(address);
    expect([lab.vm.guestLoad32(0), vm.guestLoad32(0)]).toEqual([MARK, 5]);
    expect(lab.kvm.vms).toEqual([lab.vm, vm]);
    lab.check();
  });

  it('shares memory with a device', () => {
    const lab = new UvmemLab();
    const file = lab.machine.attach(new Dmirror()).open(lab.proc);
    lab.secure();
    lab.vm.share(0, 2);
    lab.vm.guestStore32(0, 41);
    expect([...file.migrateToDev(lab.at(0), 2).data]).toEqual([41, 0]);
    file.write(lab.at(0), [42]);
    expect(lab.vm.guestLoad32(0)).toBe(42);
    expect(lab.vm.guestStore32(lab.gpa(1), 43)).toBe(0);
    expect([...file.read(lab.at(0), 2).data]).toEqual([42, 43]);
    lab.check();
  });

  it('goes on where it was when secure memory is full again', () => {
    const lab = new UvmemLab({ securePages: 8 });
    lab.fill();
    lab.secure();
    lab.vm.svmPageOut(0);
    // Somebody else takes the page.
    const other = lab.machine.createProcess();
    const vm = lab.kvm.open(other);
    const address = other.mmap({ pages: 1 });
    vm.setMemoryRegion({ slot: 0, gfn: 0, pages: 1, address });
    expect(vm.esm()).toBe(0);
    expect(hcallResultName(lab.vm.guestLoad32(0))).toBe('H_PARAMETER');
    vm.close();
    other.exit();
    expect(lab.vm.guestLoad32(0)).toBe(MARK);
    lab.check();
  });
});

describe('an access that is overtaken', () => {
  /** The thread that takes pages away goes first whenever it can. */
  const zapFirst: Strategy = (runnable) =>
    Math.max(
      0,
      runnable.findIndex(({ name }) => name === 'zap'),
    );

  /**
   * The guest looks for its page just before the process drops it, and finds it in the time
   * between the notice and the end of the entry.
   */
  function race(lab: UvmemLab): void {
    const { mm } = lab.proc;
    const slow = mmuIntervalNotifierInsert(mm, {
      name: 'slow',
      *invalidate(notifier, _, seq): Task<boolean> {
        for (let i = 0; i < 5; i++) yield RESCHEDULE;
        mmuIntervalSetSeq(notifier, seq);
        return true;
      },
    });
    if (typeof slow === 'number') throw new Error('no notifier');
    lab.machine.run(mm.mmapLock.write());
    lab.machine.spawn('vcpu', lab.vm.guestStoreTask(0, 1));
    const start = function* (): Task<void> {
      yield RESCHEDULE;
      lab.machine.spawn('zap', lab.proc.dontneedTask(lab.at(0), lab.pageSize));
      yield RESCHEDULE;
      mm.mmapLock.unlockWrite();
    };
    lab.machine.spawn('start', start());
    lab.machine.runAll();
    lab.machine.run(mmuIntervalNotifierRemove(slow));
    lab.check();
    lab.proc.store32(lab.at(0), 5);
    expect(lab.vm.guestLoad32(0)).toBe(5);
    lab.vm.guestStore32(0, 6);
    expect(lab.proc.load32(lab.at(0))).toBe(6);
    lab.check();
  }

  it('is tried again by a normal guest', () => {
    race(new UvmemLab({ strategy: zapFirst }));
  });

  it('is tried again for a shared page of a secure guest', () => {
    const lab = new UvmemLab({ strategy: zapFirst });
    lab.secure();
    lab.vm.share(0);
    lab.proc.dontneed(lab.at(0), lab.pageSize);
    race(lab);
  });
});

describe('a store that waits while the guest becomes secure', () => {
  it('is one of the secure guest when it is done', () => {
    const esmFirst: Strategy = (runnable) =>
      Math.max(
        0,
        runnable.findIndex(({ name }) => name === 'esm'),
      );
    const lab = new UvmemLab({ strategy: esmFirst });
    lab.fill();
    const { mm } = lab.proc;
    let isFirst = true;
    const slow = mmuIntervalNotifierInsert(mm, {
      name: 'slow',
      *invalidate(notifier, _, seq): Task<boolean> {
        for (let i = 0; isFirst && i < 5; i++) yield RESCHEDULE;
        isFirst = false;
        mmuIntervalSetSeq(notifier, seq);
        return true;
      },
    });
    if (typeof slow === 'number') throw new Error('no notifier');
    const results: string[] = [];
    const told = function* (name: string, task: Task<number>): Task<void> {
      results.push(`${name} ${yield* task}`);
    };
    // The store waits for the end of the zap, and the start of the guest goes first then.
    lab.machine.spawn('zap', lab.proc.dontneedTask(lab.at(0), lab.pageSize));
    lab.machine.spawn('store', told('store', lab.vm.guestStoreTask(0, 7)));
    const start = function* (): Task<void> {
      yield RESCHEDULE;
      lab.machine.spawn('esm', told('esm', lab.vm.esmTask()));
    };
    lab.machine.spawn('start', start());
    lab.machine.runAll();
    lab.machine.run(mmuIntervalNotifierRemove(slow));
    expect(results).toEqual(['esm 0', 'store 0']);
    expect(lab.vm.guestLoad32(0)).toBe(7);
    expect(lab.proc.load32(lab.at(0))).not.toBe(7);
    lab.check();
  });
});

describe('a page that is shared just when the process drops it', () => {
  it('is not the one that the ultravisor maps', () => {
    const lab = new UvmemLab();
    lab.secure();
    lab.vm.share(0);
    lab.proc.store32(lab.at(0), 4);
    const { uvmemLock } = lab.vm;
    lab.machine.run(uvmemLock.lock());
    const args = [0, H_PAGE_IN_SHARED, 16];
    lab.machine.spawn('vcpu', lab.vm.hcallTask(H_SVM_PAGE_IN, args));
    // Has the lock in the time in which the vCPU looks for the page.
    const zap = function* (): Task<void> {
      yield* uvmemLock.lock();
      yield RESCHEDULE;
      yield* lab.proc.dontneedTask(lab.at(0), lab.pageSize);
      uvmemLock.unlock();
    };
    lab.machine.spawn('zap', zap());
    const start = function* (): Task<void> {
      yield RESCHEDULE;
      uvmemLock.unlock();
    };
    lab.machine.spawn('start', start());
    lab.machine.runAll();
    expect(lab.vm.gfnState(0)).toBe('H');
    expect(lab.vm.guestLoad32(0)).toBe(0);
    lab.vm.guestStore32(0, 6);
    expect(lab.proc.load32(lab.at(0))).toBe(6);
    lab.check();
  });
});

describe('two threads that touch a secure page at once', () => {
  /** Both are in migrate_to_ram before either can go on. What they read. */
  function touchTwice(lab: UvmemLab): number[] {
    lab.fill();
    lab.secure();
    const { uvmemLock } = lab.vm;
    lab.machine.run(uvmemLock.lock());
    const seen: number[] = [];
    const touch = function* (): Task<void> {
      seen.push(yield* lab.proc.loadTask(lab.at(0)));
    };
    lab.machine.spawn('one', touch());
    lab.machine.spawn('two', touch());
    const release = function* (): Task<void> {
      yield RESCHEDULE;
      uvmemLock.unlock();
    };
    lab.machine.spawn('holder', release());
    lab.machine.runAll();
    lab.check();
    return seen;
  }

  it('each bring it home in v5.10, and the guest gets it back', () => {
    const lab = new UvmemLab({ era: 'v5.10' });
    const [one, two] = touchTwice(lab);
    expect(one).toBe(two);
    expect(one).not.toBe(MARK);
    expect(lab.vm.guestLoad32(0)).toBe(MARK);
  });

  it.each(['v6.1', 'v6.12'] as const)('lose it for the guest in %s', (era) => {
    // Each holds a reference since v6.1. The first passes the check of migrate_vma_setup, by the one
    // too many that a device page is allowed, and the ultravisor gives the page out; then
    // migrate_vma_pages finds the reference, and what was sealed goes with the page it was put in.
    const lab = new UvmemLab({ era });
    expect(touchTwice(lab)).toEqual([0, 0]);
    expect(lab.states()).toBe('ESSSSSSS');
    expect(hcallResultName(lab.vm.guestLoad32(0))).toBe('H_PARAMETER');
    expect(lab.vm.guestLoad32(lab.gpa(1))).toBe(MARK + 1);
    lab.check();
  });
});

describe('what is told', () => {
  it('leads from a page that moves back to the call that moved it', () => {
    const lab = new UvmemLab();
    lab.fill();
    lab.secure();
    lab.vm.svmPageOut(2);
    const told: SimEvent[] = [];
    lab.machine.events.on('*', (event) => told.push(event));
    expect(lab.vm.guestLoad32(lab.gpa(2))).toBe(MARK + 2);
    lab.machine.events.removeAllListeners();
    const byId = new Map(told.map((event) => [event.id, event]));
    const moved = told.find((event) => event.kind === 'owner_change')!;
    expect(moved).toMatchObject({ va: lab.at(2), from: 'system', to: lab.kvm.owner });
    const chain: string[] = [];
    for (let at = byId.get(moved.parent!); at !== undefined; at = byId.get(at.parent ?? 0)) {
      chain.push(at.kind === 'call' ? `${at.actor}: ${at.name}` : at.kind);
    }
    expect(chain).toEqual(['migrate_phase', 'migrate', 'kvm-uvmem: H_SVM_PAGE_IN']);
    expect(told.filter(({ kind }) => kind === 'migrate')[0]).toMatchObject({
      owner: lab.kvm.owner,
      cause: 'driver',
    });
    const call = told.find((event) => event.kind === 'call' && event.name === 'UV_PAGE_IN');
    expect(call).toMatchObject({ start: lab.at(2), end: lab.at(3), pid: lab.proc.pid });
  });

  it('names the reason of a page that goes home', () => {
    const lab = new UvmemLab();
    lab.secure();
    const causes: string[] = [];
    lab.machine.events.on('migrate', (event) => {
      if (event.phase === 'end') causes.push(`${event.cause} ${event.migrated}`);
    });
    lab.proc.load32(lab.at(0));
    lab.vm.svmPageOut(1);
    lab.vm.svmOff();
    expect(causes.slice(0, 2)).toEqual(['cpu_fault 1', 'evict 1']);
    expect(causes.slice(2)).toEqual(Array.from({ length: 6 }, () => 'driver 1'));
  });
});
