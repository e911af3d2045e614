/**
 * kvm-uvmem: the part of KVM that runs secure guests with the help of an ultravisor.
 *
 * Reference: arch/powerpc/kvm/book3s_hv_uvmem.c of Linux 6.1. A page of device-private memory
 * stands for each guest page that is in secure memory; what the page holds only the ultravisor
 * knows. When the hypervisor or a device touches such a page it goes home like any device page,
 * only that what comes home is sealed.
 */
import type { Driver } from '../../core/driver.ts';
import { EFAULT } from '../../core/errno.ts';
import { SimError } from '../../core/errors.ts';
import type { Kernel } from '../../core/kernel.ts';
import type { Machine } from '../../core/machine.ts';
import {
  type DeviceFault,
  type DevPagemap,
  type DevPagemapOps,
  memremapPages,
  type Owner,
} from '../../core/pagemap/pagemap.ts';
import type { Process } from '../../core/process.ts';
import type { MaybeTask, Task } from '../../core/sched/task.ts';
import type { StateHash } from '../../core/state-hash.ts';
import { MiB, NO_PAGE, type Page, type Va } from '../../core/units.ts';
import { BusMaster } from '../../hw/bus.ts';
import { H_PARAMETER } from '../../hw/svm-codes.ts';
import type { SvmHypervisor } from '../../hw/svm-hypervisor.ts';
import { Ultravisor } from '../../hw/ultravisor.ts';
import type { KvmUvmemDefect } from './defects.ts';
import { svmHcall } from './hcalls.ts';
import { migrateToRam, sendPageToUv } from './migrate.ts';
import { GFN_MEM_PFN, GFN_NORMAL, GFN_UVMEM_PFN } from './slots.ts';
import { KvmVm, type KvmVmOptions } from './vm.ts';

export const SECURE_BYTES_DEFAULT: number = 16 * MiB;

export interface KvmUvmemOptions {
  /** For people; "kvm-uvmem" by default. */
  readonly name?: string;
  /**
   * Secure memory in bytes, a multiple of the page size; 16 MiB by default. 0: the platform has no
   * ultravisor, and guests cannot become secure.
   */
  readonly secureBytes?: number;
  /**
   * False, the default: as the kernel has it, faults included. True: with the faults of
   * H_SVM_INIT_START mended; see `KvmUvmem.mended`.
   */
  readonly mended?: boolean;
  /** Faults to have that 6.1 has no more; none by default. */
  readonly defects?: readonly KvmUvmemDefect[];
}

/** struct kvmppc_uvmem_page_pvt: what a device page stands for. */
export interface UvmemPage {
  readonly vm: KvmVm;
  readonly gpa: number;
  /** What the ultravisor has of it is not wanted when it goes home. */
  skipPageOut: boolean;
  /** Its guest page is nothing afterwards, instead of paged out. */
  removeGfn: boolean;
}

/**
 * One in a machine, as the kernel's module. `open` makes a VM.
 *
 *     const kvm = machine.attach(new KvmUvmem({ secureBytes: 4 * MiB }));
 *     const vm = kvm.open(process);
 *     vm.setMemoryRegion({ slot: 0, gfn: 0, pages: 16, address: buffer });
 *     vm.esm();                          // U_SUCCESS: the guest is secure
 *     vm.guestStore32(0, 42);
 *     process.load32(buffer);            // not 42, but the first word of a sealed page
 *     vm.guestLoad32(0);                 // 42
 */
export class KvmUvmem implements Driver, DevPagemapOps {
  readonly name: string;
  /** Whom the device pages belong to: kvmppc_uvmem_pgmap, which is its own owner. */
  readonly owner: Owner;
  readonly secureBytes: number;
  /**
   * H_SVM_INIT_START has two faults, in all versions. It notes that the guest is on its way before it
   * checks anything, and the note stays where a check or a slot fails, so that H_SVM_PAGE_IN is
   * accepted for a guest that is not secure and never will be. And where a slot fails, the slots
   * before it should be taken back, but the loop takes back the one that failed, once for each of
   * them: they stay registered, so that a second start is refused. Mended are both.
   */
  readonly mended: boolean;
  readonly defects: ReadonlySet<KvmUvmemDefect>;
  /** A guest has begun to become secure; from then on pages may come home sealed, or empty. */
  sealsMemory = false;
  #machine: Machine | null = null;
  #pagemap: DevPagemap | null = null;
  #ultravisor: Ultravisor | null = null;
  /** kvmppc_uvmem_bitmap: pages in use. Null without an ultravisor. */
  #bitmap: Uint8Array | null = null;
  /** All pages before this one are in use. */
  #firstMaybeFree = 0;
  /** What the pages in use stand for: `zone_device_data`. */
  readonly #pages: Map<Page, UvmemPage> = new Map();
  readonly #vms: Map<number, KvmVm> = new Map();
  #nextLpid = 1;

  constructor(options: KvmUvmemOptions = {}) {
    this.name = options.name ?? 'kvm-uvmem';
    this.owner = { name: this.name };
    this.secureBytes = options.secureBytes ?? SECURE_BYTES_DEFAULT;
    this.mended = options.mended ?? false;
    this.defects = new Set(options.defects);
  }

  get machine(): Machine {
    if (this.#machine === null) {
      throw new SimError('bad-argument', `${this.name} is not attached to a machine`);
    }
    return this.#machine;
  }

  get kernel(): Kernel {
    return this.machine.kernel;
  }

