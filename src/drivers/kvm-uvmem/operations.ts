/** What kvm-uvmem adds to the program language: the process that runs an operation has one VM. */
import { EBUSY, EFAULT, errnoName } from '../../core/errno.ts';
import type { Task } from '../../core/sched/task.ts';
import { GiB, KiB } from '../../core/units.ts';
import {
  H_SVM_INIT_ABORT,
  H_SVM_INIT_DONE,
  H_SVM_INIT_START,
  H_SVM_PAGE_IN,
  H_SVM_PAGE_OUT,
  hcallResultName,
  U_PERMISSION,
  ucallResultName,
} from '../../hw/svm-codes.ts';
import { bufferArg, intArg, offsetArg, pagesArg, valueArg } from '../../program/args.ts';
import {
  type ArgSpec,
  type DriverFactory,
  type Operation,
  operation,
  type ProgramContext,
  type Result,
} from '../../program/types.ts';
import { KVM_UVMEM_DEFECTS, type KvmUvmemDefect } from './defects.ts';
import { KvmUvmem, SECURE_BYTES_DEFAULT } from './device.ts';
import { KVM_USER_MEM_SLOTS } from './slots.ts';
import type { KvmVm } from './vm.ts';

/** Guest pages have numbers below. */
const GFNS_MAX: number = 2 ** 24;
const FLAGS_MAX = 255;
const SHIFT_MAX = 63;
/** Stands for the page shift of the machine. */
const OWN_SHIFT = '-';

function vmOf(ctx: ProgramContext): KvmVm {
  return ctx.file(ctx.devices(KvmUvmem)[0]!);
}

function gfnArg(): ArgSpec<number> {
  return intArg('gfn', 0, GFNS_MAX - 1);
}

function slotArg(): ArgSpec<number> {
  return intArg('slot', 0, KVM_USER_MEM_SLOTS - 1);
}

/** null: the machine's own. */
function shiftArg(): ArgSpec<number | null> {
  const number = intArg('shift', 0, SHIFT_MAX);
  return {
    name: 'shift',
    parse: (word, scope) => (word === OWN_SHIFT ? null : number.parse(word, scope)),
    expected: (scope) => `${number.expected(scope)}, or ${OWN_SHIFT} for the machine's page shift`,
  };
}

/** What a load or store of the guest came to, if not to a value: an errno, an H_* or a U_* code. */
function accessName(result: number): string {
  if (result === -EFAULT || result === -EBUSY) return errnoName(result);
  return result === U_PERMISSION ? ucallResultName(result) : hcallResultName(result);
}

/** An access to each page; `ret` is the first that failed. */
function* accessPages(
  gfn: number,
  pages: number,
  access: (gfn: number, i: number) => Task<number>,
): Task<{ readonly ret: string; readonly results: number[] }> {
  const results: number[] = [];
  for (let i = 0; i < pages; i++) results.push(yield* access(gfn + i, i));
  const failed = results.find((result) => result < 0);
  return { ret: failed === undefined ? '0' : accessName(failed), results };
}

function hcallOperation(name: string, summary: string, call: number): Operation {
  return operation({
    name,
    summary,
    args: [],
    *run(ctx) {
      return { ret: hcallResultName(yield* vmOf(ctx).hcallTask(call)) };
    },
  });
}

function pageCallOperation(name: string, summary: string, call: number): Operation {
  return operation({
    name,
    summary,
    args: [gfnArg(), intArg('flags', 0, FLAGS_MAX), shiftArg()],
    *run(ctx, [gfn, flags, shift]) {
      const vm = vmOf(ctx);
      const args = [gfn * ctx.machine.pageSize, flags, shift ?? vm.pageShift];
      return { ret: hcallResultName(yield* vm.hcallTask(call, args)) };
    },
  });
}

const slotOperations: readonly Operation[] = [
  operation({
    name: 'vm_slot',
    summary: 'gives the VM pages of a buffer as guest memory: KVM_SET_USER_MEMORY_REGION',
    args: [slotArg(), bufferArg(), offsetArg(), pagesArg(), gfnArg()],
    *run(ctx, [slot, buffer, offset, pages, gfn]) {
      const address = ctx.address(buffer, offset);
      const region = { slot, address, pages, gfn };
      return { ret: errnoName(yield* vmOf(ctx).setMemoryRegionTask(region)) };
    },
  }),
  operation({
    name: 'vm_slot_delete',
    summary: 'takes a memory slot away; its secure pages lose their contents',
    args: [slotArg()],
    *run(ctx, [slot]) {
      const region = { slot, address: 0, pages: 0, gfn: 0 };
      return { ret: errnoName(yield* vmOf(ctx).setMemoryRegionTask(region)) };
    },
  }),
  operation({
    name: 'vm_state',
    summary: 'the state of the VM and of each guest page: . normal, S secure, E out, H shared',
    args: [],
    // biome-ignore lint/correctness/useYield: an operation is a task, also one that never sleeps
    *run(ctx): Task<Result> {
      const vm = vmOf(ctx);
      return { state: vm.state, gfns: vm.gfnStates().join(' ') };
    },
  }),
];

