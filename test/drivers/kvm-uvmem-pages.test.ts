// How secure pages move: device pages, page in, page out, and what the hypervisor can see of them.
import { describe, expect, it } from 'vitest';
import { ERAS } from '../../src/core/era.ts';
import { MIGRATE_VMA_SELECT_SYSTEM } from '../../src/core/migrate/index.ts';
import { NO_PAGE } from '../../src/core/units.ts';
import { Dmirror } from '../../src/drivers/dmirror/index.ts';
import { sendPageToUv } from '../../src/drivers/kvm-uvmem/migrate.ts';
import { Pgmaplab } from '../../src/drivers/pgmaplab/index.ts';
import { H_PAGE_IN_SHARED, hcallResultName } from '../../src/hw/svm-codes.ts';
import { isMark, MARK, UvmemLab } from './kvm-uvmem-lab.ts';

describe('secure memory', () => {
  it('is one private region that is its own owner', () => {
    const { machine, kvm } = new UvmemLab({ securePages: 16 });
    const [pagemap] = machine.kernel.pagemaps;
    expect(pagemap).toMatchObject({ type: 'private', pageCount: 16, name: 'kvm-uvmem' });
    expect(pagemap!.owner).toBe(kvm.owner);
    expect(kvm.owners).toEqual([kvm.owner]);
    expect(kvm.owner.name).toBe('kvm-uvmem');
  });

  it('is not there where the platform has none', () => {
    const { machine, kvm } = new UvmemLab({ securePages: 0 });
    expect(machine.kernel.pagemaps).toEqual([]);
    expect(kvm.available).toBe(false);
  });

  it('gives the first free page', () => {
    const lab = new UvmemLab();
    lab.vm.svmInitStart();
    for (const gfn of [5, 0, 3, 1]) lab.vm.svmPageIn(gfn);
    const [pagemap] = lab.machine.kernel.pagemaps;
    const places = (): number[] =>
      [5, 0, 3, 1].map((gfn) => lab.vm.uvmemSlots.uvmemPage(gfn) - pagemap!.firstPage);
    expect(places()).toEqual([0, 1, 2, 3]);
    lab.vm.svmPageOut(0);
    lab.vm.svmPageOut(5);
    lab.vm.svmPageIn(0);
    lab.vm.svmPageIn(5);
    expect(places()).toEqual([1, 0, 2, 3]);
    lab.vm.svmPageIn(6);
    expect(lab.vm.uvmemSlots.uvmemPage(6) - pagemap!.firstPage).toBe(4);
    lab.check();
  });

  it('says of a page what it stands for', () => {
    const lab = new UvmemLab().secure();
    const page = lab.vm.uvmemSlots.uvmemPage(3);
    expect(lab.kvm.standsFor(page)).toEqual({
      vm: lab.vm,
      gpa: lab.gpa(3),
      skipPageOut: false,
      removeGfn: false,
    });
    expect(lab.machine.ownerOf(lab.proc, lab.at(3))).toBe(lab.kvm.owner);
    expect(lab.page(3)).toBe(page);
    expect(lab.kvm.standsFor(lab.page(3) + 100)).toBeNull();
  });

  it('holds no contents that the hypervisor could reach', () => {
    const lab = new UvmemLab();
    lab.fill();
    expect(lab.hostSees()).toBe(true);
    lab.secure();
    expect(lab.hostSees()).toBe(false);
    expect(lab.machine.kernel.frames.used).toBe(0);
  });
});

