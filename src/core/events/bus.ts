/**
 * Where listeners hear what a machine does.
 *
 * The kernel tests `listening` before it calls anything here, so silence costs one field read.
 */
import { EventEmitter } from 'eventemitter3';
import type { NotifierRange } from '../hmm/notifier.ts';
import type { Mm } from '../mm/mm.ts';
import type { DevPagemap } from '../pagemap/pagemap.ts';
import type { Scheduler } from '../sched/scheduler.ts';
import type { Thread } from '../sched/thread.ts';
import { PAGE_SIZE, type Page, type Va } from '../units.ts';
import type {
  Access,
  BufferedAccess,
  CallInfo,
  CpuFaultResult,
  DeviceAccess,
  EventStamp,
  MappingChange,
  MigrateInfo,
  MigrateStep,
  PageHome,
  SimEvent,
  SimEventBegin,
  SimEventMap,
  SpanBegin,
  SpanEnd,
  SpanKind,
  TrespassInfo,
} from './types.ts';

type Name = keyof SimEventMap;
type Listener<N extends Name> = EventEmitter.EventListener<SimEventMap, N>;

/** A span that has begun. */
interface OpenSpan {
  readonly record: SimEventBegin<SpanKind>;
  /** Where it began; a migration may end elsewhere. */
  readonly thread: Thread;
  /** With the kind and `part`, finds it again: a fault's thread, a migration, a notifier range. */
  readonly of: object;
  readonly part: number | string;
}

export class EventBus extends EventEmitter<SimEventMap> {
  /** True while there is a listener. */
  listening = false;
  readonly #scheduler: Scheduler;
  /** Spans that began while somebody listened and have not ended, the latest last. */
  readonly #open: OpenSpan[] = [];
  #nextId = 1;

  constructor(scheduler: Scheduler) {
    super();
    this.#scheduler = scheduler;
  }

  // Listeners --------------------------------------------------------------------------------

  override on<N extends Name>(name: N, listener: Listener<N>, context?: unknown): this {
    super.on(name, listener, context);
    this.listening = true;
    return this;
  }

  override addListener<N extends Name>(name: N, listener: Listener<N>, context?: unknown): this {
    return this.on(name, listener, context);
  }

  override once<N extends Name>(name: N, listener: Listener<N>, context?: unknown): this {
    super.once(name, listener, context);
    this.listening = true;
    return this;
  }

  /** The emitter itself calls this, too: for a listener that was to be called once. */
  override removeListener<N extends Name>(
    name: N,
    listener?: Listener<N>,
    context?: unknown,
    once?: boolean,
  ): this {
    super.removeListener(name, listener, context, once);
    this.#listenersLeft();
    return this;
  }

  override off<N extends Name>(
    name: N,
    listener?: Listener<N>,
    context?: unknown,
    once?: boolean,
  ): this {
    return this.removeListener(name, listener, context, once);
  }

  override removeAllListeners(name?: Name): this {
    super.removeAllListeners(name);
    this.#listenersLeft();
    return this;
  }

  // Calls ------------------------------------------------------------------------------------

