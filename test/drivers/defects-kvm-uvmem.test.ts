// Faults of kvm-uvmem: one that it can be given back, two that `mended` takes away.
import { describe, expect, test } from 'vitest';
import { CountedFaults } from '../../src/core/fault-plan.ts';
import { Machine } from '../../src/core/machine.ts';
import type { Process } from '../../src/core/process.ts';
import { KiB, MiB, type Va } from '../../src/core/units.ts';
import {
  KvmUvmem,
  type KvmUvmemOptions,
  type KvmVm,
  type KvmVmOptions,
} from '../../src/drivers/kvm-uvmem/index.ts';
import {
  H_AUTHORITY,
  H_PARAMETER,
  H_SUCCESS,
  H_UNSUPPORTED,
  U_SUCCESS,
} from '../../src/hw/svm-codes.ts';

const PAGE = 64 * KiB;

/** A VM with two memory slots of a page each, and a plan of faults. */
class Lab {
  readonly machine: Machine = new Machine({ pageSize: PAGE, ramBytes: 16 * MiB });
  readonly plan: CountedFaults = new CountedFaults();
  readonly kvm: KvmUvmem;
  readonly proc: Process;
  readonly vm: KvmVm;
  readonly va: Va;

  constructor(options: KvmUvmemOptions = {}, vmOptions: KvmVmOptions = {}) {
    this.kvm = this.machine.attach(new KvmUvmem({ secureBytes: 4 * PAGE, ...options }));
    this.proc = this.machine.createProcess();
    this.va = this.proc.mmap({ pages: 2 });
    this.proc.store32(this.va, 10);
    this.proc.store32(this.va + PAGE, 11);
    this.vm = this.kvm.open(this.proc, vmOptions);
    for (const slot of [0, 1]) {
      const address = this.va + slot * PAGE;
      expect(this.vm.setMemoryRegion({ slot, gfn: slot, pages: 1, address })).toBe(0);
    }
    this.machine.kernel.faults = this.plan;
  }
}

describe('the ultravisor refuses a page', () => {
  function refused(options: KvmUvmemOptions): Lab {
    const lab = new Lab(options);
    expect(lab.vm.svmInitStart()).toBe(H_SUCCESS);
    lab.plan.after('ultravisor', 1);
    expect(lab.vm.svmPageIn(0)).toBe(H_PARAMETER);
    return lab;
  }

  test('its page of secure memory is given back, and the next try succeeds', () => {
    const lab = refused({});
    expect(lab.kvm.pagesInUse).toBe(0);
    expect(lab.machine.verify()).toEqual([]);
    expect(lab.vm.svmPageIn(0)).toBe(H_SUCCESS);
    expect(lab.vm.gfnState(0)).toBe('S');
  });

  test('keeps_refused_page: it is lost, and so is the guest page', () => {
    const lab = refused({ defects: ['keeps_refused_page'] });
    expect(lab.kvm.pagesInUse).toBe(1);
    expect(lab.vm.gfnState(0)).toBe('S');
    // What the process has there is still its page of RAM.
    expect(lab.machine.ownerOf(lab.proc, lab.va)).toBe('system');
    expect(lab.vm.svmPageIn(0)).toBe(H_PARAMETER);
    lab.proc.exit();
    expect(lab.kvm.pagesInUse).toBe(1);
    expect(lab.machine.verify().length).toBeGreaterThan(0);
  });
});

describe('a start fails at the second of two slots', () => {
  /** Answers what a further start comes to. */
  function failedStart(options: KvmUvmemOptions): { lab: Lab; again: number } {
    const lab = new Lab(options);
    lab.plan.after('ultravisor', 2);
    expect(lab.vm.svmInitStart()).toBe(H_PARAMETER);
    return { lab, again: lab.vm.esm() };
  }

  test('as the kernel has it, the first slot stays registered and no start ever succeeds', () => {
    const { lab, again } = failedStart({});
    expect(again).toBe(H_PARAMETER);
    expect(lab.vm.uvmemSlots.length).toBeGreaterThan(0);
  });

  test('mended, all slots are taken back and the next start succeeds', () => {
    const { lab, again } = failedStart({ mended: true });
    expect(again).toBe(U_SUCCESS);
    expect(lab.vm.guestLoad32(0)).toBe(10);
    expect(lab.vm.guestLoad32(PAGE)).toBe(11);
    expect(lab.machine.verify()).toEqual([]);
  });
});

describe('a start is refused', () => {
  test('as the kernel has it, the guest counts as on its way all the same', () => {
    const lab = new Lab({}, { secureGuest: false });
    expect(lab.vm.svmInitStart()).toBe(H_AUTHORITY);
    expect(lab.vm.state).toBe('transient');
    expect(lab.vm.svmPageIn(0)).toBe(H_PARAMETER);
  });

  test('mended, it does not', () => {
    const lab = new Lab({ mended: true }, { secureGuest: false });
    expect(lab.vm.svmInitStart()).toBe(H_AUTHORITY);
    expect(lab.vm.state).toBe('normal');
    expect(lab.vm.svmPageIn(0)).toBe(H_UNSUPPORTED);
  });

  test('mended, a secure guest stays one', () => {
    const lab = new Lab({ mended: true });
    expect(lab.vm.esm()).toBe(U_SUCCESS);
    expect(lab.vm.svmInitStart()).toBe(H_PARAMETER);
    expect(lab.vm.state).toBe('secure');
    expect(lab.vm.guestLoad32(0)).toBe(10);
  });
});

test('a page that the ultravisor does not give back stays secure', () => {
  const lab = new Lab();
  expect(lab.vm.esm()).toBe(U_SUCCESS);
  lab.plan.after('ultravisor', 1);
  expect(lab.vm.svmPageOut(0)).toBe(H_PARAMETER);
  expect(lab.vm.gfnState(0)).toBe('S');
  expect(lab.vm.svmPageOut(0)).toBe(H_SUCCESS);
  expect(lab.vm.gfnState(0)).toBe('E');
  expect(lab.machine.verify()).toEqual([]);
});

test("a normal guest's accesses are told to who watches memory", () => {
  const lab = new Lab();
  const told: string[] = [];
  lab.machine.kernel.watch = {
    stored: (pid, at, value) => told.push(`${pid} ${at - lab.va} := ${value}`),
    loaded: (pid, at, value) => told.push(`${pid} ${at - lab.va} = ${value}`),
    zapped: () => {},
    moved: () => {},
    overlapped: () => {},
    forked: () => {},
  };
  lab.vm.guestStore32(PAGE + 8, 3);
  lab.vm.guestLoad32(PAGE);
  expect(told).toEqual([`1 ${PAGE + 8} := 3`, `1 ${PAGE} = 11`]);
});
