/**
 * A second, much smaller account of memory: no page tables, no pages, no devices. Every address
 * shows a cell, a store changes a cell, fork copies private cells and shares the others.
 *
 * It imports nothing of the emulator, so that the two cannot share a mistake.
 */

export type Prot = 'rw' | 'r' | 'n';
export type Kind = 'anon' | 'shared' | 'file' | 'fileshared';

/** Contents that one address shows, or several if it is shared. */
export interface Cell {
  value: number;
}

export interface ModelPage {
  readonly shared: boolean;
  prot: Prot;
  cell: Cell;
  /** What a private page shows again once it was given up: zeros, or the file. */
  readonly origin: number;
}

/** A page number: that of a buffer's first page is the buffer's number times this. */
export const BUFFER_STRIDE_PAGES = 65_536;

/** The first word of page i of a file is this plus i. */
const FILE_FIRST_VALUE = 7000;

/** What one process has mapped, by page number. */
export type Space = Map<number, ModelPage>;

export class Model {
  readonly spaces: Map<number, Space> = new Map([[0, new Map()]]);

  space(process: number): Space {
    return this.spaces.get(process)!;
  }

  /** The pages of [first, first + count), undefined where nothing is mapped. */
  range(process: number, first: number, count: number): (ModelPage | undefined)[] {
    const space = this.space(process);
    return Array.from({ length: count }, (_, i) => space.get(first + i));
  }

  mmap(process: number, first: number, count: number, kind: Kind, prot: Prot): void {
    const isFile = kind === 'file' || kind === 'fileshared';
    const shared = kind === 'shared' || kind === 'fileshared';
    for (let i = 0; i < count; i++) {
      const origin = isFile ? FILE_FIRST_VALUE + i : 0;
      this.space(process).set(first + i, { shared, prot, cell: { value: origin }, origin });
    }
  }

  munmap(process: number, first: number, count: number): void {
    for (let i = 0; i < count; i++) this.space(process).delete(first + i);
  }

  /** Private pages are as new; shared ones keep their contents. True if all were mapped. */
  dontneed(process: number, first: number, count: number): boolean {
    const pages = this.range(process, first, count);
    for (const page of pages) {
      if (page !== undefined && !page.shared) page.cell = { value: page.origin };
    }
    return !pages.includes(undefined);
  }

  /** Up to the first hole. True if there is none. */
  mprotect(process: number, first: number, count: number, prot: Prot): boolean {
    for (const page of this.range(process, first, count)) {
      if (page === undefined) return false;
      page.prot = prot;
    }
    return true;
  }

  /** The new place loses what it had. */
  move(process: number, first: number, count: number, target: number): void {
    const moved = this.range(process, first, count);
    this.munmap(process, target, count);
    this.munmap(process, first, count);
    moved.forEach((page, i) => {
      if (page !== undefined) this.space(process).set(target + i, page);
    });
  }

  fork(child: number): void {
    const copy: Space = new Map();
    for (const [at, page] of this.space(0)) {
      copy.set(at, { ...page, cell: page.shared ? page.cell : { ...page.cell } });
    }
    this.spaces.set(child, copy);
  }

  exit(process: number): void {
    this.spaces.delete(process);
  }
}

export function mayRead(page: ModelPage | undefined): page is ModelPage {
  return page !== undefined && page.prot !== 'n';
}

export function mayWrite(page: ModelPage | undefined): page is ModelPage {
  return page !== undefined && page.prot === 'rw';
}
