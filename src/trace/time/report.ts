/** Says where the virtual time of a machine went. */
import type { Machine } from '../../core/machine.ts';
import type { TimeAccount } from '../../core/sched/accounts.ts';
import type { WaitReason } from '../../core/sched/task.ts';
import { LINK_DIRECTIONS, type Link, type LinkDirection, linksOf } from '../../hw/link.ts';
import type { DeviceTimes, LinkTime, ThreadTime, TimeReport, TimeSpent } from './types.ts';

/**
 * What `machine` spent its virtual time on so far. Threads are known where the machine was made with
 * `accounts: true`, links where it was made with a timing.
 */
export function makeTimeReport(machine: Machine): TimeReport {
  const { kernel, scheduler, drivers } = machine;
  const totalNs = scheduler.nowNs;
  const names = drivers.map(({ name }) => name);
  const threads = threadsOf(scheduler.accounts?.entries ?? [], names);
  return {
    timing: kernel.timing?.name ?? null,
    totalNs,
    threads,
    devices: names.flatMap((device) => timesOf(device, threads)),
    links: linksOf(kernel).flatMap((link) =>
      LINK_DIRECTIONS.map((direction) => linkTime(link, direction, totalNs)),
    ),
  };
}

type ByReason = Partial<Record<WaitReason, number>>;

function addTo(sums: ByReason, reason: WaitReason, ns: number): void {
  sums[reason] = (sums[reason] ?? 0) + ns;
}

function threadsOf(accounts: readonly TimeAccount[], devices: readonly string[]): ThreadTime[] {
  const spentBy: Map<string, TimeSpent[]> = new Map();
  for (const { thread, reason, label, ns, times } of accounts) {
    const spent = spentBy.get(thread) ?? [];
    spent.push({ reason, label, ns, times });
    spentBy.set(thread, spent);
  }
  const threads = [...spentBy].map(([thread, spent]): ThreadTime => {
    const byReason: ByReason = {};
    for (const { reason, ns } of spent) addTo(byReason, reason, ns);
    return {
      thread,
      device: devices.find((name) => thread.startsWith(`${name} `)) ?? null,
      totalNs: spent.reduce((sum, { ns }) => sum + ns, 0),
      byReason,
      spent: spent.sort((a, b) => b.ns - a.ns),
    };
  });
  const rank = ({ device }: ThreadTime): number => (device === null ? 0 : 1);
  return threads.sort((a, b) => rank(a) - rank(b) || b.totalNs - a.totalNs);
}

function timesOf(device: string, threads: readonly ThreadTime[]): DeviceTimes[] {
  const own = threads.filter((thread) => thread.device === device);
  if (own.length === 0) return [];
  const byReason: ByReason = {};
  for (const { spent } of own) for (const { reason, ns } of spent) addTo(byReason, reason, ns);
  return [{ device, byReason }];
}

function linkTime(link: Link, direction: LinkDirection, totalNs: number): LinkTime {
  const { bytes, transfers, busyNs, queuedNs } = link.lane(direction);
  return {
    link: link.name,
    direction,
    bytes,
    transfers,
    busyNs,
    queuedNs,
    utilisation: totalNs === 0 ? 0 : busyNs / totalNs,
    bytesPerSecond: rateOf(bytes, totalNs),
    busyBytesPerSecond: rateOf(bytes, busyNs),
  };
}

function rateOf(bytes: number, ns: number): number {
  return ns === 0 ? 0 : (bytes * 1e9) / ns;
}
