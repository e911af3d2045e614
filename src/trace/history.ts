/** Questions to a recording: who owned a page, when, and why. */

import type { SimEventKind } from '../core/events/types.ts';
import type { Va } from '../core/units.ts';
import type { RecordedEnd, RecordedEvent, RecordedEventOf } from './recorded.ts';
import type { Recording } from './recording.ts';

export type OwnerChange = RecordedEventOf<'owner_change'>;

/** A page of an address space: whatever page frame is behind `va`. */
export interface PagePlace {
  readonly pid: number;
  /** First byte of the page. */
  readonly va: Va;
}

/** A moment: after all records of that time, or after one record. Ids are those of records. */
export type Moment = { readonly timeNs: number } | { readonly event: number };

/** A time in which an address had one page frame of one owner, or none. */
export interface OwnerSpan {
  /** An owner's name, `system` for RAM, null for nobody. */
  readonly owner: string | null;
  /** The page frame; null where there is none, and before the recording tells of one. */
  readonly page: number | null;
  readonly fromNs: number;
  /** Null where it lasted to the end of the recording. */
  readonly toNs: number | null;
  /** The change that began it; null if it began before the recording did. */
  readonly begin: OwnerChange | null;
  /** The change that ended it; null if none did. */
  readonly end: OwnerChange | null;
}

export class History {
  readonly recording: Recording;
  /** Positions of changes of owner, by process and first byte of the page. */
  readonly #changes: Map<number, Map<Va, number[]>> = new Map();
  #children: ChildIndex | null = null;
  #migrations: readonly RecordedEventOf<'migrate'>[] | null = null;

  constructor(recording: Recording) {
    this.recording = recording;
    for (let i = 0; i < recording.length; i++) {
      if (recording.kindAt(i) !== 'owner_change') continue;
      const { pid, va } = recording.event(i) as OwnerChange;
      this.#note(pid, va, i);
    }
  }

  /** Every page that had an owner at some time, by process and address. */
  pages(): PagePlace[] {
    const all = [...this.#changes].flatMap(([pid, places]) =>
      [...places.keys()].map((va) => ({ pid, va })),
    );
    return all.sort((a, b) => a.pid - b.pid || a.va - b.va);
  }

  /** The first byte of the page that `va` lies in. */
  pageStart(va: Va): Va {
    return va - (va % this.recording.meta.pageSize);
  }

  /** Processes that had a page at `va`, by pid. */
  processesAt(va: Va): number[] {
    const start = this.pageStart(va);
    return [...this.#changes]
      .filter(([, places]) => places.has(start))
      .map(([pid]) => pid)
      .sort((a, b) => a - b);
  }

  /** Every change of owner of one page, in order. */
  changes(pid: number, va: Va): OwnerChange[] {
    const places = this.#changes.get(pid)?.get(this.pageStart(va)) ?? [];
    return places.map((i) => this.recording.event(i) as OwnerChange);
  }

  /**
   * Who owned what `va` mapped at a moment, at the end of the recording if none is given: an owner's
   * name, `system` for RAM, null for nobody.
   */
  ownerAt(pid: number, va: Va, at?: Moment): string | null {
    const changes = this.changes(pid, va);
    const last = changes.findLast((change) => isUntil(change, at));
    return last === undefined ? (changes[0]?.from ?? null) : last.to;
  }

  /** All owners of a page in order, without gaps from its first change to the end. */
  life(pid: number, va: Va): OwnerSpan[] {
    const changes = this.changes(pid, va);
    const first = changes[0];
    const spans = changes.map((begin, i) => spanOf(begin, changes[i + 1] ?? null));
    if (first === undefined || first.from === null) return spans;
    const fromNs = this.recording.event(0).timeNs;
    const before = { owner: first.from, page: null, fromNs, toNs: first.timeNs };
    return [{ ...before, begin: null, end: first }, ...spans];
  }

  /** A record, what it happened in, and so on up to the root, which comes last. */
  chain(event: RecordedEvent): RecordedEvent[] {
    const chain = [event];
    let at = event;
    while (at.parent !== null) {
      const parent = this.recording.byId(at.parent);
      // What caused a record is older; a file that says otherwise shall not lead round in circles.
      if (parent === undefined || parent.id >= at.id) break;
      chain.push(parent);
      at = parent;
    }
    return chain;
  }

  /**
   * What happened in the span that began with this id, at any depth, ends left out: only the records
   * of these kinds, in order.
   */
  within<Kind extends SimEventKind>(id: number, kinds: readonly Kind[]): RecordedEventOf<Kind>[] {
    const { recording } = this;
    this.#children ??= new ChildIndex(recording);
    const found: number[] = [];
    const open = [recording.indexOf(id)];
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      for (const child of this.#children.of(at)) {
        if ((kinds as readonly SimEventKind[]).includes(recording.kindAt(child))) found.push(child);
        open.push(child);
      }
    }
    return found.sort((a, b) => a - b).map((i) => recording.event(i) as RecordedEventOf<Kind>);
  }

