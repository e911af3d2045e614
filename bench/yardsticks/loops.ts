/** Things every JavaScript program does, at the speed this computer does them now. */
import { EventEmitter } from 'eventemitter3';
import { keep, rateOf } from '../harness/measure.ts';

/** Generators a second that are made, run to their end and answer: what a call that sleeps costs. */
export function emptyGenerators(): number {
  const count = 2_000_000;
  let sum = 0;
  const rate = rateOf(count, () => {
    for (let i = 0; i < count; i++) sum += emptyTask(i).next().value;
  });
  keep(sum);
  return rate;
}

// biome-ignore lint/correctness/useYield: what is measured is a generator that does nothing
function* emptyTask(value: number): Generator<never, number, undefined> {
  return value;
}

/** Events a second that EventEmitter3 hands to one listener, a new object of ten fields each. */
export function emittedObjects(): number {
  const count = 1_000_000;
  const emitter = new EventEmitter<{ tell: (event: { readonly id: number }) => void }>();
  let heard = 0;
  emitter.on('tell', (event) => {
    heard += event.id;
  });
  const rate = rateOf(count, () => {
    for (let id = 0; id < count; id++) {
      const event = {
        kind: 'owner_change',
        id,
        timeNs: 0,
        thread: 'boot',
        parent: null,
        pid: 1,
        va: id * 4096,
        page: id,
        from: null,
        to: 'system',
      };
      emitter.emit('tell', event);
    }
  });
  keep(heard);
  return rate;
}

/**
 * A heap of objects kept at a depth of `depth`, with so many distinct times: what an engine of
 * events does at the least. Pushes and pops a second.
 */
export function heapOfObjects(depth: number, distinct: number): number {
  const count = 1_000_000;
  const heap: Timed[] = [];
  let seq = 0;
  for (let i = 0; i < depth; i++) pushHeap(heap, { time: i % distinct, seq: seq++ });
  const rate = rateOf(count, () => {
    for (let i = 0; i < count; i++) {
      const { time } = popHeap(heap);
      pushHeap(heap, { time: time + 1 + (i % distinct), seq: seq++ });
    }
  });
  keep(heap[0]!.time);
  return rate;
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
