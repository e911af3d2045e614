/**
 * Where listeners hear what a machine does.
 *
 * The kernel tests `listening` before it calls anything here, so silence costs one field read.
 */
import type { NotifierRange } from '../hmm/notifier.ts';
import type { Mm } from '../mm/mm.ts';
import type { DevPagemap } from '../pagemap/pagemap.ts';
import type { Scheduler } from '../sched/scheduler.ts';
import type { Thread } from '../sched/thread.ts';
import { PAGE_SIZE, type Page, type Va } from '../units.ts';
import { Listeners, type Name } from './listeners.ts';
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
  SimEventBegin,
  SpanKind,
  TrespassInfo,
} from './types.ts';

/** A span that has begun. */
interface OpenSpan {
  readonly record: SimEventBegin<SpanKind>;
  /** Where it began; a migration may end elsewhere. */
  readonly thread: Thread;
  /** With the kind and `part`, finds it again: a fault's thread, a migration, a notifier range. */
  readonly of: object;
  readonly part: number | string;
}

export class EventBus extends Listeners {
  readonly #scheduler: Scheduler;
  /** Spans that began while somebody listened and have not ended, the latest last. */
  readonly #open: OpenSpan[] = [];
  #nextId = 1;

  constructor(scheduler: Scheduler) {
    super();
    this.#scheduler = scheduler;
  }

  // Calls ----------------------------------------------------------------------------------------

  callBegin(info: CallInfo): void {
    const record: SimEventBegin<'call'> = {
      kind: 'call',
      phase: 'begin',
      id: this.#id(),
      timeNs: this.#scheduler.nowNs,
      thread: this.#scheduler.current.name,
      parent: this.#parent(),
      actor: info.actor,
      name: info.name,
      pid: info.mm?.pid ?? null,
      start: info.start,
      end: info.end,
    };
    this.#begin(record, info, '');
  }

