/**
 * Recordings as the lines that amdgpu's KFD writes for system management tools (SMI events), in the
 * form of Linux 6.1: the event's number in hexadecimal, then its fields. Addresses and sizes are
 * page numbers in hexadecimal, a process has a minus before its number, node 0 is RAM.
 *
 * Reference: the format in kfd_smi_events.c of Linux 6.1, include/uapi/linux/kfd_ioctl.h.
 */
import { type DeviceInfo, DeviceTable } from './devices.ts';
import { type EventSource, RecordClock } from './event-source.ts';
import { type KfdMove, planKfdMoves } from './kfd/moves.ts';
import { KfdNodes } from './kfd/nodes.ts';
import { OpenSpans } from './open-spans.ts';
import type { RecordedBegin, RecordedEnd, RecordedEvent, RecordedEventOf } from './recorded.ts';
import { causeOf, KFD_TRIGGERS } from './triggers.ts';

/** KFD counts in pages of this size, whatever the machine's are. */
const KFD_PAGE_BYTES = 4096;

const VMFAULT = 1;
const MIGRATE_START = 5;
const MIGRATE_END = 6;
const PAGE_FAULT_START = 7;
const PAGE_FAULT_END = 8;
const QUEUE_EVICTION = 9;
const QUEUE_RESTORE = 10;
const UNMAP_FROM_GPU = 11;

/** enum KFD_QUEUE_EVICTION_TRIGGERS. */
const QUEUE_SUSPEND = 3;

/** enum KFD_SVM_UNMAP_TRIGGERS. */
const MMU_NOTIFY = 0;
const MMU_NOTIFY_MIGRATE = 1;
const UNMAP_FROM_CPU = 2;

export interface KfdExport {
  /** The lines, each with its line end. To be read once. */
  readonly lines: Generator<string, void, undefined>;
  /** Devices by the number that stands for them; complete when the last line was read. */
  readonly nodes: ReadonlyMap<number, string>;
  /** Records without a line, by kind; complete when the last line was read. */
  readonly leftOut: ReadonlyMap<string, number>;
  /** False: no virtual time passed, so that a record counts as 1 µs. */
  readonly usesTime: boolean;
}

export function exportKfd(source: EventSource): KfdExport {
  const writer = new KfdWriter(source);
  const { leftOut, clock } = writer;
  return {
    lines: writer.lines(),
    get nodes() {
      return writer.nodes.names;
    },
    leftOut,
    usesTime: clock.usesTime,
  };
}

class KfdWriter {
  readonly nodes: KfdNodes;
  readonly leftOut = new Map<string, number>();
  readonly clock: RecordClock;
  readonly #source: EventSource;
  readonly #devices: DeviceTable;
  readonly #spans = new OpenSpans();
  /** Device faults, by their ids, in which pages moved. */
  readonly #migrating = new Set<number>();
  /** Processes that a device worked for, by the device's id. */
  readonly #clients = new Map<number, Set<number>>();

  constructor(source: EventSource) {
    this.#source = source;
    this.clock = new RecordClock(source);
    this.#devices = new DeviceTable(source.meta);
    this.nodes = new KfdNodes(this.#devices);
  }

  *lines(): Generator<string, void, undefined> {
    const source = this.#source;
    const plan = planKfdMoves(source, this.nodes);
    for (let i = 0; i < source.length; i++) {
      const event = source.event(i);
      this.#noteClient(event);
      yield* this.#linesOf(event, Math.round(this.clock.at(event, i)), plan);
      this.#spans.pass(event);
    }
  }

  #linesOf(event: RecordedEvent, ns: number, plan: Map<number, KfdMove[]>): string[] {
    if ('phase' in event) {
      if (event.phase === 'begin') return this.#begin(event, ns, plan);
      return this.#end(event, ns, plan);
    }
    if (event.kind === 'invalidate_call') return this.#unmap(event, ns);
    if (event.kind === 'fatal_fault' && event.pid !== null) {
      return [lineOf(VMFAULT, `${event.pid.toString(16)}:process-${event.pid}`)];
    }
    return this.#leaveOut(event.kind);
  }

