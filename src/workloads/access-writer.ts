/** Collects accesses into batches for a sink: what readers and generators write with. */
import type { Vpn } from '../core/units.ts';
import { type AccessBatch, type MappingChange, newBatch, type WorkloadSink } from './types.ts';

const BATCH_ACCESSES = 4096;

export class AccessWriter {
  /** Accesses written so far, those that rows stand for included. */
  accesses = 0;
  /** Rows written so far. */
  records = 0;
  readonly #sink: WorkloadSink;
  readonly #batch: AccessBatch = newBatch(BATCH_ACCESSES);

  constructor(sink: WorkloadSink) {
    this.#sink = sink;
  }

  /**
   * @param thread 0 to 65535
   * @param weight accesses it stands for, 1 to 2^32 - 1
   */
  access(vpn: Vpn, thread: number, write: boolean, weight = 1): void {
    const batch = this.#batch;
    const at = batch.count;
    batch.vpn[at] = vpn;
    batch.thread[at] = thread;
    batch.write[at] = write ? 1 : 0;
    batch.weight[at] = weight;
    batch.count = at + 1;
    this.accesses += weight;
    this.records++;
    if (at + 1 === BATCH_ACCESSES) this.flush();
  }

  mapping(change: MappingChange): void {
    this.flush();
    this.#sink.mapping(change);
  }

  /** Passes on what is held back. */
  flush(): void {
    if (this.#batch.count === 0) return;
    this.#sink.accesses(this.#batch);
    this.#batch.count = 0;
  }
}