const secureOperations: readonly Operation[] = [
  hcallOperation(
    'svm_init_start',
    'H_SVM_INIT_START, as the ultravisor makes it',
    H_SVM_INIT_START,
  ),
  hcallOperation('svm_init_done', 'H_SVM_INIT_DONE, as the ultravisor makes it', H_SVM_INIT_DONE),
  hcallOperation('svm_init_abort', 'H_SVM_INIT_ABORT, which gives up', H_SVM_INIT_ABORT),
  pageCallOperation(
    'svm_page_in',
    'H_SVM_PAGE_IN: a page becomes secure, or shared',
    H_SVM_PAGE_IN,
  ),
  pageCallOperation(
    'svm_page_out',
    'H_SVM_PAGE_OUT: a secure page goes out sealed',
    H_SVM_PAGE_OUT,
  ),
  operation({
    name: 'svm_share',
    summary: 'the guest shares pages with the hypervisor, emptied: UV_SHARE_PAGE',
    args: [gfnArg(), pagesArg()],
    *run(ctx, [gfn, pages]) {
      return { ret: ucallResultName(yield* vmOf(ctx).shareTask(gfn, pages)) };
    },
  }),
  operation({
    name: 'svm_unshare',
    summary: 'the guest takes pages back for itself, emptied: UV_UNSHARE_PAGE',
    args: [gfnArg(), pagesArg()],
    *run(ctx, [gfn, pages]) {
      return { ret: ucallResultName(yield* vmOf(ctx).unshareTask(gfn, pages)) };
    },
  }),
  operation({
    name: 'svm_esm',
    summary: 'the guest becomes secure: UV_ESM, from H_SVM_INIT_START to H_SVM_INIT_DONE',
    args: [],
    *run(ctx) {
      return { ret: hcallResultName(yield* vmOf(ctx).esmTask()) };
    },
  }),
  operation({
    name: 'svm_off',
    summary: 'the process ends secure mode: KVM_PPC_SVM_OFF',
    args: [],
    *run(ctx) {
      return { ret: errnoName(yield* vmOf(ctx).svmOffTask()) };
    },
  }),
];

const guestOperations: readonly Operation[] = [
  operation({
    name: 'guest_read',
    summary: 'the guest reads the first word of each page',
    args: [gfnArg(), pagesArg()],
    *run(ctx, [first, pages]) {
      const vm = vmOf(ctx);
      const { pageSize } = ctx.machine;
      const read = (gfn: number): Task<number> => vm.guestLoadTask(gfn * pageSize);
      const { ret, results } = yield* accessPages(first, pages, read);
      return { ret, data: results.map((value) => (value < 0 ? accessName(value) : value)) };
    },
  }),
  operation({
    name: 'guest_write',
    summary: 'the guest writes value + i to the first word of page i',
    args: [gfnArg(), pagesArg(), valueArg()],
    *run(ctx, [first, pages, value]) {
      const vm = vmOf(ctx);
      const { pageSize } = ctx.machine;
      const write = (gfn: number, i: number): Task<number> =>
        vm.guestStoreTask(gfn * pageSize, value + i);
      return { ret: (yield* accessPages(first, pages, write)).ret };
    },
  }),
];

export const kvmUvmemFactory: DriverFactory<KvmUvmem> = {
  name: 'kvm-uvmem',
  summary: 'secure guests of KVM on POWER, with an ultravisor',
  options: [
    {
      kind: 'size',
      name: 'secure',
      min: 64 * KiB,
      max: GiB,
      // Whole pages, whatever pages the machine has.
      multipleOf: 64 * KiB,
      default: SECURE_BYTES_DEFAULT,
    },
    { kind: 'choice', name: 'faithful', choices: ['faithful', 'mended'], default: 'faithful' },
    { kind: 'flags', name: 'defects', choices: KVM_UVMEM_DEFECTS.map(({ name }) => name) },
  ],
  max: 1,
  create: ({ secure, faithful, defects }) =>
    new KvmUvmem({
      secureBytes: secure as number,
      mended: faithful === 'mended',
      defects: defects as readonly KvmUvmemDefect[],
    }),
  operations: [...slotOperations, ...secureOperations, ...guestOperations],
};
