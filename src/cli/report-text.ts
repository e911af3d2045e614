/** A report as text for people. */
import type {
  Counts,
  DeviceDetail,
  Direction,
  UnifiedMemoryReport,
} from '../trace/report/types.ts';
import colors from './colors.ts';
import { columnLines, indented } from './format.ts';

type Rows = readonly (readonly string[])[];

/** A report as lines, headings and tables. */
export function reportLines(report: UnifiedMemoryReport): string[] {
  const { hmmlab } = report;
  const sections: readonly (readonly [string, readonly string[]])[] = [
    ['recording', recordingLines(report)],
    ['migrations', migrationLines(report)],
    ['faults', faultLines(report)],
    ['invalidations', invalidationLines(hmmlab.devices)],
    ['pages that change owner most', pingPongLines(report)],
    ['trespasses', trespassLines(report)],
  ];
  return sections.flatMap(([title, lines]) => [colors.bold(title), ...indented(lines), '']);
}

function recordingLines({ hmmlab }: UnifiedMemoryReport): string[] {
  const { era, records, dropped_records, page_size, virtual_time_ns, program } = hmmlab;
  const time = virtual_time_ns === 0 ? hmmlab.times : `${timeText(virtual_time_ns)} virtual time`;
  const dropped = dropped_records === 0 ? [] : [`${dropped_records} records are missing`];
  const of = program === null ? [] : [`program ${program}`];
  const pages = `pages of ${sizeText(page_size)}`;
  return [[`era ${era}`, ...of, `${records} records`, ...dropped, pages].join(', '), time];
}

// Migrations ---------------------------------------------------------------------------------

const DIRECTIONS: readonly (readonly [Direction, string])[] = [
  ['host_to_device', 'host to device'],
  ['device_to_host', 'device to host'],
  ['device_to_device', 'device to device'],
];

function migrationLines({ devices, hmmlab }: UnifiedMemoryReport): string[] {
  const { migrations } = hmmlab;
  const timed = hmmlab.virtual_time_ns > 0;
  const heading = ['device', 'direction', 'count', 'pages', 'bytes', 'average', 'min', 'max'];
  const rows: string[][] = [[...heading, ...(timed ? ['time', 'GB/s'] : []), 'causes']];
  devices.forEach((device, i) => {
    const detail = hmmlab.devices[i]!;
    for (const [direction, name] of DIRECTIONS) {
      const totals = device.migrations[direction];
      const { pages, causes } = detail.migrations[direction];
      if (totals.count === 0) continue;
      const { total_size_bytes, avg_size_bytes, min_size_bytes, max_size_bytes } = totals;
      const sizes = [total_size_bytes, avg_size_bytes, min_size_bytes, max_size_bytes];
      const rate = totals.migration_throughput_gbps.toFixed(3);
      const times = timed ? [timeText(totals.total_time_ns), rate] : [];
      const counts = [String(totals.count), String(pages), ...sizes.map(sizeText), ...times];
      rows.push([device.device_name, name, ...counts, countsText(causes)]);
    }
  });
  const fresh = hmmlab.devices.filter(({ filled_pages }) => filled_pages > 0);
  const evicting = hmmlab.devices.filter(({ evictions }) => evictions.count > 0);
  const { total, moved_nothing, migrated_pages, failed_pages, within_ram_pages } = migrations;
  return [
    ...(rows.length > 1 ? columnLines(rows) : ['none between RAM and devices']),
    ...fresh.map((one) => `${one.device_name}: fresh pages, nothing copied: ${one.filled_pages}`),
    ...evicting.map(({ device_name, evictions: { count, pages } }) => {
      return `${device_name}: pages evicted: ${pages}, in ${count} migrations by the driver`;
    }),
    ...(within_ram_pages === 0 ? [] : [`${within_ram_pages} pages from RAM to RAM`]),
    `${total} migrations: ${migrated_pages} pages moved, ${failed_pages} could not; ` +
      `${moved_nothing} moved nothing`,
  ];
}

// Faults -------------------------------------------------------------------------------------

