/**
 * What a machine tells while it runs: one discriminated union, from which everything else derives.
 *
 * `kind` tells the records apart. Kinds that take time come as a pair, told apart by `phase`: the
 * end repeats the fields of the beginning, adds the outcome, and names its beginning in `begin`.
 * `parent` is the span in which it happened, so a page that moved can be traced to the access that
 * moved it. Records hold numbers and names, no kernel objects; an owner alone is the object itself,
 * because owners are compared by identity.
 */
import type { NotifyEvent } from '../hmm/notifier.ts';
import type { Signal } from '../mm/fault-flags.ts';
import type { Mm } from '../mm/mm.ts';
import type { Owner } from '../pagemap/pagemap.ts';
import type { Page, Va } from '../units.ts';

/** Who owns what an address maps: a device's owner, 'system' for RAM, null for nothing. */
export type PageHome = Owner | 'system' | null;

/** What made somebody migrate pages. */
export type MigrateCause = 'cpu_fault' | 'device_fault' | 'driver' | 'evict' | 'pin' | 'unknown';

/** The steps of one migration, in order. `alloc_copy` is the driver's, between setup and pages. */
export type MigrateStep = 'collect' | 'unmap' | 'alloc_copy' | 'pages' | 'finalize';

export type Access = 'read' | 'write' | 'atomic' | 'prefetch';

export type CpuFaultResult = 'ok' | Signal;

export type MappingChange =
  | 'mmap'
  | 'munmap'
  | 'mprotect'
  | 'mremap'
  | 'dontneed'
  | 'fork'
  | 'exit';

/** What the bus must know of a migration; all calls about one migration pass the same object. */
export interface MigrateInfo {
  /** Null where device pages are moved without regard to who maps them. */
  readonly mm: Mm | null;
  /** First byte of the range. */
  readonly start: Va;
  /** First byte after the range. */
  readonly end: Va;
  readonly owner: Owner | null;
  readonly cause: MigrateCause;
  /** Pages in the range; needed only where `mm` is null, which leaves the page size unknown. */
  readonly pages?: number;
  /** Where the pages came from and where they went, as soon as that is known. */
  from?: PageHome | undefined;
  to?: PageHome | undefined;
  /** Of the words of `src` and `dst`, see `MigrateOutcome`; 0 as long as nobody counted them. */
  valid?: number;
  writable?: number;
  given?: number;
}

/** What the bus must know of a call; its beginning and its end pass the same object. */
export interface CallInfo {
  /** Who calls or is called: "process 1", the name of a device, "program". */
  readonly actor: string;
  /** "munmap", "SVM_BIND", "H_SVM_PAGE_IN", "line 7: cpu_write 0 0 4 1". */
  readonly name: string;
  /** The address space it is about; null if none. */
  readonly mm: Mm | null;
  /** The range it is about; both 0 if none. */
  readonly start: Va;
  readonly end: Va;
}

/** What every record has. */
export interface EventStamp {
  /** Position in the sequence of all records of this machine; the first is 1. */
  readonly id: number;
  /** Virtual time in nanoseconds. */
  readonly timeNs: number;
  /** Name of the thread that did it. */
  readonly thread: string;
  /** Id of the beginning of the innermost span it happened in. */
  readonly parent: number | null;
}

export interface SpanBegin extends EventStamp {
  readonly phase: 'begin';
}

export interface SpanEnd extends EventStamp {
  readonly phase: 'end';
  /** Id of its beginning. A span that began before anybody listened has no records at all. */
  readonly begin: number;
}

type Span<Fields, Outcome = object> = (SpanBegin & Fields) | (SpanEnd & Fields & Outcome);

interface CallFields {
  readonly kind: 'call';
  readonly actor: string;
  readonly name: string;
  readonly pid: number | null;
  readonly start: Va;
  readonly end: Va;
}

interface CallOutcome {
  /** What it returned: 0 or more, or -errno; a hypercall's own codes too. */
  readonly result: number;
}

/** A system call, an ioctl, a hypercall, or one line of a program. */
export type CallEvent = Span<CallFields, CallOutcome>;

interface CpuFaultFields {
  readonly kind: 'cpu_fault';
  readonly pid: number;
  /** The byte that was touched. */
  readonly va: Va;
  readonly access: Access;
}

interface CpuFaultOutcome {
  readonly result: CpuFaultResult;
}

/** The CPU touched an address whose entry did not allow it. */
export type CpuFaultEvent = Span<CpuFaultFields, CpuFaultOutcome>;

interface DeviceFaultFields {
  readonly kind: 'device_fault';
  readonly pid: number;
  readonly start: Va;
  readonly end: Va;
  /** Name of the device, or of its notifier. */
  readonly device: string;
  readonly access: Access;
}

interface DeviceFaultOutcome {
  /** 0 or -errno. */
  readonly result: number;
}

/** A device missed entries of an address space and asked the kernel for them. */
export type DeviceFaultEvent = Span<DeviceFaultFields, DeviceFaultOutcome>;

/** An access of a device that its page table does not allow. */
export interface DeviceAccess {
  /** Name of the device. */
  readonly device: string;
  /** Null where the address space is not known. */
  readonly pid: number | null;
  readonly va: Va;
  readonly access: Access;
}

/** What the hardware writes into its fault buffer. */
export interface BufferedAccess extends DeviceAccess {
  /** The unit of the GPU that asked. */
  readonly client: number;
  /** Which entry of the buffer. */
  readonly entry: number;
}

/** Hardware wrote a fault into its buffer. */
export interface GpuFaultEvent extends EventStamp, BufferedAccess {
  readonly kind: 'gpu_fault';
}

