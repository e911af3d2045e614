/** What the suite must know of a driver to run it through the shared behaviours. */
import type { Era, EraName } from '../core/era.ts';
import type { Machine } from '../core/machine.ts';
import type { Owner } from '../core/pagemap/pagemap.ts';
import type { Process } from '../core/process.ts';
import type { Task } from '../core/sched/task.ts';
import type { Va } from '../core/units.ts';
import type { DeviceDriver } from '../program/types.ts';

/** The driver at work: one process has the device open. */
export interface DriverUse<D extends DeviceDriver = DeviceDriver> {
  readonly machine: Machine;
  readonly driver: D;
  readonly process: Process;
  /** What `driver.open(process)` returned. */
  readonly file: ReturnType<D['open']>;
}

/** A call of the driver: a plain result, or a task where it may sleep. */
export type Answer<T> = T | Task<T>;

/**
 * How to make a driver and reach its calls. Only `name`, `create` and `toDevice` must be there; what
 * is left out costs the cases that need it, and the suite says so.
 *
 *     const spec: DriverSpec<Dmirror> = {
 *       name: 'dmirror',
 *       create: () => new Dmirror(),
 *       toDevice: ({ file }, va, pages) => file.migrateToDev(va, pages).ret,
 *     };
 */
export interface DriverSpec<D extends DeviceDriver = DeviceDriver> {
  readonly name: string;
  /** A driver for a fresh machine. */
  create(): D;
  /** Whose the device pages are: the driver itself unless given. */
  owner?(driver: D): Owner;
  /** Moves pages from RAM to the device as far as they go. 0 or more, or -errno. */
  toDevice(use: DriverUse<D>, va: Va, pages: number): Answer<number>;
  /** Brings the driver's own pages of the range home. 0 or more, or -errno. */
  toSystem?(use: DriverUse<D>, va: Va, pages: number): Answer<number>;
  /** Reads the first word of the page at `va` through the device's page table; -errno if it cannot. */
  read?(use: DriverUse<D>, va: Va): Answer<number>;
  /** Writes the first word of the page at `va` through that table. 0 or more, or -errno. */
  write?(use: DriverUse<D>, va: Va, value: number): Answer<number>;
  /** The device goes away: every page comes home, of every process. */
  remove?(use: DriverUse<D>): Answer<unknown>;
  /** Every page comes home, and the device stays. */
  suspend?(use: DriverUse<D>): Answer<unknown>;
  /** The device works again after `suspend`. */
  resume?(use: DriverUse<D>): Answer<unknown>;
  /** The next page copy of the device fails. */
  failNextCopy?(use: DriverUse<D>): void;
  /** The next allocation of a device page fails. */
  failNextAlloc?(use: DriverUse<D>): void;
  /** Pages of device memory, if that is a fixed number and small enough to be filled. */
  devicePages?(use: DriverUse<D>): number;
  /**
   * The device keeps its contents secret: what the CPU reads of a page that was on the device is
   * ciphertext, and must not be what was written before. Nothing else is known of it.
   */
  readonly encrypts?: boolean;
  /** Eras to run under: v6.1 unless given. Each case runs once an era and page size. */
  readonly eras?: readonly EraName[];
  /** Page sizes in bytes to run under: 4096 unless given. */
  readonly pageSizes?: readonly number[];
  /** Cases, by name, that do not hold for this driver, each with the reason. */
  readonly skips?: Readonly<Record<string, Skip>>;
}

/** Why a case is not run: always, or in some eras (null where it is). */
export type Skip = string | ((era: Era) => string | null);

/** The calls that a case may need. */
export type OptionalCall =
  | 'toSystem'
  | 'read'
  | 'write'
  | 'remove'
  | 'suspend'
  | 'failNextCopy'
  | 'failNextAlloc'
  | 'devicePages';
