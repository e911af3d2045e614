/** Writes down what a machine tells, in columns. */
import type { EventStamp, PageHome, SimEvent, SimEventOf } from '../core/events/types.ts';
import type { Machine } from '../core/machine.ts';
import type { Owner } from '../core/pagemap/pagemap.ts';
import {
  type AllTables,
  Log,
  MAYBE_NULL,
  makeTables,
  NAME_FIRST,
  NAME_NULL,
  NAME_UNDEFINED,
  type Table,
  Texts,
  tablesByKind,
} from './columns.ts';
import { OwnerNames } from './owner-names.ts';
import { RECORDING_VERSION, type RecordingMeta } from './recorded.ts';
import { devicesOf, processesOf } from './recorder-meta.ts';
import { Recording } from './recording.ts';
import { type FieldType, SHAPE_FIELDS, shapeOf } from './schema.ts';

export interface RecorderOptions {
  /** Name of the program text that runs. */
  readonly program?: string;
  /** What each driver is called in a program's header, by its name in the machine. */
  readonly drivers?: ReadonlyMap<string, string>;
}

type Begin<K extends SimEvent['kind']> = Extract<SimEventOf<K>, { readonly phase: 'begin' }>;
type End<K extends SimEvent['kind']> = Extract<SimEventOf<K>, { readonly phase: 'end' }>;

/** Records a machine from now until `stop`. */
export class Recorder {
  readonly #machine: Machine;
  readonly #options: RecorderOptions;
  readonly #log: Log = new Log();
  readonly #tables: readonly Table[] = makeTables();
  readonly #kinds: AllTables = tablesByKind(this.#tables);
  readonly #texts: Texts = new Texts();
  readonly #names: OwnerNames = new OwnerNames();
  readonly #owners: Map<Owner | 'system', number> = new Map();
  #thread = '';
  #threadText: number;
  /** Id of the first record; spans that began before it end as lone ones. */
  #firstId = 0;
  #done: Recording | null = null;
  readonly #listener = (event: SimEvent): void => this.#add(event);

  constructor(machine: Machine, options: RecorderOptions = {}) {
    this.#machine = machine;
    this.#options = options;
    this.#threadText = this.#texts.of('');
    machine.events.on('*', this.#listener);
  }

  /** Records so far. */
  get length(): number {
    return this.#log.length;
  }

  /** Listens no more and returns what was recorded; the same recording each time. */
  stop(): Recording {
    if (this.#done !== null) return this.#done;
    this.#machine.events.off('*', this.#listener);
    const columns = { log: this.#log, tables: this.#tables, texts: this.#texts.list };
    this.#done = new Recording(this.#meta(), columns);
    return this.#done;
  }

  #meta(): RecordingMeta {
    const { era, pageSize, kernel } = this.#machine;
    const devices = devicesOf(this.#machine, this.#names, this.#options.drivers ?? new Map());
    return {
      version: RECORDING_VERSION,
      era: era.name,
      pageSize,
      ramBytes: kernel.pages.ramPages * pageSize,
      devices,
      program: this.#options.program ?? null,
      processes: processesOf(this.#machine, this.#tables),
      owners: this.#names.all,
    };
  }

  // One record -------------------------------------------------------------------------------

  #add(event: SimEvent): void {
    if (this.#log.length === 0) this.#firstId = event.id;
    if ('phase' in event && event.phase === 'end') this.#addEnd(event);
    else this.#addMain(event as Exclude<SimEvent, { readonly phase: 'end' }>);
  }

  #addMain(event: Exclude<SimEvent, { readonly phase: 'end' }>): void {
    switch (event.kind) {
      case 'migrate_phase':
        this.#phaseBegin(event);
        break;
      case 'owner_change':
        this.#ownerChange(event);
        break;
      case 'call':
        this.#callBegin(event);
        break;
      case 'cpu_fault':
        this.#cpuFaultBegin(event);
        break;
      case 'migrate':
        this.#migrateBegin(event);
        break;
      case 'invalidate':
        this.#invalidateBegin(event);
        break;
      case 'invalidate_call':
        this.#invalidateCall(event);
        break;
      case 'page_free':
        this.#pageFree(event);
        break;
      default:
        this.#addSlowly(event, 'phase' in event ? 'begin' : 'instant');
    }
  }

  #addEnd(event: Extract<SimEvent, { readonly phase: 'end' }>): void {
    if (event.begin < this.#firstId) {
      // The recording knows nothing of its beginning.
      this.#addSlowly(event, 'lone');
      return;
    }
    switch (event.kind) {
      case 'migrate_phase':
      case 'invalidate': {
        const { end, endShape } = this.#kinds[event.kind];
        const at = end.add();
        end.columns.begin[at] = event.id - event.begin;
        this.#stamp(endShape, event);
        break;
      }
      case 'call':
        this.#callEnd(event);
        break;
      case 'cpu_fault':
        this.#cpuFaultEnd(event);
        break;
      case 'migrate':
        this.#migrateEnd(event);
        break;
      default:
        this.#addSlowly(event, 'end');
    }
  }

  #stamp(shape: number, event: EventStamp): void {
    if (event.thread !== this.#thread) {
      this.#thread = event.thread;
      this.#threadText = this.#texts.of(event.thread);
    }
    this.#log.add(shape, event.id, event.timeNs, this.#threadText);
  }

  /** Any record by the schema; the kinds that make up most of a recording have their own way. */
  #addSlowly(event: SimEvent, form: 'instant' | 'begin' | 'end' | 'lone'): void {
    const shape = shapeOf(event.kind, form);
    const table = this.#tables[shape]!;
    const at = table.add();
    for (const [name, type] of SHAPE_FIELDS[shape]!) {
      const value = (event as unknown as Readonly<Record<string, unknown>>)[name];
      table.columns[name]![at] = this.#cell(event.id, type, value);
    }
    this.#stamp(shape, event);
  }

