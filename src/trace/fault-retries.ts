/** Tells a fault that is tried again from a new one. */
import type { OpenSpan } from './open-spans.ts';
import type { RecordedEvent, RecordedEventOf } from './recorded.ts';

type CpuFault = RecordedEventOf<'cpu_fault'>;
type DeviceFault = RecordedEventOf<'device_fault'>;

/** What was asked for inside of a device fault that is being served. */
interface Attempts {
  /** The first address after all of it. */
  readonly end: number;
  /** Where the last attempt began, and how often it had been tried before. */
  readonly start: number;
  readonly retries: number;
}

export class FaultRetries {
  /** The last record of each thread. */
  readonly #last = new Map<string, RecordedEvent>();
  /** How often the last CPU fault of each thread had been tried before. */
  readonly #cpuRetries = new Map<string, number>();
  /** By the id of the device fault. */
  readonly #attempts = new Map<number, Attempts>();

  /**
   * How often the same fault came before, with nothing in between on the thread: each time it was
   * answered "try again". To be asked once for each beginning.
   */
  ofCpu(fault: CpuFault): number {
    const { thread } = fault;
    const retries = this.#repeats(fault) ? (this.#cpuRetries.get(thread) ?? 0) + 1 : 0;
    this.#cpuRetries.set(thread, retries);
    return retries;
  }

  #repeats({ thread, pid, va, access, parent }: CpuFault): boolean {
    const last = this.#last.get(thread);
    if (last?.kind !== 'cpu_fault' || !('result' in last) || last.result !== 'ok') return false;
    return last.pid === pid && last.va === va && last.access === access && last.parent === parent;
  }

  /**
   * How often these pages were asked for before, inside of the device fault `outer`; 0 for what is
   * no attempt to serve one, whose `outer` is null. To be asked once for each beginning.
   */
  ofDevice(fault: DeviceFault, outer: OpenSpan | null): number {
    if (outer === null) return 0;
    const { id } = outer.begin;
    const { start } = fault;
    const before = this.#attempts.get(id) ?? { end: 0, start: 0, retries: 0 };
    const isAgain = start < before.end;
    const retries = !isAgain ? 0 : start === before.start ? before.retries + 1 : 1;
    this.#attempts.set(id, { end: Math.max(before.end, fault.end), start, retries });
    return retries;
  }

  /** To be called for each record, in order, after it was looked at. */
  pass(event: RecordedEvent): void {
    this.#last.set(event.thread, event);
    if (event.kind === 'device_fault' && event.phase === 'end') this.#attempts.delete(event.begin);
  }
}
