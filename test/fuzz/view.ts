/** What a machine shows without being touched: where every page is, whose it is, what it holds. */
import type { Machine } from '../../src/core/machine.ts';
import { leafIndex } from '../../src/core/mm/page-table.ts';
import { PTE_DEVICE_EXCLUSIVE, PTE_NONE, PTE_WRITE } from '../../src/core/mm/pte.ts';
import type { Vma } from '../../src/core/mm/vma.ts';
import { NO_PAGE, type Page, type Va } from '../../src/core/units.ts';
import { Dmirror, DmirrorFile } from '../../src/drivers/dmirror/index.ts';
import { Pgmaplab } from '../../src/drivers/pgmaplab/index.ts';
import type { ProgramProcess } from '../../src/program/types.ts';
import type { Space } from './model.ts';

/**
 * "ram", "dev0" (a dmirror), "lab3", "gpu1", "uv" (secure memory), or "none" for no page or the zero
 * page.
 */
export type Home = string;

/** What one address of one process has. */
export interface Place {
  readonly vma: Vma | null;
  /** Null where there is no entry. */
  readonly page: Page | null;
  readonly home: Home;
  /** The entry lets one write, or will once the page is back. */
  readonly writable: boolean;
  /** A device has it to itself, so it cannot move. */
  readonly exclusive: boolean;
  /** The first word one would read. */
  readonly value: number;
}

/** Places by process and page number. */
export type View = ReadonlyMap<number, ReadonlyMap<number, Place>>;

export const BUFFERS_BASE: Va = 0x1_0000_0000;

/** Looks at a machine that has dmirrors, and whatever `homeOf` knows. */
export abstract class MachineEye {
  readonly machine: Machine;
  readonly dmirrors: readonly Dmirror[];

  constructor(machine: Machine) {
    this.machine = machine;
    this.dmirrors = machine.drivers.filter((one) => one instanceof Dmirror);
  }

  abstract homeOf(page: Page): Home;

  vpn(pageNumber: number): number {
    return BUFFERS_BASE / this.machine.pageSize + pageNumber;
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
      const value = pages.read32(page, 0);
      return { vma, page, home: this.homeOf(page), writable, exclusive, value };
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
}

/** Looks at a machine of dmirrors and labs. */
export class Eye extends MachineEye {
  readonly lab: Pgmaplab;

  constructor(machine: Machine) {
    super(machine);
    this.lab = machine.drivers.find((one) => one instanceof Pgmaplab)!;
  }

  override homeOf(page: Page): Home {
    if (page === NO_PAGE) return 'none';
    const pagemap = this.machine.kernel.pages.pagemapOf(page);
    if (pagemap === null) return 'ram';
    const device = this.dmirrors.indexOf(pagemap.owner as Dmirror);
    return device >= 0 ? `dev${device}` : `lab${this.lab.labOf(page)?.index}`;
  }

  /** The open file of each dmirror, by its number. */
  mirrors(one: ProgramProcess): (DmirrorFile | null)[] {
    return this.dmirrors.map((device) => {
      const file = one.files.get(device);
      return file instanceof DmirrorFile ? file : null;
    });
  }

  /** Pages that cannot move: somebody holds them, or a device has them to itself. */
  held(view: View): ReadonlySet<Page> {
    const held = new Set(this.lab.heldReferences().keys());
    for (const places of view.values()) {
      for (const { page, exclusive } of places.values()) if (exclusive) held.add(page!);
    }
    return held;
  }
}
