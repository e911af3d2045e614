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

export class OpenSpans {
  /** The latest last. */
  readonly #spans: OpenSpan[] = [];

  begin(span: OpenSpan): void {
    span.thread.spans.push(span.id);
    this.#spans.push(span);
  }

  /**
   * Closes the latest span of that description and returns it; undefined where nobody heard it begin.
   * Spans may end out of order, as two migrations of one driver may.
   */
  end(kind: SpanKind, of: object, part: number | string): OpenSpan | undefined {
    const spans = this.#spans;
    for (let at = spans.length - 1; at >= 0; at--) {
      const span = spans[at]!;
      if (span.of !== of || span.part !== part || span.kind !== kind) continue;
      if (at === spans.length - 1) spans.pop();
      else spans.splice(at, 1);
      leave(span);
      return span;
    }
    return undefined;
  }

  /** Forgets them all: their ends will find nobody who heard them begin. */
  clear(): void {
    for (const span of this.#spans.splice(0)) leave(span);
  }
}

function leave({ id, thread }: OpenSpan): void {
  const { spans } = thread;
  const at = spans.lastIndexOf(id);
  if (at === spans.length - 1) spans.pop();
  else if (at >= 0) spans.splice(at, 1);
}
