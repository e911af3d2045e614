/**
 * Leaves out what a small TLB would answer: of a thread's accesses only those remain that miss an LRU
 * list of its last pages, and the first store to a page on it. Programs touch the same few pages again
 * and again, so traces become some hundred times smaller, and still every page is touched in order.
 */
import { AccessWriter } from '../access-writer.ts';
import type { AccessBatch, MappingChange, WorkloadSink } from '../types.ts';

interface Recent {
  /** The last used first. */
  readonly pages: Float64Array<ArrayBuffer>;
  /** 1 where a store was passed on. */
  readonly stored: Uint8Array<ArrayBuffer>;
  count: number;
  /** Accesses that were left out since the last one that was not. */
  leftOut: number;
}

/** Call `end` last. The weights of what it passes on add up to those of what it got. */
export class LruFilter implements WorkloadSink {
  readonly #out: AccessWriter;
  readonly #entries: number;
  readonly #threads: (Recent | undefined)[] = [];

  /** @param entries length of each thread's list, 1 or more */
  constructor(entries: number, sink: WorkloadSink) {
    this.#entries = entries;
    this.#out = new AccessWriter(sink);
  }

  /** Accesses passed on. */
  get records(): number {
    return this.#out.records;
  }

  accesses({ count, vpn, thread, write, weight }: AccessBatch): void {
    for (let i = 0; i < count; i++) {
      const of = thread[i]!;
      let recent = this.#threads[of];
      if (recent === undefined) {
        recent = newRecent(this.#entries);
        this.#threads[of] = recent;
      }
      const page = vpn[i]!;
      const isStore = write[i] !== 0;
      if (this.#isHit(recent, page, isStore)) {
        recent.leftOut += weight[i]!;
        continue;
      }
      this.#out.access(page, of, isStore, weight[i]! + recent.leftOut);
      recent.leftOut = 0;
    }
  }

  mapping(change: MappingChange): void {
    this.#out.mapping(change);
    if (change.kind === 'map') return;
    // What comes there later is another page.
    for (const recent of this.#threads) if (recent !== undefined) forget(recent, change);
  }

  /** Passes on what was left out last: as loads of the page that each thread used last. */
  end(): void {
    for (const [thread, recent] of this.#threads.entries()) {
      if (recent === undefined || recent.leftOut === 0 || recent.count === 0) continue;
      this.#out.access(recent.pages[0]!, thread, false, recent.leftOut);
      recent.leftOut = 0;
    }
    this.#out.flush();
  }

  /** Moves `page` to the front. True: it was on the list, and its store is no news. */
  #isHit(recent: Recent, page: number, isStore: boolean): boolean {
    const { pages, stored, count } = recent;
    let at = 0;
    while (at < count && pages[at] !== page) at++;
    const isThere = at < count;
    const wasStored = isThere && stored[at] !== 0;
    if (!isThere) {
      if (count < this.#entries) recent.count++;
      else at--;
    }
    for (; at > 0; at--) {
      pages[at] = pages[at - 1]!;
      stored[at] = stored[at - 1]!;
    }
    pages[0] = page;
    stored[0] = wasStored || isStore ? 1 : 0;
    return isThere && (wasStored || !isStore);
  }
}

function newRecent(entries: number): Recent {
  return {
    pages: new Float64Array(entries),
    stored: new Uint8Array(entries),
    count: 0,
    leftOut: 0,
  };
}

function forget(recent: Recent, { start, pages: gone }: MappingChange): void {
  const { pages, stored, count } = recent;
  let kept = 0;
  for (let i = 0; i < count; i++) {
    if (pages[i]! >= start && pages[i]! < start + gone) continue;
    pages[kept] = pages[i]!;
    stored[kept] = stored[i]!;
    kept++;
  }
  recent.count = kept;
}
