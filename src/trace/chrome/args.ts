/** What a Chrome trace says of one record. Addresses are text; readers of JSON round large numbers. */

import { hex } from '../../core/units.ts';
import type { DeviceTable } from '../devices.ts';
import type { RecordedEnd, RecordedEvent, RecordedEventOf } from '../recorded.ts';

/** What is undefined is left out of the file. */
export type ChromeArgs = Readonly<Record<string, string | number | boolean | undefined>>;

export class ChromeArgsMaker {
  readonly #devices: DeviceTable;
  readonly #pageSize: number;

  constructor(devices: DeviceTable, pageSize: number) {
    this.#devices = devices;
    this.#pageSize = pageSize;
  }

  /** `end` is that of a span; null for what has none. `context`: what the record does not say. */
  of(event: RecordedEvent, end: RecordedEnd | null, context: ChromeArgs): ChromeArgs {
    const elsewhere = end !== null && end.thread !== event.thread;
    return {
      event: event.id,
      parent: event.parent ?? undefined,
      thread: event.thread,
      end_thread: elsewhere ? end.thread : undefined,
      time_ns: event.timeNs,
      end_time_ns: end?.timeNs,
      pid: 'pid' in event ? (event.pid ?? undefined) : undefined,
      ...this.#range(event),
      ...context,
      ...this.#particulars(event),
      ...(end === null ? {} : outcome(end)),
    };
  }

  #range(event: RecordedEvent): ChromeArgs {
    if ('va' in event) {
      return event.va === null ? {} : { va: hex(event.va), npages: 1, bytes: this.#pageSize };
    }
    if (!('start' in event)) return {};
    const { start, end, pid } = event;
    // A call that is about no range.
    if (start === 0 && end === 0) return {};
    const size = { npages: Math.ceil((end - start) / this.#pageSize), bytes: end - start };
    // Pages that are moved whoever maps them are known by their place on the device.
    const isPhysical = pid === null && event.kind !== 'call';
    return isPhysical ? { device_address: hex(start), ...size } : { va: hex(start), ...size };
  }

  #particulars(event: RecordedEvent): ChromeArgs {
    switch (event.kind) {
      case 'call':
        return { actor: event.actor, driver: this.#devices.driverOf(event.actor) };
      case 'cpu_fault':
        return { access: event.access };
      case 'device_fault':
      case 'fault_buffer_overflow':
        return { ...this.#device(event.device), access: event.access };
      case 'gpu_fault': {
        const { device, access, client, entry } = event;
        return { ...this.#device(device), access, client, entry };
      }
      case 'fatal_fault':
        return { ...this.#device(event.device), access: event.access, reason: event.reason };
      case 'fault_replay':
        return { ...this.#device(event.device), faults: event.faults };
      case 'migrate':
        return this.#migration(event);
      case 'migrate_phase':
        return { step: event.step };
      case 'invalidate':
        return { cause: event.event, ...this.#owner(event.owner) };
      case 'invalidate_call': {
        const { event: cause, owner, notifier, ignored } = event;
        return { cause, owner: owner ?? undefined, ...this.#device(notifier), ignored };
      }
      case 'owner_change': {
        const { page, from, to } = event;
        const driver = this.#devices.driverOfOwner(to) ?? this.#devices.driverOfOwner(from);
        return { page, owner_old: homeText(from), owner_new: homeText(to), driver };
      }
      case 'page_free':
        return { page: event.page, ...this.#owner(event.owner) };
      case 'mapping_change':
        return { what: event.what };
      case 'trespass':
        return { by: event.by, what: event.what, page: event.page, ...this.#owner(event.owner) };
    }
  }

  #migration({ cause, owner, from, to }: RecordedEventOf<'migrate'>): ChromeArgs {
    return { cause, ...this.#owner(owner), ...homes(from, to) };
  }

  /** Nobody's memory has no owner, RAM no driver. */
  #owner(owner: string | null): ChromeArgs {
    return { owner: owner ?? undefined, driver: this.#devices.driverOfOwner(owner) };
  }

  #device(name: string): ChromeArgs {
    return { device: name, driver: this.#devices.driverOf(name) };
  }
}

/** What is known when a span ends. */
function outcome(end: RecordedEnd): ChromeArgs {
  if (end.kind === 'migrate') {
    const { selected, migrated, failed, pages, valid, writable, given } = end;
    return {
      ...homes(end.from, end.to),
      selected,
      migrated,
      failed,
      src_flags: `VALID ${valid}, WRITE ${writable}, of ${pages}`,
      dst_flags: `VALID ${given}`,
    };
  }
  return 'result' in end ? { result: end.result } : {};
}

/** From and to, also by the names that changes of owners have. */
function homes(old: string | null | undefined, fresh: string | null | undefined): ChromeArgs {
  const [from, to] = [homeText(old), homeText(fresh)];
  return { from, to, owner_old: from, owner_new: to };
}

/** What is not known, or not the same for all pages, has two names in one. */
function homeText(home: string | null | undefined): string {
  if (home === undefined) return 'several or none';
  return home ?? 'nothing';
}
