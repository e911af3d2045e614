// Faults of a GPU, written into its buffer by hand, for the tests of the fault worker.

import { expect } from 'vitest';
import type { SimEventOf } from '../../src/core/events/types.ts';
import type { Va } from '../../src/core/units.ts';
import type { FaultAccess, FaultEntry } from '../../src/hw/fault-buffer.ts';
import type { GpuAccess } from '../../src/hw/gpu.ts';
import type { GpuLab } from './nouveau-lab.ts';

export const READ = 0;
export const WRITE = 1;
export const ATOMIC = 2;
export const PREFETCH = 3;

export function entryOf(inst: number, addr: Va, access: FaultAccess, valid = true): FaultEntry {
  return {
    inst,
    addr,
    timeNs: 0,
    engine: 0,
    gpc: 0,
    hub: false,
    access,
    client: 0,
    fault: 2,
    valid,
  };
}

/** Writes entries for the process's channel, as hardware would, and lets the worker serve them. */
export function inject(lab: GpuLab, faults: readonly (readonly [Va, FaultAccess])[]): Served[] {
  const { inst } = lab.file.channel!.instance;
  return injectEntries(
    lab,
    faults.map(([addr, access]) => entryOf(inst, addr, access)),
  );
}

/** A served fault: page address, access, result. */
export type Served = readonly [Va, string, number];

export function injectEntries(lab: GpuLab, entries: readonly FaultEntry[]): Served[] {
  const { faultBuffer } = lab.gpu.gpu;
  const events = lab.eventsOf(() => {
    for (const entry of entries) expect(faultBuffer.push(entry)).toBe(true);
    lab.gpu.svm!.interrupt();
    lab.machine.run(lab.gpu.svm!.idle());
  });
  return (
    events
      .filter((event): event is SimEventOf<'device_fault'> => event.kind === 'device_fault')
      .filter(({ thread }) => thread.endsWith('fault worker'))
      .flatMap((event) => (event.phase === 'end' ? [event] : []))
      // hmm_range_fault tells of its own faults inside.
      .filter(
        ({ parent }) => !events.some(({ id, kind }) => kind === 'device_fault' && id === parent),
      )
      .map(({ start, access, result }) => [start, access, result] as const)
  );
}

export function access(kind: GpuAccess['kind'], va: Va, value = 0): GpuAccess {
  return { kind, va, value };
}
