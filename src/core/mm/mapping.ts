/**
 * What a page belongs to (page->mapping): an anon_vma or a file. A page's row holds the small
 * number of its mapping; this table leads back to the object.
 */
import type { AnonVma } from './anon-vma.ts';
import type { MemoryFile } from './memory-file.ts';

export type Mapping = AnonVma | MemoryFile;

export class Mappings {
  readonly #byId: (Mapping | null)[] = [null];
  readonly #freeIds: number[] = [];

  /** Gives `mapping` a number from 1 up. */
  register(mapping: Mapping): number {
    const id = this.#freeIds.pop() ?? this.#byId.length;
    this.#byId[id] = mapping;
    return id;
  }

  unregister(id: number): void {
    this.#byId[id] = null;
    this.#freeIds.push(id);
  }

  byId(id: number): Mapping | null {
    return this.#byId[id] ?? null;
  }
}