  get ultravisor(): Ultravisor {
    if (this.#ultravisor !== null) return this.#ultravisor;
    throw new SimError('bad-argument', `${this.name} is not attached to a machine`);
  }

  get owners(): readonly Owner[] {
    return [this.owner];
  }

  /** kvmppc_uvmem_available. */
  get available(): boolean {
    return this.#bitmap !== null;
  }

  /** VMs that exist now, oldest first. */
  get vms(): readonly KvmVm[] {
    return [...this.#vms.values()];
  }

  /** Device pages in use. */
  get pagesInUse(): number {
    return this.#pages.size;
  }

  /** kvmppc_uvmem_init. */
  attach(machine: Machine): void {
    if (this.#machine !== null) {
      throw new SimError('bad-argument', `${this.name} is attached to a machine already`);
    }
    if (machine.drivers.some((one) => one instanceof KvmUvmem)) {
      throw new SimError('bad-argument', 'a machine has at most one kvm-uvmem');
    }
    const { secureBytes } = this;
    if (secureBytes < 0 || !Number.isSafeInteger(secureBytes / machine.pageSize)) {
      throw new SimError(
        'bad-argument',
        `secure memory of ${secureBytes} bytes; expected a multiple of ${machine.pageSize}`,
        { secureBytes },
      );
    }
    this.#machine = machine;
    const hypervisor: SvmHypervisor = {
      hcall: (lpid, call, args) => this.#hcall(lpid, call, args),
      pageFault: (lpid, gpa) => this.#pageFault(lpid, gpa),
    };
    const bus = new BusMaster(machine.kernel, this.owner);
    this.#ultravisor = new Ultravisor(machine.kernel, bus, hypervisor);
    if (secureBytes > 0) this.#addMemory(machine.kernel, secureBytes);
  }

  /** KVM_CREATE_VM: a VM that `proc` runs. */
  open(proc: Process, options: KvmVmOptions = {}): KvmVm {
    const vm = new KvmVm(this, proc, this.#nextLpid++, options);
    this.#vms.set(vm.lpid, vm);
    proc.openFiles.add(vm);
    return vm;
  }

  /** A VM is gone. Pages that stand for its memory may outlive it. */
  forget(vm: KvmVm): void {
    this.#vms.delete(vm.lpid);
  }

  /**
   * How the VM of `proc` has the guest page at `va`: "s" secure, "e" paged out, "h" shared; "rw" or
   * "r" where a normal guest has it mapped; else null.
   */
  mappingOf(proc: Process, va: Va): string | null {
    for (const vm of this.#vms.values()) {
      if (vm.process !== proc) continue;
      const mapping = vm.mappingAt(va);
      if (mapping !== null) return mapping;
    }
    return null;
  }

  fingerprint(hash: StateHash): void {
    for (const [page, { vm, gpa, skipPageOut, removeGfn }] of this.#pages) {
      hash.add(page);
      hash.add(vm.lpid);
      hash.add(gpa);
      hash.add((skipPageOut ? 1 : 0) | (removeGfn ? 2 : 0));
    }
    for (const vm of this.#vms.values()) vm.fingerprint(hash);
    this.#ultravisor?.fingerprint(hash);
  }

  /** What a device page stands for; null for a free one and for other memory. */
  standsFor(page: Page): UvmemPage | null {
    return this.#pages.get(page) ?? null;
  }

  /**
   * kvmppc_uvmem_get_page: the first free device page, locked, with one reference; the guest page
   * counts as secure from here on. NO_PAGE when secure memory is full. The caller holds uvmem_lock.
   */
  getPage(vm: KvmVm, gpa: number): Page {
    const bit = this.#bitmap === null ? -1 : this.#bitmap.indexOf(0, this.#firstMaybeFree);
    if (bit < 0) return NO_PAGE;
    this.#bitmap![bit] = 1;
    this.#firstMaybeFree = bit + 1;
    const pagemap = this.#pagemap!;
    const page = pagemap.firstPage + bit;
    vm.uvmemSlots.mark(vm.gfnOf(gpa), GFN_UVMEM_PFN, page);
    this.#pages.set(page, { vm, gpa, skipPageOut: false, removeGfn: false });
    this.kernel.pages.setDriverData(page, vm.lpid);
    pagemap.initPage(page);
    return page;
  }

  /** kvmppc_uvmem_page_free. Without uvmem_lock where memory is unmapped under it, as in the kernel. */
  pageFree(page: Page): void {
    const bit = page - this.#pagemap!.firstPage;
    this.#bitmap![bit] = 0;
    this.#firstMaybeFree = Math.min(this.#firstMaybeFree, bit);
    const { vm, gpa, removeGfn } = this.#pages.get(page)!;
    this.#pages.delete(page);
    this.kernel.pages.setDriverData(page, 0);
    vm.uvmemSlots.mark(vm.gfnOf(gpa), removeGfn ? GFN_NORMAL : GFN_MEM_PFN);
  }

  /** kvmppc_uvmem_migrate_to_ram. */
  migrateToRam(fault: DeviceFault): MaybeTask<number> {
    return migrateToRam(this, fault);
  }

  #addMemory(kernel: Kernel, bytes: number): void {
    const pagemap = memremapPages(kernel, {
      type: 'private',
      owner: this.owner,
      ops: this,
      bytes,
      name: this.name,
    });
    if (typeof pagemap === 'number') {
      throw new SimError('limit', `no room for ${bytes} bytes of secure memory`, { ret: pagemap });
    }
    this.#pagemap = pagemap;
    this.#bitmap = new Uint8Array(pagemap.pageCount);
  }

  // A VM may be closed while its guest waits for a page.

  *#hcall(lpid: number, call: number, args: readonly number[]): Task<number> {
    const vm = this.#vms.get(lpid);
    return vm === undefined ? H_PARAMETER : yield* svmHcall(vm, call, args, true);
  }

  *#pageFault(lpid: number, gpa: number): Task<number> {
    const vm = this.#vms.get(lpid);
    return vm === undefined ? -EFAULT : yield* sendPageToUv(vm, gpa);
  }
}
