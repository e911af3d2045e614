/** Which spans lie wholly inside of each other on their thread, so that they may be slices. */
import type { EventSource } from '../event-source.ts';

const NONE = -1;

export class ChromeNesting {
  /** For the beginning of a span, the position of its end; -1 for spans that do not end. */
  readonly endOf: Int32Array;
  /** 1 for the beginnings of spans that nest. */
  readonly #nested: Uint8Array;
  /** Spans that do not end. */
  unfinished = 0;
  /** Spans that cross another one, or end on another thread. */
  crossing = 0;

  constructor(source: EventSource) {
    const { length } = source;
    this.endOf = new Int32Array(length).fill(NONE);
    this.#nested = new Uint8Array(length);
    const beginOf = new Int32Array(length).fill(NONE);
    const threadOf = new Int32Array(length);
    const threads = new Map<string, number>();
    for (let i = 0; i < length; i++) {
      const event = source.event(i);
      threadOf[i] = numberOf(threads, event.thread);
      if (!('phase' in event)) continue;
      if (event.phase === 'begin') this.unfinished++;
      else {
        beginOf[i] = source.indexOf(event.begin);
        if (beginOf[i]! < 0) continue;
        this.endOf[beginOf[i]!] = i;
        this.unfinished--;
      }
    }
    this.#nest(beginOf, threadOf, threads.size);
  }

  /** True where the span that begins at record `i` is a slice. */
  isNested(i: number): boolean {
    return this.#nested[i] === 1;
  }

  #nest(beginOf: Int32Array, threadOf: Int32Array, threads: number): void {
    const stacks = Array.from({ length: threads }, (): number[] => []);
    for (let i = 0; i < beginOf.length; i++) {
      const begin = beginOf[i]!;
      const stack = stacks[threadOf[begin >= 0 ? begin : i]!]!;
      if (begin < 0) {
        // Spans without an end are drawn beside the others and disturb nobody.
        if (this.endOf[i]! >= 0) stack.push(i);
      } else if (stack.at(-1) === begin && threadOf[begin] === threadOf[i]) {
        stack.pop();
        this.#nested[begin] = 1;
      } else {
        stack.splice(stack.lastIndexOf(begin), 1);
        this.crossing++;
      }
    }
  }
}

function numberOf(numbers: Map<string, number>, name: string): number {
  let number = numbers.get(name);
  if (number === undefined) {
    number = numbers.size;
    numbers.set(name, number);
  }
  return number;
}
