/** Things every JavaScript program does, at the speed this computer does them now. */
import { bestRate, keep, secondsOf, type Yardstick } from './measure.ts';

const PAGE_WORDS = 1024;

/** A generator that is made, runs to its end and answers: what a call that may sleep costs. */
export function emptyGenerators(rounds: number): Yardstick {
  const count = 2_000_000;
  const value = bestRate(rounds, () => {
    const seconds = secondsOf(() => {
      let sum = 0;
      for (let i = 0; i < count; i++) sum += emptyTask(i).next().value;
      keep(sum);
    });
    return { count, seconds };
  });
  return { name: 'empty generators/s', value };
}

// biome-ignore lint/correctness/useYield: what is measured is a generator that does nothing
function* emptyTask(value: number): Generator<never, number, undefined> {
  return value;
}

/** Copies `pages` pages of 4 KiB between two arrays, page by page. */
export function pageCopies(rounds: number, pages: number): Yardstick {
  const from = new Uint32Array(pages * PAGE_WORDS).fill(1);
  const to = new Uint32Array(pages * PAGE_WORDS);
  const value = bestRate(rounds, () => {
    const seconds = secondsOf(() => {
      for (let page = 0; page < pages; page++) {
        const at = page * PAGE_WORDS;
        to.set(from.subarray(at, at + PAGE_WORDS), at);
      }
    });
    keep(to[PAGE_WORDS * (pages - 1)]!);
    return { count: pages, seconds };
  });
  return { name: 'page copies/s', value };
}

/** Reads the words of an array at the same distances as the loads that are measured. */
export function arrayReads(rounds: number, pages: number, passes: number): Yardstick {
  const words = new Uint32Array(pages * PAGE_WORDS).fill(1);
  const value = bestRate(rounds, () => {
    const seconds = secondsOf(() => {
      let sum = 0;
      for (let pass = 0; pass < passes; pass++) {
        for (let page = 0; page < pages; page++) sum += words[page * PAGE_WORDS + pass]!;
      }
      keep(sum);
    });
    return { count: pages * passes, seconds };
  });
  return { name: 'array reads/s', value };
}

/**
 * A heap of objects kept at a depth of `depth`, with so many distinct times: what an engine of
 * events does at the least. One operation is a push and a pop.
 */
export function heapOfObjects(rounds: number, depth: number, distinct: number): Yardstick {
  const count = 1_000_000;
  const value = bestRate(rounds, () => {
    const heap: { readonly time: number; readonly seq: number }[] = [];
    let seq = 0;
    for (let i = 0; i < depth; i++) pushHeap(heap, { time: i % distinct, seq: seq++ });
    const seconds = secondsOf(() => {
      for (let i = 0; i < count; i++) {
        const { time } = popHeap(heap);
        pushHeap(heap, { time: time + 1 + (i % distinct), seq: seq++ });
      }
    });
    keep(heap[0]!.time);
    return { count, seconds };
  });
  return { name: 'pushes and pops of a heap of objects/s', value };
}

interface Timed {
  readonly time: number;
  readonly seq: number;
}

function isBefore(one: Timed, other: Timed): boolean {
  return one.time < other.time || (one.time === other.time && one.seq < other.seq);
}

function pushHeap(heap: Timed[], item: Timed): void {
  let at = heap.length;
  heap.push(item);
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (!isBefore(item, heap[parent]!)) break;
    heap[at] = heap[parent]!;
    at = parent;
  }
  heap[at] = item;
}

function popHeap(heap: Timed[]): Timed {
  const first = heap[0]!;
  const last = heap.pop()!;
  if (heap.length === 0) return first;
  let at = 0;
  for (let child = 1; child < heap.length; child = 2 * at + 1) {
    if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
    if (!isBefore(heap[child]!, last)) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = last;
  return first;
}
