/**
 * Where listeners hear what a machine does.
 *
 * The kernel tests `listening` before it calls anything here, so silence costs one field read. What
 * is told goes to sinks as numbers; the last of them, if there are listeners, makes objects of it.
 */
import type { NotifierRange } from '../hmm/notifier.ts';
import type { Mm } from '../mm/mm.ts';
import type { DevPagemap } from '../pagemap/pagemap.ts';
import type { Scheduler } from '../sched/scheduler.ts';
import type { Page, Va } from '../units.ts';
import type { DeviceFaultInfo } from './call.ts';
import { Listeners, type Name } from './listeners.ts';
import { type OpenSpan, OpenSpans } from './open-spans.ts';
import { type CpuFaultInfo, type ReplayInfo, Stamp } from './sink.ts';
import { Teller } from './teller.ts';
import type {
  Access,
  BufferedAccess,
  CallInfo,
  CpuFaultResult,
  DeviceAccess,
  MappingChange,
  MigrateInfo,
  MigrateStep,
  PageHome,
  SimEvent,
  SpanKind,
  TrespassInfo,
} from './types.ts';

export class EventBus extends Listeners {
  protected readonly teller: Teller = new Teller((event) => this.#tell(event));
  readonly #scheduler: Scheduler;
  readonly #open: OpenSpans = new OpenSpans();
  readonly #stamp: Stamp = new Stamp();
  #nextId = 1;

  constructor(scheduler: Scheduler) {
    super();
    this.#scheduler = scheduler;
  }

  // Calls ----------------------------------------------------------------------------------------

  callBegin(call: CallInfo): void {
    const at = this.#begin('call', call, '', call);
    for (const sink of this.sinks) sink.callBegin(at, call);
  }

  callEnd(call: CallInfo, result: number): void {
    const span = this.#open.end('call', call, '');
    if (span === undefined) return;
    const at = this.#end(span);
    for (const sink of this.sinks) sink.callEnd(at, span.id, call, result);
  }

  // Faults ---------------------------------------------------------------------------------------

  cpuFaultBegin(mm: Mm, va: Va, write: boolean): void {
    const fault: CpuFaultInfo = { mm, va, access: write ? 'write' : 'read' };
    const at = this.#begin('cpu_fault', this.#scheduler.current, va, fault);
    for (const sink of this.sinks) sink.cpuFaultBegin(at, fault);
  }

  cpuFaultEnd(_mm: Mm, va: Va, result: CpuFaultResult): void {
    const span = this.#open.end('cpu_fault', this.#scheduler.current, va);
    if (span === undefined) return;
    const fault = span.info as CpuFaultInfo;
    const at = this.#end(span);
    for (const sink of this.sinks) sink.cpuFaultEnd(at, span.id, fault, result);
  }

  /** `cause` is the record that led to it, where that was told on another thread. */
  deviceFaultBegin(
    mm: Mm,
    start: Va,
    end: Va,
    device: string,
    access: Access,
    cause?: number,
  ): void {
    const fault: DeviceFaultInfo = { mm, start, end, device, access };
    const at = this.#begin('device_fault', this.#scheduler.current, start, fault, cause);
    for (const sink of this.sinks) sink.deviceFaultBegin(at, fault);
  }

  deviceFaultEnd(_mm: Mm, start: Va, _end: Va, result: number): void {
    const span = this.#open.end('device_fault', this.#scheduler.current, start);
    if (span === undefined) return;
    const fault = span.info as DeviceFaultInfo;
    const at = this.#end(span);
    for (const sink of this.sinks) sink.deviceFaultEnd(at, span.id, fault, result);
  }

  /** Returns the id of the record, for what it causes on other threads. */
  gpuFault(fault: BufferedAccess): number {
    const at = this.#moment();
    const { id } = at;
    for (const sink of this.sinks) sink.gpuFault(at, fault);
    return id;
  }

  faultBufferOverflow(fault: DeviceAccess): void {
    const at = this.#moment();
    for (const sink of this.sinks) sink.faultBufferOverflow(at, fault);
  }

  faultReplay(replay: ReplayInfo): void {
    const at = this.#moment();
    for (const sink of this.sinks) sink.faultReplay(at, replay);
  }

  fatalFault(fault: DeviceAccess & { readonly reason: string }): void {
    const at = this.#moment();
    for (const sink of this.sinks) sink.fatalFault(at, fault);
  }

  trespass(info: TrespassInfo): void {
    const at = this.#moment();
    for (const sink of this.sinks) sink.trespass(at, info);
  }

  // Migrations -----------------------------------------------------------------------------------

  migrateBegin(info: MigrateInfo): void {
    const at = this.#begin('migrate', info, '', info);
    for (const sink of this.sinks) sink.migrateBegin(at, info);
  }

  /** Of `selected` pages (those that could move), `migrated` did. */
  migrateEnd(info: MigrateInfo, selected: number, migrated: number): void {
    const span = this.#open.end('migrate', info, '');
    if (span === undefined) return;
    const at = this.#end(span);
    for (const sink of this.sinks) sink.migrateEnd(at, span.id, info, selected, migrated);
  }

  migratePhase(info: MigrateInfo, step: MigrateStep, phase: 'begin' | 'end'): void {
    if (phase === 'begin') this.#phaseBegin(info, step);
    else this.#phaseEnd(info, step);
  }

  #phaseBegin(info: MigrateInfo, step: MigrateStep): void {
    const at = this.#begin('migrate_phase', info, step, info);
    for (const sink of this.sinks) sink.phaseBegin(at, info, step);
  }