describe('page in', () => {
  it('moves what was never touched, too, without a call to the ultravisor', () => {
    const lab = new UvmemLab();
    lab.vm.svmInitStart();
    expect(lab.calls(() => lab.vm.svmPageIn(0))).toEqual(['H_SVM_PAGE_IN 0']);
    lab.proc.load32(lab.at(1));
    expect(lab.page(1)).toBe(NO_PAGE);
    // The zero page is none either.
    expect(lab.calls(() => lab.vm.svmPageIn(1))).toEqual(['H_SVM_PAGE_IN 0']);
    lab.fill(2, 3);
    expect(lab.calls(() => lab.vm.svmPageIn(2))).toEqual(['UV_PAGE_IN 0', 'H_SVM_PAGE_IN 0']);
    lab.check();
  });

  it('at H_SVM_INIT_DONE leaves contents behind', () => {
    const lab = new UvmemLab();
    lab.fill();
    lab.vm.svmInitStart();
    lab.vm.svmPageIn(1);
    const calls = lab.calls(() => lab.vm.svmInitDone());
    expect(calls).toEqual(['H_SVM_INIT_DONE 0']);
    expect([0, 1, 2].map((gfn) => lab.vm.guestLoad32(lab.gpa(gfn)))).toEqual([0, MARK + 1, 0]);
  });

  it('reports success also where the page could not move', () => {
    // Pages of a shared mapping belong to a file, and a file cannot have device memory.
    const lab = new UvmemLab({ slot: false });
    const address = lab.proc.mmap({ pages: 1, shared: true });
    lab.proc.store32(address, MARK);
    lab.vm.setMemoryRegion({ slot: 0, gfn: 0, pages: 1, address });
    lab.vm.svmInitStart();
    expect(hcallResultName(lab.vm.svmPageIn(0))).toBe('H_SUCCESS');
    expect(lab.vm.gfnState(0)).toBe('E');
    expect(lab.kvm.pagesInUse).toBe(0);
    expect(lab.machine.ownerOf(lab.proc, address)).toBe('system');
    lab.check();
  });

  it('gives the device page back where the ultravisor refuses', () => {
    const lab = new UvmemLab();
    lab.fill();
    lab.vm.svmInitStart();
    lab.kvm.ultravisor.unregisterMemSlot(lab.vm.lpid, 0);
    expect(hcallResultName(lab.vm.svmPageIn(0))).toBe('H_PARAMETER');
    expect(lab.kvm.pagesInUse).toBe(0);
    // Not normal, as it was: nobody asked for the guest page to be removed.
    expect(lab.vm.gfnState(0)).toBe('E');
    expect(lab.proc.load32(lab.at(0))).toBe(MARK);
    lab.check();
  });
});

describe('page out', () => {
  it('happens when the process touches a secure page, and gives it sealed contents', () => {
    const lab = new UvmemLab();
    lab.fill();
    lab.secure();
    const calls = lab.calls(() => expect(lab.proc.load32(lab.at(2))).not.toBe(MARK + 2));
    expect(calls).toEqual(['UV_PAGE_OUT 0']);
    expect(lab.states()).toBe('SSESSSSS');
    expect(lab.machine.ownerOf(lab.proc, lab.at(2))).toBe('system');
    expect(lab.hostSees()).toBe(false);
    expect(lab.calls(() => expect(lab.vm.guestLoad32(lab.gpa(2))).toBe(MARK + 2))).toEqual([
      'UV_PAGE_IN 0',
      'H_SVM_PAGE_IN 0',
    ]);
    lab.check();
  });

  it('ends in SIGBUS where there is no RAM', () => {
    const lab = new UvmemLab({ ramBytes: 10 * 65_536, pages: 2 });
    lab.fill();
    lab.secure();
    const rest = lab.proc.mmap({ pages: 10 });
    for (let i = 0; i < 10; i++) lab.proc.store32(rest + i * lab.pageSize, 1);
    expect(lab.proc.tryLoad32(lab.at(0))).toBe(-2);
    expect(lab.vm.guestLoad32(0)).toBe(MARK);
    expect(lab.states()).toBe('SS');
    lab.check();
  });

  it('of a page that parent and child have gives both the same sealed page', () => {
    const lab = new UvmemLab();
    lab.fill();
    lab.secure();
    const child = lab.proc.fork();
    const seen = child.load32(lab.at(0));
    expect(lab.proc.load32(lab.at(0))).toBe(seen);
    expect(seen).not.toBe(MARK);
    expect(lab.vm.guestLoad32(0)).toBe(MARK);
    child.store32(lab.at(0), 1);
    // The child has a copy of its own, so that was no tampering.
    expect(lab.vm.guestLoad32(0)).toBe(MARK);
    expect(child.load32(lab.at(0))).toBe(1);
    lab.check();
  });

  it('of a child that outlives the VM is refused', () => {
    const lab = new UvmemLab();
    lab.fill();
    lab.secure();
    const child = lab.proc.fork();
    lab.proc.exit();
    expect(child.tryLoad32(lab.at(0))).toBe(-2);
    lab.check();
    child.exit();
    expect(lab.kvm.pagesInUse).toBe(0);
  });

  it('happens without the ultravisor where the page becomes a shared one', () => {
    const lab = new UvmemLab();
    lab.fill();
    lab.secure();
    expect(lab.calls(() => lab.vm.share(0))).toEqual([
      'UV_PAGE_IN 0',
      'H_SVM_PAGE_IN 0',
      'UV_SHARE_PAGE 0',
    ]);
    expect(lab.hostSees((word) => word === MARK)).toBe(false);
  });

  it('is not asked for where memory is unmapped: the page counts as out, yet it is not', () => {
    const lab = new UvmemLab();
    lab.fill();
    lab.secure();
    lab.unmap(0, 2);
    // page_free came from munmap, without uvmem_lock.
    expect(lab.states()).toBe('EESSSSSS');
    expect(lab.kvm.pagesInUse).toBe(6);
    // The guest does not care.
    expect(lab.vm.guestLoad32(0)).toBe(MARK);
    expect(lab.vm.guestStore32(0, 5)).toBe(0);
    expect(lab.vm.guestLoad32(0)).toBe(5);
    lab.check();
  });

  it('finds a secure page that the process has moved elsewhere', () => {
    const lab = new UvmemLab().secure();
    const elsewhere = lab.proc.mmap({ pages: 1 });
    expect(lab.proc.mremap(lab.at(0), lab.pageSize, elsewhere)).toBe(elsewhere);
    // The device page knows what it stands for.
    expect(lab.proc.load32(elsewhere)).not.toBe(0);
    expect(lab.vm.gfnState(0)).toBe('E');
    lab.check();
  });
});

