/** What a record does not say itself, and those before it do: the line, the batch, the attempt. */

import type { DeviceTable } from '../devices.ts';
import { FaultRetries } from '../fault-retries.ts';
import type { OpenSpans } from '../open-spans.ts';
import type { RecordedEvent } from '../recorded.ts';
import type { ChromeArgs } from './args.ts';
import { PROGRAM_ACTOR } from './rows.ts';

export class ChromeContext {
  readonly #devices: DeviceTable;
  readonly #spans: OpenSpans;
  readonly #retries = new FaultRetries();
  /** Replays so far of each device that has a fault buffer. */
  readonly #replays: Map<string, number>;
  /** Lines of the program that run, by the ids of their records. */
  readonly #lines = new Map<number, number>();
  #line: number | undefined;

  /** `buffered`: the names of the devices that have a fault buffer. */
  constructor(devices: DeviceTable, spans: OpenSpans, buffered: ReadonlySet<string>) {
    this.#devices = devices;
    this.#spans = spans;
    this.#replays = new Map([...buffered].map((name) => [name, 0]));
  }

  /** Of the beginning of a span, or an instant; to be asked once for each. */
  of(event: RecordedEvent): ChromeArgs {
    return {
      step_id: lineOf(event) ?? this.#line,
      driver: this.#driverAround(event),
      batch_id: this.#batchOf(event),
      retry: this.#retryOf(event),
    };
  }

  /** To be called for each record, in order, after it was looked at. */
  pass(event: RecordedEvent): void {
    this.#retries.pass(event);
    if (event.kind === 'fault_replay') {
      this.#replays.set(event.device, (this.#replays.get(event.device) ?? 0) + 1);
    } else if (event.kind === 'call') {
      const line = lineOf(event);
      if (line === undefined) return;
      if (event.phase === 'begin') this.#lines.set(event.id, line);
      else this.#lines.delete(event.begin);
      this.#line = [...this.#lines.values()].at(-1);
    }
  }

  /** A step of a migration is done by whoever migrates. */
  #driverAround(event: RecordedEvent): string | undefined {
    if (event.kind !== 'migrate_phase') return undefined;
    const migration = this.#spans.nearest(event, 'migrate')?.begin;
    return migration?.kind === 'migrate' ? this.#devices.driverOfOwner(migration.owner) : undefined;
  }

  /** A replay ends a batch. */
  #batchOf(event: RecordedEvent): number | undefined {
    const { kind } = event;
    if (kind !== 'device_fault' && kind !== 'gpu_fault' && kind !== 'fault_replay')
      return undefined;
    const name = this.#devices.ofName(event.device)?.name ?? event.device;
    const replays = this.#replays.get(name);
    return replays === undefined ? undefined : replays + 1;
  }

  #retryOf(event: RecordedEvent): number | undefined {
    if (event.kind === 'cpu_fault') return this.#retries.ofCpu(event);
    if (event.kind !== 'device_fault') return undefined;
    return this.#retries.ofDevice(event, this.#spans.nearest(event, 'device_fault'));
  }
}

/** The number of the line that a call is; undefined for all else. */
function lineOf(event: RecordedEvent): number | undefined {
  if (event.kind !== 'call' || event.actor !== PROGRAM_ACTOR) return undefined;
  const line = /^line (\d+):/.exec(event.name)?.[1];
  return line === undefined ? undefined : Number(line);
}