const FAULTS_HEADING = ['', 'faults', 'by access', 'failed', 'faulted again'];
const HARDWARE_HEADING = ['fatal', 'buffered', 'overflows', 'replays'];

function faultLines({ hmmlab }: UnifiedMemoryReport): string[] {
  const { cpu_faults, devices } = hmmlab;
  const { total, by_access, by_result, retries } = cpu_faults;
  const { ok: _, ...signals } = by_result;
  const cpu = [String(total), countsText(by_access), countsText(signals), String(retries)];
  const shown = devices.filter(({ faults }) =>
    hardwareOf(faults).concat(faults.served).some(Boolean),
  );
  const hardware = shown.some(({ faults }) => hardwareOf(faults).some(Boolean));
  const rows: Rows = [
    hardware ? [...FAULTS_HEADING, ...HARDWARE_HEADING] : FAULTS_HEADING,
    ['CPU', ...cpu],
    ...shown.map(({ device_name, faults }) => [
      device_name,
      String(faults.served),
      countsText(faults.by_access),
      faults.failed === 0 ? '-' : String(faults.failed),
      String(faults.retries),
      ...(hardware ? hardwareOf(faults).map(String) : []),
    ]),
  ];
  return columnLines(rows);
}

function hardwareOf({ fatal, buffered, overflows, replays }: DeviceDetail['faults']): number[] {
  return [fatal, buffered, overflows, replays];
}

// The rest -----------------------------------------------------------------------------------

function invalidationLines(devices: readonly DeviceDetail[]): string[] {
  const told = devices.filter(({ invalidations: { told, ignored } }) => told + ignored > 0);
  if (told.length === 0) return ['no device was told of any'];
  return columnLines([
    ['device', 'told', 'ignored', 'by event'],
    ...told.map(({ device_name, invalidations: { told, ignored, by_event } }) => {
      return [device_name, String(told), String(ignored), countsText(by_event)];
    }),
  ]);
}

function pingPongLines({ hmmlab }: UnifiedMemoryReport): string[] {
  if (hmmlab.ping_pong.length === 0) return ['no page changed its owner more than once'];
  return columnLines([
    ['process', 'page', 'changes', 'owners in turn'],
    ...hmmlab.ping_pong.map(({ pid, va, changes, owners }) => {
      const cut = owners.length <= changes ? '… > ' : '';
      return [String(pid), va, String(changes), `${cut}${owners.join(' > ')}`];
    }),
  ]);
}

function trespassLines({ hmmlab }: UnifiedMemoryReport): string[] {
  const { total, by } = hmmlab.trespasses;
  if (total === 0) return ['none: nobody touched device memory of another owner'];
  const lines = Object.entries(by).map(([what, count]) => `${count} × ${what}`);
  return [colors.red(`${total} times somebody touched device memory of another owner`), ...lines];
}

// Words --------------------------------------------------------------------------------------

/** "driver 2, cpu_fault 1", most first. */
function countsText(counts: Counts | Partial<Counts>): string {
  const entries = Object.entries(counts).filter(([, count]) => count !== undefined && count > 0);
  if (entries.length === 0) return '-';
  entries.sort(([, a], [, b]) => b! - a!);
  return entries.map(([name, count]) => `${name} ${count}`).join(', ');
}

const SIZES = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** Bytes: "48 KiB", "1.5 MiB". */
export function sizeText(bytes: number): string {
  return scaled(bytes, 1024, SIZES, 1);
}

const TIMES = ['ns', 'us', 'ms', 's'];

/** Nanoseconds: "500 ns", "12.345 us". */
export function timeText(ns: number): string {
  return scaled(ns, 1000, TIMES, 3);
}

/** An amount in the largest of the units, each `step` of the one before, that it has one of. */
function scaled(amount: number, step: number, units: readonly string[], digits: number): string {
  let left = amount;
  let unit = 0;
  while (left >= step && unit < units.length - 1) {
    left /= step;
    unit++;
  }
  return `${Number(left.toFixed(digits))} ${units[unit]}`;
}
