// Traces in Chrome's format, read by the tests.

import { expect } from 'vitest';
import type { EventSource } from '../../src/trace/event-source.ts';
import { exportChrome } from '../../src/trace/export-chrome.ts';
import { problemsOf } from './chrome-validator.ts';

type ArgName =
  | 'name'
  | 'pages'
  | 'event'
  | 'parent'
  | 'time_ns'
  | 'va'
  | 'device'
  | 'device_address'
  | 'cause'
  | 'from'
  | 'to'
  | 'step_id'
  | 'batch_id'
  | 'retry'
  | 'driver'
  | 'src_flags'
  | 'dst_flags'
  | 'owner_old'
  | 'owner_new';

export type Args = Readonly<Partial<Record<ArgName, unknown>>>;

export interface TraceEvent {
  readonly ph: string;
  readonly name: string;
  readonly cat: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur: number;
  readonly id: number | string;
  readonly args: Args;
}

export interface OtherData {
  readonly clock: string;
  readonly clock_max_shift_ns: number;
  readonly config_hash: string;
  readonly crossing_spans: number;
  readonly dropped_records: number;
}

export interface Trace {
  readonly otherData: OtherData;
  readonly traceEvents: readonly TraceEvent[];
}

export function textOf(source: EventSource): string {
  return [...exportChrome(source, { version: '1.2.3', seed: 7 })].join('');
}

/** The trace of a source; it obeys the rules. */
export function traceOf(source: EventSource): Trace {
  const text = textOf(source);
  expect(problemsOf(text)).toEqual([]);
  return JSON.parse(text) as Trace;
}

export function processNames({ traceEvents }: Trace): Map<number, unknown> {
  const named = traceEvents.filter(({ name }) => name === 'process_name');
  return new Map(named.map(({ pid, args }) => [pid, args.name]));
}

/** The slices that a flow leads through: "process: slice". */
export function flowOf(trace: Trace, flow: number): string[] {
  const names = processNames(trace);
  const points = trace.traceEvents.filter(({ ph, id }) => 'stf'.includes(ph) && id === flow);
  return points.map(({ pid, tid, ts }) => {
    const slice = trace.traceEvents.find((one) => {
      return one.ph === 'X' && one.pid === pid && one.tid === tid && one.ts === ts;
    });
    return `${names.get(pid)}: ${slice!.name}`;
  });
}

export function named(trace: Trace, name: string, ph = 'X'): TraceEvent[] {
  return trace.traceEvents.filter((event) => event.ph === ph && event.name === name);
}
