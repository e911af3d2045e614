/**
 * The arrows of a Chrome trace: why a page moved. One flow for each migration, from the call or
 * access that set it off, over the faults, to the drivers that were told, the copy, and the moment
 * when the access can go on; and one for each fault that was served without a migration.
 */

/** Where in its flow a point is: start, step, finish. */
export type FlowPhase = 's' | 't' | 'f';

export interface FlowPoint {
  /** Id of the record that the flow explains. */
  readonly flow: number;
  readonly phase: FlowPhase;
}

const NONE = -1;

/** Points of flows by the record at whose time they are; each record's own in a list. */
export class ChromeFlows {
  readonly #first: Int32Array;
  readonly #next: number[] = [];
  readonly #flow: number[] = [];
  readonly #phase: FlowPhase[] = [];

  /** For so many records. */
  constructor(records: number) {
    this.#first = new Int32Array(records).fill(NONE);
  }

  /** A flow through the slices that begin with these records. One record makes no flow. */
  add(flow: number, through: readonly number[]): void {
    if (through.length < 2) return;
    through.forEach((record, i) => {
      this.#point(record, flow, i === 0 ? 's' : i === through.length - 1 ? 'f' : 't');
    });
  }

  #point(record: number, flow: number, phase: FlowPhase): void {
    this.#next.push(this.#first[record]!);
    this.#first[record] = this.#flow.length;
    this.#flow.push(flow);
    this.#phase.push(phase);
  }

  /** The points at record `i`, in the order of their flows' ends. */
  at(i: number): FlowPoint[] {
    const points: FlowPoint[] = [];
    for (let at = this.#first[i]!; at !== NONE; at = this.#next[at]!) {
      points.push({ flow: this.#flow[at]!, phase: this.#phase[at]! });
    }
    return points.reverse();
  }
}
