// The validator finds each offence: a trace that breaks one rule is told from one that breaks none.

import { describe, expect, it } from 'vitest';
import { exportChrome } from '../../src/trace/export-chrome.ts';
import { problemsOf } from './chrome-validator.ts';
import { GUEST_AND_GPUS, HAND_OVER } from './programs.ts';
import { recordingOfText } from './sources.ts';

interface Args {
  time_ns?: number;
  va?: string | number;
  bytes?: number;
  owner_old?: string;
  owner_new?: string;
  src_flags?: string;
  dst_flags?: string;
  retry?: number;
  batch_id?: number;
  step_id?: number;
  driver?: string;
  device?: string;
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

const GOOD_GPUS = [...exportChrome(recordingOfText(GUEST_AND_GPUS))].join('');

/** What the validator says of a good trace after `spoil`. */
function spoilt(spoil: (trace: Trace) => void, good: string = GOOD): string[] {
  const trace = JSON.parse(good) as Trace;
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

/** The arguments of the first slice of that name. */
function argsOf(trace: Trace, name: string): Args {
  return first(trace, 'X', (event) => event.name === name).args as Args;
}

function counter(trace: Trace, name: string): TraceEvent {
  return first(trace, 'C', (event) => event.name === name);
}

/** In a trace that has fault buffers. */
const CONTENT_OFFENCES: Readonly<Record<string, (trace: Trace) => void>> = {
  'owner_old is undefined': (trace) => {
    delete argsOf(trace, 'migrate').owner_old;
  },
  'owner_new is system': (trace) => {
    argsOf(trace, 'migrate').owner_new = 'system';
  },
  'migrate has no src_flags': (trace) => {
    delete argsOf(trace, 'migrate').src_flags;
  },
  'has no src_flags or dst_flags': (trace) => {
    argsOf(trace, 'migrate').dst_flags = '16';
  },
  'flags of 15 pages, of 16': (trace) => {
    argsOf(trace, 'migrate').src_flags = 'VALID 15, WRITE 15, of 15';
  },
  'more words are VALID': (trace) => {
    argsOf(trace, 'migrate').src_flags = 'VALID 17, WRITE 16, of 16';
  },
  'more words have WRITE': (trace) => {
    argsOf(trace, 'migrate').src_flags = 'VALID 15, WRITE 16, of 16';
  },
  'more moved than': (trace) => {
    argsOf(trace, 'migrate').dst_flags = 'VALID 15';
  },
  'cpu_fault has no retry': (trace) => {
    delete argsOf(trace, 'cpu_fault').retry;
  },
  'device_fault: retry 2 of what was not tried': (trace) => {
    argsOf(trace, 'device_fault').retry = 2;
  },
  'cpu_fault: retry 1 of what was not tried': (trace) => {
    argsOf(trace, 'cpu_fault').retry = 1;
  },
  'gpu_fault: batch_id is undefined, not 1': (trace) => {
    delete argsOf(trace, 'gpu_fault').batch_id;
  },
  'device_fault: batch_id is 2, not 1': (trace) => {
    argsOf(trace, 'device_fault').batch_id = 2;
  },
  'fault_replay: batch_id is 2, not 1': (trace) => {
    const isIt = ({ name, args }: TraceEvent): boolean => {
      return name === 'fault_replay' && (args as Args).device === 'nouveau0';
    };
    without(trace, first(trace, 'X', isIt));
  },
  'cpu_fault: step_id is undefined, not 7': (trace) => {
    delete argsOf(trace, 'cpu_fault').step_id;
  },
  'migrate: step_id is 7, not 8': (trace) => {
    argsOf(trace, 'migrate').step_id = 7;
  },
  'line 6: mmap 0 32 anon rw: step_id is undefined, not 6': (trace) => {
    const line = first(trace, 'X', ({ name }) => name.startsWith('line 6: '));
    line.args = { actor: 'program', event: 1, thread: '', time_ns: 0 };
  },
  'migrate: driver is undefined, not nouveau': (trace) => {
    delete argsOf(trace, 'migrate').driver;
  },
  'collect: driver is undefined, not nouveau': (trace) => {
    delete argsOf(trace, 'collect').driver;
  },
  'gpu_fault: driver is dmirror, not nouveau': (trace) => {
    argsOf(trace, 'gpu_fault').driver = 'dmirror';
  },
  'there are no free frames': (trace) => {
    trace.traceEvents = trace.traceEvents.filter(({ name }) => name !== 'free frames');
  },
  'frames are free or mapped, not 16384': (trace) => {
    counter(trace, 'free frames').args = { pages: 16383 };
  },
  '1 fault buffer entries, not 0': (trace) => {
    counter(trace, 'fault buffer entries').args = { entries: 1 };
  },
  'undefined fault buffer entries at last': (trace) => {
    trace.traceEvents = trace.traceEvents.filter(({ name }) => name !== 'fault buffer entries');
  },
};

describe('the validator of Chrome traces', () => {
  it('finds nothing wrong with a good trace, written anew', () => {
    expect(spoilt(() => {})).toEqual([]);
    expect(spoilt(() => {}, GOOD_GPUS)).toEqual([]);
  });

  it('finds times without three decimals', () => {
    expect(problemsOf(GOOD.replace(/"ts":(\d+)\.000/, '"ts":$1'))).toEqual([
      '1 of ts lack three decimals',
    ]);
  });

  it.each(Object.keys(OFFENCES))('finds that something %s', (message) => {
    expect(spoilt(OFFENCES[message]!).join('\n')).toContain(message);
  });

  it.each(Object.keys(CONTENT_OFFENCES))('finds of contents: %s', (message) => {
    expect(spoilt(CONTENT_OFFENCES[message]!, GOOD_GPUS).join('\n')).toContain(message);
  });
});
