/**
 * Recordings as traces in Chrome's JSON format, for Perfetto and chrome://tracing.
 *
 * Spans are slices where they nest on their thread, else asynchronous slices. Flows lead from what
 * set a migration off to what it led to. Every record has a time of its own, see `ChromeClock`.
 */
import { type ChromeArgs, ChromeArgsMaker } from './chrome/args.ts';
import { microseconds } from './chrome/clock.ts';
import { ChromeContext } from './chrome/context.ts';
import { type ChromeCounter, ChromeCounters } from './chrome/counters.ts';
import { ChromePlan, isMoment } from './chrome/plan.ts';
import type { ChromeRow } from './chrome/rows.ts';
import { droppedRecords, type EventSource } from './event-source.ts';
import { hash64 } from './hash.ts';
import { OpenSpans } from './open-spans.ts';
import type { RecordedEnd, RecordedEvent, RecordedEventOf } from './recorded.ts';

/** Version of what stands in `args` and `otherData`. Fields may be added without a new one. */
export const CHROME_SCHEMA_VERSION = 1;

/** Category and name of all flows. */
const FLOW = 'why';

export interface ChromeOptions {
  /** Version of the program that exports, for `otherData`. */
  readonly version?: string;
  /** What the run was seeded with, for `otherData`. */
  readonly seed?: number | string;
}

/** The pieces of the trace, in order. Reads the recording several times. */
export function* exportChrome(
  source: EventSource,
  options: ChromeOptions = {},
): Generator<string, void, undefined> {
  const writer = new ChromeWriter(source);
  const otherData = JSON.stringify(writer.otherData(options));
  yield `{"displayTimeUnit":"ns","otherData":${otherData},"traceEvents":[`;
  let separator = '\n';
  for (const line of writer.lines()) {
    yield separator + line;
    separator = ',\n';
  }
  yield '\n]}\n';
}

type Fields = Record<string, unknown>;

class ChromeWriter {
  readonly #source: EventSource;
  readonly #plan: ChromePlan;
  readonly #args: ChromeArgsMaker;
  readonly #counters: ChromeCounters;
  readonly #spans = new OpenSpans();
  readonly #context: ChromeContext;

  constructor(source: EventSource) {
    this.#source = source;
    this.#plan = new ChromePlan(source);
    this.#args = new ChromeArgsMaker(this.#plan.devices, source.meta.pageSize);
    const { rows, devices, buffered } = this.#plan;
    const { ramBytes, pageSize } = source.meta;
    this.#context = new ChromeContext(devices, this.#spans, buffered);
    this.#counters = new ChromeCounters(rows, devices, buffered, Math.floor(ramBytes / pageSize));
  }

  otherData({ version, seed }: ChromeOptions): Fields {
    const { meta, length } = this.#source;
    const { clock, nesting } = this.#plan;
    const { era, pageSize, ramBytes, devices, program } = meta;
    return {
      generator: 'hmmlab',
      version: version ?? null,
      schema_version: CHROME_SCHEMA_VERSION,
      recording_version: meta.version,
      seed: seed ?? null,
      config_hash: hash64(JSON.stringify({ era, pageSize, ramBytes, devices })),
      era,
      page_size: pageSize,
      ram_bytes: ramBytes,
      program,
      records: length,
      dropped_records: droppedRecords(this.#source),
      clock: clock.description,
      clock_max_shift_ns: clock.maxShiftNs,
      unfinished_spans: nesting.unfinished,
      crossing_spans: nesting.crossing,
    };
  }

  *lines(): Generator<string, void, undefined> {
    yield* this.#metadata();
    const unfinished: number[] = [];
    const { nesting } = this.#plan;
    let lastId: number | null = null;
    for (let i = 0; i < this.#source.length; i++) {
      const event = this.#source.event(i);
      // Many pages change hands at once; their sum is told when that is over.
      const goesOn = event.kind === 'owner_change' || event.kind === 'page_free';
      if (!goesOn) yield* this.#counterLines(i - 1);
      if (lastId !== null && event.id !== lastId + 1) yield this.#dropped(i, event.id - lastId - 1);
      lastId = event.id;
      yield* this.#linesOf(event, i);
      const begins = 'phase' in event && event.phase === 'begin';
      if (begins && nesting.endOf[i]! < 0) unfinished.push(i);
      this.#count(event, i);
      this.#context.pass(event);
      this.#spans.pass(event);
    }
    const last = this.#source.length - 1;
    yield* this.#counterLines(last);
    for (const i of unfinished) yield this.#async('e', this.#source.event(i), i, last, {});
  }

  // Processes and threads --------------------------------------------------------------------

  *#metadata(): Generator<string, void, undefined> {
    const { rows } = this.#plan;
    for (const { pid, name } of rows.processes) {
      yield JSON.stringify({ ph: 'M', pid, name: 'process_name', args: { name } });
      const args = { sort_index: pid };
      yield JSON.stringify({ ph: 'M', pid, name: 'process_sort_index', args });
    }
    for (const { process, tid, thread } of rows.rows) {
      const { pid } = process;
      yield JSON.stringify({ ph: 'M', pid, tid, name: 'thread_name', args: { name: thread } });
      const args = { sort_index: tid };
      yield JSON.stringify({ ph: 'M', pid, tid, name: 'thread_sort_index', args });
    }
  }

