import type { Machine } from './machine.ts';
import type { Owner } from './pagemap/pagemap.ts';
import type { Process } from './process.ts';
import type { Task } from './sched/task.ts';
import type { StateHash } from './state-hash.ts';
import type { Page, Va } from './units.ts';

/** Something a process has opened; closed when the process exits, after its memory is gone. */
export interface OpenFile {
  /** The last reference is gone: the file operation `release`. */
  release(): Task<void>;
}

/** A driver as the machine sees it. Its own calls (ioctls) are its own. */
export interface Driver {
  /** For people; unique in a machine. */
  readonly name: string;
  /** Who owns its memory, where that is not the driver itself; for recordings and reports. */
  readonly owners?: readonly Owner[];
  /** Registers pagemaps; called once, by `machine.attach`. */
  attach(machine: Machine): void;
  /** References on pages that the driver holds beyond any mapping, such as pins; for `verify`. */
  heldReferences?(): ReadonlyMap<Page, number>;
  /** How the driver's own page table maps an address, for tables: "rw", "r", or null. */
  mappingOf?(process: Process, va: Va): string | null;
  /**
   * Adds to a hash all that the driver and its device will act on later and that the kernel does not
   * know: page tables, queues, counters. Machines are compared by it where schedules are explored;
   * without it equal states are not recognised.
   */
  fingerprint?(hash: StateHash): void;
  /**
   * True from when the device may change what is in memory in ways that its owner cannot see, as by
   * sealing pages: what was stored is no longer what is to be loaded.
   */
  readonly sealsMemory?: boolean;
}