  callBegin(info: CallInfo): void {
    const { actor, name, mm, start, end } = info;
    const pid = mm?.pid ?? null;
    const record = { ...this.#beginStamp(), kind: 'call', actor, name, pid, start, end } as const;
    this.#begin(record, info, '');
  }

  callEnd(info: CallInfo, result: number): void {
    const begun = this.#end('call', info, '');
    if (begun !== undefined) this.#tell({ ...begun, ...this.#endStamp(begun), result });
  }

  // Faults -----------------------------------------------------------------------------------

  cpuFaultBegin(mm: Mm, va: Va, write: boolean): void {
    const access = write ? 'write' : 'read';
    const record = { ...this.#beginStamp(), kind: 'cpu_fault', pid: mm.pid, va, access } as const;
    this.#begin(record, this.#scheduler.current, va);
  }

  cpuFaultEnd(_mm: Mm, va: Va, result: CpuFaultResult): void {
    const begun = this.#end('cpu_fault', this.#scheduler.current, va);
    if (begun !== undefined) this.#tell({ ...begun, ...this.#endStamp(begun), result });
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
    const stamp = this.#beginStamp();
    const record = {
      ...stamp,
      parent: cause ?? stamp.parent,
      kind: 'device_fault',
      pid: mm.pid,
      start,
      end,
      device,
      access,
    } as const;
    this.#begin(record, this.#scheduler.current, start);
  }

  deviceFaultEnd(_mm: Mm, start: Va, _end: Va, result: number): void {
    const begun = this.#end('device_fault', this.#scheduler.current, start);
    if (begun !== undefined) this.#tell({ ...begun, ...this.#endStamp(begun), result });
  }

  /** Returns the id of the record, for what it causes on other threads. */
  gpuFault(fault: BufferedAccess): number {
    const stamp = this.#stamp();
    this.#tell({ ...stamp, kind: 'gpu_fault', ...fault });
    return stamp.id;
  }

  faultBufferOverflow(access: DeviceAccess): void {
    this.#tell({ ...this.#stamp(), kind: 'fault_buffer_overflow', ...access });
  }

  faultReplay(replay: { readonly device: string; readonly faults: number }): void {
    this.#tell({ ...this.#stamp(), kind: 'fault_replay', ...replay });
  }

  fatalFault(fault: DeviceAccess & { readonly reason: string }): void {
    this.#tell({ ...this.#stamp(), kind: 'fatal_fault', ...fault });
  }

  trespass(info: TrespassInfo): void {
    this.#tell({ ...this.#stamp(), kind: 'trespass', ...info });
  }

  // Migrations -------------------------------------------------------------------------------

  migrateBegin(info: MigrateInfo): void {
    const { mm, start, end, cause, owner, from, to } = info;
    const record = {
      ...this.#beginStamp(),
      kind: 'migrate',
      pid: mm?.pid ?? null,
      start,
      end,
      pages: info.pages ?? (end - start) / (mm?.pageSize ?? PAGE_SIZE),
      cause,
      owner,
      from,
      to,
    } as const;
    this.#begin(record, info, '');
  }

  /** Of `selected` pages (those that could move), `migrated` did. */
  migrateEnd(info: MigrateInfo, selected: number, migrated: number): void {
    const begun = this.#end('migrate', info, '');
    if (begun === undefined) return;
    const { from, to } = info;
    const failed = selected - migrated;
    this.#tell({ ...begun, ...this.#endStamp(begun), from, to, selected, migrated, failed });
  }

  migratePhase(info: MigrateInfo, step: MigrateStep, phase: 'begin' | 'end'): void {
    if (phase === 'end') {
      const begun = this.#end('migrate_phase', info, step);
      if (begun !== undefined) this.#tell({ ...begun, ...this.#endStamp(begun) });
      return;
    }
    const { mm, start, end } = info;
    const record = {
      ...this.#beginStamp(),
      kind: 'migrate_phase',
      pid: mm?.pid ?? null,
      step,
      start,
      end,
    } as const;
    this.#begin(record, info, step);
  }

  // Notifiers --------------------------------------------------------------------------------

  invalidateBegin(range: NotifierRange): void {
    const { mm, start, end, event, owner } = range;
    const record = {
      ...this.#beginStamp(),
      kind: 'invalidate',
      pid: mm.pid,
      start,
      end,
      event,
      owner,
    } as const;
    this.#begin(record, range, '');
  }

  invalidateEnd(range: NotifierRange): void {
    const begun = this.#end('invalidate', range, '');
    if (begun !== undefined) this.#tell({ ...begun, ...this.#endStamp(begun) });
  }

  /** The notifier named `notifier` has heard of `range`. */
  notified(range: NotifierRange, notifier: string, ignored: boolean): void {
    const { mm, start, end, event, owner } = range;
    this.#tell({
      ...this.#stamp(),
      kind: 'invalidate_call',
      pid: mm.pid,
      start,
      end,
      event,
      owner,
      notifier,
      ignored,
    });
  }

  // Moments ----------------------------------------------------------------------------------

  ownerChange(mm: Mm, va: Va, page: Page, from: PageHome, to: PageHome): void {
    this.#tell({ ...this.#stamp(), kind: 'owner_change', pid: mm.pid, va, page, from, to });
  }

  pageFree(page: Page, pagemap: DevPagemap | null): void {
    this.#tell({
      ...this.#stamp(),
      kind: 'page_free',
      page,
      pagemap: pagemap?.name ?? null,
      owner: pagemap?.owner ?? 'system',
    });
  }

  mappingChange(mm: Mm, what: MappingChange, start: Va, end: Va): void {
    this.#tell({ ...this.#stamp(), kind: 'mapping_change', pid: mm.pid, what, start, end });
  }

  // Records ----------------------------------------------------------------------------------

  /** Listeners to everything come first: what a listener to one kind sets off is told after it. */
  #tell(event: SimEvent): void {
    this.emit('*', event);
    // The map ties each kind to its records, which TypeScript cannot follow through a union.
    (this.emit as (name: Name, event: SimEvent) => boolean)(event.kind, event);
  }

  #stamp(): EventStamp {
    const { current, nowNs } = this.#scheduler;
    const parent = current.spans.at(-1) ?? null;
    return { id: this.#nextId++, timeNs: nowNs, thread: current.name, parent };
  }

  #beginStamp(): SpanBegin {
    return { ...this.#stamp(), phase: 'begin' };
  }

  #endStamp(begun: SpanBegin): SpanEnd {
    const stamp = this.#stamp();
    return { ...stamp, parent: begun.parent, phase: 'end', begin: begun.id };
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
    const at = this.#open.findLastIndex(
      (span) => span.record.kind === kind && span.of === of && span.part === part,
    );
    if (at < 0) return undefined;
    const [span] = this.#open.splice(at, 1);
    leave(span!);
    return span!.record as SimEventBegin<K>;
  }

  /** With the last listener goes what is open: its end will find nobody who heard it begin. */
  #listenersLeft(): void {
    this.listening = this.eventNames().length > 0;
    if (!this.listening) for (const span of this.#open.splice(0)) leave(span);
  }
}

function leave({ record, thread }: OpenSpan): void {
  const at = thread.spans.lastIndexOf(record.id);
  if (at >= 0) thread.spans.splice(at, 1);
}
