/** The devices of a recording, found by their name, their notifier's, or an owner's. */
import { type RecordingMeta, SYSTEM } from './recorded.ts';

export interface DeviceInfo {
  /** Position among the devices of the recording, from 0. */
  readonly id: number;
  readonly name: string;
  /** "nouveau", "dmirror"; empty where the owner of some memory is no device of the machine. */
  readonly driver: string;
  readonly owners: readonly string[];
}

export class DeviceTable {
  readonly #devices: DeviceInfo[] = [];
  readonly #byOwner = new Map<string, DeviceInfo>();
  readonly #byName = new Map<string, DeviceInfo>();

  constructor(meta: RecordingMeta) {
    for (const { name, driver, owners } of meta.devices) this.#add(name, driver, owners);
    for (const owner of meta.owners) this.ofOwner(owner);
  }

  get all(): readonly DeviceInfo[] {
    return this.#devices;
  }

  /** The device whose memory belongs to `owner`; null for RAM and for nobody. */
  ofOwner(owner: string | null | undefined): DeviceInfo | null {
    if (owner === null || owner === undefined || owner === SYSTEM) return null;
    return this.#byOwner.get(owner) ?? this.#add(owner, '', [owner]);
  }

  /** The device of this name, or that has a notifier of this name ("gpu0 snapshot"), or null. */
  ofName(name: string): DeviceInfo | null {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    const device = this.#devices.find((one) => name.startsWith(`${one.name} `)) ?? null;
    if (device !== null) this.#byName.set(name, device);
    return device;
  }

  /** What drives the device of this name or notifier; undefined where that is not known. */
  driverOf(name: string): string | undefined {
    return this.ofName(name)?.driver || undefined;
  }

  /** What drives the device whose memory belongs to `owner`. */
  driverOfOwner(owner: string | null | undefined): string | undefined {
    return this.ofOwner(owner)?.driver || undefined;
  }

  #add(name: string, driver: string, owners: readonly string[]): DeviceInfo {
    const device = { id: this.#devices.length, name, driver, owners };
    this.#devices.push(device);
    this.#byName.set(name, device);
    for (const owner of owners) if (!this.#byOwner.has(owner)) this.#byOwner.set(owner, device);
    return device;
  }
}