  #leaveOut(what: string): string[] {
    this.leftOut.set(what, (this.leftOut.get(what) ?? 0) + 1);
    return [];
  }

  // Spans ------------------------------------------------------------------------------------

  #begin(event: RecordedBegin, ns: number, plan: Map<number, KfdMove[]>): string[] {
    switch (event.kind) {
      case 'device_fault':
        return this.#faultStart(event, ns);
      case 'migrate':
        return this.#migrateLines(event, event.id, ns, plan, MIGRATE_START);
      case 'call':
        return this.#queueTrigger(event) === null ? this.#leaveOut('call') : [];
      default:
        return this.#leaveOut(event.kind);
    }
  }

  #end(event: RecordedEnd, ns: number, plan: Map<number, KfdMove[]>): string[] {
    switch (event.kind) {
      case 'device_fault':
        return this.#faultEnd(event, event.begin, ns);
      case 'migrate':
        return this.#migrateLines(event, event.begin, ns, plan, MIGRATE_END);
      case 'call':
        return event.result === 0 ? this.#queueLines(event, ns) : [];
      default:
        return [];
    }
  }

  // Faults -----------------------------------------------------------------------------------

  #faultStart(event: RecordedEventOf<'device_fault'>, ns: number): string[] {
    const device = this.#devices.ofName(event.device);
    if (this.#spans.nearest(event, 'device_fault') !== null) return [];
    if (device === null) return this.#leaveOut('device_fault of no device');
    const write = event.access === 'write' || event.access === 'atomic';
    return [this.#faultLine(PAGE_FAULT_START, event, device, ns, write ? 'W' : 'R')];
  }

  #faultEnd(event: RecordedEventOf<'device_fault'>, begin: number, ns: number): string[] {
    const device = this.#devices.ofName(event.device);
    if (device === null || this.#spans.nearest(event, 'device_fault') !== null) return [];
    const migrated = this.#migrating.delete(begin);
    return [this.#faultLine(PAGE_FAULT_END, event, device, ns, migrated ? 'M' : 'U')];
  }

  #faultLine(
    id: number,
    { pid, start }: RecordedEventOf<'device_fault'>,
    device: DeviceInfo,
    ns: number,
    letter: string,
  ): string {
    const node = this.nodes.of(device).toString(16);
    return lineOf(id, `${ns} -${pid} @${pagesOf(start)}(${node}) ${letter}`);
  }

  // Migrations -------------------------------------------------------------------------------

  #migrateLines(
    event: RecordedEventOf<'migrate'>,
    id: number,
    ns: number,
    plan: Map<number, KfdMove[]>,
    line: typeof MIGRATE_START | typeof MIGRATE_END,
  ): string[] {
    const moves = plan.get(id) ?? [];
    const trigger = KFD_TRIGGERS[causeOf(event, this.#spans)].id;
    const isStart = line === MIGRATE_START;
    if (isStart && trigger === null) return this.#leaveOut('migrate of unknown cause');
    if (isStart && moves.length === 0) return this.#leaveOut('migrate that moved nothing');
    if (trigger === null) return [];
    if (isStart) this.#noteFault(event);
    const { pageSize } = this.#source.meta;
    return moves.map(({ pid, start, pages, from, to }) => {
      const range = rangeOf(start, pages * pageSize);
      const nodes = `${from.toString(16)}->${to.toString(16)}`;
      // Where the driver was asked to have the pages; nobody states a preference here.
      const prefetch = trigger === 0 ? to.toString(16) : '0';
      const places = isStart ? ` ${prefetch}:0` : '';
      return lineOf(line, `${ns} -${pid} ${range} ${nodes}${places} ${trigger}`);
    });
  }

  /** Pages move inside of a device fault. */
  #noteFault(event: RecordedEvent): void {
    for (let span = this.#spans.around(event); span !== null; span = span.up) {
      if (span.begin.kind === 'device_fault') this.#migrating.add(span.begin.id);
    }
  }

  // Invalidations ----------------------------------------------------------------------------

  /** A driver that lets an invalidation pass unmaps nothing; KFD is gone when a process exits. */
  #unmap(call: RecordedEventOf<'invalidate_call'>, ns: number): string[] {
    const { event, pid, start, end, ignored } = call;
    if (ignored) return this.#leaveOut('invalidate_call that was ignored');
    const isExit = event === 'release' || start === 0;
    if (isExit) return this.#leaveOut('invalidate_call at exit');
    const device = this.#devices.ofName(call.notifier);
    if (device === null) return this.#leaveOut('invalidate_call of no device');
    const node = this.nodes.of(device).toString(16);
    const range = rangeOf(start, end - start);
    return [lineOf(UNMAP_FROM_GPU, `${ns} -${pid} ${range} ${node} ${unmapTrigger(event)}`)];
  }

  // Queues -----------------------------------------------------------------------------------

  #noteClient(event: RecordedEvent): void {
    const name = event.kind === 'call' ? event.actor : 'device' in event ? event.device : null;
    if (name === null || !('pid' in event) || event.pid === null) return;
    const device = this.#devices.ofName(name);
    if (device === null) return;
    const clients = this.#clients.get(device.id);
    if (clients === undefined) this.#clients.set(device.id, new Set([event.pid]));
    else clients.add(event.pid);
  }

  /** A device that suspends stops the queues of all processes it works for. */
  #queueTrigger({ actor, name }: RecordedEventOf<'call'>): 'suspend' | 'resume' | null {
    const what = name.toLowerCase();
    if (what !== 'suspend' && what !== 'resume') return null;
    return this.#devices.ofName(actor) === null ? null : what;
  }

  #queueLines(event: RecordedEventOf<'call'>, ns: number): string[] {
    const what = this.#queueTrigger(event);
    if (what === null) return [];
    const device = this.#devices.ofName(event.actor)!;
    const node = this.nodes.of(device).toString(16);
    return [...(this.#clients.get(device.id) ?? [])].map((pid) =>
      what === 'suspend'
        ? lineOf(QUEUE_EVICTION, `${ns} -${pid} ${node} ${QUEUE_SUSPEND}`)
        : lineOf(QUEUE_RESTORE, `${ns} -${pid} ${node}`),
    );
  }
}

function lineOf(id: number, payload: string): string {
  return `${id.toString(16)} ${payload}\n`;
}

/** "@start(pages)" of a range that begins and ends with a page. */
function rangeOf(start: number, bytes: number): string {
  return `@${pagesOf(start)}(${pagesOf(bytes)})`;
}

/** The number of the page at `bytes`, or how many pages make `bytes`; in hexadecimal. */
function pagesOf(bytes: number): string {
  return Math.floor(bytes / KFD_PAGE_BYTES).toString(16);
}

function unmapTrigger(event: RecordedEventOf<'invalidate_call'>['event']): number {
  if (event === 'migrate') return MMU_NOTIFY_MIGRATE;
  return event === 'unmap' ? UNMAP_FROM_CPU : MMU_NOTIFY;
}
