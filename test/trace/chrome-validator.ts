// The rules of a Chrome trace, each of which a trace can break.

import { contentProblems, type Json, type TraceEvent } from './chrome-contents.ts';

interface Trace {
  readonly displayTimeUnit: string;
  readonly otherData: Json;
  readonly traceEvents: readonly TraceEvent[];
}

/** What is wrong with the text of a trace; nothing if it obeys all rules. */
export function problemsOf(text: string): string[] {
  const trace = JSON.parse(text) as Trace;
  const events = trace.traceEvents;
  return [
    ...headProblems(trace),
    ...timeProblems(text, events),
    ...phaseProblems(events),
    ...metadataProblems(events),
    ...nestingProblems(events),
    ...asyncProblems(events),
    ...flowProblems(events),
    ...counterProblems(events),
    ...instantProblems(events),
    ...argsProblems(events),
    ...contentProblems(events, ramPagesOf(trace)),
  ];
}

function ramPagesOf({ otherData }: Trace): number {
  const { ram_bytes, page_size } = otherData as { ram_bytes: number; page_size: number };
  return Math.floor(ram_bytes / page_size);
}

const OTHER_DATA = ['seed', 'config_hash', 'version', 'schema_version', 'dropped_records', 'clock'];

function headProblems({ displayTimeUnit, otherData }: Trace): string[] {
  const missing = OTHER_DATA.filter((key) => !(key in otherData));
  return [
    ...(displayTimeUnit === 'ns' ? [] : [`displayTimeUnit is ${displayTimeUnit}`]),
    ...missing.map((key) => `otherData has no ${key}`),
  ];
}

const PHASES = new Set(['M', 'X', 'b', 'e', 's', 't', 'f', 'C', 'i']);

function phaseProblems(events: readonly TraceEvent[]): string[] {
  return events.filter(({ ph }) => !PHASES.has(ph)).map(({ ph }) => `phase ${ph} is unknown`);
}

/** Times in nanoseconds, which are exact. */
function startOf({ ts }: TraceEvent): number {
  return Math.round(ts! * 1000);
}

function endOf(event: TraceEvent): number {
  return startOf(event) + Math.round(event.dur! * 1000);
}

function timeProblems(text: string, events: readonly TraceEvent[]): string[] {
  const problems: string[] = [];
  const timed = events.filter(({ ph }) => ph !== 'M');
  for (const key of ['ts', 'dur']) {
    const written = text.match(new RegExp(`"${key}":\\d+\\.\\d{3}(?=[,}])`, 'g'))?.length ?? 0;
    const there = events.filter((event) => key in event).length;
    if (written !== there) problems.push(`${there - written} of ${key} lack three decimals`);
  }
  timed.forEach((event, i) => {
    if (typeof event.ts !== 'number') problems.push(`${event.name} has no ts`);
    if (i > 0 && event.ts! < timed[i - 1]!.ts!) problems.push(`${event.name} is out of order`);
  });
  return problems;
}

function metadataProblems(events: readonly TraceEvent[]): string[] {
  const named = new Map<string, unknown>();
  for (const { ph, name, pid, tid, args } of events) {
    if (ph !== 'M') continue;
    const isProcess = name.startsWith('process');
    named.set(isProcess ? `${name} ${pid}` : `${name} ${pid} ${tid}`, args);
  }
  const problems = new Set<string>();
  const processOf = new Map<number, number>();
  for (const { ph, pid, tid } of events) {
    if (ph === 'M') continue;
    for (const what of ['process_name', 'process_sort_index']) {
      if (!named.has(`${what} ${pid}`)) problems.add(`process ${pid} has no ${what}`);
    }
    if (ph === 'C') continue;
    for (const what of ['thread_name', 'thread_sort_index']) {
      if (!named.has(`${what} ${pid} ${tid}`)) problems.add(`thread ${tid} has no ${what}`);
    }
    if ((processOf.get(tid!) ?? pid) !== pid) problems.add(`thread ${tid} is in two processes`);
    processOf.set(tid!, pid);
  }
  return [...problems];
}

function rowOf({ pid, tid }: TraceEvent): string {
  return `${pid}/${tid}`;
}

