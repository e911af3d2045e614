/** What reports and exports need of a recording, and the clock they read. */
import type { RecordedEvent, RecordingMeta } from './recorded.ts';

/** The records of a machine in order; a `Recording` is one. */
export interface EventSource {
  readonly meta: RecordingMeta;
  /** Number of records. */
  readonly length: number;
  /** Record `i`, from 0 to `length - 1`. */
  event(i: number): RecordedEvent;
  /** The position of the record with that `id`, or -1. */
  indexOf(id: number): number;
}

/** The records of a source in order. */
export function* eventsOf(source: EventSource): Generator<RecordedEvent, void, undefined> {
  for (let i = 0; i < source.length; i++) yield source.event(i);
}

/** True where virtual time passed between the first and the last record. */
function hasTime(source: EventSource): boolean {
  return virtualTimeNs(source) > 0;
}

/** Virtual time from the first to the last record, in nanoseconds. */
export function virtualTimeNs(source: EventSource): number {
  if (source.length === 0) return 0;
  return source.event(source.length - 1).timeNs - source.event(0).timeNs;
}

/** Records that are missing: ids between the first and the last one that no record has. */
export function droppedRecords(source: EventSource): number {
  if (source.length === 0) return 0;
  const ids = source.event(source.length - 1).id - source.event(0).id + 1;
  return ids - source.length;
}

/** How long a record lasts, in nanoseconds, where no virtual time passes. */
export const ORDER_STEP_NS = 1000;

/**
 * When each record happened, in nanoseconds. Where the machine has no virtual time, the order of
 * the records is the clock, and a record lasts 1 µs.
 */
export class RecordClock {
  readonly usesTime: boolean;

  constructor(source: EventSource) {
    this.usesTime = hasTime(source);
  }

  /** The time of `event`, which is record `i`. */
  at(event: RecordedEvent, i: number): number {
    return this.usesTime ? event.timeNs : i * ORDER_STEP_NS;
  }
}