  // Records ----------------------------------------------------------------------------------

  *#linesOf(event: RecordedEvent, i: number): Generator<string, void, undefined> {
    if ('phase' in event) {
      if (event.phase === 'begin') yield* this.#begin(event, i);
      else yield* this.#end(event, i);
    } else if (isMoment(event)) {
      yield this.#slice(event, i, this.#plan.clock.stepNs, null);
      yield* this.#flowLines(i);
    } else yield this.#instant(event, i);
  }

  *#begin(event: RecordedEvent, i: number): Generator<string, void, undefined> {
    const { nesting, clock } = this.#plan;
    const at = nesting.endOf[i]!;
    const end = at < 0 ? null : (this.#source.event(at) as RecordedEnd);
    if (nesting.isNested(i)) {
      yield this.#slice(event, i, clock.at(at) - clock.at(i), end);
      yield* this.#flowLines(i);
    } else {
      const args = this.#argsOf(event, end);
      const unfinished = end === null ? true : undefined;
      yield this.#async('b', event, i, i, { ...args, unfinished });
    }
  }

  *#end(event: RecordedEnd, i: number): Generator<string, void, undefined> {
    const begin = this.#source.indexOf(event.begin);
    if (begin >= 0 && !this.#plan.nesting.isNested(begin)) {
      yield this.#async('e', this.#source.event(begin), begin, i, {});
    }
  }

  #slice(event: RecordedEvent, i: number, durNs: number, end: RecordedEnd | null): string {
    const args = this.#argsOf(event, end);
    const head = { ph: 'X', name: nameOf(event), cat: categoryOf(event), ...this.#row(i) };
    return this.#timed(head, i, { args }, durNs);
  }

  /** `begin` is the record of the beginning, `i` that at whose time this is. */
  #async(ph: 'b' | 'e', event: RecordedEvent, begin: number, i: number, args: Fields): string {
    const id = `0x${event.id.toString(16)}`;
    const head = { ph, name: nameOf(event), cat: categoryOf(event), id, ...this.#row(begin) };
    return this.#timed(head, i, { args });
  }

  #instant(event: RecordedEvent, i: number): string {
    const s = INSTANT_SCOPES[event.kind] ?? 't';
    const head = { ph: 'i', name: nameOf(event), cat: categoryOf(event), s, ...this.#row(i) };
    return this.#timed(head, i, { args: this.#argsOf(event, null) });
  }

  /** To be asked once for each record. */
  #argsOf(event: RecordedEvent, end: RecordedEnd | null): ChromeArgs {
    return this.#args.of(event, end, this.#context.of(event));
  }

  /** Records are missing before record `i`. */
  #dropped(i: number, count: number): string {
    const head = { ph: 'i', name: 'dropped', cat: 'trace', s: 'g', ...this.#row(i) };
    return this.#timed(head, i, { args: { records: count } });
  }

  #flowLines(i: number): string[] {
    return this.#plan.flows.at(i).map(({ flow, phase }) => {
      const head = { ph: phase, name: FLOW, cat: FLOW, id: flow, ...this.#row(i) };
      return this.#timed(head, i, phase === 'f' ? { bp: 'e' } : {});
    });
  }

  #row(i: number): { readonly pid: number; readonly tid: number } {
    const { process, tid }: ChromeRow = this.#plan.rowOf(i);
    return { pid: process.pid, tid };
  }

  /** JSON.stringify would write times without their three decimals. */
  #timed(head: Fields, i: number, tail: Fields, durNs?: number): string {
    const dur = durNs === undefined ? '' : `,"dur":${microseconds(durNs)}`;
    const rest = JSON.stringify(tail).slice(1);
    const times = `"ts":${microseconds(this.#plan.clock.at(i))}${dur}`;
    return `${JSON.stringify(head).slice(0, -1)},${times}${rest === '}' ? rest : `,${rest}`}`;
  }

  // Counters ---------------------------------------------------------------------------------

  #count(event: RecordedEvent, i: number): void {
    this.#counters.see(event);
    if (event.kind === 'migrate_phase') this.#countEntries(event);
    if (!('phase' in event) || event.phase === 'end') return;
    // An attempt to serve a fault of a device is no fault of its own.
    const isFault =
      event.kind === 'cpu_fault' ||
      (event.kind === 'device_fault' && this.#spans.nearest(event, 'device_fault') === null);
    if (isFault) this.#counters.fault(this.#plan.rowOf(i).process);
  }

  /** Pages are behind migration entries from the end of setup to the end of finalize. */
  #countEntries(event: RecordedEventOf<'migrate_phase'>): void {
    if (event.phase !== 'end' || event.parent === null) return;
    if (event.step !== 'unmap' && event.step !== 'finalize') return;
    const begin = this.#source.indexOf(event.parent);
    const end = begin < 0 ? -1 : this.#plan.nesting.endOf[begin]!;
    const migration = end < 0 ? null : this.#source.event(end);
    if (migration?.kind !== 'migrate' || !('selected' in migration)) return;
    this.#counters.entries(event.step === 'unmap' ? migration.selected : -migration.selected);
  }

  /** Counters that changed, at the time of record `i`; those of the beginning at that of the first. */
  *#counterLines(i: number): Generator<string, void, undefined> {
    if (!this.#counters.hasChanged || this.#source.length === 0) return;
    for (const counter of this.#counters.take()) yield this.#counterLine(counter, Math.max(i, 0));
  }

  #counterLine({ process, name, unit, value }: ChromeCounter, i: number): string {
    const head = { ph: 'C', name, cat: 'counter', pid: process.pid, tid: 0 };
    return this.#timed(head, i, { args: { [unit]: value } });
  }
}

function nameOf(event: RecordedEvent): string {
  if (event.kind === 'call') return event.name;
  return event.kind === 'migrate_phase' ? event.step : event.kind;
}

const CATEGORIES: Readonly<Record<RecordedEvent['kind'], string>> = {
  call: 'call',
  cpu_fault: 'fault',
  device_fault: 'fault',
  gpu_fault: 'fault',
  fault_buffer_overflow: 'fault',
  fault_replay: 'fault',
  fatal_fault: 'fault',
  migrate: 'migrate',
  migrate_phase: 'migrate',
  invalidate: 'notifier',
  invalidate_call: 'notifier',
  owner_change: 'page',
  page_free: 'page',
  mapping_change: 'mapping',
  trespass: 'trespass',
};

function categoryOf(event: RecordedEvent): string {
  return CATEGORIES[event.kind];
}

/** How wide an instant is drawn: its thread, its process, or everything. */
const INSTANT_SCOPES: Partial<Record<RecordedEvent['kind'], 't' | 'p' | 'g'>> = {
  mapping_change: 'p',
  fault_buffer_overflow: 'p',
  fatal_fault: 'p',
  trespass: 'g',
};
