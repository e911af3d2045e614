// One maker for each kind of page-table entry that a migration may come across.

import { SimError } from '../../src/core/errors.ts';
import { makeDeviceExclusiveRange } from '../../src/core/hmm/exclusive.ts';
import {
  FOLL_GET,
  FOLL_PIN,
  FOLL_WRITE,
  getUserPagesFast,
  putUserPage,
} from '../../src/core/mm/gup.ts';
import { leafIndex } from '../../src/core/mm/page-table.ts';
import {
  PTE_DEVICE_EXCLUSIVE,
  PTE_DEVICE_PRIVATE,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_PRESENT,
  PTE_WRITE,
} from '../../src/core/mm/pte.ts';
import { pageAddFileRmap } from '../../src/core/mm/rmap.ts';
import { VM_MIXEDMAP, VM_PFNMAP } from '../../src/core/mm/vma.ts';
import type { Task } from '../../src/core/sched/task.ts';
import { NO_PAGE, PAGE_SIZE, type Va } from '../../src/core/units.ts';
import { type MigrationLab, type Region, SYSTEM } from './migration-lab.ts';

export interface MadeEntry {
  readonly va: Va;
  /** Setup refuses the whole VMA, whatever is in it. */
  readonly refused?: boolean;
  /** Lets go of what kept the entry as it was. */
  readonly clean?: () => void;
}

export type Entry = (lab: MigrationLab) => MadeEntry;

/** More than a leaf, so that the second half has no leaf of its own. */
const TWO_LEAVES = 1024;
const SECOND_LEAF: number = 512 * PAGE_SIZE;
/** Further away than a fault maps neighbours. */
const APART: number = 32 * PAGE_SIZE;

function anonymous(lab: MigrationLab): Va {
  const va = lab.proc.mmap({ pages: 1 });
  lab.proc.store32(va, 1);
  expectKind(lab, va, PTE_PRESENT);
  return va;
}

/** A device page of one owner; eras without that kind of memory refuse. */
function onDevice(lab: MigrationLab, region: Region | null): MadeEntry {
  if (region === null) {
    const { name } = lab.machine.era;
    throw new SimError('not-in-this-era', `${name} has no device-coherent memory`);
  }
  const va = anonymous(lab);
  lab.moveTo(region, va);
  expectKind(lab, va, region.pagemap.type === 'private' ? PTE_DEVICE_PRIVATE : PTE_PRESENT);
  return { va };
}

function mapped(lab: MigrationLab, shared: boolean): MadeEntry {
  const file = lab.proc.createFile(1, () => 7);
  const va = lab.proc.mmap({ pages: 1, file, shared });
  lab.proc.load32(va);
  return { va };
}

function held(lab: MigrationLab, flags: number): MadeEntry {
  const va = anonymous(lab);
  const found = lab.machine.run(getUserPagesFast(lab.proc.mm, va, 1, flags | FOLL_WRITE));
  if (typeof found === 'number') throw new Error(`no page: ${found}`);
  const clean = () => putUserPage(lab.kernel, found[0]!, (flags & FOLL_PIN) !== 0);
  return { va, clean };
}

function expectKind(lab: MigrationLab, va: Va, kind: number): void {
  const found = lab.bitsAt(va) & PTE_KIND;
  if (found !== kind) throw new Error(`entry of kind ${found}, wanted ${kind}`);
}

function expectHole(lab: MigrationLab, va: Va, hasLeaf: boolean): void {
  expectKind(lab, va, PTE_NONE);
  if ((lab.proc.mm.pageTable.leaf(lab.proc.mm.vpn(va)) !== null) !== hasLeaf) {
    throw new Error(`the hole has ${hasLeaf ? 'no' : 'a'} leaf`);
  }
}

/** A file mapping whose page at offset `pages` from the start has the only touched neighbour. */
function fileHole(lab: MigrationLab, offset: number, hasLeaf: boolean): MadeEntry {
  const file = lab.proc.createFile(TWO_LEAVES);
  const start = lab.proc.mmap({ pages: TWO_LEAVES, file, shared: true });
  lab.proc.load32(start);
  expectHole(lab, start + offset, hasLeaf);
  return { va: start + offset };
}

export type EntryName =
  | 'none, anonymous VMA'
  | 'none, file VMA'
  | 'pmd hole, anonymous VMA'
  | 'pmd hole, file VMA'
  | 'zero page'
  | 'system anonymous page'
  | 'system anonymous page, read-only'
  | 'system page of a private file mapping'
  | 'system page of a shared file mapping'
  | 'system page of shared anonymous memory'
  | 'system page, locked by somebody else'
  | 'system page, pinned'
  | 'system page, somebody has a reference'
  | 'migration entry'
  | 'device-exclusive entry'
  | "device-private page, X's own"
  | 'device-private page of another owner'
  | "device-coherent page, X's own"
  | 'device-coherent page of another owner'
  | 'special entry'
  | 'present page without a mapping';