describe('a page that is shared', () => {
  it('is looked for again and again where the process has moved the secure one away', () => {
    const lab = new UvmemLab().secure();
    const elsewhere = lab.proc.mmap({ pages: 1 });
    lab.proc.mremap(lab.at(0), lab.pageSize, elsewhere);
    lab.proc.mmap({ pages: 1, addr: lab.at(0) });
    expect(() => lab.vm.share(0)).toThrow(/10000 times/);
  });

  it('is another one to the guest as soon as the process has another one', () => {
    const lab = new UvmemLab();
    lab.secure();
    lab.vm.share(0);
    lab.vm.guestStore32(0, 7);
    const child = lab.proc.fork();
    // The store of the process breaks the sharing with the child; the guest follows.
    lab.proc.store32(lab.at(0), 8);
    expect(lab.vm.guestLoad32(0)).toBe(8);
    lab.vm.guestStore32(0, 9);
    expect([lab.proc.load32(lab.at(0)), child.load32(lab.at(0))]).toEqual([9, 7]);
    lab.proc.fork();
    lab.vm.guestStore32(0, 10);
    expect(lab.proc.load32(lab.at(0))).toBe(10);
    lab.proc.dontneed(lab.at(0), lab.pageSize);
    expect(lab.vm.guestLoad32(0)).toBe(0);
    lab.check();
  });

  it('is gone for the guest where the process has it no more', () => {
    const lab = new UvmemLab().secure();
    lab.vm.share(0);
    const calls = lab.calls(() => lab.unmap(0, 1));
    expect(calls).toContain('UV_PAGE_INVAL 0');
    expect(lab.vm.guestLoad32(0)).toBe(-14);
    lab.proc.mmap({ pages: 1, addr: lab.at(0), prot: 'r' });
    expect(lab.vm.guestLoad32(0)).toBe(-14);
    lab.check();
  });

  it('that was shared before the guest ran follows the process, too', () => {
    const lab = new UvmemLab();
    lab.fill();
    lab.vm.svmInitStart();
    lab.vm.svmPageIn(0, H_PAGE_IN_SHARED);
    const child = lab.proc.fork();
    lab.proc.store32(lab.at(0), 8);
    lab.vm.svmInitDone();
    expect(lab.vm.guestLoad32(0)).toBe(8);
    lab.vm.guestStore32(0, 9);
    expect([lab.proc.load32(lab.at(0)), child.load32(lab.at(0))]).toEqual([9, MARK]);
    lab.check();
  });

  it('is brought by the hypervisor when the guest touches it: to send a page to the ultravisor', () => {
    const lab = new UvmemLab();
    lab.secure();
    lab.vm.share(0);
    const send = (gfn: number): number => lab.machine.run(sendPageToUv(lab.vm, lab.gpa(gfn)));
    expect(lab.calls(() => expect(send(0)).toBe(0))).toEqual(['UV_PAGE_IN 0']);
    // No slot has the page; the process has none there; the ultravisor does not take it.
    expect(lab.calls(() => expect(send(1000)).toBe(-14))).toEqual([]);
    lab.unmap(0, 1);
    expect(lab.calls(() => expect(send(0)).toBe(-14))).toEqual([]);
    lab.proc.mmap({ pages: 1, addr: lab.at(0) });
    lab.kvm.ultravisor.unregisterMemSlot(lab.vm.lpid, 0);
    expect(lab.calls(() => expect(send(0)).toBe(-14))).toEqual(['UV_PAGE_IN -56']);
    lab.check();
  });

  it('does not show what the page held while it was secure', () => {
    const lab = new UvmemLab();
    lab.fill();
    lab.secure();
    // Out, sealed: what lies in RAM is of no use to anybody.
    lab.vm.svmPageOut(0);
    expect(lab.proc.load32(lab.at(0))).not.toBe(0);
    expect(lab.vm.svmPageIn(0, H_PAGE_IN_SHARED)).toBe(0);
    expect(lab.proc.load32(lab.at(0))).toBe(0);
    expect(lab.vm.guestLoad32(0)).toBe(0);
    lab.check();
  });
});

