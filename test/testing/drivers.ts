// How the suite reaches each driver of this package.

import type { Era } from '../../src/core/era.ts';
import { EFAULT } from '../../src/core/errno.ts';
import {
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
} from '../../src/core/migrate/index.ts';
import type { Task } from '../../src/core/sched/task.ts';
import { MiB, type Va } from '../../src/core/units.ts';
import { Dmirror } from '../../src/drivers/dmirror/index.ts';
import { KvmUvmem, type KvmVm } from '../../src/drivers/kvm-uvmem/index.ts';
import { Nouveau, type NouveauFile } from '../../src/drivers/nouveau/index.ts';
import { Pgmaplab } from '../../src/drivers/pgmaplab/index.ts';
import { H_SVM_INIT_START, H_SVM_PAGE_IN } from '../../src/hw/svm-codes.ts';
import type { DriverSpec, Skip } from '../../src/testing/index.ts';

const noMigrateToSys: Skip = ({ deviceCoherent }: Era) =>
  deviceCoherent ? null : 'HMM_DMIRROR_MIGRATE_TO_SYS came with device-coherent memory';

const dmirror: Omit<DriverSpec<Dmirror>, 'name' | 'create'> = {
  *toDevice({ file }, va, pages) {
    return (yield* file.migrateToDevTask(va, pages)).ret;
  },
  *toSystem({ file }, va, pages) {
    return (yield* file.migrateToSysTask(va, pages)).ret;
  },
  *read({ file }, va) {
    const { ret, data } = yield* file.readTask(va, 1);
    return ret === 0 ? data[0]! : ret;
  },
  *write({ file }, va, value) {
    return (yield* file.writeTask(va, [value])).ret;
  },
  *remove({ file }) {
    return (yield* file.releaseChunksTask()).ret;
  },
};

const dmirrorPrivate: DriverSpec<Dmirror> = {
  ...dmirror,
  name: 'dmirror, private',
  create: () => new Dmirror({ chunkBytes: MiB }),
  eras: ['v5.6', 'v5.7', 'v5.10', 'v6.1', 'v6.12'],
  pageSizes: [4096, 65536],
  skips: {
    'the driver brings pages home itself': noMigrateToSys,
    'it sends home only what is its own': noMigrateToSys,
  },
};

const readable = 'the CPU reaches coherent memory where it is';
const dmirrorCoherent: DriverSpec<Dmirror> = {
  ...dmirror,
  name: 'dmirror, coherent',
  create: () => new Dmirror({ type: 'coherent', chunkBytes: MiB }),
  eras: ['v6.1', 'v6.12'],
  pageSizes: [4096, 65536],
  skips: {
    'a CPU load brings a page home': readable,
    'a CPU store brings a page home': readable,
  },
};

const pgmaplab: DriverSpec<Pgmaplab> = {
  name: 'pgmaplab',
  create: () => new Pgmaplab(),
  owner: (driver) => driver.owners[0]!,
  *toDevice({ machine, driver, file }, start, npages) {
    // In v5.7 ordinary pages are collected for nobody only.
    const owner = machine.era.selection === 'src-owner' ? null : driver.owners[0]!;
    const flags = MIGRATE_VMA_SELECT_SYSTEM;
    return (yield* file.migrateTask({ start, npages, flags, owner, to: driver.labs[0]! })).ret;
  },
  *toSystem({ driver, file }, start, npages) {
    const flags = MIGRATE_VMA_SELECT_DEVICE_PRIVATE;
    const owner = driver.owners[0]!;
    return (yield* file.migrateTask({ start, npages, flags, owner, to: 'ram' })).ret;
  },
  *suspend({ driver }) {
    return (yield* driver.evictTask(0)).ret;
  },
  eras: ['v5.6', 'v5.7', 'v5.10', 'v6.1', 'v6.12'],
};

/** A job of one access. Its channel may have died of an earlier one; then there is a new one. */
function* gpuAccess(
  file: NouveauFile,
  kind: 'read' | 'write',
  va: Va,
  value: number,
): Task<number> {
  if (file.svmm === null) yield* file.svmInitTask();
  yield* file.reviveTask();
  const { ret, results } = yield* file.executeTask([{ kind, va, value }]);
  return ret < 0 ? ret : results[0]!;
}

