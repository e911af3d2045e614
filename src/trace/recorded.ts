/**
 * Records as they stand in a recording: those of a machine, with owners by name.
 *
 * An owner is an object and compared by identity, which no file can hold. A recording gives each
 * owner a name of its own instead, so that equal names mean one owner.
 */
import type { SimEvent, SimEventKind, SpanBegin } from '../core/events/types.ts';
import type { Owner } from '../core/pagemap/pagemap.ts';

/** What RAM belongs to; no owner of device memory gets this name. */
export const SYSTEM = 'system';

type RecordedField<T> = Owner extends T ? string | Exclude<T, Owner> : T;

type Recorded<E> = E extends unknown
  ? { readonly [Field in keyof E]: RecordedField<E[Field]> }
  : never;

/**
 * A record with the names of owners in place of the owners: `system` is RAM, null is nobody. Where
 * two owners have one name, the second is called `name#2`.
 */
export type RecordedEvent = Recorded<SimEvent>;

/** The records of one kind. */
export type RecordedEventOf<Kind extends SimEventKind> = Extract<
  RecordedEvent,
  { readonly kind: Kind }
>;

/** The beginning of a span. */
export type RecordedBegin = Extract<RecordedEvent, { readonly phase: SpanBegin['phase'] }>;

/** The end of a span. */
export type RecordedEnd = Extract<RecordedEvent, { readonly phase: 'end' }>;

/** An end of one kind: the beginning's fields and the outcome. */
export type RecordedEndOf<Kind extends SimEventKind> = Extract<
  RecordedEnd,
  { readonly kind: Kind }
>;

/** Version of the format; a file of another one is refused. */
export const RECORDING_VERSION = 2;

/** What a recording says of the machine it was made on. */
export interface RecordingMeta {
  readonly version: typeof RECORDING_VERSION;
  /** The kernel: "v6.1". */
  readonly era: string;
  /** Bytes of a page. */
  readonly pageSize: number;
  readonly ramBytes: number;
  readonly devices: readonly RecordedDevice[];
  /** Name of the program text that ran, or null. */
  readonly program: string | null;
  readonly processes: readonly RecordedProcess[];
  /** Every owner that a record or a device names, RAM's left out, in order of appearance. */
  readonly owners: readonly string[];
}

export interface RecordedDevice {
  /** Unique in a machine: "nouveau0". */
  readonly name: string;
  /** What it is: "nouveau", "dmirror", "kvm-uvmem". */
  readonly driver: string;
  /** Whose its memory is, by the names that owners have in this recording. */
  readonly owners: readonly string[];
}

/** A process that the recording speaks of. */
export interface RecordedProcess {
  readonly pid: number;
  /** Alive when the recording ended. */
  readonly alive: boolean;
}
