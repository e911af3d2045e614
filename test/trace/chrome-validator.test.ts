// The validator finds each offence: a trace that breaks one rule is told from one that breaks none.

import { describe, expect, it } from 'vitest';
import { exportChrome } from '../../src/trace/export-chrome.ts';
import { problemsOf } from './chrome-validator.ts';
import { HAND_OVER } from './programs.ts';
import { recordingOfText } from './sources.ts';

interface Args {
  time_ns?: number;
  va?: string | number;
  bytes?: number;
}

interface TraceEvent {
  ph: string;
  name: string;
  cat?: string;
  id?: string;
  bp?: string;
  s?: string;
  pid: number;
  tid?: number | undefined;
  ts?: number | undefined;
  dur?: number;
  args?: object;
}

interface Trace {
  displayTimeUnit: string;
  otherData: { seed?: unknown };
  traceEvents: TraceEvent[];
}

const GOOD = [...exportChrome(recordingOfText(HAND_OVER))].join('');

/** What the validator says of the good trace after `spoil`. */
function spoilt(spoil: (trace: Trace) => void): string[] {
  const trace = JSON.parse(GOOD) as Trace;
  spoil(trace);
  const text = JSON.stringify(trace);
  return problemsOf(
    text.replace(/"(ts|dur)":([\d.]+)/g, (_, key, time) => {
      return `"${key}":${Number(time).toFixed(3)}`;
    }),
  );
}

function first(
  trace: Trace,
  ph: string,
  where: (event: TraceEvent) => boolean = () => true,
): TraceEvent {
  return trace.traceEvents.find((event) => event.ph === ph && where(event))!;
}

function without(trace: Trace, event: TraceEvent): void {
  trace.traceEvents = trace.traceEvents.filter((one) => one !== event);
}

const OFFENCES: Readonly<Record<string, (trace: Trace) => void>> = {
  'displayTimeUnit is ms': (trace) => {
    trace.displayTimeUnit = 'ms';
  },
  'otherData has no seed': (trace) => {
    delete trace.otherData.seed;
  },
  'is out of order': (trace) => {
    const at = trace.traceEvents.findIndex(({ ph }) => ph === 'X');
    trace.traceEvents.push(trace.traceEvents.splice(at, 1)[0]!);
  },
  'process 2 has no process_name': (trace) => {
    without(
      trace,
      first(trace, 'M', ({ name, pid }) => name === 'process_name' && pid === 2),
    );
  },
  'process 2 has no process_sort_index': (trace) => {
    const isIt = ({ name, pid }: TraceEvent): boolean => name === 'process_sort_index' && pid === 2;
    without(trace, first(trace, 'M', isIt));
  },
  'has no thread_name': (trace) => {
    without(
      trace,
      first(trace, 'M', ({ name }) => name === 'thread_name'),
    );
  },
  'is in two processes': (trace) => {
    for (const event of trace.traceEvents) if ('tid' in event && event.ph !== 'C') event.tid = 99;
  },
  crosses: (trace) => {
    const fault = first(trace, 'X', ({ name }) => name === 'cpu_fault');
    const line = first(trace, 'X', ({ name }) => String(name).startsWith('line 7'));
    fault.pid = line.pid;
    fault.tid = line.tid;
    fault.dur = (line.dur as number) + 1;
  },
  'lasts 0': (trace) => {
    first(trace, 'X').dur = 0;
  },
  'ends without a beginning': (trace) => {
    const { pid, tid, ts } = first(trace, 'i');
    trace.traceEvents.push({ ph: 'e', name: 'a', cat: 'a', id: '0x1', pid, tid, ts });
    trace.traceEvents.sort((a, b) => Number(a.ts ?? -1) - Number(b.ts ?? -1));
  },
  'does not end': (trace) => {
    const { pid, tid } = first(trace, 'i');
    const { ts } = trace.traceEvents.at(-1)!;
    const args = { event: 1, thread: '', time_ns: 0 };
    trace.traceEvents.push({ ph: 'b', name: 'a', cat: 'a', id: '0x1', pid, tid, ts, args });
  },
  'is in no slice': (trace) => {
    const flow = first(trace, 's');
    const others = trace.traceEvents.filter(({ ph, ts }) => ph === 'X' && ts === flow.ts);
    for (const slice of others) without(trace, slice);
  },
  'ends without bp': (trace) => {
    delete first(trace, 'f').bp;
  },
  'has the points': (trace) => {
    without(trace, first(trace, 's'));
  },
  'has not one number': (trace) => {
    first(trace, 'C').args = { pages: 1, bytes: 2 };
  },
  'is -1': (trace) => {
    first(trace, 'C').args = { pages: -1 };
  },
  'has no scope': (trace) => {
    delete first(trace, 'i').s;
  },
  'has no time_ns': (trace) => {
    delete (first(trace, 'X').args as Args).time_ns;
  },
  'va is no address': (trace) => {
    const slice = first(trace, 'X', ({ args }) => 'va' in (args as Args));
    (slice.args as Args).va = 4096;
  },
  'has no size': (trace) => {
    const slice = first(trace, 'X', ({ args }) => 'va' in (args as Args));
    delete (slice.args as Args).bytes;
  },
  'phase Q is unknown': (trace) => {
    first(trace, 'i').ph = 'Q';
  },
};

describe('the validator of Chrome traces', () => {
  it('finds nothing wrong with a good trace, written anew', () => {
    expect(spoilt(() => {})).toEqual([]);
  });

  it('finds times without three decimals', () => {
    expect(problemsOf(GOOD.replace(/"ts":(\d+)\.000/, '"ts":$1'))).toEqual([
      '1 of ts lack three decimals',
    ]);
  });

  it.each(Object.keys(OFFENCES))('finds that something %s', (message) => {
    expect(spoilt(OFFENCES[message]!).join('\n')).toContain(message);
  });
});
