/** Writes down what a bus tells, a row a record; the fields in the order of the schema. */
import type { DeviceFaultInfo } from '../core/events/call.ts';
import type { CpuFaultInfo, EventSink, ReplayInfo, Stamp } from '../core/events/sink.ts';
import { pagesOf } from '../core/events/teller.ts';
import type {
  BufferedAccess,
  CallInfo,
  CpuFaultResult,
  DeviceAccess,
  MappingChange,
  MigrateInfo,
  MigrateStep,
  PageHome,
  SimEventKind,
  TrespassInfo,
} from '../core/events/types.ts';
import type { NotifierRange } from '../core/hmm/notifier.ts';
import type { Mm } from '../core/mm/mm.ts';
import type { DevPagemap } from '../core/pagemap/pagemap.ts';
import type { Page, Va } from '../core/units.ts';
import { MAYBE_NULL, NAME_FIRST, NAME_NULL, type RecordColumns } from './columns.ts';
import { FewTexts, NameNumbers, TextNumbers } from './numbers.ts';
import type { OwnerNames } from './owner-names.ts';
import { Rows } from './rows.ts';
import { shapeOf } from './schema.ts';

/** The shapes of a kind that takes time. */
interface SpanShapes {
  readonly begin: number;
  readonly end: number;
  readonly lone: number;
}

function spanShapes(kind: SimEventKind): SpanShapes {
  return {
    begin: shapeOf(kind, 'begin'),
    end: shapeOf(kind, 'end'),
    lone: shapeOf(kind, 'lone'),
  };
}

const CALL = spanShapes('call');
const CPU_FAULT = spanShapes('cpu_fault');
const DEVICE_FAULT = spanShapes('device_fault');
const MIGRATE = spanShapes('migrate');
const MIGRATE_PHASE = spanShapes('migrate_phase');
const INVALIDATE = spanShapes('invalidate');
const GPU_FAULT = shapeOf('gpu_fault', 'instant');
const FAULT_BUFFER_OVERFLOW = shapeOf('fault_buffer_overflow', 'instant');
const FAULT_REPLAY = shapeOf('fault_replay', 'instant');
const FATAL_FAULT = shapeOf('fatal_fault', 'instant');
const TRESPASS = shapeOf('trespass', 'instant');
const INVALIDATE_CALL = shapeOf('invalidate_call', 'instant');
const OWNER_CHANGE = shapeOf('owner_change', 'instant');
const PAGE_FREE = shapeOf('page_free', 'instant');
const MAPPING_CHANGE = shapeOf('mapping_change', 'instant');

export class Journal implements EventSink {
  /** The processes that records speak of. */
  readonly pids: Set<number> = new Set();
  #lastPid = MAYBE_NULL;
  readonly #rows: Rows = new Rows();
  readonly #texts: TextNumbers = new TextNumbers();
  readonly #names: NameNumbers;
  #thread = '';
  #threadText: number = this.#texts.of('');
  // Each by the field that it serves, so that each has few texts.
  readonly #actors: FewTexts = new FewTexts(this.#texts);
  readonly #accesses: FewTexts = new FewTexts(this.#texts);
  readonly #results: FewTexts = new FewTexts(this.#texts);
  readonly #causes: FewTexts = new FewTexts(this.#texts);
  readonly #steps: FewTexts = new FewTexts(this.#texts);
  readonly #events: FewTexts = new FewTexts(this.#texts);
  readonly #notifiers: FewTexts = new FewTexts(this.#texts);
  readonly #pagemaps: FewTexts = new FewTexts(this.#texts);

  constructor(names: OwnerNames) {
    this.#names = new NameNumbers(this.#texts, names);
  }

  /** Records so far. */
  get length(): number {
    return this.#rows.length;
  }

  /** All records so far. */
  columns(): RecordColumns {
    return this.#rows.columns(this.#texts.list);
  }

  // Calls and faults ---------------------------------------------------------------------------

  callBegin(at: Stamp, call: CallInfo): void {
    this.#begin(CALL.begin, at);
    this.#call(call);
  }

