/** Which spans are open while one goes through the records of a machine. */
import type { RecordedBegin, RecordedEvent } from './recorded.ts';

/** A span that has begun and not ended. */
export interface OpenSpan {
  readonly begin: RecordedBegin;
  /** The span it happened in, if that was open when it began. */
  readonly up: OpenSpan | null;
}

type SpanKind = RecordedBegin['kind'];

export class OpenSpans {
  readonly #open = new Map<number, OpenSpan>();

  /** The span that `event` happened in, or null. */
  around(event: RecordedEvent): OpenSpan | null {
    return event.parent === null ? null : (this.#open.get(event.parent) ?? null);
  }

  /** The innermost span of this kind that `event` happened in, or null. */
  nearest(event: RecordedEvent, kind: SpanKind): OpenSpan | null {
    let span = this.around(event);
    while (span !== null && span.begin.kind !== kind) span = span.up;
    return span;
  }

  /**
   * The migration that moved the page of an `owner_change`, or null where something else did. Only
   * the steps `pages` and `finalize` move pages, and migrations by page, which tell no steps.
   */
  mover(event: RecordedEvent): OpenSpan | null {
    let span = this.around(event);
    if (span?.begin.kind === 'invalidate') span = span.up;
    if (span?.begin.kind === 'migrate_phase') {
      const { step } = span.begin;
      span = step === 'pages' || step === 'finalize' ? span.up : null;
    }
    return span?.begin.kind === 'migrate' ? span : null;
  }

  /** To be called for each record, in order, after it was looked at. */
  pass(event: RecordedEvent): void {
    if (!('phase' in event)) return;
    if (event.phase === 'end') this.#open.delete(event.begin);
    else this.#open.set(event.id, { begin: event, up: this.around(event) });
  }
}