/** Slices of a row lie beside each other, or one in the other. */
function nestingProblems(events: readonly TraceEvent[]): string[] {
  const problems: string[] = [];
  const stacks = new Map<string, TraceEvent[]>();
  for (const event of events) {
    if (event.ph !== 'X') continue;
    const stack = stacks.get(rowOf(event)) ?? [];
    stacks.set(rowOf(event), stack);
    while (stack.length > 0 && endOf(stack.at(-1)!) <= startOf(event)) stack.pop();
    const around = stack.at(-1);
    if (around !== undefined && endOf(event) > endOf(around)) {
      problems.push(`slice ${event.name} crosses ${around.name}`);
    }
    if (!(event.dur! > 0)) problems.push(`slice ${event.name} lasts ${event.dur}`);
    stack.push(event);
  }
  return problems;
}

function asyncProblems(events: readonly TraceEvent[]): string[] {
  const problems: string[] = [];
  const open = new Set<string>();
  for (const { ph, name, cat, id, pid } of events) {
    if (ph !== 'b' && ph !== 'e') continue;
    const key = `${cat} ${id} ${name} ${pid}`;
    if (typeof id !== 'string' || typeof cat !== 'string') problems.push(`${name} lacks id or cat`);
    if (ph === 'b' && open.has(key)) problems.push(`async ${key} begins twice`);
    if (ph === 'e' && !open.delete(key)) problems.push(`async ${key} ends without a beginning`);
    if (ph === 'b') open.add(key);
  }
  return [...problems, ...[...open].map((key) => `async ${key} does not end`)];
}

function flowProblems(events: readonly TraceEvent[]): string[] {
  const problems: string[] = [];
  const flows = new Map<string, TraceEvent[]>();
  const slices = new Map<string, Map<number, TraceEvent>>();
  for (const event of events) {
    const row = rowOf(event);
    if (event.ph === 'X') {
      if (!slices.has(row)) slices.set(row, new Map());
      slices.get(row)!.set(startOf(event), event);
    }
    if (!['s', 't', 'f'].includes(event.ph)) continue;
    const key = `${event.cat} ${event.name} ${event.id}`;
    if (!flows.has(key)) flows.set(key, []);
    flows.get(key)!.push(event);
    // A slice that begins at its time is the innermost one around it.
    if (!slices.get(row)?.has(startOf(event))) problems.push(`flow ${key} is in no slice`);
    if (event.ph === 'f' && event.bp !== 'e') problems.push(`flow ${key} ends without bp`);
  }
  for (const [key, points] of flows) {
    const phases = points.map(({ ph }) => ph).join('');
    if (!/^st*f$/.test(phases)) problems.push(`flow ${key} has the points ${phases}`);
  }
  return problems;
}

function counterProblems(events: readonly TraceEvent[]): string[] {
  const problems: string[] = [];
  for (const { ph, name, args } of events) {
    if (ph !== 'C') continue;
    const values = Object.values(args ?? {});
    const isOne = values.length === 1 && typeof values[0] === 'number';
    if (!isOne) problems.push(`counter ${name} has not one number`);
    else if ((values[0] as number) < 0) problems.push(`counter ${name} is ${values[0]}`);
  }
  return problems;
}

function instantProblems(events: readonly TraceEvent[]): string[] {
  return events
    .filter(({ ph, s }) => ph === 'i' && !['t', 'p', 'g'].includes(String(s)))
    .map(({ name }) => `instant ${name} has no scope`);
}

const ADDRESSES = new Set(['va', 'device_address']);

function argsProblems(events: readonly TraceEvent[]): string[] {
  const problems: string[] = [];
  for (const { ph, name, args } of events) {
    if (ph !== 'X' && ph !== 'b') continue;
    for (const key of ['event', 'thread', 'time_ns']) {
      if (args === undefined || !(key in args)) problems.push(`${name} has no ${key}`);
    }
    for (const [key, value] of Object.entries(args ?? {})) {
      const isText = typeof value === 'string' && /^0x[0-9a-f]+$/.test(value);
      if (ADDRESSES.has(key) && !isText) problems.push(`${name}: ${key} is no address`);
      if (value === null) problems.push(`${name}: ${key} is null`);
    }
    const ranged = args !== undefined && ('va' in args || 'device_address' in args);
    if (ranged && !('npages' in args && 'bytes' in args)) problems.push(`${name} has no size`);
  }
  return problems;
}
