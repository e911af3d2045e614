/**
 * Faults to plant in a mixed machine, to see whether random programs find them. They patch the
 * running code and leave the sources alone.
 */
import { eraNamed } from '../../../src/core/era.ts';
import type { Machine } from '../../../src/core/machine.ts';
import { Svmm } from '../../../src/drivers/nouveau/svmm.ts';
import { BusMaster } from '../../../src/hw/bus.ts';
import { FaultBuffer } from '../../../src/hw/fault-buffer.ts';
import { Gpu } from '../../../src/hw/gpu.ts';
import { GpuPageTable } from '../../../src/hw/gpu-page-table.ts';
import { PageCipher, type SealedPage } from '../../../src/hw/page-cipher.ts';
import { Ultravisor } from '../../../src/hw/ultravisor.ts';

export interface MixedMutation {
  readonly name: string;
  readonly summary: string;
  /** What the finding says. */
  readonly finding: RegExp;
  /** Plants the fault; the function it returns takes it away again. */
  plant(): () => void;
  /** What it does to each machine. */
  prepare?(machine: Machine): void;
}

const nothingToUndo = (): void => {};

/** Puts `patch(original)` in the place of a method until the function it returns is called. */
function patched<T extends object, K extends keyof T & string>(
  prototype: T,
  name: K,
  patch: (original: T[K]) => T[K],
): () => void {
  const original = prototype[name];
  prototype[name] = patch(original);
  return () => {
    prototype[name] = original;
  };
}

export const MIXED_MUTATIONS: readonly MixedMutation[] = [
  {
    name: 'owner',
    summary: 'migrate_vma takes device pages whoever owns them, as it did until v5.6',
    finding: /device memory that is not his/,
    plant: () => nothingToUndo,
    prepare(machine) {
      const era = { ...machine.kernel.era, selection: eraNamed('v5.6').selection };
      Object.defineProperty(machine.kernel, 'era', { value: era });
    },
  },
  {
    name: 'plaintext',
    summary: 'the ultravisor proves that pages are unchanged, but gives them out as they are',
    finding: /secret/,
    plant() {
      const { seal } = PageCipher.prototype;
      const undoSeal = patched(PageCipher.prototype, 'seal', () => {
        return function (this: PageCipher, words, count, place): SealedPage {
          const { tag } = seal.call(this, words, count, place);
          return { words: words ?? new Uint32Array(count), tag };
        };
      });
      const undoOpen = patched(PageCipher.prototype, 'open', () => {
        return function (this: PageCipher, { words, tag }, place): Uint32Array | null {
          const expected = seal.call(this, words, words.length, place).tag;
          return expected.join() === tag.join() ? words : null;
        };
      });
      return () => {
        undoSeal();
        undoOpen();
      };
    },
  },
  {
    name: 'tag',
    summary: 'the ultravisor takes a sealed page in without a look at its tag',
    finding: /came in|expected/,
    plant: () =>
      patched(PageCipher.prototype, 'open', (open) => {
        return function (this: PageCipher, sealed, place): Uint32Array {
          return open.call(this, sealed, place) ?? sealed.words;
        };
      }),
  },
  {
    name: 'notifier',
    summary: 'nouveau lets migrations by any device pass, not just its own',
    finding: /still maps|holds|read/,
    plant: () =>
      patched(Svmm.prototype, 'invalidateRangeStart', (start) => {
        return function (this: Svmm, range) {
          const own = range.event === 'migrate' ? { ...range, owner: this.device } : range;
          return start.call(this, own);
        };
      }),
  },
  {
    name: 'overflow',
    summary: 'a GPU forgets accesses that found its fault buffer full',
    finding: /no task can ever run/,
    plant: () =>
      patched(Gpu.prototype, 'replay', (replay) => {
        return function (this: Gpu): void {
          if (this.lost === 0) replay.call(this);
        };
      }),
  },
  {
    name: 'unmap',
    summary: 'a GPU keeps the last page of a range that it is told to unmap',
    finding: /still maps/,
    plant: () =>
      patched(GpuPageTable.prototype, 'unmap', (unmap) => {
        return function (this: GpuPageTable, first, end): void {
          unmap.call(this, first, end - first > 1 ? end - 1 : end);
        };
      }),
  },
  {
    name: 'buffer',
    summary: 'every fourth entry of a fault buffer is lost, and nobody is told',
    finding: /no task can ever run|expected/,
    plant() {
      let pushes = 0;
      return patched(FaultBuffer.prototype, 'push', (push) => {
        return function (this: FaultBuffer, entry): boolean {
          return ++pushes % 4 === 0 ? true : push.call(this, entry);
        };
      });
    },
  },
  {
    name: 'share',
    summary: 'the ultravisor does not empty the pages that a guest shares',
    finding: /holds/,
    plant: () =>
      patched(BusMaster.prototype, 'clearPage', (clearPage) => {
        return function (this: BusMaster, page): void {
          if (this.owner.name !== 'kvm-uvmem') clearPage.call(this, page);
        };
      }),
  },
  {
    name: 'inval',
    summary: 'the ultravisor does not hear that a shared page changes',
    finding: /read|holds|wrote/,
    plant: () => patched(Ultravisor.prototype, 'pageInval', () => () => 0),
  },
  {
    name: 'version',
    summary: 'the ultravisor takes a page in as it was when it went out first',
    finding: /read/,
    plant() {
      const first: Map<string, Uint32Array> = new Map();
      const undoSeal = patched(PageCipher.prototype, 'seal', (seal) => {
        return function (this: PageCipher, words, count, place): SealedPage {
          const key = String(place.gpa);
          if (place.version === 1) first.clear();
          if (!first.has(key)) first.set(key, words?.slice() ?? new Uint32Array(count));
          return seal.call(this, words, count, place);
        };
      });
      const undoOpen = patched(PageCipher.prototype, 'open', (open) => {
        return function (this: PageCipher, sealed, place): Uint32Array | null {
          const words = open.call(this, sealed, place);
          return words === null ? null : (first.get(String(place.gpa))?.slice() ?? words);
        };
      });
      return () => {
        undoSeal();
        undoOpen();
      };
    },
  },
  {
    name: 'copy',
    summary: 'every fifth page that a copy engine copies stays empty, and nobody is told',
    finding: /holds|read/,
    plant() {
      let copies = 0;
      return patched(BusMaster.prototype, 'copyPage', (copyPage) => {
        return function (this: BusMaster, to, from): void {
          if (++copies % 5 !== 0) copyPage.call(this, to, from);
        };
      });
    },
  },
];
