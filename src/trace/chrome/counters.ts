/** What a Chrome trace counts over time. */

import type { DeviceTable } from '../devices.ts';
import { type RecordedEvent, type RecordedEventOf, SYSTEM } from '../recorded.ts';
import type { ChromeProcess, ChromeRows } from './rows.ts';

export interface ChromeCounter {
  readonly process: ChromeProcess;
  readonly name: string;
  /** The one argument. */
  readonly unit: string;
  value: number;
}

const RESIDENT_PAGES = 'resident pages';
const ENTRIES_OUTSTANDING = 'migration entries outstanding';
const FREE_FRAMES = 'free frames';
const BUFFER_ENTRIES = 'fault buffer entries';
const FAULTS = 'faults';

export class ChromeCounters {
  readonly #rows: ChromeRows;
  readonly #devices: DeviceTable;
  readonly #counters = new Map<string, ChromeCounter>();
  readonly #changed = new Set<ChromeCounter>();
  /** The page behind each address, process by process. */
  readonly #mapped = new Map<number, Map<number, number>>();
  /** Of pages that are mapped: by how many addresses, and whose they are. */
  readonly #pages = new Map<number, { uses: number; readonly owner: string }>();

  /** Devices with a fault buffer are named by `buffered`. */
  constructor(
    rows: ChromeRows,
    devices: DeviceTable,
    buffered: ReadonlySet<string>,
    ramPages: number,
  ) {
    this.#rows = rows;
    this.#devices = devices;
    this.#add(this.#free(), ramPages);
    this.#resident(SYSTEM);
    for (const { name } of devices.all)
      this.#counter(rows.actor(name, null), RESIDENT_PAGES, 'pages');
    for (const name of buffered) this.#buffer(name);
    this.#entries();
  }

  /** Counters that changed since the last call, in the order of their making; at first, all. */
  take(): ChromeCounter[] {
    const changed = [...this.#counters.values()].filter((one) => this.#changed.has(one));
    this.#changed.clear();
    return changed;
  }

  get hasChanged(): boolean {
    return this.#changed.size > 0;
  }

  /** A fault in a process of the trace. */
  fault(process: ChromeProcess): void {
    this.#add(this.#counter(process, FAULTS, 'faults'), 1);
  }

  /** So many pages more, or fewer, stand behind migration entries. */
  entries(pages: number): void {
    this.#add(this.#entries(), pages);
  }

  /**
   * Follows which faults were written since the last replay, and which pages are mapped; a page that
   * several addresses share counts once.
   */
  see(event: RecordedEvent): void {
    if (event.kind === 'owner_change') this.#ownerChange(event);
    else if (event.kind === 'gpu_fault') this.#add(this.#buffer(event.device), 1);
    else if (event.kind === 'fault_replay') {
      const written = this.#buffer(event.device);
      this.#add(written, -written.value);
    }
  }

  #ownerChange({ pid, va, page, to }: RecordedEventOf<'owner_change'>): void {
    let mapped = this.#mapped.get(pid);
    if (mapped === undefined) {
      mapped = new Map();
      this.#mapped.set(pid, mapped);
    }
    const before = mapped.get(va);
    if (before !== undefined) this.#unmap(before);
    if (to === null) {
      mapped.delete(va);
      return;
    }
    mapped.set(va, page);
    const known = this.#pages.get(page);
    if (known !== undefined) known.uses++;
    else {
      this.#pages.set(page, { uses: 1, owner: to });
      this.#reside(to, 1);
    }
  }

  #unmap(page: number): void {
    const known = this.#pages.get(page)!;
    known.uses--;
    if (known.uses > 0) return;
    this.#pages.delete(page);
    this.#reside(known.owner, -1);
  }

  #reside(owner: string, pages: number): void {
    this.#add(this.#resident(owner), pages);
    if (owner === SYSTEM) this.#add(this.#free(), -pages);
  }

  /** Pages of RAM that no address maps. */
  #free(): ChromeCounter {
    return this.#counter(this.#rows.kernel(), FREE_FRAMES, 'pages');
  }

  #buffer(device: string): ChromeCounter {
    return this.#counter(this.#rows.actor(device, null), BUFFER_ENTRIES, 'entries');
  }

  #resident(owner: string): ChromeCounter {
    const device = this.#devices.ofOwner(owner);
    const process = device === null ? this.#rows.kernel() : this.#rows.actor(device.name, null);
    return this.#counter(process, RESIDENT_PAGES, 'pages');
  }

  #entries(): ChromeCounter {
    return this.#counter(this.#rows.kernel(), ENTRIES_OUTSTANDING, 'pages');
  }

  #counter(process: ChromeProcess, name: string, unit: string): ChromeCounter {
    const key = `${process.pid} ${name}`;
    let counter = this.#counters.get(key);
    if (counter === undefined) {
      counter = { process, name, unit, value: 0 };
      this.#counters.set(key, counter);
      this.#changed.add(counter);
    }
    return counter;
  }

  #add(counter: ChromeCounter, change: number): void {
    counter.value += change;
    this.#changed.add(counter);
  }
}
