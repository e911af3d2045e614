/** What a report counts of one device. */
import type { DeviceInfo } from '../devices.ts';
import type {
  DeviceDetail,
  DeviceMigrations,
  Direction,
  DirectionDetail,
  DirectionTotals,
} from './types.ts';

/** The totals of a device, while a report is being made. */
export class DeviceCounts {
  readonly migrations: DeviceMigrations;
  readonly detail: DeviceDetail;

  constructor({ id, name, driver, owners }: DeviceInfo) {
    const names = { device_id: id, device_name: name };
    this.migrations = { ...names, migrations: eachDirection(noTotals) };
    this.detail = {
      ...names,
      driver,
      owners,
      migrations: eachDirection((): DirectionDetail => ({ pages: 0, causes: {} })),
      filled_pages: 0,
      faults: {
        served: 0,
        by_access: {},
        failed: 0,
        buffered: 0,
        fatal: 0,
        overflows: 0,
        replays: 0,
        retries: 0,
      },
      evictions: { count: 0, pages: 0 },
      invalidations: { told: 0, ignored: 0, by_event: {} },
    };
  }

  totals(direction: Direction): DirectionTotals {
    return this.migrations.migrations[direction];
  }
}

function eachDirection<T>(make: () => T): Record<Direction, T> {
  return { host_to_device: make(), device_to_host: make(), device_to_device: make() };
}

function noTotals(): DirectionTotals {
  return {
    count: 0,
    avg_size_bytes: 0,
    min_size_bytes: 0,
    max_size_bytes: 0,
    total_size_bytes: 0,
    total_time_ns: 0,
    migration_throughput_gbps: 0,
  };
}

/** Adds one migration of `bytes` bytes that took `timeNs` nanoseconds. */
export function addMigration(totals: DirectionTotals, bytes: number, timeNs: number): void {
  totals.min_size_bytes = totals.count === 0 ? bytes : Math.min(totals.min_size_bytes, bytes);
  totals.max_size_bytes = Math.max(totals.max_size_bytes, bytes);
  totals.count++;
  totals.total_size_bytes += bytes;
  totals.total_time_ns += timeNs;
  totals.avg_size_bytes = Math.round(totals.total_size_bytes / totals.count);
  const { total_size_bytes: all, total_time_ns: ns } = totals;
  totals.migration_throughput_gbps = ns === 0 ? 0 : Number((all / ns).toFixed(6));
}