  callEnd(at: Stamp, begin: number, call: CallInfo, result: number): void {
    if (this.#endIsLone(CALL, at, begin)) this.#call(call);
    this.#rows.putWide(result);
  }

  #call({ actor, name, mm, start, end }: CallInfo): void {
    const rows = this.#rows;
    rows.put(this.#actors.of(actor));
    rows.put(this.#texts.of(name));
    rows.put(this.#pid(mm?.pid));
    rows.putWide(start);
    rows.putWide(end);
  }

  cpuFaultBegin(at: Stamp, fault: CpuFaultInfo): void {
    this.#begin(CPU_FAULT.begin, at);
    this.#cpuFault(fault);
  }

  cpuFaultEnd(at: Stamp, begin: number, fault: CpuFaultInfo, result: CpuFaultResult): void {
    if (this.#endIsLone(CPU_FAULT, at, begin)) this.#cpuFault(fault);
    this.#rows.put(this.#results.of(result));
  }

  #cpuFault({ mm, va, access }: CpuFaultInfo): void {
    const rows = this.#rows;
    rows.put(this.#pid(mm.pid));
    rows.putWide(va);
    rows.put(this.#accesses.of(access));
  }

  deviceFaultBegin(at: Stamp, fault: DeviceFaultInfo): void {
    this.#begin(DEVICE_FAULT.begin, at);
    this.#deviceFault(fault);
  }

  deviceFaultEnd(at: Stamp, begin: number, fault: DeviceFaultInfo, result: number): void {
    if (this.#endIsLone(DEVICE_FAULT, at, begin)) this.#deviceFault(fault);
    this.#rows.putWide(result);
  }

  #deviceFault({ mm, start, end, device, access }: DeviceFaultInfo): void {
    const rows = this.#rows;
    rows.put(this.#pid(mm.pid));
    rows.putWide(start);
    rows.putWide(end);
    rows.put(this.#actors.of(device));
    rows.put(this.#accesses.of(access));
  }

  gpuFault(at: Stamp, fault: BufferedAccess): void {
    this.#begin(GPU_FAULT, at);
    this.#deviceAccess(fault);
    this.#rows.putWide(fault.client);
    this.#rows.putWide(fault.entry);
  }

  faultBufferOverflow(at: Stamp, fault: DeviceAccess): void {
    this.#begin(FAULT_BUFFER_OVERFLOW, at);
    this.#deviceAccess(fault);
  }

  fatalFault(at: Stamp, fault: DeviceAccess & { readonly reason: string }): void {
    this.#begin(FATAL_FAULT, at);
    this.#deviceAccess(fault);
    this.#rows.put(this.#texts.of(fault.reason));
  }

  #deviceAccess({ device, pid, va, access }: DeviceAccess): void {
    const rows = this.#rows;
    rows.put(this.#actors.of(device));
    rows.put(this.#pid(pid));
    rows.putWide(va);
    rows.put(this.#accesses.of(access));
  }

  faultReplay(at: Stamp, { device, faults }: ReplayInfo): void {
    this.#begin(FAULT_REPLAY, at);
    this.#rows.put(this.#actors.of(device));
    this.#rows.putWide(faults);
  }

  trespass(at: Stamp, { by, what, page, owner, pid, va }: TrespassInfo): void {
    this.#begin(TRESPASS, at);
    const rows = this.#rows;
    rows.put(this.#actors.of(by));
    rows.put(this.#texts.of(what));
    rows.putWide(page);
    rows.put(this.#names.of(owner));
    rows.put(this.#pid(pid));
    rows.putWide(va ?? MAYBE_NULL);
  }

  // Migrations ---------------------------------------------------------------------------------

  migrateBegin(at: Stamp, info: MigrateInfo): void {
    this.#begin(MIGRATE.begin, at);
    this.#migrate(info);
    this.#fromTo(info);
  }

  migrateEnd(
    at: Stamp,
    begin: number,
    info: MigrateInfo,
    selected: number,
    migrated: number,
  ): void {
    if (this.#endIsLone(MIGRATE, at, begin)) this.#migrate(info);
    this.#fromTo(info);
    const rows = this.#rows;
    rows.putWide(selected);
    rows.putWide(migrated);
    rows.putWide(selected - migrated);
    rows.putWide(info.valid ?? 0);
    rows.putWide(info.writable ?? 0);
    rows.putWide(info.given ?? 0);
  }

  #migrate(info: MigrateInfo): void {
    const rows = this.#rows;
    rows.put(this.#pid(info.mm?.pid));
    rows.putWide(info.start);
    rows.putWide(info.end);
    rows.putWide(pagesOf(info));
    rows.put(this.#causes.of(info.cause));
    rows.put(this.#names.of(info.owner));
  }

  #fromTo({ from, to }: MigrateInfo): void {
    this.#rows.put(this.#names.of(from));
    this.#rows.put(this.#names.of(to));
  }

  phaseBegin(at: Stamp, info: MigrateInfo, step: MigrateStep): void {
    this.#begin(MIGRATE_PHASE.begin, at);
    this.#phase(info, step);
  }

  phaseEnd(at: Stamp, begin: number, info: MigrateInfo, step: MigrateStep): void {
    if (this.#endIsLone(MIGRATE_PHASE, at, begin)) this.#phase(info, step);
  }

  #phase({ mm, start, end }: MigrateInfo, step: MigrateStep): void {
    const rows = this.#rows;
    rows.put(this.#pid(mm?.pid));
    rows.put(this.#steps.of(step));
    rows.putWide(start);
    rows.putWide(end);
  }

  // Notifiers ----------------------------------------------------------------------------------

  invalidateBegin(at: Stamp, range: NotifierRange): void {
    this.#begin(INVALIDATE.begin, at);
    this.#range(range);
  }

  invalidateEnd(at: Stamp, begin: number, range: NotifierRange): void {
    if (this.#endIsLone(INVALIDATE, at, begin)) this.#range(range);
  }

  notified(at: Stamp, range: NotifierRange, notifier: string, ignored: boolean): void {
    this.#begin(INVALIDATE_CALL, at);
    this.#range(range);
    this.#rows.put(this.#notifiers.of(notifier));
    this.#rows.put(ignored ? 1 : 0);
  }

  #range({ mm, start, end, event, owner }: NotifierRange): void {
    const rows = this.#rows;
    rows.put(this.#pid(mm.pid));
    rows.putWide(start);
    rows.putWide(end);
    rows.put(this.#events.of(event));
    rows.put(this.#names.of(owner));
  }

  // Moments ------------------------------------------------------------------------------------

  ownerChange(at: Stamp, mm: Mm, va: Va, page: Page, from: PageHome, to: PageHome): void {
    this.#begin(OWNER_CHANGE, at);
    const rows = this.#rows;
    rows.put(this.#pid(mm.pid));
    rows.putWide(va);
    rows.putWide(page);
    rows.put(this.#names.of(from));
    rows.put(this.#names.of(to));
  }

  pageFree(at: Stamp, page: Page, pagemap: DevPagemap | null): void {
    this.#begin(PAGE_FREE, at);
    const rows = this.#rows;
    rows.putWide(page);
    rows.put(pagemap === null ? NAME_NULL : this.#pagemaps.of(pagemap.name) + NAME_FIRST);
    rows.put(this.#names.of(pagemap === null ? 'system' : pagemap.owner));
  }

  mappingChange(at: Stamp, mm: Mm, what: MappingChange, start: Va, end: Va): void {
    this.#begin(MAPPING_CHANGE, at);
    const rows = this.#rows;
    rows.put(this.#pid(mm.pid));
    rows.putWide(start);
    rows.putWide(end);
    rows.put(this.#causes.of(what));
  }

  // Rows ---------------------------------------------------------------------------------------

  /** An instant, or the beginning of a span. */
  #begin(shape: number, { id, timeNs, thread, parent }: Stamp): void {
    this.#rows.add(shape, id, timeNs, this.#threadOf(thread));
    this.#rows.put(back(id, parent));
  }

  /** True where the recording knows nothing of the beginning: the end then has all of its fields. */
  #endIsLone(shapes: SpanShapes, { id, timeNs, thread, parent }: Stamp, begin: number): boolean {
    const rows = this.#rows;
    const isLone = !rows.has(begin);
    rows.add(isLone ? shapes.lone : shapes.end, id, timeNs, this.#threadOf(thread));
    rows.put(id - begin);
    if (isLone) rows.put(back(id, parent));
    return isLone;
  }

  #threadOf(thread: string): number {
    if (thread !== this.#thread) {
      this.#thread = thread;
      this.#threadText = this.#texts.of(thread);
    }
    return this.#threadText;
  }

  #pid(pid: number | null | undefined): number {
    if (pid === null || pid === undefined) return MAYBE_NULL;
    if (pid !== this.#lastPid) {
      this.#lastPid = pid;
      this.pids.add(pid);
    }
    return pid;
  }
}

/** How many ids `other` lies before `id`; 0 for none. */
function back(id: number, other: number | null): number {
  return other === null ? 0 : id - other;
}
