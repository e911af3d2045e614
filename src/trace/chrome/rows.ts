/** Where a Chrome trace draws a record: its processes are whose work it is, its threads are threads. */
import type { DeviceTable } from '../devices.ts';
import type { RecordedEvent } from '../recorded.ts';

/** A process of the trace: an address space, a device, the program, or the kernel. */
export interface ChromeProcess {
  readonly name: string;
  /** Processes stand in this order, then in that of their appearance. */
  readonly rank: number;
  /** Set when all are known; the first is 1. */
  pid: number;
}

/** A thread of the machine, as far as it works for one process of the trace. */
export interface ChromeRow {
  readonly process: ChromeProcess;
  readonly thread: string;
  /** Different in all rows of the trace. */
  tid: number;
}

const RANK_PROGRAM = 0;
const RANK_MM = 1;
const RANK_DEVICE = 2;
const RANK_OTHER = 3;
const RANK_KERNEL = 4;

/** Where stands what belongs to no address space and no device. */
const KERNEL_PROCESS = 'kernel';
/** Who makes the calls that are lines of a program. */
export const PROGRAM_ACTOR = 'program';

export class ChromeRows {
  readonly #devices: DeviceTable;
  readonly #program: string | null;
  readonly #processes = new Map<string, ChromeProcess>();
  readonly #rows = new Map<string, ChromeRow>();

  constructor(devices: DeviceTable, program: string | null) {
    this.#devices = devices;
    this.#program = program;
  }

  get processes(): ChromeProcess[] {
    return [...this.#processes.values()].sort((a, b) => a.rank - b.rank || a.pid - b.pid);
  }

  get rows(): ChromeRow[] {
    return [...this.#rows.values()];
  }

  /** Numbers processes in the order in which they stand, and rows after them. */
  number(): void {
    [...this.#processes.values()]
      .sort((a, b) => a.rank - b.rank)
      .forEach((process, i) => {
        process.pid = i + 1;
      });
    let tid = this.#processes.size;
    for (const row of this.#rows.values()) row.tid = ++tid;
  }

  /** The row of `event`; `around` is that of the span it happened in, on the same thread. */
  of(event: RecordedEvent, around: ChromeRow | null): ChromeRow {
    const process = this.#processOf(event) ?? around?.process ?? this.#processLeft(event);
    const key = `${process.name}\n${event.thread}`;
    let row = this.#rows.get(key);
    if (row === undefined) {
      row = { process, thread: event.thread, tid: 0 };
      this.#rows.set(key, row);
    }
    return row;
  }

  /** An address space. */
  mm(pid: number): ChromeProcess {
    return this.#process(`mm ${pid}`, RANK_MM);
  }

  kernel(): ChromeProcess {
    return this.#process(KERNEL_PROCESS, RANK_KERNEL);
  }

  /** A device, or whoever has this name; each virtual machine of KVM stands for itself. */
  actor(name: string, pid: number | null): ChromeProcess {
    const device = this.#devices.ofName(name);
    if (device === null) return this.#process(name, RANK_OTHER);
    if (device.driver === 'kvm-uvmem' && pid !== null) {
      return this.#process(`${device.name} VM ${pid}`, RANK_DEVICE);
    }
    const says = device.driver === '' || device.name.includes(device.driver);
    return this.#process(says ? device.name : `${device.name} ${device.driver}`, RANK_DEVICE);
  }

  /** What an event says of itself; undefined where it goes with what is around it. */
  #processOf(event: RecordedEvent): ChromeProcess | undefined {
    switch (event.kind) {
      case 'call':
        return this.#caller(event.actor, event.pid);
      case 'cpu_fault':
        return this.mm(event.pid);
      case 'device_fault':
      case 'gpu_fault':
      case 'fault_buffer_overflow':
      case 'fatal_fault':
        return this.actor(event.device, event.pid);
      case 'fault_replay':
        return this.actor(event.device, null);
      case 'invalidate_call':
        return this.actor(event.notifier, event.pid);
      default:
        return undefined;
    }
  }

  #caller(actor: string, pid: number | null): ChromeProcess {
    if (actor === PROGRAM_ACTOR) {
      const name = this.#program === null ? PROGRAM_ACTOR : `program ${this.#program}`;
      return this.#process(name, RANK_PROGRAM);
    }
    const caller = /^process (\d+)$/.exec(actor)?.[1];
    return caller === undefined ? this.actor(actor, pid) : this.mm(Number(caller));
  }

  /** Of an event that is inside of nothing. */
  #processLeft(event: RecordedEvent): ChromeProcess {
    if ('pid' in event && event.pid !== null) return this.mm(event.pid);
    const owner = event.kind === 'migrate' ? event.owner : null;
    const device = this.#devices.ofOwner(owner);
    return device === null ? this.kernel() : this.actor(device.name, null);
  }

  #process(name: string, rank: number): ChromeProcess {
    let process = this.#processes.get(name);
    if (process === undefined) {
      process = { name, rank, pid: 0 };
      this.#processes.set(name, process);
    }
    return process;
  }
}
