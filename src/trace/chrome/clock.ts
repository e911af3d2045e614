/** Times of a Chrome trace: every record has a time of its own, so that slices can nest. */
import { type EventSource, ORDER_STEP_NS, RecordClock } from '../event-source.ts';

/** Records of the same nanosecond are drawn this far apart. */
const TIE_STEP_NS = 1;

export class ChromeClock {
  /** What a record of no duration lasts, in nanoseconds. */
  readonly stepNs: number;
  /** How far any record stands behind its virtual time, in nanoseconds. */
  readonly maxShiftNs: number;
  /** When each record is drawn, in nanoseconds; strictly ascending. */
  readonly #drawnNs: Float64Array;

  constructor(source: EventSource) {
    const clock = new RecordClock(source);
    this.stepNs = clock.usesTime ? TIE_STEP_NS : ORDER_STEP_NS;
    this.#drawnNs = new Float64Array(source.length);
    let lastNs = Number.NEGATIVE_INFINITY;
    let maxShiftNs = 0;
    for (let i = 0; i < source.length; i++) {
      const timeNs = Math.round(clock.at(source.event(i), i));
      lastNs = Math.max(timeNs, lastNs + this.stepNs);
      maxShiftNs = Math.max(maxShiftNs, lastNs - timeNs);
      this.#drawnNs[i] = lastNs;
    }
    this.maxShiftNs = maxShiftNs;
  }

  get usesTime(): boolean {
    return this.stepNs === TIE_STEP_NS;
  }

  /** For people who wonder about the times. */
  get description(): string {
    return this.usesTime
      ? 'virtual time; records of the same nanosecond are drawn 1 ns apart'
      : 'order of records: no virtual time passed, so that each record counts as 1 us';
  }

  /** When record `i` is drawn, in nanoseconds. */
  at(i: number): number {
    return this.#drawnNs[i]!;
  }
}

/** Nanoseconds as microseconds with three decimals, exactly. */
export function microseconds(ns: number): string {
  const thousandths = String(ns % 1000).padStart(3, '0');
  return `${Math.floor(ns / 1000)}.${thousandths}`;
}