  callEnd(info: CallInfo, result: number): void {
    const begun = this.#end('call', info, '');
    if (begun === undefined) return;
    this.#tell({
      kind: 'call',
      phase: 'end',
      id: this.#id(),
      timeNs: this.#scheduler.nowNs,
      thread: this.#scheduler.current.name,
      parent: begun.parent,
      begin: begun.id,
      actor: begun.actor,
      name: begun.name,
      pid: begun.pid,
      start: begun.start,
      end: begun.end,
      result,
    });
  }

  // Faults ---------------------------------------------------------------------------------------

  cpuFaultBegin(mm: Mm, va: Va, write: boolean): void {
    const record: SimEventBegin<'cpu_fault'> = {
      kind: 'cpu_fault',
      phase: 'begin',
      id: this.#id(),
      timeNs: this.#scheduler.nowNs,
      thread: this.#scheduler.current.name,
      parent: this.#parent(),
      pid: mm.pid,
      va,
      access: write ? 'write' : 'read',
    };
    this.#begin(record, this.#scheduler.current, va);
  }

  cpuFaultEnd(_mm: Mm, va: Va, result: CpuFaultResult): void {
    const begun = this.#end('cpu_fault', this.#scheduler.current, va);
    if (begun === undefined) return;
    this.#tell({
      kind: 'cpu_fault',
      phase: 'end',
      id: this.#id(),
      timeNs: this.#scheduler.nowNs,
      thread: this.#scheduler.current.name,
      parent: begun.parent,
      begin: begun.id,
      pid: begun.pid,
      va: begun.va,
      access: begun.access,
      result,
    });
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
    const record: SimEventBegin<'device_fault'> = {
      kind: 'device_fault',
      phase: 'begin',
      id: this.#id(),
      timeNs: this.#scheduler.nowNs,
      thread: this.#scheduler.current.name,
      parent: cause ?? this.#parent(),
      pid: mm.pid,
      start,
      end,
      device,
      access,
    };
    this.#begin(record, this.#scheduler.current, start);
  }

  deviceFaultEnd(_mm: Mm, start: Va, _end: Va, result: number): void {
    const begun = this.#end('device_fault', this.#scheduler.current, start);
    if (begun === undefined) return;
    this.#tell({
      kind: 'device_fault',
      phase: 'end',
      id: this.#id(),
      timeNs: this.#scheduler.nowNs,
      thread: this.#scheduler.current.name,
      parent: begun.parent,
      begin: begun.id,
      pid: begun.pid,
      start: begun.start,
      end: begun.end,
      device: begun.device,
      access: begun.access,
      result,
    });
  }

  /** Returns the id of the record, for what it causes on other threads. */
  gpuFault(fault: BufferedAccess): number {
    const id = this.#nextId;
    this.#tell({
      kind: 'gpu_fault',
      id: this.#id(),
      timeNs: this.#scheduler.nowNs,
      thread: this.#scheduler.current.name,
      parent: this.#parent(),
      device: fault.device,
      pid: fault.pid,
      va: fault.va,
      access: fault.access,
      client: fault.client,
      entry: fault.entry,
    });
    return id;
  }

  faultBufferOverflow(fault: DeviceAccess): void {
    this.#tell({
      kind: 'fault_buffer_overflow',
      id: this.#id(),
      timeNs: this.#scheduler.nowNs,
      thread: this.#scheduler.current.name,
      parent: this.#parent(),
      device: fault.device,
      pid: fault.pid,
      va: fault.va,
      access: fault.access,
    });
  }

  faultReplay(replay: { readonly device: string; readonly faults: number }): void {
    this.#tell({
      kind: 'fault_replay',
      id: this.#id(),
      timeNs: this.#scheduler.nowNs,
      thread: this.#scheduler.current.name,
      parent: this.#parent(),
      device: replay.device,
      faults: replay.faults,
    });
  }

  fatalFault(fault: DeviceAccess & { readonly reason: string }): void {
    this.#tell({
      kind: 'fatal_fault',
      id: this.#id(),
      timeNs: this.#scheduler.nowNs,
      thread: this.#scheduler.current.name,
      parent: this.#parent(),
      device: fault.device,
      pid: fault.pid,
      va: fault.va,
      access: fault.access,
      reason: fault.reason,
    });
  }

  trespass(info: TrespassInfo): void {
    this.#tell({
      kind: 'trespass',
      id: this.#id(),
      timeNs: this.#scheduler.nowNs,
      thread: this.#scheduler.current.name,
      parent: this.#parent(),
      by: info.by,
      what: info.what,
      page: info.page,
      owner: info.owner,
      pid: info.pid,
      va: info.va,
    });
  }

  // Migrations -----------------------------------------------------------------------------------

  migrateBegin(info: MigrateInfo): void {
    const { mm, start, end } = info;
    const record: SimEventBegin<'migrate'> = {
      kind: 'migrate',
      phase: 'begin',
      id: this.#id(),
      timeNs: this.#scheduler.nowNs,
      thread: this.#scheduler.current.name,
      parent: this.#parent(),
      pid: mm?.pid ?? null,
      start,
      end,
      pages: info.pages ?? (end - start) / (mm?.pageSize ?? PAGE_SIZE),
      cause: info.cause,
      owner: info.owner,
      from: info.from,
      to: info.to,
    };
    this.#begin(record, info, '');
  }

  /** Of `selected` pages (those that could move), `migrated` did. */
  migrateEnd(info: MigrateInfo, selected: number, migrated: number): void {
    const begun = this.#end('migrate', info, '');
    if (begun === undefined) return;
    this.#tell({
      kind: 'migrate',
      phase: 'end',
      id: this.#id(),
      timeNs: this.#scheduler.nowNs,
      thread: this.#scheduler.current.name,
      parent: begun.parent,
      begin: begun.id,
      pid: begun.pid,
      start: begun.start,
      end: begun.end,
      pages: begun.pages,
      cause: begun.cause,
      owner: begun.owner,
      from: info.from,
      to: info.to,
      selected,
      migrated,
      failed: selected - migrated,
      valid: info.valid ?? 0,
      writable: info.writable ?? 0,
      given: info.given ?? 0,
    });
  }

  migratePhase(info: MigrateInfo, step: MigrateStep, phase: 'begin' | 'end'): void {
    if (phase === 'begin') this.#phaseBegin(info, step);
    else this.#phaseEnd(info, step);
  }

  #phaseBegin(info: MigrateInfo, step: MigrateStep): void {
    const record: SimEventBegin<'migrate_phase'> = {
      kind: 'migrate_phase',
      phase: 'begin',
      id: this.#id(),
      timeNs: this.#scheduler.nowNs,
      thread: this.#scheduler.current.name,
      parent: this.#parent(),
      pid: info.mm?.pid ?? null,
      step,
      start: info.start,
      end: info.end,
    };
    this.#begin(record, info, step);
  }

  #phaseEnd(info: MigrateInfo, step: MigrateStep): void {
    const begun = this.#end('migrate_phase', info, step);
    if (begun === undefined) return;
    this.#tell({
      kind: 'migrate_phase',
      phase: 'end',
      id: this.#id(),
      timeNs: this.#scheduler.nowNs,
      thread: this.#scheduler.current.name,
      parent: begun.parent,
      begin: begun.id,
      pid: begun.pid,
      step: begun.step,
      start: begun.start,
      end: begun.end,
    });
  }

  // Notifiers ------------------------------------------------------------------------------------

  invalidateBegin(range: NotifierRange): void {
    const record: SimEventBegin<'invalidate'> = {
      kind: 'invalidate',
      phase: 'begin',
      id: this.#id(),
      timeNs: this.#scheduler.nowNs,
      thread: this.#scheduler.current.name,
      parent: this.#parent(),
      pid: range.mm.pid,
      start: range.start,
      end: range.end,
      event: range.event,
      owner: range.owner,
    };
    this.#begin(record, range, '');
  }

  invalidateEnd(range: NotifierRange): void {
    const begun = this.#end('invalidate', range, '');
    if (begun === undefined) return;
    this.#tell({
      kind: 'invalidate',
      phase: 'end',
      id: this.#id(),
      timeNs: this.#scheduler.nowNs,
      thread: this.#scheduler.current.name,
      parent: begun.parent,
      begin: begun.id,
      pid: begun.pid,
      start: begun.start,
      end: begun.end,
      event: begun.event,
      owner: begun.owner,
    });
  }

  /** The notifier named `notifier` has heard of `range`. */
  notified(range: NotifierRange, notifier: string, ignored: boolean): void {
    this.#tell({
      kind: 'invalidate_call',
      id: this.#id(),
      timeNs: this.#scheduler.nowNs,
      thread: this.#scheduler.current.name,
      parent: this.#parent(),
      pid: range.mm.pid,
      start: range.start,
      end: range.end,
      event: range.event,
      owner: range.owner,
      notifier,
      ignored,
    });
  }

  // Moments --------------------------------------------------------------------------------------

  ownerChange(mm: Mm, va: Va, page: Page, from: PageHome, to: PageHome): void {
    this.#tell({
      kind: 'owner_change',
      id: this.#id(),
      timeNs: this.#scheduler.nowNs,
      thread: this.#scheduler.current.name,
      parent: this.#parent(),
      pid: mm.pid,
      va,
      page,
      from,
      to,
    });
  }

  pageFree(page: Page, pagemap: DevPagemap | null): void {
    this.#tell({
      kind: 'page_free',
      id: this.#id(),
      timeNs: this.#scheduler.nowNs,
      thread: this.#scheduler.current.name,
      parent: this.#parent(),
      page,
      pagemap: pagemap?.name ?? null,
      owner: pagemap?.owner ?? 'system',
    });
  }

  mappingChange(mm: Mm, what: MappingChange, start: Va, end: Va): void {
    this.#tell({
      kind: 'mapping_change',
      id: this.#id(),
      timeNs: this.#scheduler.nowNs,
      thread: this.#scheduler.current.name,
      parent: this.#parent(),
      pid: mm.pid,
      what,
      start,
      end,
    });
  }

  // Records --------------------------------------------------------------------------------------

  /** Listeners to everything come first: what a listener to one kind sets off is told after it. */
  #tell(event: SimEvent): void {
    this.emit('*', event);
    if (this.kindsHeard === 0) return;
    // The map ties each kind to its records, which TypeScript cannot follow through a union.
    (this.emit as (name: Name, event: SimEvent) => boolean)(event.kind, event);
  }

  #id(): number {
    return this.#nextId++;
  }

  /** The innermost span of the running thread. */
  #parent(): number | null {
    return this.#scheduler.current.spans.at(-1) ?? null;
  }

  #begin(record: SimEventBegin<SpanKind>, of: object, part: number | string): void {
    const thread = this.#scheduler.current;
    thread.spans.push(record.id);
    this.#open.push({ record, thread, of, part });
    this.#tell(record);
  }

  /**
   * Closes the latest span of that description and returns its beginning, or undefined where
   * nobody heard it begin. Spans may end out of order, as two migrations of one driver may.
   */
  #end<K extends SpanKind>(
    kind: K,
    of: object,
    part: number | string,
  ): SimEventBegin<K> | undefined {
    const open = this.#open;
    for (let at = open.length - 1; at >= 0; at--) {
      const span = open[at]!;
      if (span.of !== of || span.part !== part || span.record.kind !== kind) continue;
      if (at === open.length - 1) open.pop();
      else open.splice(at, 1);
      leave(span);
      return span.record as SimEventBegin<K>;
    }
    return undefined;
  }

  /** With the last listener goes what is open: its end will find nobody who heard it begin. */
  protected override onSilence(): void {
    for (const span of this.#open.splice(0)) leave(span);
  }
}

function leave({ record, thread }: OpenSpan): void {
  const { spans } = thread;
  const at = spans.lastIndexOf(record.id);
  if (at === spans.length - 1) spans.pop();
  else if (at >= 0) spans.splice(at, 1);
}
