/**
 * Faults to plant in the emulator, to see whether random programs find them. Each breaks one rule
 * in one rare situation; they patch the running code and leave the sources alone.
 */
import { eraNamed } from '../../src/core/era.ts';
import type { Machine } from '../../src/core/machine.ts';
import { Pages } from '../../src/core/memory/pages.ts';
import { Vma } from '../../src/core/mm/vma.ts';
import { MirrorPageTable } from '../../src/drivers/dmirror/page-table.ts';

export interface Mutation {
  readonly name: string;
  readonly summary: string;
  /** Plants the fault; the function it returns takes it away again. */
  plant(): () => void;
  /** What it does to each machine. */
  prepare?(machine: Machine): void;
}

const nothingToUndo = (): void => {};

export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'refcount',
    summary: 'a reference on a device-private page that two processes share is not counted',
    plant() {
      const { get } = Pages.prototype;
      Pages.prototype.get = function (page): void {
        const lost = this.isDevicePrivate(page) && this.mapcount[page]! > 1;
        if (!lost) get.call(this, page);
      };
      return () => {
        Pages.prototype.get = get;
      };
    },
  },
  {
    name: 'owner',
    summary: 'migrate_vma takes device pages whoever owns them, as it did until v5.6',
    plant: () => nothingToUndo,
    prepare(machine) {
      const era = { ...machine.kernel.era, selection: eraNamed('v5.6').selection };
      Object.defineProperty(machine.kernel, 'era', { value: era });
    },
  },
  {
    name: 'write',
    summary: 'fork leaves the pages of memory files that were copied on write writable',
    plant() {
      const isCow = Object.getOwnPropertyDescriptor(Vma.prototype, 'isCow')!;
      Object.defineProperty(Vma.prototype, 'isCow', {
        configurable: true,
        get(this: Vma): boolean {
          return this.file === null && isCow.get!.call(this);
        },
      });
      return () => {
        Object.defineProperty(Vma.prototype, 'isCow', isCow);
      };
    },
  },
  {
    name: 'contents',
    summary: 'a page that moves from one device to another arrives empty',
    plant() {
      const { copyContents } = Pages.prototype;
      Pages.prototype.copyContents = function (to, from): void {
        const lost = this.isZoneDevice(from) && this.isZoneDevice(to);
        if (!lost) copyContents.call(this, to, from);
      };
      return () => {
        Pages.prototype.copyContents = copyContents;
      };
    },
  },
  {
    name: 'mirror',
    summary: 'a device that is told of an invalidation keeps the last page of the range',
    plant() {
      const { eraseRange } = MirrorPageTable.prototype;
      MirrorPageTable.prototype.eraseRange = function (first, last): void {
        // One page more is erased than the range has, as the reference driver does.
        eraseRange.call(this, first, last - 2);
      };
      return () => {
        MirrorPageTable.prototype.eraseRange = eraseRange;
      };
    },
  },
];