const nouveau: Omit<DriverSpec<Nouveau>, 'name' | 'create'> = {
  *toDevice({ machine, file }, va, pages) {
    if (file.svmm === null) yield* file.svmInitTask();
    return yield* file.svmBindTask(va, pages * machine.pageSize);
  },
  read: ({ file }, va) => gpuAccess(file, 'read', va, 0),
  write: ({ file }, va, value) => gpuAccess(file, 'write', va, value),
  remove: ({ driver }) => driver.removeTask(),
  failNextCopy: ({ driver }) => driver.engine.failAfter(1),
  devicePages: ({ machine, driver }) => driver.vramBytes / machine.pageSize,
  eras: ['v5.6', 'v5.7', 'v5.10', 'v6.1', 'v6.12'],
};

const nouveauMended: DriverSpec<Nouveau> = {
  ...nouveau,
  name: 'nouveau, mended',
  create: () => new Nouveau({ vramBytes: 2 * MiB, mended: true }),
};

const nouveauAsIs: DriverSpec<Nouveau> = {
  ...nouveau,
  name: 'nouveau',
  create: () => new Nouveau({ vramBytes: 2 * MiB }),
  skips: {
    'a copy to RAM fails': ({ migrateDeviceRange }: Era) =>
      migrateDeviceRange
        ? "the kernel's driver frees the page of RAM and leaves its name in dst; see mended"
        : null,
  },
};

/** Where each VM has the memory of its process: guest page numbers, by address of the VMA. */
const guestPages: WeakMap<KvmVm, Map<Va, number>> = new WeakMap();
const GFNS_PER_SLOT = 4096;

/** The guest page of `va`; the whole VMA becomes a memory slot. Negative where there is none. */
function* gfnOf(vm: KvmVm, va: Va): Task<number> {
  const { pageSize, vmas } = vm.mm;
  const vma = vmas.find(va);
  if (vma === null) return -EFAULT;
  const known = guestPages.get(vm) ?? new Map<Va, number>();
  guestPages.set(vm, known);
  let first = known.get(vma.start);
  if (first === undefined) {
    const slot = known.size;
    first = slot * GFNS_PER_SLOT;
    const region = { slot, gfn: first, pages: vma.pages, address: vma.start };
    const ret = yield* vm.setMemoryRegionTask(region);
    if (ret !== 0) return ret;
    known.set(vma.start, first);
    if (slot === 0) yield* vm.hcallTask(H_SVM_INIT_START);
  }
  return first + (va - vma.start) / pageSize;
}

const refused = 'the ultravisor refuses a page that the host wrote to';

const kvmUvmem: DriverSpec<KvmUvmem> = {
  name: 'kvm-uvmem',
  create: () => new KvmUvmem({ secureBytes: 16 * MiB }),
  owner: (driver) => driver.owners[0]!,
  /** H_SVM_PAGE_IN of each page, of a guest that is on its way to secure mode. */
  *toDevice({ machine, file: vm }, va, pages) {
    let failed = 0;
    for (let i = 0; i < pages; i++) {
      const gfn = yield* gfnOf(vm, va + i * machine.pageSize);
      if (gfn < 0) return gfn;
      const gpa = gfn * machine.pageSize;
      const ret = yield* vm.hcallTask(H_SVM_PAGE_IN, [gpa, 0, vm.pageShift]);
      if (ret !== 0) failed = ret;
    }
    return failed;
  },
  encrypts: true,
  eras: ['v5.7', 'v5.10', 'v6.1', 'v6.12'],
  pageSizes: [4096, 65536],
  skips: {
    'the whole page travels': refused,
    'fork: the child ends first': refused,
    'the CPU writes what the device takes': refused,
    'the CPU writes what two devices take': refused,
    'fork: the parent ends first': 'a guest ends with its process, and its secrets with it',
  },
};

/** Each with the type of its driver forgotten, so that they fit one list. */
export const SPECS: readonly DriverSpec[] = [
  dmirrorPrivate,
  dmirrorCoherent,
  pgmaplab,
  nouveauMended,
  nouveauAsIs,
  kvmUvmem,
] as unknown as DriverSpec[];