describe('an attack of the hypervisor', () => {
  function sealed(): UvmemLab {
    const lab = new UvmemLab();
    lab.fill();
    lab.secure();
    lab.vm.guestStore32(0, MARK + 100);
    lab.vm.svmPageOut(0);
    lab.vm.svmPageOut(1);
    return lab;
  }

  /** The process copies a page, as it sees it. */
  function copy(lab: UvmemLab, to: number, from: number): void {
    for (let at = 0; at < lab.pageSize; at += 4) {
      lab.proc.store32(lab.at(to) + at, lab.proc.load32(lab.at(from) + at));
    }
  }

  it('by changing a page is seen by the guest', () => {
    const lab = sealed();
    const word = lab.proc.load32(lab.at(0) + 400);
    lab.proc.store32(lab.at(0) + 400, word ^ 1);
    expect(hcallResultName(lab.vm.guestLoad32(0))).toBe('H_PARAMETER');
    expect(hcallResultName(lab.vm.guestStore32(0, 1))).toBe('H_PARAMETER');
    expect(lab.states()).toBe('EESSSSSS');
    lab.check();
    // Undone, it is as if nothing had been.
    lab.proc.store32(lab.at(0) + 400, word);
    expect(lab.vm.guestLoad32(0)).toBe(MARK + 100);
  });

  it('by putting an old version in the place of the latest is refused', () => {
    const lab = sealed();
    const spare = lab.proc.mmap({ pages: 1 });
    const move = (to: number, from: number): void => {
      for (let at = 0; at < lab.pageSize; at += 4) {
        lab.proc.store32(to + at, lab.proc.load32(from + at));
      }
    };
    move(spare, lab.at(0));
    expect(lab.vm.guestLoad32(0)).toBe(MARK + 100);
    lab.vm.guestStore32(0, MARK + 101);
    lab.vm.svmPageOut(0);
    move(lab.at(0), spare);
    expect(hcallResultName(lab.vm.guestLoad32(0))).toBe('H_PARAMETER');
    lab.check();
  });

  it('by moving a page to another address is refused', () => {
    const lab = sealed();
    copy(lab, 0, 1);
    expect(hcallResultName(lab.vm.guestLoad32(0))).toBe('H_PARAMETER');
    expect(lab.vm.guestLoad32(lab.gpa(1))).toBe(MARK + 1);
    lab.check();
  });

  it('by dropping a page is seen by the guest, and stays so', () => {
    const lab = sealed();
    lab.proc.dontneed(lab.at(0), lab.pageSize);
    // H_SVM_PAGE_IN succeeds: there is a device page now, but nothing came.
    expect(lab.vm.guestLoad32(0)).toBe(-11);
    expect(lab.states()).toBe('SESSSSSS');
    expect(hcallResultName(lab.vm.guestLoad32(0))).toBe('H_PARAMETER');
    // The process gets an empty page for it.
    expect(lab.proc.load32(lab.at(0))).toBe(0);
    expect(hcallResultName(lab.vm.guestLoad32(0))).toBe('H_PARAMETER');
    lab.check();
  });

  it('by giving the guest contents of its own is refused', () => {
    const lab = new UvmemLab({ slot: false });
    lab.addSlot(0, 0, 1);
    lab.secure();
    lab.unmap(0, 1);
    lab.proc.mmap({ pages: 1, addr: lab.at(0) });
    lab.proc.store32(lab.at(0), 666);
    expect(hcallResultName(lab.vm.svmPageIn(0))).toBe('H_PARAMETER');
    expect(lab.vm.guestLoad32(0)).toBe(0);
    lab.check();
  });

  it('by comparing pages tells it nothing: equal pages are sealed unlike', () => {
    const lab = new UvmemLab();
    lab.secure();
    const words = new Set<number>();
    for (let round = 0; round < 3; round++) {
      for (let gfn = 0; gfn < 4; gfn++) {
        words.add(lab.proc.load32(lab.at(gfn)));
        expect(lab.vm.guestLoad32(lab.gpa(gfn))).toBe(0);
      }
    }
    expect(words.size).toBe(12);
  });
});

