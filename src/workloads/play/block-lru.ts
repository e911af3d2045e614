/** Blocks of pages in the order of their last use: what to send home when device memory is full. */
import { VpnTable } from '../../core/mm/vpn-table.ts';

/** Pages of a block, which goes home as a whole: 64 KiB, as what GPUs move at the least. */
export const BLOCK_PAGES = 16;

const NONE = 0;

/** A doubly linked list over columns; node 0 is its head and its end. */
export class BlockLru {
  readonly #nodeOf: VpnTable = new VpnTable();
  #block: Float64Array<ArrayBuffer> = new Float64Array(64);
  #older: Uint32Array<ArrayBuffer> = new Uint32Array(64);
  #newer: Uint32Array<ArrayBuffer> = new Uint32Array(64);
  readonly #free: number[] = [];
  #next = 1;
  #lastUsed = -1;

  /** The block was used now. */
  use(block: number): void {
    if (block === this.#lastUsed) return;
    this.#lastUsed = block;
    let node = this.#nodeOf.get(block);
    if (node >= 0) this.#unlink(node);
    else {
      node = this.#take();
      this.#block[node] = block;
      this.#nodeOf.set(block, node);
    }
    const newest = this.#older[NONE]!;
    this.#older[node] = newest;
    this.#newer[node] = NONE;
    this.#newer[newest] = node;
    this.#older[NONE] = node;
  }

  /** Takes the block that was used longest ago off the list; -1 where there is none. */
  takeOldest(): number {
    const node = this.#newer[NONE]!;
    if (node === NONE) return -1;
    const block = this.#block[node]!;
    this.#unlink(node);
    this.#nodeOf.delete(block);
    this.#free.push(node);
    if (block === this.#lastUsed) this.#lastUsed = -1;
    return block;
  }

  #unlink(node: number): void {
    const older = this.#older[node]!;
    const newer = this.#newer[node]!;
    this.#newer[older] = newer;
    this.#older[newer] = older;
  }

  #take(): number {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#next === this.#block.length) {
      this.#block = grown(this.#block, new Float64Array(this.#next * 2));
      this.#older = grown(this.#older, new Uint32Array(this.#next * 2));
      this.#newer = grown(this.#newer, new Uint32Array(this.#next * 2));
    }
    return this.#next++;
  }
}

function grown<T extends Float64Array | Uint32Array>(old: T, fresh: T): T {
  fresh.set(old);
  return fresh;
}
