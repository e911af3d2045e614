/** Where virtual time went, as data. Times are nanoseconds, rates bytes a second. */
import type { WaitReason } from '../../core/sched/task.ts';
import type { LinkDirection } from '../../hw/link.ts';

/** What a thread waited for, or was busy with. */
export interface TimeSpent {
  readonly reason: WaitReason;
  /** "mmap_lock of process 1"; empty where nobody said. */
  readonly label: string;
  readonly ns: number;
  readonly times: number;
}

/** All threads of one name. */
export interface ThreadTime {
  readonly thread: string;
  /** The device it works for; null for the tasks of processes. */
  readonly device: string | null;
  /** All of its time; what follows adds up to it. */
  readonly totalNs: number;
  readonly byReason: Readonly<Partial<Record<WaitReason, number>>>;
  /** Most first. */
  readonly spent: readonly TimeSpent[];
}

/** What the threads of one device did, and the device for all. */
export interface DeviceTimes {
  readonly device: string;
  readonly byReason: Readonly<Partial<Record<WaitReason, number>>>;
}

/** One direction of one link. */
export interface LinkTime {
  readonly link: string;
  readonly direction: LinkDirection;
  readonly bytes: number;
  readonly transfers: number;
  /** In which something was on the wire. */
  readonly busyNs: number;
  /** That transfers waited for others, added up. */
  readonly queuedNs: number;
  /** busyNs as a part of all time, 0 to 1. */
  readonly utilisation: number;
  /** Bytes over all time; 0 where no time passed. */
  readonly bytesPerSecond: number;
  /** Bytes over the time in which something was on the wire: what the link gave. */
  readonly busyBytesPerSecond: number;
}

export interface TimeReport {
  /** Name of the timing; null where the machine has none. */
  readonly timing: string | null;
  /** Virtual time since the machine was made. */
  readonly totalNs: number;
  /** Threads by time, most first: tasks, then those of devices. */
  readonly threads: readonly ThreadTime[];
  readonly devices: readonly DeviceTimes[];
  readonly links: readonly LinkTime[];
}