/** The fault buffer was full: the access waits, and nobody knows of it until the next replay. */
export interface FaultBufferOverflowEvent extends EventStamp, DeviceAccess {
  readonly kind: 'fault_buffer_overflow';
}

/** A device tries all waiting accesses again. */
export interface FaultReplayEvent extends EventStamp {
  readonly kind: 'fault_replay';
  readonly device: string;
  /** Accesses that were waiting. */
  readonly faults: number;
}

/** A fault that cannot be served: whoever caused it on the device dies. */
export interface FatalFaultEvent extends EventStamp, DeviceAccess {
  readonly kind: 'fatal_fault';
  readonly reason: string;
}

/** Somebody touched device memory that belongs to somebody else. */
export interface TrespassInfo {
  /** Who: a driver or a device. */
  readonly by: string;
  /** `migrate`: chose it for a migration; `read`, `write`: accessed it over the bus. */
  readonly what: 'migrate' | 'read' | 'write';
  readonly page: Page;
  /** Whose page it is. */
  readonly owner: Owner;
  readonly pid: number | null;
  readonly va: Va | null;
}

export interface TrespassEvent extends EventStamp, TrespassInfo {
  readonly kind: 'trespass';
}

interface MigrateFields {
  readonly kind: 'migrate';
  readonly pid: number | null;
  readonly start: Va;
  readonly end: Va;
  /** Pages in the range. */
  readonly pages: number;
  readonly cause: MigrateCause;
  /** On whose behalf. */
  readonly owner: Owner | null;
  /** Undefined where it is not known, or not the same for all pages. */
  readonly from: PageHome | undefined;
  readonly to: PageHome | undefined;
}

interface MigrateOutcome {
  /** Pages, holes included, that could move after they were collected and unmapped. */
  readonly selected: number;
  /** Those of them that did move. */
  readonly migrated: number;
  /** Those that did not. */
  readonly failed: number;
  /** Words of `src` that named a page (MIGRATE_PFN_VALID); of others setup took none, or let go. */
  readonly valid: number;
  /** Words of `src` with MIGRATE_PFN_WRITE: the entry was writable. */
  readonly writable: number;
  /** Words of `dst` that named a page: the destinations that the driver gave. */
  readonly given: number;
}

/** A migration, from the beginning of setup to the end of finalize. */
export type MigrateEvent = Span<MigrateFields, MigrateOutcome>;

interface MigratePhaseFields {
  readonly kind: 'migrate_phase';
  readonly pid: number | null;
  readonly step: MigrateStep;
  readonly start: Va;
  readonly end: Va;
}

/** One step of a migration. */
export type MigratePhaseEvent = Span<MigratePhaseFields>;

interface RangeFields {
  readonly pid: number;
  readonly start: Va;
  readonly end: Va;
  /** Why entries change: enum mmu_notifier_event. */
  readonly event: NotifyEvent;
  readonly owner: Owner | null;
}

interface InvalidateFields extends RangeFields {
  readonly kind: 'invalidate';
}

/** Entries of a range change: from mmu_notifier_invalidate_range_start to _end. */
export type InvalidateEvent = Span<InvalidateFields>;

/** One driver was told of an invalidation. */
export interface InvalidateCallEvent extends EventStamp, RangeFields {
  readonly kind: 'invalidate_call';
  readonly notifier: string;
  /** The driver let it pass, as it may where it is itself behind the change. */
  readonly ignored: boolean;
}

/** Another page, or none, stands behind an address, and with it perhaps another owner. */
export interface OwnerChangeEvent extends EventStamp {
  readonly kind: 'owner_change';
  readonly pid: number;
  readonly va: Va;
  /** The new page; the old one where nothing is mapped now. */
  readonly page: Page;
  readonly from: PageHome;
  readonly to: PageHome;
}

/** The last reference to a page went. */
export interface PageFreeEvent extends EventStamp {
  readonly kind: 'page_free';
  readonly page: Page;
  /** Name of the region it belongs to; null for RAM. */
  readonly pagemap: string | null;
  readonly owner: Owner | 'system';
}

/** The layout or the protection of an address space changed. */
export interface MappingChangeEvent extends EventStamp {
  readonly kind: 'mapping_change';
  readonly pid: number;
  readonly what: MappingChange;
  readonly start: Va;
  readonly end: Va;
}

export type SimEvent =
  | CallEvent
  | CpuFaultEvent
  | DeviceFaultEvent
  | GpuFaultEvent
  | FaultBufferOverflowEvent
  | FaultReplayEvent
  | FatalFaultEvent
  | TrespassEvent
  | MigrateEvent
  | MigratePhaseEvent
  | InvalidateEvent
  | InvalidateCallEvent
  | OwnerChangeEvent
  | PageFreeEvent
  | MappingChangeEvent;

export type SimEventKind = SimEvent['kind'];

/** The records of one kind. */
export type SimEventOf<Kind extends SimEventKind> = Extract<SimEvent, { readonly kind: Kind }>;

/** Kinds that come as a pair of records. */
export type SpanKind = Extract<SimEvent, SpanBegin>['kind'];

/** The beginnings of one kind. */
export type SimEventBegin<Kind extends SimEventKind> = Extract<SimEventOf<Kind>, SpanBegin>;

/** What a listener gets, by the name it listens to; `*` stands for every kind. */
export type SimEventMap = {
  [Kind in SimEventKind]: (event: SimEventOf<Kind>) => void;
} & { '*': (event: SimEvent) => void };
