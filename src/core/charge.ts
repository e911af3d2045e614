/**
 * What steps of memory management cost: each adds to what the running thread owes. The time passes
 * where the thread may next sleep and pays. Without a timing nothing happens.
 */
import type { Kernel } from './kernel.ts';
import { shootdownNs, transferNs } from './timing.ts';

/** Into the kernel for a fault, and the walk that finds out why. */
export function chargeFault({ timing, scheduler }: Kernel): void {
  if (timing !== null) scheduler.charge(timing.cpu.kernelEntryNs + timing.cpu.pageWalkNs);
}

/** Walks to `count` entries. */
export function chargeWalks({ timing, scheduler }: Kernel, count: number): void {
  if (timing !== null) scheduler.charge(count * timing.cpu.pageWalkNs);
}

/** A page is filled with zeros. */
export function chargeZero({ timing, scheduler, pageSize }: Kernel): void {
  if (timing !== null) scheduler.charge(transferNs(pageSize, timing.cpu.zeroBytesPerSecond));
}

/** A page is copied by a CPU. */
export function chargeCopy({ timing, scheduler, pageSize }: Kernel): void {
  if (timing !== null) scheduler.charge(transferNs(pageSize, timing.cpu.copyBytesPerSecond));
}

/** Entries are gone or have fewer rights, and every CPU has to forget what it knows of them. */
export function chargeShootdown({ timing, scheduler }: Kernel): void {
  if (timing !== null) scheduler.charge(shootdownNs(timing.cpu));
}

/** A notifier is called. */
export function chargeNotifier({ timing, scheduler }: Kernel): void {
  if (timing !== null) scheduler.charge(timing.cpu.notifierCallNs);
}
