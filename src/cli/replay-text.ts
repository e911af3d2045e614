/** The report of a replay, for people. */
import { hex } from '../core/units.ts';
import type { AgentReport, PlayReport } from '../workloads/play/index.ts';
import { columnLines } from './format.ts';
import { sizeText } from './sizes.ts';

export interface Played {
  readonly trace: string;
  readonly program: string;
  readonly report: PlayReport;
}

export function replayText({ trace, program, report }: Played): string[] {
  const { devices, driver, era, assign, batch, devicePages, pageSize } = report;
  const memory =
    devicePages === null
      ? 'as much memory as they need'
      : `${sizeText(devicePages * pageSize)} each`;
  const name = program === '' ? trace : `${trace} (${program})`;
  const { pages: pingPongs, mostMoves } = report.pingPong;
  const lines = [
    `${name}: ${report.accesses} accesses in ${report.records} records`,
    `${devices} x ${driver} on ${era}, ${memory}; ${assign}`,
    `up to ${batch} accesses of a device wait for their faults together`,
    '',
    ...columnLines([AGENT_HEAD, ...report.agents.map(agentRow)]),
    '',
    ...columnLines([DEVICE_HEAD, ...report.agents.flatMap((one) => deviceRow(one))]),
    '',
    `pages that moved four times or more: ${pingPongs}; the most moves of one: ${mostMoves}`,
  ];
  if (report.mostMoved.length > 0) {
    const blocks = report.mostMoved.map((one) => `${hex(one.start)} ${one.moves}`);
    const size = sizeText(report.mostMoved[0]!.bytes);
    lines.push(`moves of the ${size} that moved most: ${blocks.join(', ')}`);
  }
  const { unannounced, folded, mismatches } = report;
  if (unannounced > 0) lines.push(`pieces of memory that no mapping was told of: ${unannounced}`);
  if (folded > 0) lines.push(`accesses beyond 2^46 that were moved below: ${folded}`);
  if (mismatches > 0) lines.push(`loads that did not find what was stored last: ${mismatches}`);
  for (const finding of report.findings) lines.push(`verify: ${finding.message}`);
  return lines;
}

const AGENT_HEAD = [
  'agent',
  'accesses',
  'records',
  'stores',
  'missed',
  'remote',
  'failed',
  'pages at the end',
];

function agentRow(agent: AgentReport): string[] {
  const { name, accesses, records, stores, missed, remote, failed, pages } = agent;
  return [name, ...[accesses, records, stores, missed, remote, failed, pages].map(String)];
}

const DEVICE_HEAD = ['device', 'faults', 'to it', '', 'home', '', 'why', 'peak', 'invalidated'];

function deviceRow({ name, device }: AgentReport): string[][] {
  if (device === null) return [];
  const { faults, hostToDevice, deviceToHost, causes, peakPages, invalidations } = device;
  const why = Object.entries(causes).map(([cause, pages]) => `${cause} ${pages}`);
  return [
    [
      name,
      String(faults),
      `${hostToDevice.pages} pages`,
      `in ${hostToDevice.migrations}`,
      `${deviceToHost.pages} pages`,
      `in ${deviceToHost.migrations}`,
      why.length === 0 ? '-' : why.join(', '),
      String(peakPages),
      String(invalidations),
    ],
  ];
}