  /** The end of a span, by its beginning; null if it has none here. */
  endOf(begin: RecordedEvent): RecordedEnd | null {
    this.#children ??= new ChildIndex(this.recording);
    const at = this.#children.endOf(this.recording.indexOf(begin.id));
    return at < 0 ? null : (this.recording.event(at) as RecordedEnd);
  }

  /** The beginnings of the migrations of `pid` whose range holds `va`, in order. */
  migrationsOver(pid: number, va: Va): RecordedEventOf<'migrate'>[] {
    this.#migrations ??= [...this.recording.of('migrate')].filter(({ phase }) => phase === 'begin');
    return this.#migrations.filter((one) => one.pid === pid && one.start <= va && va < one.end);
  }

  #note(pid: number, va: Va, position: number): void {
    let places = this.#changes.get(pid);
    if (places === undefined) {
      places = new Map();
      this.#changes.set(pid, places);
    }
    const start = this.pageStart(va);
    const positions = places.get(start);
    if (positions === undefined) places.set(start, [position]);
    else positions.push(position);
  }
}

/** True where `change` happened at that moment or before. */
export function isUntil(change: OwnerChange, at: Moment | undefined): boolean {
  if (at === undefined) return true;
  return 'event' in at ? change.id <= at.event : change.timeNs <= at.timeNs;
}

function spanOf(begin: OwnerChange, end: OwnerChange | null): OwnerSpan {
  return {
    owner: begin.to,
    page: begin.to === null ? null : begin.page,
    fromNs: begin.timeNs,
    toNs: end?.timeNs ?? null,
    begin,
    end,
  };
}

const ROOT_KINDS: ReadonlySet<string> = new Set(['call', 'cpu_fault', 'device_fault', 'gpu_fault']);

/**
 * The changes of owner that nothing explains: whose chain does not lead to an access or a call. A
 * recording that began with its machine has none.
 */
export function unexplainedChanges(history: History): OwnerChange[] {
  const found: OwnerChange[] = [];
  for (const change of history.recording.of('owner_change')) {
    if (!isExplained(history.chain(change))) found.push(change);
  }
  return found;
}

/** True where a chain leads all the way to an access or a call. */
export function isExplained(chain: readonly RecordedEvent[]): boolean {
  const root = chain.at(-1);
  return root !== undefined && root.parent === null && ROOT_KINDS.has(root.kind);
}

/** Which records happened in which, and where spans end. */
class ChildIndex {
  readonly #recording: Recording;
  /** Positions of children, those of one parent together. */
  readonly #positions: Uint32Array;
  /** By the parent's position: where its children start in `#positions`. */
  readonly #starts: Uint32Array;
  /** By the position of a beginning: that of its end, plus 1; 0 if there is none. */
  readonly #ends: Uint32Array;

  constructor(recording: Recording) {
    const { length } = recording;
    const parents = new Int32Array(length).fill(-1);
    this.#recording = recording;
    this.#starts = new Uint32Array(length + 1);
    this.#ends = new Uint32Array(length);
    let children = 0;
    for (let i = 0; i < length; i++) {
      const parent = this.#see(i);
      parents[i] = parent;
      if (parent < 0) continue;
      this.#starts[parent + 1]!++;
      children++;
    }
    for (let i = 0; i < length; i++) this.#starts[i + 1]! += this.#starts[i]!;
    this.#positions = new Uint32Array(children);
    const next = this.#starts.slice();
    parents.forEach((parent, i) => {
      if (parent >= 0) this.#positions[next[parent]!++] = i;
    });
  }

  /** The positions of the children of the record at a position. */
  of(at: number): Uint32Array {
    return this.#positions.subarray(this.#starts[at], this.#starts[at + 1]);
  }

  /** The position of the end of the span that began at a position, or -1. */
  endOf(at: number): number {
    return (this.#ends[at] ?? 0) - 1;
  }

  /** Notes an end; of other records, the position of the parent, or -1. */
  #see(i: number): number {
    const recording = this.#recording;
    const event = recording.event(i);
    if ('phase' in event && event.phase === 'end') {
      const begin = recording.indexOf(event.begin);
      if (begin >= 0) this.#ends[begin] = i + 1;
      return -1;
    }
    if (event.parent === null || event.parent >= event.id) return -1;
    return recording.indexOf(event.parent);
  }
}
