/**
 * Links between devices and the memory of the CPU, and how long transfers on them take.
 *
 * Each direction is a queue: a transfer begins when those before it have left, whoever sent them,
 * and has arrived a latency after its last byte. So transfers that share a direction slow each
 * other down, and those in opposite directions do not.
 */
import { SimError } from '../core/errors.ts';
import type { Kernel } from '../core/kernel.ts';
import { Delay, type Task } from '../core/sched/task.ts';
import { type LaneTiming, type LinkTiming, transferNs } from '../core/timing.ts';

/** Which way data goes. */
export type LinkDirection = 'toDevice' | 'toHost';

export const LINK_DIRECTIONS: readonly LinkDirection[] = ['toDevice', 'toHost'];

/** One direction of a link, and what has gone through it. */
export class Lane {
  /** Bytes of data that were sent; headers are not among them. */
  bytes = 0;
  transfers = 0;
  /** Nanoseconds in which something was on the wire. */
  busyNs = 0;
  /** Nanoseconds that transfers waited for those before them, added up. */
  queuedNs = 0;
  readonly bytesPerSecond: number;
  readonly latencyNs: number;
  readonly #packetBytes: number;
  readonly #headerBytes: number;
  /** When the last byte of all that was sent has left. */
  #freeAtNs = 0;

  constructor({ bytesPerSecond, latencyNs }: LaneTiming, packetBytes = 0, headerBytes = 0) {
    this.bytesPerSecond = bytesPerSecond;
    this.latencyNs = latencyNs;
    this.#packetBytes = packetBytes;
    this.#headerBytes = headerBytes;
  }

  /** Puts `bytes` at the end of the queue; returns when the last of them leaves. */
  send(nowNs: number, bytes: number): number {
    const startNs = Math.max(nowNs, this.#freeAtNs);
    const takesNs = transferNs(bytes + this.#headersOf(bytes), this.bytesPerSecond);
    this.bytes += bytes;
    this.transfers++;
    this.busyNs += takesNs;
    this.queuedNs += startNs - nowNs;
    this.#freeAtNs = startNs + takesNs;
    return this.#freeAtNs;
  }

  #headersOf(bytes: number): number {
    if (this.#packetBytes === 0) return 0;
    return Math.ceil(bytes / this.#packetBytes) * this.#headerBytes;
  }
}

export class Link {
  /** For people: "pcie", or "pcie of nouveau1" where each device has one of its own. */
  readonly name: string;
  readonly toDevice: Lane;
  readonly toHost: Lane;
  readonly #kernel: Kernel;
  readonly #labels: Readonly<Record<LinkDirection, string>>;

  constructor(kernel: Kernel, name: string, timing: LinkTiming) {
    const { toDevice, toHost, packetBytes, headerBytes } = timing;
    this.name = name;
    this.toDevice = new Lane(toDevice, packetBytes, headerBytes);
    this.toHost = new Lane(toHost, packetBytes, headerBytes);
    this.#kernel = kernel;
    this.#labels = { toDevice: `${name}, to the device`, toHost: `${name}, to the host` };
  }

  lane(direction: LinkDirection): Lane {
    return direction === 'toDevice' ? this.toDevice : this.toHost;
  }

  /** What waiting for it is called in accounts. */
  label(direction: LinkDirection): string {
    return this.#labels[direction];
  }

  /** Sends `bytes`, and returns when they have arrived, in virtual nanoseconds. */
  send(direction: LinkDirection, bytes: number): number {
    const lane = this.lane(direction);
    return lane.send(this.#kernel.scheduler.nowNs, bytes) + lane.latencyNs;
  }

  /** Sends `bytes` and sleeps until they have arrived. */
  *transfer(direction: LinkDirection, bytes: number): Task<void> {
    const waitNs = this.send(direction, bytes) - this.#kernel.scheduler.nowNs;
    if (waitNs > 0) yield new Delay(waitNs, 'link', this.label(direction));
  }
}

/** The links of a machine, made when the first device asks. */
class Links {
  readonly all: Link[] = [];
  readonly #kernel: Kernel;
  readonly #shared: Map<string, Link> = new Map();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  connect(device: string, name: string): Link {
    const timing = this.#kernel.timing?.links.find((link) => link.name === name);
    if (timing === undefined) {
      throw new SimError('bad-argument', `${device} names the link ${name}, which is not there`);
    }
    const known = this.#shared.get(name);
    if (known !== undefined) return known;
    const link = new Link(this.#kernel, timing.shared ? name : `${name} of ${device}`, timing);
    if (timing.shared) this.#shared.set(name, link);
    this.all.push(link);
    return link;
  }
}

const linksByKernel: WeakMap<Kernel, Links> = new WeakMap();

/** The link called `name`, for `device`: its own, or the one that all share. */
export function connectLink(kernel: Kernel, device: string, name: string): Link {
  let links = linksByKernel.get(kernel);
  if (links === undefined) {
    links = new Links(kernel);
    linksByKernel.set(kernel, links);
  }
  return links.connect(device, name);
}

/** Every link that a device of the machine is connected by. */
export function linksOf(kernel: Kernel): readonly Link[] {
  return linksByKernel.get(kernel)?.all ?? [];
}
