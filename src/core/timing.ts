/**
 * How long things take: plain numbers, which a machine is given and never changes.
 *
 * Times are nanoseconds and rates bytes a second, all of them 0 or more. A time of 0 is no time; a
 * rate of 0 sets no limit. So a `Timing` of zeros is a machine in which no time passes, as without.
 */

/** What the kernel and its CPUs need for the steps of memory management. */
export interface CpuTiming {
  /** CPUs that run threads of a process, and so may hold its translations. */
  readonly cpus: number;
  /** Into the kernel and back, for a fault or a system call. */
  readonly kernelEntryNs: number;
  /** A walk through the levels of a page table to one entry. */
  readonly pageWalkNs: number;
  /** A TLB shootdown: sending the interrupts and waiting for the last answer... */
  readonly tlbShootdownNs: number;
  /** ...and what each further CPU adds. */
  readonly tlbShootdownPerCpuNs: number;
  /** Filling memory with zeros. */
  readonly zeroBytesPerSecond: number;
  /** Copying memory. */
  readonly copyBytesPerSecond: number;
  /** migrate_vma, per page of its range: looking at the entry, taking and locking the page. */
  readonly collectPageNs: number;
  /** ...per page that takes part: replacing its mappings elsewhere. */
  readonly unmapPageNs: number;
  /** ...per page that has a destination: moving its identity. */
  readonly movePageNs: number;
  /** ...per page that took part: mapping it again and dropping references. */
  readonly finalizePageNs: number;
  /** Calling one notifier, without what the driver does in it. */
  readonly notifierCallNs: number;
}

/** One direction of a link. */
export interface LaneTiming {
  /** Bytes on the wire, packet headers included. */
  readonly bytesPerSecond: number;
  /** From the last byte sent until it has arrived. Transfers behind it do not wait for that. */
  readonly latencyNs: number;
}

/** What connects devices to the CPU's memory. */
export interface LinkTiming {
  readonly name: string;
  /** False: each device that names it has one of its own. True: they share one. */
  readonly shared: boolean;
  /** Most bytes of data in a packet; 0 where packets and headers do not matter. */
  readonly packetBytes: number;
  /** What a packet carries beside its data. */
  readonly headerBytes: number;
  readonly toDevice: LaneTiming;
  readonly toHost: LaneTiming;
}

export interface DeviceTiming {
  /** Whose: the name of a device ("nouveau1"), of a driver ("nouveau"), or "*" for any other. */
  readonly device: string;
  /** Name of its link; null where data comes and goes in no time. */
  readonly link: string | null;
  /** Copy operations that can be under way at a time; 0 counts as 1. They end in order. */
  readonly copyEngines: number;
  /** What an engine needs to begin an operation. */
  readonly copySetupNs: number;
  /** The device's own memory. */
  readonly memoryBytesPerSecond: number;
  /** One access to its own memory. */
  readonly localAccessNs: number;
  /** One access to memory of the CPU, beside what the link takes. */
  readonly remoteAccessNs: number;
  /** A walk through the device's page table. */
  readonly pageWalkNs: number;
  /** From the entry in the fault buffer until the driver's worker runs. */
  readonly faultInterruptNs: number;
  /** Most entries that a worker takes out of the buffer at a time; 0: all there are. */
  readonly faultBatch: number;
  /** What the worker does once a batch: reading, sorting, looking up. */
  readonly faultBatchNs: number;
  /** ...and for each fault, beside what the kernel takes to find its page. */
  readonly faultNs: number;
  /** Telling the device to try again what waits. */
  readonly replayNs: number;
}

/** Secure guests under an ultravisor. */
export interface SecureTiming {
  /** Into the hypervisor and back. */
  readonly hypercallNs: number;
  /** Into the ultravisor and back. */
  readonly ultracallNs: number;
  readonly encryptBytesPerSecond: number;
  readonly decryptBytesPerSecond: number;
}

export interface Timing {
  /** For people: "GTX 1080 on PCIe 3.0". */
  readonly name: string;
  readonly cpu: CpuTiming;
  readonly links: readonly LinkTiming[];
  readonly devices: readonly DeviceTiming[];
  readonly secure: SecureTiming;
}

/** Nanoseconds that `bytes` take at a rate; 0 at a rate of 0, which is no limit. */
export function transferNs(bytes: number, bytesPerSecond: number): number {
  return bytesPerSecond === 0 ? 0 : (bytes * 1e9) / bytesPerSecond;
}

/** One shootdown of all CPUs. */
export function shootdownNs({ cpus, tlbShootdownNs, tlbShootdownPerCpuNs }: CpuTiming): number {
  return tlbShootdownNs + Math.max(0, cpus - 1) * tlbShootdownPerCpuNs;
}

export const NO_CPU_TIME: CpuTiming = Object.freeze({
  cpus: 0,
  kernelEntryNs: 0,
  pageWalkNs: 0,
  tlbShootdownNs: 0,
  tlbShootdownPerCpuNs: 0,
  zeroBytesPerSecond: 0,
  copyBytesPerSecond: 0,
  collectPageNs: 0,
  unmapPageNs: 0,
  movePageNs: 0,
  finalizePageNs: 0,
  notifierCallNs: 0,
});

export const NO_LANE_TIME: LaneTiming = Object.freeze({ bytesPerSecond: 0, latencyNs: 0 });

export const NO_DEVICE_TIME: DeviceTiming = Object.freeze({
  device: '*',
  link: null,
  copyEngines: 0,
  copySetupNs: 0,
  memoryBytesPerSecond: 0,
  localAccessNs: 0,
  remoteAccessNs: 0,
  pageWalkNs: 0,
  faultInterruptNs: 0,
  faultBatch: 0,
  faultBatchNs: 0,
  faultNs: 0,
  replayNs: 0,
});

export const NO_SECURE_TIME: SecureTiming = Object.freeze({
  hypercallNs: 0,
  ultracallNs: 0,
  encryptBytesPerSecond: 0,
  decryptBytesPerSecond: 0,
});

/** Everything at once: what a change is made from, with spread. */
export const NO_TIME: Timing = Object.freeze({
  name: 'no time',
  cpu: NO_CPU_TIME,
  links: [],
  devices: [],
  secure: NO_SECURE_TIME,
});
