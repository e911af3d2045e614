/**
 * What a bus tells those who want no objects: a method for each kind of record, with the numbers
 * and the kernel's own objects that it consists of.
 *
 * A sink only takes notes. It may not change the machine, nor keep what it is given: a `Stamp` is
 * the same object each time, and most of the rest lives no longer than what it is about.
 */
import type { NotifierRange } from '../hmm/notifier.ts';
import type { Mm } from '../mm/mm.ts';
import type { DevPagemap } from '../pagemap/pagemap.ts';
import type { Page, Va } from '../units.ts';
import type { DeviceFaultInfo } from './call.ts';
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
  TrespassInfo,
} from './types.ts';

/** What every record has; of an end, `parent` is that of its beginning. */
export class Stamp implements EventStamp {
  id = 0;
  timeNs = 0;
  thread = '';
  parent: number | null = null;
}

export interface CpuFaultInfo {
  readonly mm: Mm;
  /** The byte that was touched. */
  readonly va: Va;
  readonly access: Access;
}

export interface ReplayInfo {
  /** Name of the device. */
  readonly device: string;
  /** Accesses that were waiting. */
  readonly faults: number;
}

/** `begin` is the id of the beginning; an end is told even to who came too late for that. */
export interface EventSink {
  callBegin(at: Stamp, call: CallInfo): void;
  callEnd(at: Stamp, begin: number, call: CallInfo, result: number): void;
  cpuFaultBegin(at: Stamp, fault: CpuFaultInfo): void;
  cpuFaultEnd(at: Stamp, begin: number, fault: CpuFaultInfo, result: CpuFaultResult): void;
  deviceFaultBegin(at: Stamp, fault: DeviceFaultInfo): void;
  deviceFaultEnd(at: Stamp, begin: number, fault: DeviceFaultInfo, result: number): void;
  gpuFault(at: Stamp, fault: BufferedAccess): void;
  faultBufferOverflow(at: Stamp, fault: DeviceAccess): void;
  faultReplay(at: Stamp, replay: ReplayInfo): void;
  fatalFault(at: Stamp, fault: DeviceAccess & { readonly reason: string }): void;
  trespass(at: Stamp, info: TrespassInfo): void;
  migrateBegin(at: Stamp, info: MigrateInfo): void;
  migrateEnd(at: Stamp, begin: number, info: MigrateInfo, selected: number, migrated: number): void;
  phaseBegin(at: Stamp, info: MigrateInfo, step: MigrateStep): void;
  phaseEnd(at: Stamp, begin: number, info: MigrateInfo, step: MigrateStep): void;
  invalidateBegin(at: Stamp, range: NotifierRange): void;
  invalidateEnd(at: Stamp, begin: number, range: NotifierRange): void;
  notified(at: Stamp, range: NotifierRange, notifier: string, ignored: boolean): void;
  ownerChange(at: Stamp, mm: Mm, va: Va, page: Page, from: PageHome, to: PageHome): void;
  pageFree(at: Stamp, page: Page, pagemap: DevPagemap | null): void;
  mappingChange(at: Stamp, mm: Mm, what: MappingChange, start: Va, end: Va): void;
}
