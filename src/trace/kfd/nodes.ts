/** The numbers that stand for RAM and for devices in KFD's events. */
import type { DeviceInfo, DeviceTable } from '../devices.ts';
import { hash64 } from '../hash.ts';
import { SYSTEM } from '../recorded.ts';

/** RAM. */
export const KFD_RAM = 0;

/**
 * Gives each device a number of 16 bits that depends on its name, so that a device has the same
 * number in all recordings. Where two would have the same, the later one gets the next free number.
 */
export class KfdNodes {
  readonly #devices: DeviceTable;
  readonly #ids: number[] = [];
  readonly #taken = new Set<number>([KFD_RAM]);

  constructor(devices: DeviceTable) {
    this.#devices = devices;
    for (const device of devices.all) this.of(device);
  }

  of(device: DeviceInfo): number {
    const known = this.#ids[device.id];
    if (known !== undefined) return known;
    let id = Number.parseInt(hash64(device.name).slice(-4), 16);
    while (this.#taken.has(id)) id = (id + 1) & 0xffff;
    this.#taken.add(id);
    this.#ids[device.id] = id;
    return id;
  }

  /** RAM's or a device's; undefined for nobody and for what is not known. */
  ofHome(home: string | null | undefined): number | undefined {
    if (home === SYSTEM) return KFD_RAM;
    const device = this.#devices.ofOwner(home);
    return device === null ? undefined : this.of(device);
  }

  /** Names of devices by their numbers, in the order of the recording. */
  get names(): ReadonlyMap<number, string> {
    return new Map(this.#devices.all.map((device) => [this.of(device), device.name]));
  }
}
