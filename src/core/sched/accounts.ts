/** Where virtual time went: by thread, by what it waited for, and why. */
import type { WaitReason } from './task.ts';

/** So much of a thread's time went here. */
export interface TimeAccount {
  readonly thread: string;
  readonly reason: WaitReason;
  /** What it was: "mmap_lock of process 1"; empty where nobody said. */
  readonly label: string;
  /** Nanoseconds. */
  readonly ns: number;
  /** How often. */
  readonly times: number;
}

export class TimeAccounts {
  readonly #sums: Map<string, { -readonly [K in keyof TimeAccount]: TimeAccount[K] }> = new Map();

  add(thread: string, reason: WaitReason, label: string, ns: number): void {
    const key = `${thread}\n${reason}\n${label}`;
    const sum = this.#sums.get(key);
    if (sum === undefined) this.#sums.set(key, { thread, reason, label, ns, times: 1 });
    else {
      sum.ns += ns;
      sum.times++;
    }
  }

  /** All of them, in the order in which they were opened. */
  get entries(): readonly TimeAccount[] {
    return [...this.#sums.values()];
  }
}
