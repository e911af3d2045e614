/**
 * The shape of a report. `devices` and `summary` are those of rocprofiler's `unified_memory.json`,
 * so that scripts for that file read ours; what has no place there is in `hmmlab`.
 */
import type { MigrateCause } from '../../core/events/types.ts';

/** Migrations in one direction. A migration that moved pages both ways counts in both. */
export interface DirectionTotals {
  count: number;
  avg_size_bytes: number;
  min_size_bytes: number;
  max_size_bytes: number;
  total_size_bytes: number;
  /** Virtual time from the beginning of setup to the end of finalize. */
  total_time_ns: number;
  /** Bytes per nanosecond of that time, which is not a link's bandwidth; 0 where no time passed. */
  migration_throughput_gbps: number;
}

/** What rocprofiler calls the directions; the device is the one that `devices` is about. */
export type Direction = 'host_to_device' | 'device_to_host' | 'device_to_device';

export interface DeviceMigrations {
  readonly device_id: number;
  readonly device_name: string;
  /** `device_to_device` counts at the device that the pages went to. */
  readonly migrations: Readonly<Record<Direction, DirectionTotals>>;
}

export interface ReportSummary {
  /** Faults of devices that were served, as in rocprofiler; those of CPUs are in `hmmlab`. */
  total_page_faults: number;
  /** True where a device waited for a page fault to be served, and went on. */
  xnack_enabled: boolean;
  /** Migrations that moved pages to, from or between devices, by what set them off. */
  readonly migration_triggers: Record<MigrationTrigger, number>;
}

export type MigrationTrigger =
  | 'gpu_page_fault'
  | 'cpu_page_fault'
  | 'prefetch'
  | 'ttm_eviction'
  | 'unknown';

export type CauseCounts = Partial<Record<MigrateCause, number>>;

export interface DirectionDetail {
  pages: number;
  readonly causes: CauseCounts;
}

/** Counts by a name. */
export type Counts = Record<string, number>;

export interface DeviceDetail {
  readonly device_id: number;
  readonly device_name: string;
  readonly driver: string;
  readonly owners: readonly string[];
  readonly migrations: Readonly<Record<Direction, DirectionDetail>>;
  /** Pages of the device that came to be where nothing was, with nothing to copy. */
  filled_pages: number;
  readonly faults: DeviceFaultDetail;
  readonly evictions: { count: number; pages: number };
  readonly invalidations: { told: number; ignored: number; readonly by_event: Counts };
}

export interface DeviceFaultDetail {
  /** Faults the driver served, and by access. */
  served: number;
  readonly by_access: Counts;
  /** Those of them that ended in an error. */
  failed: number;
  /** Faults that hardware wrote into its buffer. */
  buffered: number;
  fatal: number;
  overflows: number;
  replays: number;
  /** Attempts after the first one to serve the same pages in one fault. */
  retries: number;
}

/** A page that went from owner to owner. */
export interface PingPongPage {
  readonly pid: number;
  readonly va: string;
  changes: number;
  /** The owners in turn: the last ones where there are many. */
  readonly owners: string[];
}

export interface LabReport {
  readonly schema_version: 1;
  readonly era: string;
  readonly program: string | null;
  readonly page_size: number;
  readonly records: number;
  readonly dropped_records: number;
  readonly virtual_time_ns: number;
  /** Says what the times above are worth. */
  readonly times: string;
  readonly devices: readonly DeviceDetail[];
  readonly cpu_faults: {
    total: number;
    readonly by_access: Counts;
    readonly by_result: Counts;
    /** Faults at the same address right after one that was answered "try again". */
    retries: number;
  };
  readonly migrations: {
    total: number;
    /** Of `total`: those that moved no page. */
    moved_nothing: number;
    /** Pages that could move, that moved, and that did not; holes included. */
    selected_pages: number;
    migrated_pages: number;
    failed_pages: number;
    /** Pages that moved from RAM to RAM. */
    within_ram_pages: number;
    /** Pages of RAM that came to be where nothing was. */
    filled_ram_pages: number;
    readonly causes: CauseCounts;
  };
  readonly invalidations: {
    total: number;
    told: number;
    ignored: number;
    readonly by_event: Counts;
  };
  readonly trespasses: { total: number; readonly by: Counts };
  /** The pages with the most changes of owner, most first. */
  readonly ping_pong: readonly PingPongPage[];
}

/** What `report` makes of a recording. */
export interface UnifiedMemoryReport {
  readonly devices: readonly DeviceMigrations[];
  readonly summary: ReportSummary;
  readonly hmmlab: LabReport;
}
