/** What must be known before the first event of a Chrome trace is written: rows, nesting, flows. */

import { DeviceTable } from '../devices.ts';
import type { EventSource } from '../event-source.ts';
import type { RecordedBegin, RecordedEvent, RecordedEventOf } from '../recorded.ts';
import { ChromeClock } from './clock.ts';
import { ChromeFlows } from './flows.ts';
import { ChromeNesting } from './nesting.ts';
import { type ChromeRow, ChromeRows } from './rows.ts';

/** A record that others happened in or because of. */
interface Link {
  readonly i: number;
  readonly event: RecordedBegin | RecordedEventOf<'gpu_fault'>;
  readonly up: Link | null;
  readonly row: ChromeRow;
  /** A migration happened inside of it. */
  migrates: boolean;
  /** Of a migration: records that show how it went on. */
  readonly inner: number[];
}

/** Records that are drawn as slices though they take no time: what flows lead through. */
export function isMoment(event: RecordedEvent): boolean {
  const { kind } = event;
  return kind === 'gpu_fault' || kind === 'fault_replay' || kind === 'invalidate_call';
}

export class ChromePlan {
  readonly clock: ChromeClock;
  readonly devices: DeviceTable;
  readonly rows: ChromeRows;
  readonly nesting: ChromeNesting;
  readonly flows: ChromeFlows;
  readonly #rowOf: ChromeRow[] = [];
  readonly #links = new Map<number, Link>();
  /** The names of the devices that have a fault buffer, as far as records show it. */
  readonly buffered: ReadonlySet<string>;
  readonly #buffered = new Set<string>();
  /** Flows that end with the next replay of a device. */
  readonly #waiting = new Map<string, { readonly flow: number; readonly through: number[] }[]>();

  constructor(source: EventSource) {
    this.clock = new ChromeClock(source);
    this.devices = new DeviceTable(source.meta);
    this.rows = new ChromeRows(this.devices, source.meta.program);
    this.nesting = new ChromeNesting(source);
    this.flows = new ChromeFlows(source.length);
    this.buffered = this.#buffered;
    for (let i = 0; i < source.length; i++) this.#see(source.event(i), i);
    for (const flows of this.#waiting.values()) {
      for (const { flow, through } of flows) this.flows.add(flow, through);
    }
    // Counters stand in these also where nothing else does.
    this.rows.kernel();
    for (const { name } of this.devices.all) this.rows.actor(name, null);
    this.rows.number();
  }

  rowOf(i: number): ChromeRow {
    return this.#rowOf[i]!;
  }

  #see(event: RecordedEvent, i: number): void {
    // Owners that the recording's head does not name are devices, too, from here on.
    if (event.kind === 'owner_change') this.devices.ofOwner(event.to);
    const up = event.parent === null ? null : (this.#links.get(event.parent) ?? null);
    if ('phase' in event && event.phase === 'end') {
      const link = this.#links.get(event.begin);
      this.#rowOf[i] = link?.row ?? this.rows.of(event, null);
      if (link === undefined) return;
      this.#links.delete(event.begin);
      this.#ended(link);
      return;
    }
    if (hasBuffer(event)) this.#buffered.add(event.device);
    const here = up !== null && up.event.thread === event.thread ? up.row : null;
    const row = this.rows.of(event, here);
    this.#rowOf[i] = row;
    if ('phase' in event || event.kind === 'gpu_fault') {
      const link = { i, event, up, row, migrates: false, inner: [] };
      this.#links.set(event.id, link);
      this.#began(link);
    } else if (event.kind === 'fault_replay') this.#replayed(event.device, i);
    else if (event.kind === 'invalidate_call' && !event.ignored) {
      nearestMigration(up)?.inner.push(i);
    }
  }

  #began({ i, event, up }: Link): void {
    if (event.kind === 'migrate') {
      for (let at = up; at !== null && !at.migrates; at = at.up) at.migrates = true;
    }
    if (event.kind !== 'migrate_phase' || !this.nesting.isNested(i)) return;
    const shown = event.step === 'alloc_copy' || event.step === 'finalize';
    if (shown) nearestMigration(up)?.inner.push(i);
  }

  #ended(link: Link): void {
    const { kind } = link.event;
    const served = kind === 'cpu_fault' || kind === 'device_fault';
    if (kind !== 'migrate' && !(served && !link.migrates)) return;
    // The outermost of several faults inside of each other explains them all.
    if (served && isInFault(link.up)) return;
    const flow = { flow: link.event.id, through: [...this.#pathTo(link), ...link.inner] };
    const device = deviceThatFaulted(link.up);
    if (device === null) this.flows.add(flow.flow, flow.through);
    else if (this.#waiting.has(device)) this.#waiting.get(device)!.push(flow);
    else this.#waiting.set(device, [flow]);
  }

  #replayed(device: string, i: number): void {
    for (const { flow, through } of this.#waiting.get(device) ?? []) {
      this.flows.add(flow, [...through, i]);
    }
    this.#waiting.delete(device);
  }

  /** From the outermost record to `link`: those that are slices, without the steps in between. */
  #pathTo(link: Link): number[] {
    const path: number[] = [];
    for (let at: Link | null = link; at !== null; at = at.up) {
      const { kind } = at.event;
      if (kind === 'migrate_phase' || kind === 'invalidate') continue;
      if (kind === 'gpu_fault' || this.nesting.isNested(at.i)) path.push(at.i);
    }
    return path.reverse();
  }
}

function hasBuffer(
  event: RecordedEvent,
): event is RecordedEventOf<'gpu_fault' | 'fault_buffer_overflow' | 'fault_replay'> {
  const { kind } = event;
  return kind === 'gpu_fault' || kind === 'fault_buffer_overflow' || kind === 'fault_replay';
}

function nearestMigration(link: Link | null): Link | null {
  let at = link;
  while (at !== null && at.event.kind !== 'migrate') at = at.up;
  return at;
}

function isInFault(link: Link | null): boolean {
  for (let at = link; at !== null; at = at.up) {
    if (at.event.kind === 'device_fault' || at.event.kind === 'cpu_fault') return true;
  }
  return false;
}

/** The device whose hardware waits for this, or null. */
function deviceThatFaulted(link: Link | null): string | null {
  for (let at = link; at !== null; at = at.up) {
    if (at.event.kind === 'gpu_fault') return at.event.device;
  }
  return null;
}
