/** Recordings as lines of JSON: a header, then one record a line. */
import { type EventSource, eventsOf } from './event-source.ts';

/** Version of the lines. Fields may be added without a new one. */
export const JSONL_VERSION = 1;

/**
 * The lines, each with its line end. The first has `hmmlab: "events"`, the version, the number of
 * records, and what the recording says of its machine. A record has the fields of a `RecordedEvent`;
 * numbers are decimal, and a field that is not known is left out.
 */
export function* exportJsonl(source: EventSource): Generator<string, void, undefined> {
  const { length: records, meta } = source;
  yield `${JSON.stringify({ hmmlab: 'events', version: JSONL_VERSION, records, meta })}\n`;
  for (const event of eventsOf(source)) yield `${JSON.stringify(event)}\n`;
}