describe.each(ERAS.map(({ name }) => name))('under the rules of %s', (era) => {
  it.each([4096, 65_536])('with pages of %i, a guest keeps its secrets', (pageSize) => {
    const lab = new UvmemLab({ era, pageSize });
    const dmirror = lab.machine.attach(new Dmirror());
    const file = dmirror.open(lab.proc);
    lab.fill();
    expect(lab.vm.guestLoad32(lab.gpa(1))).toBe(MARK + 1);
    lab.secure();
    lab.check();
    for (let i = 0; i < lab.pages; i++) lab.vm.guestStore32(lab.gpa(i) + 8, MARK + 100 + i);
    expect(lab.hostSees()).toBe(false);
    // The process and a device touch what they can.
    for (const i of [0, 3]) expect(isMark(lab.proc.load32(lab.at(i) + 8))).toBe(false);
    const read = file.read(lab.at(2), 1);
    expect([...read.data].some(isMark)).toBe(false);
    file.migrateToDev(lab.at(0), 2);
    lab.check();
    expect(lab.hostSees()).toBe(false);
    const words = Array.from({ length: 8 }, (_, i) => lab.vm.guestLoad32(lab.gpa(i) + 8));
    // Page 0 lies sealed on the device and does not come from there: nothing is taken for it. In
    // v5.6 the driver takes it from the device all the same, and gets nothing that fits.
    expect(hcallResultName(words[0]!)).toBe('H_PARAMETER');
    expect(words.slice(1)).toEqual([1, 2, 3, 4, 5, 6, 7].map((i) => MARK + 100 + i));
    expect(lab.machine.kernel.trespasses > 0).toBe(era === 'v5.6');
    lab.check();
    lab.proc.exit();
    expect(lab.kvm.pagesInUse).toBe(0);
    lab.check();
  });
});

describe("another device's page in a memory slot", () => {
  it.each(['v5.7', 'v5.10', 'v6.1', 'v6.12'] as const)('stays where it is in %s', (era) => {
    const lab = new UvmemLab({ era });
    const lab0 = lab.machine.attach(new Pgmaplab());
    lab.fill();
    const flags = MIGRATE_VMA_SELECT_SYSTEM;
    const start = lab.at(2);
    lab0.open(lab.proc).migrate({ owner: null, flags, to: lab0.labs[0]!, start, npages: 1 });
    expect(lab.machine.ownerOf(lab.proc, start)).toBe(lab0.labs[0]!.owner);
    // So the guest cannot become secure.
    expect(hcallResultName(lab.vm.esm())).toBe('H_PARAMETER');
    expect(lab.states()).toBe('........');
    expect(lab.machine.kernel.trespasses).toBe(0);
    expect(lab.machine.ownerOf(lab.proc, start)).toBe(lab0.labs[0]!.owner);
    for (let i = 0; i < 8; i++) expect(lab.proc.load32(lab.at(i))).toBe(MARK + i);
    lab.check();
  });

  it('was taken in v5.6, and its contents were lost', () => {
    const lab = new UvmemLab({ era: 'v5.6' });
    const dmirror = lab.machine.attach(new Dmirror({ name: 'gpu' }));
    const file = dmirror.open(lab.proc);
    lab.fill();
    file.migrateToDev(lab.at(2), 1);
    const told: object[] = [];
    lab.machine.events.on('trespass', ({ by, what, owner, va }) =>
      told.push({ by, what, owner: owner.name, va }),
    );
    lab.secure();
    expect(told).toEqual([
      { by: 'kvm-uvmem', what: 'migrate', owner: 'gpu', va: lab.at(2) },
      { by: 'kvm-uvmem', what: 'read', owner: 'gpu', va: null },
    ]);
    expect(lab.vm.guestLoad32(lab.gpa(2))).toBe(0xffffffff);
    expect(dmirror.pagesInUse).toBe(0);
    lab.machine.events.removeAllListeners();
    lab.check();
  });
});
