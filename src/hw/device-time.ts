/** What the machine's timing says of one device. */
import type { Kernel } from '../core/kernel.ts';
import { Delay, type Task } from '../core/sched/task.ts';
import { type DeviceTiming, NO_DEVICE_TIME } from '../core/timing.ts';
import { connectLink, Lane, type Link, type LinkDirection } from './link.ts';

export class DeviceTime {
  readonly timing: DeviceTiming;
  /** Null where data comes and goes in no time. */
  readonly link: Link | null;
  /** The device's own memory: whatever it reads or writes there stands in one queue. */
  readonly memory: Lane;
  readonly #name: string;
  readonly #kernel: Kernel;

  constructor(kernel: Kernel, name: string, timing: DeviceTiming) {
    const { link, memoryBytesPerSecond } = timing;
    this.timing = timing;
    this.link = link === null ? null : connectLink(kernel, name, link);
    this.memory = new Lane({ bytesPerSecond: memoryBytesPerSecond, latencyNs: 0 });
    this.#name = name;
    this.#kernel = kernel;
  }

  /** Moving data takes the link's time, or that of the device's memory. */
  get movesTakeTime(): boolean {
    const { link, memory } = this;
    if (memory.bytesPerSecond > 0) return true;
    return link !== null && [link.toDevice, link.toHost].some(takesTime);
  }

  /** Sleeps while the device moves `bytes`: its set-up, and the link's time. */
  *move(direction: LinkDirection, bytes: number): Task<void> {
    const { copySetupNs } = this.timing;
    if (copySetupNs > 0) yield new Delay(copySetupNs, 'work', `${this.#name}: setting up a copy`);
    if (this.link !== null) yield* this.link.transfer(direction, bytes);
  }

  /**
   * An access of the device to `bytes` of memory, its own or the CPU's. Returns when it is done;
   * accesses made at one time overlap, as far as link and memory let them.
   */
  access(where: 'local' | 'read' | 'write', bytes: number): number {
    const { pageWalkNs, localAccessNs, remoteAccessNs } = this.timing;
    const { nowNs } = this.#kernel.scheduler;
    if (where === 'local') return this.memory.send(nowNs, bytes) + pageWalkNs + localAccessNs;
    const arrivedNs = this.link?.send(where === 'read' ? 'toDevice' : 'toHost', bytes) ?? nowNs;
    return arrivedNs + pageWalkNs + remoteAccessNs;
  }
}

/**
 * The time of device `name` of driver `driver`; null where the machine has no timing, or none that
 * fits or is more than zeros.
 */
export function deviceTime(kernel: Kernel, name: string, driver: string): DeviceTime | null {
  const { timing } = kernel;
  if (timing === null) return null;
  const find = (wanted: string): DeviceTiming | undefined =>
    timing.devices.find(({ device }) => device === wanted);
  const found = find(name) ?? find(driver) ?? find('*');
  return found === undefined || isNothing(found) ? null : new DeviceTime(kernel, name, found);
}

function takesTime({ bytesPerSecond, latencyNs }: Lane): boolean {
  return bytesPerSecond > 0 || latencyNs > 0;
}

/** How many engines and how large a batch says nothing of time. */
function isNothing(timing: DeviceTiming): boolean {
  if (timing.link !== null || timing.faultBatch !== 0) return false;
  const numbers = Object.keys(NO_DEVICE_TIME) as (keyof DeviceTiming)[];
  return numbers.every((key) => key === 'device' || key === 'copyEngines' || !timing[key]);
}
