/**
 * Which fields each kind of record has, and how a column holds them.
 *
 * Recorder, encoder and decoder follow these tables, and the compiler holds them against the event
 * types: a field that is added there and not here does not compile. A change of the tables makes
 * another format, which `SCHEMA_TEXT` shows and a recording's header carries.
 */
import type { EventStamp, SimEventKind, SimEventOf, SpanEnd } from '../core/events/types.ts';

/**
 * `number`: any number. `maybe`: a number that is 0 or more, or null. `text`: a string. `name`: the
 * name of an owner or region, null or undefined. `flag`: a boolean. `back`: another record, by how
 * many ids it lies before this one; 0 is none.
 */
export type FieldType = 'number' | 'maybe' | 'text' | 'name' | 'flag' | 'back';

export type Fields = Readonly<Record<string, FieldType>>;

type KeysOf<E> = E extends unknown ? keyof E : never;
type ValueOf<E, Name> = E extends unknown ? (Name extends keyof E ? E[Name] : never) : never;
type BeginOf<K extends SimEventKind> = Exclude<SimEventOf<K>, { readonly phase: 'end' }>;
type EndOf<K extends SimEventKind> = Extract<SimEventOf<K>, { readonly phase: 'end' }>;

/** How a column holds values of a type. */
type TypeOf<Value> = [Value] extends [boolean]
  ? 'flag'
  : [Value] extends [number]
    ? 'number'
    : [Value] extends [number | null]
      ? 'maybe'
      : [Value] extends [string]
        ? 'text'
        : 'name';

type FieldName<K extends SimEventKind> = Exclude<
  KeysOf<BeginOf<K>>,
  keyof EventStamp | 'kind' | 'phase'
>;
/** What an end adds, and what it may set anew. */
type OutcomeName<K extends SimEventKind> =
  | Exclude<KeysOf<EndOf<K>>, keyof SpanEnd | 'kind' | FieldName<K>>
  | (K extends 'migrate' ? 'from' | 'to' : never);

type OwnFields<K extends SimEventKind> = {
  readonly [Name in FieldName<K>]: TypeOf<ValueOf<BeginOf<K>, Name>>;
};
type Outcome<K extends SimEventKind> = {
  readonly [Name in OutcomeName<K>]: TypeOf<ValueOf<EndOf<K>, Name>>;
};

type Schema = {
  readonly [K in SimEventKind]: {
    readonly fields: OwnFields<K>;
    /** Null for kinds that are instants. */
    readonly outcome: SimEventOf<K> extends { readonly phase: unknown } ? Outcome<K> : null;
  };
};

const range = { pid: 'number', start: 'number', end: 'number' } as const;
const deviceAccess = { device: 'text', pid: 'maybe', va: 'number', access: 'text' } as const;
const invalidation = { ...range, event: 'text', owner: 'name' } as const;

const SCHEMA: Schema = {
  call: {
    fields: { actor: 'text', name: 'text', pid: 'maybe', start: 'number', end: 'number' },
    outcome: { result: 'number' },
  },
  cpu_fault: {
    fields: { pid: 'number', va: 'number', access: 'text' },
    outcome: { result: 'text' },
  },
  device_fault: {
    fields: { ...range, device: 'text', access: 'text' },
    outcome: { result: 'number' },
  },
  gpu_fault: { fields: { ...deviceAccess, client: 'number', entry: 'number' }, outcome: null },
  fault_buffer_overflow: { fields: deviceAccess, outcome: null },
  fault_replay: { fields: { device: 'text', faults: 'number' }, outcome: null },
  fatal_fault: { fields: { ...deviceAccess, reason: 'text' }, outcome: null },
  trespass: {
    fields: {
      by: 'text',
      what: 'text',
      page: 'number',
      owner: 'name',
      pid: 'maybe',
      va: 'maybe',
    },
    outcome: null,
  },
  migrate: {
    fields: {
      pid: 'maybe',
      start: 'number',
      end: 'number',
      pages: 'number',
      cause: 'text',
      owner: 'name',
      from: 'name',
      to: 'name',
    },
    outcome: {
      from: 'name',
      to: 'name',
      selected: 'number',
      migrated: 'number',
      failed: 'number',
      valid: 'number',
      writable: 'number',
      given: 'number',
    },
  },
  migrate_phase: {
    fields: { pid: 'maybe', step: 'text', start: 'number', end: 'number' },
    outcome: {},
  },
  invalidate: { fields: invalidation, outcome: {} },
  invalidate_call: {
    fields: { ...invalidation, notifier: 'text', ignored: 'flag' },
    outcome: null,
  },
  owner_change: {
    fields: { pid: 'number', va: 'number', page: 'number', from: 'name', to: 'name' },
    outcome: null,
  },
  page_free: { fields: { page: 'number', pagemap: 'name', owner: 'name' }, outcome: null },
  mapping_change: { fields: { ...range, what: 'text' }, outcome: null },
};

/** Fields of a record that is no end, as columns. */
export type MainFields<K extends SimEventKind> = { readonly parent: 'back' } & OwnFields<K>;

/** Fields of an end whose beginning is recorded, too: what the beginning does not tell. */
export type EndFields<K extends SimEventKind> = { readonly begin: 'back' } & Outcome<K>;

/**
 * The forms a record can have. `lone` is the end of a span that began before the recording did and
 * so has all of its fields.
 */
export type Form = 'instant' | 'begin' | 'end' | 'lone';

/** One kind of record in one form: a table of columns. */
export interface Shape {
  readonly kind: SimEventKind;
  readonly form: Form;
  readonly fields: Fields;
}

export const KINDS: readonly SimEventKind[] = Object.keys(SCHEMA) as SimEventKind[];

/** All shapes; the number of one is its place here. */
export const SHAPES: readonly Shape[] = KINDS.flatMap(shapesOf);

function shapesOf(kind: SimEventKind): Shape[] {
  const { fields, outcome } = SCHEMA[kind] as { fields: Fields; outcome: Fields | null };
  const main: Fields = { parent: 'back', ...fields };
  if (outcome === null) return [{ kind, form: 'instant', fields: main }];
  return [
    { kind, form: 'begin', fields: main },
    { kind, form: 'end', fields: { begin: 'back', ...outcome } },
    { kind, form: 'lone', fields: { begin: 'back', ...main, ...outcome } },
  ];
}

const NUMBERS: ReadonlyMap<SimEventKind, ReadonlyMap<Form, number>> = new Map(
  KINDS.map((kind) => [
    kind,
    new Map(SHAPES.flatMap((one, i) => (one.kind === kind ? [[one.form, i] as const] : []))),
  ]),
);

/** The number of a shape; -1 if the kind has no such form. */
export function shapeOf(kind: SimEventKind, form: Form): number {
  return NUMBERS.get(kind)?.get(form) ?? -1;
}

/** The fields of each shape, in order. */
export const SHAPE_FIELDS: readonly (readonly (readonly [name: string, type: FieldType])[])[] =
  SHAPES.map(({ fields }) => Object.entries(fields));

/** Can a field have other values than whole numbers of 32 bits, a sign included? */
export function isWide(name: string, type: FieldType): boolean {
  return (type === 'number' || type === 'maybe') && name !== 'pid';
}

/** All shapes and their fields as text. */
export const SCHEMA_TEXT: string = JSON.stringify(SHAPES);
