/** What came of playing a workload: the same for the same workload, every time. */
import type { MigrateCause } from '../../core/events/types.ts';
import { PTE_DEVICE_PRIVATE, PTE_KIND, PTE_PRESENT } from '../../core/mm/pte.ts';
import type { Owner } from '../../core/pagemap/pagemap.ts';
import { NO_PAGE } from '../../core/units.ts';
import type { Finding } from '../../core/verify.ts';
import type { Player } from './player.ts';
import type { DirectionCounts, MovedBlock } from './tally.ts';

/** Blocks that a report tells of. */
const BLOCKS_TOLD = 3;

export interface DirectionReport extends DirectionCounts {
  readonly bytes: number;
}

export interface DeviceReport {
  /** Faults of the device that were told of. */
  readonly faults: number;
  readonly hostToDevice: DirectionReport;
  readonly deviceToHost: DirectionReport;
  /** Pages that came home, by cause. */
  readonly causes: Partial<Record<MigrateCause, number>>;
  /** Pages that went home because memory was full: `evict` above. */
  readonly evictedPages: number;
  readonly peakPages: number;
  readonly invalidations: number;
}

export interface AgentReport {
  readonly name: string;
  readonly records: number;
  readonly accesses: number;
  readonly stores: number;
  /** Of a device: records that waited for a fault. Of the CPU: its page faults. */
  readonly missed: number;
  readonly remote: number;
  readonly failed: number;
  /** Pages it owns at the end; of the CPU those in RAM. */
  readonly pages: number;
  /** Null for the CPU. */
  readonly device: DeviceReport | null;
}

export interface PlayReport {
  readonly era: string;
  readonly driver: string;
  readonly devices: number;
  /** Pages that a device holds; null where there was no limit. */
  readonly devicePages: number | null;
  readonly assign: string;
  readonly batch: number;
  readonly pageSize: number;
  readonly records: number;
  readonly accesses: number;
  readonly agents: readonly AgentReport[];
  /** Pages that moved between RAM and devices at least four times, and how often the worst did. */
  readonly pingPong: { readonly pages: number; readonly mostMoves: number };
  /** Where pages moved most. */
  readonly mostMoved: readonly MovedBlock[];
  /** Pieces of memory that were touched though no mapping was told of. */
  readonly unannounced: number;
  /** Accesses beyond the addresses of a process. */
  readonly folded: number;
  /** Loads that found something else than was stored last; 0, or there is a bug. */
  readonly mismatches: number;
  /** What `machine.verify` found; nothing, or there is a bug. */
  readonly findings: readonly Finding[];
}

/** Call after `player.end()`. */
export function playReport(player: Player): PlayReport {
  const { machine, options, tally, pageSize } = player;
  const owned = pagesByOwner(player);
  const agents = player.agents.map((agent): AgentReport => {
    const { records, accesses, stores, missed, remote, failed } = agent.counts;
    const { name, device } = agent;
    const own = { name, records, accesses, stores, remote, failed };
    if (device === null) {
      return { ...own, missed: tally.cpuFaults, pages: owned.get('system') ?? 0, device: null };
    }
    const counts = tally.devices.get(device.owner)!;
    const directed = (direction: DirectionCounts): DirectionReport => ({
      ...direction,
      bytes: direction.pages * pageSize,
    });
    return {
      ...own,
      missed,
      pages: owned.get(device.owner) ?? 0,
      device: {
        faults: counts.faults,
        hostToDevice: directed(counts.hostToDevice),
        deviceToHost: directed(counts.deviceToHost),
        causes: counts.causes,
        evictedPages: counts.causes.evict ?? 0,
        peakPages: agent.peakPages,
        invalidations: counts.invalidations,
      },
    };
  });
  return {
    era: machine.era.name,
    driver: options.driver,
    devices: options.devices,
    devicePages: options.devicePages ?? null,
    assign: options.rule.text,
    batch: player.batchAccesses,
    pageSize,
    records: agents.reduce((sum, { records }) => sum + records, 0),
    accesses: player.accessesPlayed,
    agents,
    pingPong: tally.pingPong(),
    mostMoved: tally.mostMoved(BLOCKS_TOLD),
    unannounced: player.unannounced,
    folded: player.folded,
    mismatches: player.mismatches,
    findings: machine.verify(),
  };
}

/** Pages that entries map at the end, the zero page left out. */
function pagesByOwner({ proc, machine }: Player): Map<Owner | 'system', number> {
  const { pages } = machine.kernel;
  const owned = new Map<Owner | 'system', number>();
  proc.mm.pageTable.forEachLeaf((leaf) => {
    leaf.page.forEach((page, i) => {
      const kind = leaf.bits[i]! & PTE_KIND;
      if (page === NO_PAGE || (kind !== PTE_PRESENT && kind !== PTE_DEVICE_PRIVATE)) return;
      const home = pages.homeOf(page)!;
      owned.set(home, (owned.get(home) ?? 0) + 1);
    });
  });
  return owned;
}
