/** Counts what a machine does while a workload is played, from its events. */
import type { MigrateCause, PageHome, SimEventOf } from '../../core/events/types.ts';
import type { Machine } from '../../core/machine.ts';
import { VpnTable } from '../../core/mm/vpn-table.ts';
import type { Owner } from '../../core/pagemap/pagemap.ts';
import type { Va } from '../../core/units.ts';
import { BLOCK_PAGES } from './block-lru.ts';

/** Migrations in one direction. */
export interface DirectionCounts {
  migrations: number;
  pages: number;
}

export interface DeviceCounts {
  /** From RAM to this device, and home again. */
  readonly hostToDevice: DirectionCounts;
  readonly deviceToHost: DirectionCounts;
  /**
   * Pages that came home, by what made them: `cpu_fault`, `device_fault` of another device, `evict` where
   * memory was full.
   */
  readonly causes: Partial<Record<MigrateCause, number>>;
  /** Ranges of which the device was told that they change, except where it was behind it itself. */
  invalidations: number;
  /** Faults in its fault buffer, or that its driver served. */
  faults: number;
}

/** A block of pages, and how often any of them changed its owner. */
export interface MovedBlock {
  readonly start: Va;
  readonly bytes: number;
  readonly moves: number;
}

/** A page that came and went at least so often ping-pongs. */
const PING_PONG_MOVES = 4;

export class Tally {
  /** Faults of the CPU's own accesses; not those for which a runtime had it touch pages. */
  cpuFaults = 0;
  readonly devices: Map<Owner, DeviceCounts> = new Map();
  /** What pages come home for now, whichever way they are made to; null: for what the kernel says. */
  reason: MigrateCause | null = null;
  readonly #moves: VpnTable = new VpnTable();
  readonly #pageSize: number;
  readonly #names: Map<string, DeviceCounts> = new Map();

  constructor(machine: Machine, owners: readonly Owner[]) {
    this.#pageSize = machine.pageSize;
    for (const owner of owners) {
      const counts: DeviceCounts = {
        hostToDevice: { migrations: 0, pages: 0 },
        deviceToHost: { migrations: 0, pages: 0 },
        causes: {},
        invalidations: 0,
        faults: 0,
      };
      this.devices.set(owner, counts);
      this.#names.set(owner.name, counts);
    }
    const { events } = machine;
    events.on('cpu_fault', (event) => this.#cpuFault(event));
    events.on('migrate', (event) => this.#migrate(event));
    events.on('owner_change', (event) => this.#ownerChange(event));
    events.on('invalidate_call', ({ notifier, ignored }) => {
      const device = ignored ? undefined : this.#names.get(notifier);
      if (device !== undefined) device.invalidations++;
    });
    events.on('gpu_fault', ({ device }) => this.#fault(device));
    events.on('device_fault', ({ device, phase }) => {
      if (phase === 'begin') this.#fault(device);
    });
  }

  /** Pages that changed their owner between RAM and devices at least four times, and the most of all. */
  pingPong(): { readonly pages: number; readonly mostMoves: number } {
    let pages = 0;
    let mostMoves = 0;
    for (const [, moves] of this.#moves.entries()) {
      if (moves >= PING_PONG_MOVES) pages++;
      if (moves > mostMoves) mostMoves = moves;
    }
    return { pages, mostMoves };
  }

  /** The blocks of pages that changed their owner most, at most `count`, the worst first. */
  mostMoved(count: number): MovedBlock[] {
    const blocks: { block: number; moves: number }[] = [];
    for (const [vpn, moves] of this.#moves.entries()) {
      const block = Math.floor(vpn / BLOCK_PAGES);
      const last = blocks.at(-1);
      // Entries come by address.
      if (last !== undefined && last.block === block) last.moves += moves;
      else blocks.push({ block, moves });
    }
    blocks.sort((a, b) => b.moves - a.moves || a.block - b.block);
    const bytes = BLOCK_PAGES * this.#pageSize;
    return blocks
      .slice(0, count)
      .map(({ block, moves }) => ({ start: block * bytes, bytes, moves }));
  }

  #fault(device: string): void {
    const counts = this.#names.get(device);
    if (counts !== undefined) counts.faults++;
  }

  #cpuFault(event: SimEventOf<'cpu_fault'>): void {
    // Where the result is a signal, there was no mapping yet: the access comes again.
    if (event.phase === 'end' && event.result === 'ok' && this.reason === null) this.cpuFaults++;
  }

  #migrate(event: SimEventOf<'migrate'>): void {
    if (event.phase === 'begin' || event.migrated === 0) return;
    const to = this.#countsOf(event.to);
    const from = this.#countsOf(event.from);
    if (to !== undefined) to.hostToDevice.migrations++;
    if (from !== undefined) {
      from.deviceToHost.migrations++;
      const cause = this.reason ?? event.cause;
      from.causes[cause] = (from.causes[cause] ?? 0) + event.migrated;
    }
  }

  #ownerChange({ va, from, to }: SimEventOf<'owner_change'>): void {
    const arrived = this.#countsOf(to);
    const left = this.#countsOf(from);
    // A hole that a device fills never was in RAM.
    if (arrived !== undefined) arrived.hostToDevice.pages++;
    if (left !== undefined && to !== null) left.deviceToHost.pages++;
    if (from === null || to === null || (arrived === undefined && left === undefined)) return;
    const vpn = Math.floor(va / this.#pageSize);
    this.#moves.set(vpn, Math.max(0, this.#moves.get(vpn)) + 1);
  }

  #countsOf(home: PageHome | undefined): DeviceCounts | undefined {
    return typeof home === 'object' && home !== null ? this.devices.get(home) : undefined;
  }
}
