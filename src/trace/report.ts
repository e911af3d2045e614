/** A summary of a recording as profilers of unified memory print it. */
import type { MigrateCause } from '../core/events/types.ts';
import { DeviceTable } from './devices.ts';
import { droppedRecords, type EventSource, eventsOf, virtualTimeNs } from './event-source.ts';
import { FaultRetries } from './fault-retries.ts';
import { type Move, MoveCollector, movesOf } from './moves.ts';
import { OpenSpans } from './open-spans.ts';
import {
  type RecordedBegin,
  type RecordedEndOf,
  type RecordedEvent,
  type RecordedEventOf,
  SYSTEM,
} from './recorded.ts';
import { addMigration, DeviceCounts } from './report/device.ts';
import { PingPong } from './report/ping-pong.ts';
import type {
  Counts,
  Direction,
  LabReport,
  ReportSummary,
  UnifiedMemoryReport,
} from './report/types.ts';
import { causeOf, KFD_TRIGGERS } from './triggers.ts';

export interface ReportOptions {
  /** How many of the pages with most changes of owner are listed; 10 unless given. */
  readonly pages?: number;
}

const PAGES_DEFAULT = 10;

/** Reads a recording once, from the first to the last record. */
export function makeReport(source: EventSource, options: ReportOptions = {}): UnifiedMemoryReport {
  const reporter = new Reporter(source);
  for (const event of eventsOf(source)) reporter.see(event);
  return reporter.report(options.pages ?? PAGES_DEFAULT);
}

class Reporter {
  readonly #source: EventSource;
  readonly #devices: DeviceTable;
  readonly #counts: DeviceCounts[] = [];
  readonly #spans = new OpenSpans();
  readonly #moves = new MoveCollector();
  readonly #retries = new FaultRetries();
  readonly #pingPong = new PingPong();
  /** Times of migrations that have begun, by their ids. */
  readonly #began = new Map<number, number>();
  readonly #summary: ReportSummary;
  readonly #cpuFaults: LabReport['cpu_faults'];
  readonly #migrations: LabReport['migrations'];
  readonly #invalidations: LabReport['invalidations'];
  readonly #trespasses: LabReport['trespasses'];

