/** A sink that keeps what it is told, row by row. */
import type { AccessBatch, MappingChange, WorkloadSink } from '../../src/workloads/types.ts';

export interface Row {
  readonly vpn: number;
  readonly thread: number;
  readonly write: boolean;
  readonly weight: number;
}

export class Collector implements WorkloadSink {
  readonly told: (Row | MappingChange)[] = [];

  get rows(): Row[] {
    return this.told.filter((one): one is Row => 'vpn' in one);
  }

  get mappings(): MappingChange[] {
    return this.told.filter((one): one is MappingChange => 'kind' in one);
  }

  accesses({ count, vpn, thread, write, weight }: AccessBatch): void {
    for (let i = 0; i < count; i++) {
      const row = { vpn: vpn[i]!, thread: thread[i]!, write: write[i] !== 0, weight: weight[i]! };
      this.told.push(row);
    }
  }

  mapping(change: MappingChange): void {
    this.told.push({ ...change });
  }
}

/** `bytes` in pieces that end at `cuts`. */
export function pieces(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  let from = 0;
  return ends.map((end) => {
    const piece = bytes.subarray(from, end);
    from = end;
    return piece;
  });
}
