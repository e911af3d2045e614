/** Comes in between two steps of a driver, where another CPU could. */
import type { Machine } from '../core/machine.ts';
import type { Process } from '../core/process.ts';

/**
 * Runs `action` once, as soon as mmap_lock of `proc` is let go of after a page was faulted in for a
 * device: between hmm_range_fault and what the driver makes of its answer.
 */
export function afterDeviceFault(machine: Machine, proc: Process, action: () => void): void {
  const { mmapLock } = proc.mm;
  const { events } = machine;
  let isDone = false;
  function watch({ phase }: { readonly phase: string }): void {
    if (phase !== 'end' || isDone) return;
    isDone = true;
    const unlockRead = mmapLock.unlockRead.bind(mmapLock);
    mmapLock.unlockRead = () => {
      mmapLock.unlockRead = unlockRead;
      unlockRead();
      action();
    };
  }
  events.on('device_fault', watch);
}