  #phaseEnd(info: MigrateInfo, step: MigrateStep): void {
    const span = this.#open.end('migrate_phase', info, step);
    if (span === undefined) return;
    const at = this.#end(span);
    for (const sink of this.sinks) sink.phaseEnd(at, span.id, info, step);
  }

  // Notifiers ------------------------------------------------------------------------------------

  invalidateBegin(range: NotifierRange): void {
    const at = this.#begin('invalidate', range, '', range);
    for (const sink of this.sinks) sink.invalidateBegin(at, range);
  }

  invalidateEnd(range: NotifierRange): void {
    const span = this.#open.end('invalidate', range, '');
    if (span === undefined) return;
    const at = this.#end(span);
    for (const sink of this.sinks) sink.invalidateEnd(at, span.id, range);
  }

  /** The notifier named `notifier` has heard of `range`. */
  notified(range: NotifierRange, notifier: string, ignored: boolean): void {
    const at = this.#moment();
    for (const sink of this.sinks) sink.notified(at, range, notifier, ignored);
  }

  // Moments --------------------------------------------------------------------------------------

  ownerChange(mm: Mm, va: Va, page: Page, from: PageHome, to: PageHome): void {
    const at = this.#moment();
    for (const sink of this.sinks) sink.ownerChange(at, mm, va, page, from, to);
  }

  pageFree(page: Page, pagemap: DevPagemap | null): void {
    const at = this.#moment();
    for (const sink of this.sinks) sink.pageFree(at, page, pagemap);
  }

  mappingChange(mm: Mm, what: MappingChange, start: Va, end: Va): void {
    const at = this.#moment();
    for (const sink of this.sinks) sink.mappingChange(at, mm, what, start, end);
  }

  // Records --------------------------------------------------------------------------------------

  /** Listeners to everything come first: what a listener to one kind sets off is told after it. */
  #tell(event: SimEvent): void {
    this.emit('*', event);
    if (this.kindsHeard === 0) return;
    // The map ties each kind to its records, which TypeScript cannot follow through a union.
    (this.emit as (name: Name, event: SimEvent) => boolean)(event.kind, event);
  }

  /** A record in the innermost span of the running thread. */
  #moment(): Stamp {
    const { current, nowNs } = this.#scheduler;
    const { spans } = current;
    return this.#stampOf(nowNs, current.name, spans.length > 0 ? spans[spans.length - 1]! : null);
  }

  /** The beginning of a span, which by `of` and `part` is found again when it ends. */
  #begin(kind: SpanKind, of: object, part: number | string, info: object, cause?: number): Stamp {
    const at = this.#moment();
    if (cause !== undefined) at.parent = cause;
    const { id, parent } = at;
    this.#open.begin({ id, parent, thread: this.#scheduler.current, kind, of, part, info });
    return at;
  }

  #end({ parent }: OpenSpan): Stamp {
    const { current, nowNs } = this.#scheduler;
    return this.#stampOf(nowNs, current.name, parent);
  }

  #stampOf(timeNs: number, thread: string, parent: number | null): Stamp {
    const stamp = this.#stamp;
    stamp.id = this.#nextId++;
    stamp.timeNs = timeNs;
    stamp.thread = thread;
    stamp.parent = parent;
    return stamp;
  }

  protected override onSilence(): void {
    this.#open.clear();
  }
}
