/** The DMA mappings of migrations, which can be made to fail. */
import { EIO } from '../../core/errno.ts';
import type { Kernel } from '../../core/kernel.ts';
import type { StateHash } from '../../core/state-hash.ts';
import { Failures } from '../../hw/failures.ts';

/** Pages of RAM that a migration maps for the copy engine: dma_map_page and dma_unmap_page. */
export class DmaMappings {
  readonly failures: Failures = new Failures('no DMA mapping');
  #mapped = 0;

  /** Pages that are mapped now. */
  get mapped(): number {
    return this.#mapped;
  }

  /** Maps a page: 0, or -EIO where dma_mapping_error says so. */
  map({ faults }: Kernel): number {
    if (this.failures.attempt()) return -EIO;
    if (faults?.fails('dma_map') === true) return -EIO;
    this.#mapped++;
    return 0;
  }

  fingerprint(hash: StateHash): void {
    hash.add(this.#mapped);
    this.failures.fingerprint(hash);
  }

  unmap(count: number): void {
    this.#mapped -= count;
  }
}