  constructor(source: EventSource) {
    this.#source = source;
    this.#devices = new DeviceTable(source.meta);
    this.#summary = {
      total_page_faults: 0,
      xnack_enabled: false,
      migration_triggers: {
        gpu_page_fault: 0,
        cpu_page_fault: 0,
        prefetch: 0,
        ttm_eviction: 0,
        unknown: 0,
      },
    };
    this.#cpuFaults = { total: 0, by_access: {}, by_result: {}, retries: 0 };
    this.#migrations = {
      total: 0,
      moved_nothing: 0,
      selected_pages: 0,
      migrated_pages: 0,
      failed_pages: 0,
      within_ram_pages: 0,
      filled_ram_pages: 0,
      causes: {},
    };
    this.#invalidations = { total: 0, told: 0, ignored: 0, by_event: {} };
    this.#trespasses = { total: 0, by: {} };
  }

  see(event: RecordedEvent): void {
    this.#moves.see(event, this.#spans);
    if (!('phase' in event)) this.#moment(event);
    else if (event.phase === 'begin') this.#begin(event);
    else this.#end(event);
    this.#retries.pass(event);
    this.#spans.pass(event);
  }

  report(pages: number): UnifiedMemoryReport {
    const source = this.#source;
    const { era, program, pageSize } = source.meta;
    const timeNs = virtualTimeNs(source);
    // Devices that nothing happened to are listed too.
    const counts = this.#devices.all.map((_, id) => this.#countsOf(id));
    return {
      devices: counts.map(({ migrations }) => migrations),
      summary: this.#summary,
      hmmlab: {
        schema_version: 1,
        era,
        program,
        page_size: pageSize,
        records: source.length,
        dropped_records: droppedRecords(source),
        virtual_time_ns: timeNs,
        times:
          timeNs > 0
            ? 'virtual nanoseconds; throughput is the rate of whole migrations, not of a link'
            : 'no virtual time passed in this recording: times and throughput are 0',
        devices: counts.map(({ detail }) => detail),
        cpu_faults: this.#cpuFaults,
        migrations: this.#migrations,
        invalidations: this.#invalidations,
        trespasses: this.#trespasses,
        ping_pong: this.#pingPong.most(pages),
      },
    };
  }

  #countsOf(id: number): DeviceCounts {
    this.#counts[id] ??= new DeviceCounts(this.#devices.all[id]!);
    return this.#counts[id];
  }

  /** Null where a device of that name is not known. */
  #named(name: string): DeviceCounts | null {
    const device = this.#devices.ofName(name);
    return device === null ? null : this.#countsOf(device.id);
  }

  #owned(owner: string | null): DeviceCounts | null {
    const device = this.#devices.ofOwner(owner);
    return device === null ? null : this.#countsOf(device.id);
  }

  // Beginnings -------------------------------------------------------------------------------

  #begin(event: RecordedBegin): void {
    switch (event.kind) {
      case 'cpu_fault':
        this.#cpuFaults.total++;
        count(this.#cpuFaults.by_access, event.access);
        if (this.#retries.ofCpu(event) > 0) this.#cpuFaults.retries++;
        break;
      case 'device_fault':
        this.#deviceFault(event);
        break;
      case 'migrate':
        this.#began.set(event.id, event.timeNs);
        break;
      case 'invalidate':
        this.#invalidations.total++;
        count(this.#invalidations.by_event, event.event);
        break;
    }
  }

  /** hmm_range_fault inside of a driver's fault is an attempt to serve it, no fault of its own. */
  #deviceFault(event: RecordedEventOf<'device_fault'> & RecordedBegin): void {
    const outer = this.#spans.nearest(event, 'device_fault');
    const faults = this.#named(event.device)?.detail.faults;
    if (outer !== null) {
      if (this.#retries.ofDevice(event, outer) > 0 && faults) faults.retries++;
      return;
    }
    this.#summary.total_page_faults++;
    if (faults === undefined) return;
    faults.served++;
    count(faults.by_access, event.access);
  }

  // Ends -------------------------------------------------------------------------------------

  #end(event: Extract<RecordedEvent, { readonly phase: 'end' }>): void {
    if (event.kind === 'cpu_fault') count(this.#cpuFaults.by_result, event.result);
    else if (event.kind === 'migrate') this.#migrated(event);
    else if (event.kind === 'device_fault') this.#faultServed(event);
  }

  #faultServed(event: RecordedEndOf<'device_fault'>): void {
    if (this.#spans.nearest(event, 'device_fault') !== null) return;
    if (event.result >= 0) this.#summary.xnack_enabled = true;
    else {
      const counts = this.#named(event.device);
      if (counts !== null) counts.detail.faults.failed++;
    }
  }

  #migrated(end: RecordedEndOf<'migrate'>): void {
    const totals = this.#migrations;
    totals.total++;
    totals.selected_pages += end.selected;
    totals.migrated_pages += end.migrated;
    totals.failed_pages += end.failed;
    const cause = causeOf(end, this.#spans);
    count(totals.causes, cause);
    const timeNs = end.timeNs - (this.#began.get(end.begin) ?? end.timeNs);
    this.#began.delete(end.begin);
    if (end.migrated === 0) totals.moved_nothing++;
    let toldOfDevices = false;
    for (const move of movesOf(end, this.#moves.take(end))) {
      if (this.#moved(move, cause, timeNs)) toldOfDevices = true;
    }
    if (toldOfDevices) this.#summary.migration_triggers[KFD_TRIGGERS[cause].name]++;
    if (end.cause === 'evict') this.#evicted(end);
  }

  #evicted({ owner, migrated }: RecordedEndOf<'migrate'>): void {
    const evictions = this.#owned(owner)?.detail.evictions;
    if (evictions === undefined) return;
    evictions.count++;
    evictions.pages += migrated;
  }

  /** True where pages went to, from or between devices. */
  #moved({ from, to, pages }: Move, cause: MigrateCause, timeNs: number): boolean {
    const source = this.#owned(from);
    const target = this.#owned(to);
    if (from === null) {
      if (target !== null) target.detail.filled_pages += pages;
      else this.#migrations.filled_ram_pages += pages;
      return false;
    }
    const counts = target ?? source;
    if (counts === null) {
      if (from === SYSTEM) this.#migrations.within_ram_pages += pages;
      return false;
    }
    const direction = directionOf(source !== null, target !== null);
    addMigration(counts.totals(direction), pages * this.#source.meta.pageSize, timeNs);
    const detail = counts.detail.migrations[direction];
    detail.pages += pages;
    count(detail.causes, cause);
    return true;
  }

  // Moments ----------------------------------------------------------------------------------

  #moment(event: Exclude<RecordedEvent, { readonly phase: string }>): void {
    switch (event.kind) {
      case 'owner_change':
        this.#pingPong.see(event);
        break;
      case 'invalidate_call':
        this.#told(event);
        break;
      case 'trespass':
        this.#trespasses.total++;
        count(this.#trespasses.by, `${event.by}: ${event.what} of ${event.owner}`);
        break;
      case 'gpu_fault':
      case 'fatal_fault':
      case 'fault_buffer_overflow':
      case 'fault_replay':
        this.#hardware(event.kind, event.device);
        break;
    }
  }

  #hardware(kind: keyof typeof HARDWARE_COUNTS, device: string): void {
    const faults = this.#named(device)?.detail.faults;
    if (faults !== undefined) faults[HARDWARE_COUNTS[kind]]++;
  }

  #told({ notifier, ignored, event }: RecordedEventOf<'invalidate_call'>): void {
    const what = ignored ? 'ignored' : 'told';
    this.#invalidations[what]++;
    const counts = this.#named(notifier);
    if (counts === null) return;
    counts.detail.invalidations[what]++;
    if (!ignored) count(counts.detail.invalidations.by_event, event);
  }
}

const HARDWARE_COUNTS = {
  gpu_fault: 'buffered',
  fatal_fault: 'fatal',
  fault_buffer_overflow: 'overflows',
  fault_replay: 'replays',
} as const;

function directionOf(fromDevice: boolean, toDevice: boolean): Direction {
  if (!toDevice) return 'device_to_host';
  return fromDevice ? 'device_to_device' : 'host_to_device';
}

function count(counts: Counts, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}
