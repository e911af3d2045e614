/** What a machine with GPUs, dmirrors and secure guests shows without being touched. */
import type { Machine } from '../../../src/core/machine.ts';
import { NO_PAGE, type Page } from '../../../src/core/units.ts';
import { DmirrorFile } from '../../../src/drivers/dmirror/index.ts';
import { KvmUvmem, type KvmVm } from '../../../src/drivers/kvm-uvmem/index.ts';
import { Nouveau, NouveauFile } from '../../../src/drivers/nouveau/index.ts';
import { GPU_PTE_ATOMIC, GPU_PTE_WRITE } from '../../../src/hw/gpu-page-table.ts';
import type { ProgramProcess } from '../../../src/program/types.ts';
import { BUFFERS_BASE, type Home, MachineEye } from '../view.ts';

/** How a device maps a page. */
export interface MirrorEntry {
  readonly page: Page;
  readonly writable: boolean;
}

/** The page table of a device for one process. */
export interface Mirror {
  /** Whose: "gpu0", "dev1". */
  readonly device: Home;
  readonly size: number;
  entry(pageNumber: number): MirrorEntry | null;
}

export class MixedEye extends MachineEye {
  readonly gpus: readonly Nouveau[];
  readonly uvmem: KvmUvmem | null;
  readonly #homes: Map<object, Home> = new Map();

  constructor(machine: Machine) {
    super(machine);
    this.gpus = machine.drivers.filter((one) => one instanceof Nouveau);
    this.uvmem = machine.drivers.find((one) => one instanceof KvmUvmem) ?? null;
    this.gpus.forEach((gpu, i) => {
      this.#homes.set(gpu, `gpu${i}`);
    });
    this.dmirrors.forEach((device, i) => {
      this.#homes.set(device, `dev${i}`);
    });
    if (this.uvmem !== null) this.#homes.set(this.uvmem.owner, 'uv');
  }

  /** The page number of an address. */
  numberOf(va: number): number {
    return (va - BUFFERS_BASE) / this.machine.pageSize;
  }

  override homeOf(page: Page): Home {
    if (page === NO_PAGE) return 'none';
    const pagemap = this.machine.kernel.pages.pagemapOf(page);
    return pagemap === null ? 'ram' : (this.#homes.get(pagemap.owner) ?? '?');
  }

  /** The page tables that devices have for a process. */
  mirrors(one: ProgramProcess): Mirror[] {
    const found: Mirror[] = [];
    this.gpus.forEach((gpu, i) => {
      const file = one.files.get(gpu);
      const table = file instanceof NouveauFile ? file.svmm?.vmm : null;
      if (table == null || table.size === 0) return;
      const entry = (number: number): MirrorEntry | null => {
        const pte = table.entry(this.vpn(number));
        if (pte === null) return null;
        // An atomic mapping has the page exclusively, whatever the process may do.
        const atomic = this.machine.era.deviceExclusive && (pte.flags & GPU_PTE_ATOMIC) !== 0;
        return { page: pte.page, writable: !atomic && (pte.flags & GPU_PTE_WRITE) !== 0 };
      };
      found.push({ device: `gpu${i}`, size: table.size, entry });
    });
    this.dmirrors.forEach((device, i) => {
      const file = one.files.get(device);
      if (!(file instanceof DmirrorFile) || file.pageTable.size === 0) return;
      const entry = (number: number): MirrorEntry | null => {
        const found = file.pageTable.entry(this.vpn(number));
        return found === null ? null : { page: found.page, writable: found.access === 'write' };
      };
      found.push({ device: `dev${i}`, size: file.pageTable.size, entry });
    });
    return found;
  }

  /** The VM that a process runs. */
  vm(one: ProgramProcess): KvmVm | null {
    return this.uvmem === null ? null : ((one.files.get(this.uvmem) as KvmVm | undefined) ?? null);
  }

  /** The page stands for secure memory of which the ultravisor has nothing. */
  isNowhere(page: Page): boolean {
    const stands = this.uvmem?.standsFor(page) ?? null;
    return stands !== null && this.uvmem!.ultravisor.whereIs(stands.vm.lpid, stands.gpa) === null;
  }

  /** Pages, of RAM or of any device, whose first word is one of `words`. */
  pagesWith(words: ReadonlySet<number>): Page[] {
    const { pages, frames } = this.machine.kernel;
    const { frame, rows } = pages;
    const found: Page[] = [];
    for (let page = 0; page < rows; page++) {
      const contents = frame[page]!;
      if (contents !== 0 && words.has(frames.read(contents, 0))) found.push(page);
    }
    return found;
  }

  /** The same for every word of every page: slow. */
  pagesWithAnywhere(words: ReadonlySet<number>): Page[] {
    const { pages, frames } = this.machine.kernel;
    const { frame, rows } = pages;
    const found: Page[] = [];
    for (let page = 0; page < rows; page++) {
      const contents = frames.view(frame[page]!);
      if (contents?.some((word) => words.has(word))) found.push(page);
    }
    return found;
  }
}
