/** Tells a fault that is tried again from a new one. */
import type { RecordedBegin, RecordedEvent, RecordedEventOf } from '../recorded.ts';

type CpuFault = RecordedEventOf<'cpu_fault'>;
type DeviceFault = RecordedEventOf<'device_fault'>;

export class FaultRetries {
  /** The last record of each thread. */
  readonly #last = new Map<string, RecordedEvent>();
  /** For device faults that are being served, the first address after what was asked for. */
  readonly #asked = new Map<number, number>();

  /** Nothing happened on the thread since a fault on the same byte was answered "try again". */
  repeatsCpuFault(fault: CpuFault): boolean {
    const last = this.#last.get(fault.thread);
    if (last?.kind !== 'cpu_fault' || !('result' in last) || last.result !== 'ok') return false;
    const { pid, va, access, parent } = fault;
    return last.pid === pid && last.va === va && last.access === access && last.parent === parent;
  }

  /** Pages that were asked for before, inside of the same fault. */
  repeatsDeviceFault(fault: DeviceFault, outer: RecordedBegin): boolean {
    const asked = this.#asked.get(outer.id) ?? 0;
    this.#asked.set(outer.id, Math.max(asked, fault.end));
    return fault.start < asked;
  }

  /** To be called for each record, in order, after it was looked at. */
  pass(event: RecordedEvent): void {
    this.#last.set(event.thread, event);
    if (event.kind === 'device_fault' && event.phase === 'end') this.#asked.delete(event.begin);
  }
}
