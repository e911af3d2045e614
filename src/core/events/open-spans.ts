/** Spans of the event stream that have begun and not ended. */
import type { Thread } from '../sched/thread.ts';
import type { SpanKind } from './types.ts';

/** A span that has begun. */
export interface OpenSpan {
  readonly id: number;
  readonly parent: number | null;
  /** Where it began; a migration may end elsewhere. */
  readonly thread: Thread;
  /** With the kind and `part`, finds it again: a fault's thread, a migration, a notifier range. */
  readonly kind: SpanKind;
  readonly of: object;
  readonly part: number | string;
  /** What it tells of itself. */
  readonly info: object;
}

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };

export class OpenSpans {
  /** The latest last. Objects beyond `#count` have ended, and serve the next that begin. */
  readonly #spans: Mutable<OpenSpan>[] = [];
  #count = 0;

  begin(
    id: number,
    parent: number | null,
    thread: Thread,
    kind: SpanKind,
    of: object,
    part: number | string,
    info: object,
  ): void {
    thread.spans.push(id);
    const spans = this.#spans;
    const at = this.#count++;
    if (at === spans.length) {
      spans.push({ id, parent, thread, kind, of, part, info });
      return;
    }
    const span = spans[at]!;
    span.id = id;
    span.parent = parent;
    span.thread = thread;
    span.kind = kind;
    span.of = of;
    span.part = part;
    span.info = info;
  }

  /**
   * Closes the latest span of that description and returns it, to be read before the next begins;
   * undefined where nobody heard it begin. Spans may end out of order, as two migrations of one
   * driver may.
   */
  end(kind: SpanKind, of: object, part: number | string): OpenSpan | undefined {
    const spans = this.#spans;
    const last = this.#count - 1;
    for (let at = last; at >= 0; at--) {
      const span = spans[at]!;
      if (span.of !== of || span.part !== part || span.kind !== kind) continue;
      // The objects of those that ended stay behind the open ones.
      if (at < last) spans.splice(last, 0, ...spans.splice(at, 1));
      this.#count = last;
      leave(span);
      return span;
    }
    return undefined;
  }

  /** Forgets them all: their ends will find nobody who heard them begin. */
  clear(): void {
    for (const span of this.#spans.splice(0).slice(0, this.#count)) leave(span);
    this.#count = 0;
  }
}

function leave({ id, thread }: OpenSpan): void {
  const { spans } = thread;
  const at = spans.lastIndexOf(id);
  if (at === spans.length - 1) spans.pop();
  else if (at >= 0) spans.splice(at, 1);
}
