/** What a recorder says of its machine. */
import type { Driver } from '../core/driver.ts';
import type { Machine } from '../core/machine.ts';
import type { Owner } from '../core/pagemap/pagemap.ts';
import type { OwnerNames } from './owner-names.ts';
import type { RecordedDevice, RecordedProcess } from './recorded.ts';

export function devicesOf(
  machine: Machine,
  names: OwnerNames,
  drivers: ReadonlyMap<string, string>,
): RecordedDevice[] {
  return machine.drivers.map((driver) => ({
    name: driver.name,
    driver: drivers.get(driver.name) ?? classNameOf(driver),
    owners: ownersOf(machine, driver, names).map((owner) => names.of(owner)),
  }));
}

/** "KvmUvmem" as "kvm-uvmem". */
function classNameOf(driver: Driver): string {
  return driver.constructor.name.replace(/(?<=[a-z0-9])(?=[A-Z])/g, '-').toLowerCase();
}

/**
 * Whose memory a driver has: the owners it names itself; else the driver, where a pagemap or a
 * record shows it as an owner.
 */
function ownersOf(machine: Machine, driver: Driver, names: OwnerNames): readonly Owner[] {
  if (driver.owners !== undefined) return driver.owners;
  const isOwner =
    names.has(driver) || machine.kernel.pagemaps.some(({ owner }) => owner === (driver as Owner));
  return isOwner ? [driver] : [];
}

/** The processes that records speak of, `pids`, and those that are alive, by pid. */
export function processesOf(machine: Machine, pids: Iterable<number>): RecordedProcess[] {
  const all = new Set([...machine.processes.keys(), ...pids]);
  return [...all].sort((a, b) => a - b).map((pid) => ({ pid, alive: machine.processes.has(pid) }));
}
