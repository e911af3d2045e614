/** Records what a machine does. */
import type { Machine } from '../core/machine.ts';
import { Journal } from './journal.ts';
import { OwnerNames } from './owner-names.ts';
import { RECORDING_VERSION, type RecordingMeta } from './recorded.ts';
import { devicesOf, processesOf } from './recorder-meta.ts';
import { Recording } from './recording.ts';

export interface RecorderOptions {
  /** Name of the program text that runs. */
  readonly program?: string;
  /** What each driver is called in a program's header, by its name in the machine. */
  readonly drivers?: ReadonlyMap<string, string>;
}

/** Records a machine from now until `stop`. */
export class Recorder {
  readonly #machine: Machine;
  readonly #options: RecorderOptions;
  readonly #names: OwnerNames = new OwnerNames();
  /** Its rows, too, become the recording's when that is made. */
  #work: Journal | Recording;

  constructor(machine: Machine, options: RecorderOptions = {}) {
    this.#machine = machine;
    this.#options = options;
    this.#work = new Journal(this.#names);
    machine.events.attach(this.#work);
  }

  /** Records so far. */
  get length(): number {
    return this.#work.length;
  }

  /** Listens no more and returns what was recorded; the same recording each time. */
  stop(): Recording {
    const work = this.#work;
    if (work instanceof Recording) return work;
    this.#machine.events.detach(work);
    const meta = this.#meta(work.pids);
    this.#work = new Recording(meta, work.length, () => work.columns());
    return this.#work;
  }

  #meta(pids: Iterable<number>): RecordingMeta {
    const { era, pageSize, kernel } = this.#machine;
    const devices = devicesOf(this.#machine, this.#names, this.#options.drivers ?? new Map());
    return {
      version: RECORDING_VERSION,
      era: era.name,
      pageSize,
      ramBytes: kernel.pages.ramPages * pageSize,
      devices,
      program: this.#options.program ?? null,
      processes: processesOf(this.#machine, pids),
      owners: this.#names.all,
    };
  }
}
