/** What a machine with GPUs, dmirrors and secure guests shows without being touched. */
import type { Machine } from '../../../src/core/machine.ts';
import { leafIndex } from '../../../src/core/mm/page-table.ts';
import { PTE_DEVICE_EXCLUSIVE, PTE_NONE, PTE_WRITE } from '../../../src/core/mm/pte.ts';
import type { Vma } from '../../../src/core/mm/vma.ts';
import { NO_PAGE, type Page } from '../../../src/core/units.ts';
import { Dmirror, DmirrorFile } from '../../../src/drivers/dmirror/index.ts';
import { KvmUvmem, type KvmVm } from '../../../src/drivers/kvm-uvmem/index.ts';
import { Nouveau, NouveauFile } from '../../../src/drivers/nouveau/index.ts';
import { GPU_PTE_ATOMIC, GPU_PTE_WRITE } from '../../../src/hw/gpu-page-table.ts';
import type { ProgramProcess } from '../../../src/program/types.ts';
import type { Space } from '../model.ts';
import { BUFFERS_BASE } from '../view.ts';

/** "ram", "dev0" (a dmirror), "gpu1", "uv" (secure memory), or "none": no page, or the zero page. */
export type Home = string;

/** What one address of one process has. */
export interface Place {
  readonly vma: Vma | null;
  /** Null where there is no entry. */
  readonly page: Page | null;
  readonly home: Home;
  readonly writable: boolean;
  /** A device has it to itself. */
  readonly exclusive: boolean;
  /** The first word that stands there. */
  readonly value: number;
}

/** Places by process and page number. */
export type View = ReadonlyMap<number, ReadonlyMap<number, Place>>;

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

export class MixedEye {
  readonly machine: Machine;
  readonly gpus: readonly Nouveau[];
  readonly dmirrors: readonly Dmirror[];
  readonly uvmem: KvmUvmem | null;
  readonly #homes: Map<object, Home> = new Map();

  constructor(machine: Machine) {
    this.machine = machine;
    this.gpus = machine.drivers.filter((one) => one instanceof Nouveau);
    this.dmirrors = machine.drivers.filter((one) => one instanceof Dmirror);
    this.uvmem = machine.drivers.find((one) => one instanceof KvmUvmem) ?? null;
    this.gpus.forEach((gpu, i) => {
      this.#homes.set(gpu, `gpu${i}`);
    });
    this.dmirrors.forEach((device, i) => {
      this.#homes.set(device, `dev${i}`);
    });
    if (this.uvmem !== null) this.#homes.set(this.uvmem.owner, 'uv');
  }

  vpn(pageNumber: number): number {
    return BUFFERS_BASE / this.machine.pageSize + pageNumber;
  }

  /** The page number of an address. */
  numberOf(va: number): number {
    return (va - BUFFERS_BASE) / this.machine.pageSize;
  }

  homeOf(page: Page): Home {
    if (page === NO_PAGE) return 'none';
    const pagemap = this.machine.kernel.pages.pagemapOf(page);
    return pagemap === null ? 'ram' : (this.#homes.get(pagemap.owner) ?? '?');
  }

  look(one: ProgramProcess, pageNumber: number): Place {
    const { mm } = one.process;
    const { pages } = this.machine.kernel;
    const vpn = this.vpn(pageNumber);
    const vma = mm.vmas.find(mm.va(vpn));
    const leaf = mm.pageTable.leaf(vpn);
    const at = leafIndex(vpn);
    if (leaf !== null && leaf.kind(at) !== PTE_NONE) {
      const page = leaf.page[at]!;
      const writable = (leaf.bits[at]! & PTE_WRITE) !== 0;
      const exclusive = leaf.kind(at) === PTE_DEVICE_EXCLUSIVE;
      return {
        vma,
        page,
        home: this.homeOf(page),
        writable,
        exclusive,
        value: pages.read32(page, 0),
      };
    }
    const index = vma === null ? 0 : vpn - mm.vpn(vma.start) + vma.pgoff;
    const cached = vma?.file?.cached(index);
    const value = cached === undefined ? 0 : pages.read32(cached, 0);
    return { vma, page: null, home: 'none', writable: false, exclusive: false, value };
  }

  /** The places that `spaces` knows. */
  view(processes: ReadonlyMap<number, ProgramProcess>, spaces: ReadonlyMap<number, Space>): View {
    const view: Map<number, Map<number, Place>> = new Map();
    for (const [number, space] of spaces) {
      const one = processes.get(number);
      const places: Map<number, Place> = new Map();
      if (one !== undefined) for (const at of space.keys()) places.set(at, this.look(one, at));
      view.set(number, places);
    }
    return view;
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