export const ENTRIES: Readonly<Record<EntryName, Entry>> = {
  'none, anonymous VMA': (lab) => {
    const start = lab.proc.mmap({ pages: 2 });
    lab.proc.store32(start, 1);
    expectHole(lab, start + PAGE_SIZE, true);
    return { va: start + PAGE_SIZE };
  },
  'none, file VMA': (lab) => fileHole(lab, APART, true),
  'pmd hole, anonymous VMA': (lab) => {
    const va = lab.proc.mmap({ pages: TWO_LEAVES }) + SECOND_LEAF;
    expectHole(lab, va, false);
    return { va };
  },
  'pmd hole, file VMA': (lab) => fileHole(lab, SECOND_LEAF, false),
  'zero page': (lab) => {
    const va = lab.proc.mmap({ pages: 1 });
    lab.proc.load32(va);
    expectKind(lab, va, PTE_PRESENT);
    if (lab.pageAt(va) !== NO_PAGE) throw new Error('a read mapped more than the zero page');
    return { va };
  },
  'system anonymous page': (lab) => {
    const va = anonymous(lab);
    if ((lab.bitsAt(va) & PTE_WRITE) === 0) throw new Error('not writable');
    return { va };
  },
  'system anonymous page, read-only': (lab) => {
    const va = anonymous(lab);
    lab.proc.mprotect(va, PAGE_SIZE, 'r');
    if ((lab.bitsAt(va) & PTE_WRITE) !== 0) throw new Error('writable');
    return { va };
  },
  'system page of a private file mapping': (lab) => mapped(lab, false),
  'system page of a shared file mapping': (lab) => mapped(lab, true),
  'system page of shared anonymous memory': (lab) => {
    const va = lab.proc.mmap({ pages: 1, shared: true });
    lab.proc.store32(va, 1);
    return { va };
  },
  'system page, locked by somebody else': (lab) => {
    const va = anonymous(lab);
    const page = lab.pageAt(va);
    lab.pages.tryLock(page);
    return { va, clean: () => lab.pages.unlock(page) };
  },
  'system page, pinned': (lab) => held(lab, FOLL_PIN),
  'system page, somebody has a reference': (lab) => held(lab, FOLL_GET),
  'migration entry': (lab) => {
    const va = anonymous(lab);
    const migration = lab.setup(va, 1, { flags: SYSTEM });
    expectKind(lab, va, PTE_MIGRATION);
    return { va, clean: () => lab.giveUp(migration) };
  },
  'device-exclusive entry': (lab) => {
    const va = anonymous(lab);
    const { mm } = lab.proc;
    lab.machine.run(
      (function* (): Task<void> {
        yield* mm.mmapLock.read();
        try {
          const found = yield* makeDeviceExclusiveRange(mm, va, va + PAGE_SIZE, lab.x);
          if (typeof found === 'number') throw new Error(`no page: ${found}`);
          const page = found.pages[0]!;
          lab.pages.unlock(page);
          lab.pages.put(page);
        } finally {
          mm.mmapLock.unlockRead();
        }
      })(),
    );
    expectKind(lab, va, PTE_DEVICE_EXCLUSIVE);
    return { va };
  },
  "device-private page, X's own": (lab) => onDevice(lab, lab.privateX),
  'device-private page of another owner': (lab) => onDevice(lab, lab.privateY),
  "device-coherent page, X's own": (lab) => onDevice(lab, lab.coherentX),
  'device-coherent page of another owner': (lab) => onDevice(lab, lab.coherentY),
  // Apart from the zero page only drivers make these, in VMAs of their own.
  'special entry': (lab) => {
    const made = kernelPage(lab);
    const vma = lab.vmaOf(made.va);
    vma.flags |= VM_PFNMAP;
    return { va: made.va, refused: true };
  },
  // Such VMAs carry a flag that keeps migrations out; without it, collect still sees what it is.
  'present page without a mapping': (lab) => {
    const made = kernelPage(lab);
    const vma = lab.vmaOf(made.va);
    vma.flags &= ~VM_MIXEDMAP;
    const clean = () => {
      vma.flags |= VM_MIXEDMAP;
    };
    return { va: made.va, clean };
  },
};

/** A page that a driver maps for a process, as vm_insert_page does. */
function kernelPage(lab: MigrationLab): MadeEntry {
  const { mm } = lab.proc;
  const va = lab.proc.mmap({ pages: 1, file: lab.proc.createFile(0) });
  const vma = lab.vmaOf(va);
  vma.flags |= VM_MIXEDMAP;
  const page = lab.pages.allocate();
  pageAddFileRmap(lab.pages, page);
  mm.addRss(false, 1);
  mm.pageTable.leafFor(mm.vpn(va)).set(leafIndex(mm.vpn(va)), page, vma.pageProt);
  return { va };
}