  #cell(id: number, type: FieldType, value: unknown): number {
    switch (type) {
      case 'number':
        return value as number;
      case 'maybe':
        return (value as number | null) ?? MAYBE_NULL;
      case 'text':
        return this.#texts.of(value as string);
      case 'flag':
        return value === true ? 1 : 0;
      case 'back':
        return back(id, value as number | null);
      case 'name':
        return this.#name(value as PageHome | string | undefined);
    }
  }

  #name(value: PageHome | string | undefined): number {
    if (value === null) return NAME_NULL;
    if (value === undefined) return NAME_UNDEFINED;
    if (typeof value === 'string') return this.#texts.of(value) + NAME_FIRST;
    let number = this.#owners.get(value);
    if (number === undefined) {
      number = this.#texts.of(this.#names.of(value)) + NAME_FIRST;
      this.#owners.set(value, number);
    }
    return number;
  }

  // The frequent kinds -----------------------------------------------------------------------

  #callBegin(event: Begin<'call'>): void {
    const { main, mainShape } = this.#kinds.call;
    const at = main.add();
    const { columns } = main;
    columns.parent[at] = back(event.id, event.parent);
    columns.actor[at] = this.#texts.of(event.actor);
    columns.name[at] = this.#texts.of(event.name);
    columns.pid[at] = event.pid ?? MAYBE_NULL;
    columns.start[at] = event.start;
    columns.end[at] = event.end;
    this.#stamp(mainShape, event);
  }

  #callEnd(event: End<'call'>): void {
    const { end, endShape } = this.#kinds.call;
    const at = end.add();
    end.columns.begin[at] = event.id - event.begin;
    end.columns.result[at] = event.result;
    this.#stamp(endShape, event);
  }

  #cpuFaultBegin(event: Begin<'cpu_fault'>): void {
    const { main, mainShape } = this.#kinds.cpu_fault;
    const at = main.add();
    const { columns } = main;
    columns.parent[at] = back(event.id, event.parent);
    columns.pid[at] = event.pid;
    columns.va[at] = event.va;
    columns.access[at] = this.#texts.of(event.access);
    this.#stamp(mainShape, event);
  }

  #cpuFaultEnd(event: End<'cpu_fault'>): void {
    const { end, endShape } = this.#kinds.cpu_fault;
    const at = end.add();
    end.columns.begin[at] = event.id - event.begin;
    end.columns.result[at] = this.#texts.of(event.result);
    this.#stamp(endShape, event);
  }

  #migrateBegin(event: Begin<'migrate'>): void {
    const { main, mainShape } = this.#kinds.migrate;
    const at = main.add();
    const { columns } = main;
    columns.parent[at] = back(event.id, event.parent);
    columns.pid[at] = event.pid ?? MAYBE_NULL;
    columns.start[at] = event.start;
    columns.end[at] = event.end;
    columns.pages[at] = event.pages;
    columns.cause[at] = this.#texts.of(event.cause);
    columns.owner[at] = this.#name(event.owner);
    columns.from[at] = this.#name(event.from);
    columns.to[at] = this.#name(event.to);
    this.#stamp(mainShape, event);
  }

  #migrateEnd(event: End<'migrate'>): void {
    const { end, endShape } = this.#kinds.migrate;
    const at = end.add();
    const { columns } = end;
    columns.begin[at] = event.id - event.begin;
    columns.from[at] = this.#name(event.from);
    columns.to[at] = this.#name(event.to);
    columns.selected[at] = event.selected;
    columns.migrated[at] = event.migrated;
    columns.failed[at] = event.failed;
    columns.valid[at] = event.valid;
    columns.writable[at] = event.writable;
    columns.given[at] = event.given;
    this.#stamp(endShape, event);
  }

  #phaseBegin(event: Begin<'migrate_phase'>): void {
    const { main, mainShape } = this.#kinds.migrate_phase;
    const at = main.add();
    const { columns } = main;
    columns.parent[at] = back(event.id, event.parent);
    columns.pid[at] = event.pid ?? MAYBE_NULL;
    columns.step[at] = this.#texts.of(event.step);
    columns.start[at] = event.start;
    columns.end[at] = event.end;
    this.#stamp(mainShape, event);
  }

  #invalidateBegin(event: Begin<'invalidate'>): void {
    const { main, mainShape } = this.#kinds.invalidate;
    const at = main.add();
    const { columns } = main;
    columns.parent[at] = back(event.id, event.parent);
    columns.pid[at] = event.pid;
    columns.start[at] = event.start;
    columns.end[at] = event.end;
    columns.event[at] = this.#texts.of(event.event);
    columns.owner[at] = this.#name(event.owner);
    this.#stamp(mainShape, event);
  }

  #invalidateCall(event: SimEventOf<'invalidate_call'>): void {
    const { main, mainShape } = this.#kinds.invalidate_call;
    const at = main.add();
    const { columns } = main;
    columns.parent[at] = back(event.id, event.parent);
    columns.pid[at] = event.pid;
    columns.start[at] = event.start;
    columns.end[at] = event.end;
    columns.event[at] = this.#texts.of(event.event);
    columns.owner[at] = this.#name(event.owner);
    columns.notifier[at] = this.#texts.of(event.notifier);
    columns.ignored[at] = event.ignored ? 1 : 0;
    this.#stamp(mainShape, event);
  }

  #ownerChange(event: SimEventOf<'owner_change'>): void {
    const { main, mainShape } = this.#kinds.owner_change;
    const at = main.add();
    const { columns } = main;
    columns.parent[at] = back(event.id, event.parent);
    columns.pid[at] = event.pid;
    columns.va[at] = event.va;
    columns.page[at] = event.page;
    columns.from[at] = this.#name(event.from);
    columns.to[at] = this.#name(event.to);
    this.#stamp(mainShape, event);
  }

  #pageFree(event: SimEventOf<'page_free'>): void {
    const { main, mainShape } = this.#kinds.page_free;
    const at = main.add();
    const { columns } = main;
    columns.parent[at] = back(event.id, event.parent);
    columns.page[at] = event.page;
    columns.pagemap[at] = this.#name(event.pagemap);
    columns.owner[at] = this.#name(event.owner);
    this.#stamp(mainShape, event);
  }
}

/** How many ids `other` lies before `id`; 0 for none. */
function back(id: number, other: number | null): number {
  return other === null ? 0 : id - other;
}
