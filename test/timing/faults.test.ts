// Faults of a GPU in time: interrupt, batch, service and replay; accesses to memory near and far.

import { describe, expect, it } from 'vitest';
import { NO_CPU_TIME } from '../../src/core/timing.ts';
import { Nouveau } from '../../src/drivers/nouveau/index.ts';
import { linksOf } from '../../src/hw/link.ts';
import { type GpuPlace, gpuPlace, linkOf, timingOf } from './lab.ts';

const COSTS = { faultInterruptNs: 4000, faultBatchNs: 900, faultNs: 30, replayNs: 200 };

function reads({ buffer, machine }: GpuPlace, pages: number, bytes = 32) {
  return Array.from({ length: pages }, (_, i) => {
    return { kind: 'read', va: buffer + i * machine.pageSize, bytes } as const;
  });
}

describe('a batch of faults', () => {
  it.each([
    [1, 16, 4000 + 900 + 30 + 200],
    [8, 16, 4000 + 900 + 8 * 30 + 200],
    // The buffer holds three: the others are told at the replay, and served without an interrupt.
    [6, 4, 4000 + 2 * (900 + 3 * 30 + 200)],
  ])('of %i faults with %i entries takes %i ns', (pages, faultEntries, expected) => {
    const place = gpuPlace(timingOf({ ...COSTS, link: null }), 16, { faultEntries });
    const ns = place.time(() => {
      const { ret, results } = place.file.execute(reads(place, pages));
      expect(ret).toBe(0);
      expect(results).toEqual(Array.from({ length: pages }, (_, i) => i + 1));
    });
    expect(ns).toBe(expected);
  });

  it('costs nothing once everything is mapped', () => {
    const place = gpuPlace(timingOf({ ...COSTS, link: null }), 8);
    place.file.execute(reads(place, 8));
    expect(place.time(() => void place.file.execute(reads(place, 8)))).toBe(0);
  });

  it('has no more faults than a batch may have', () => {
    const batches = (faultBatch: number): number => {
      const place = gpuPlace(timingOf({ ...COSTS, link: null, faultBatch }), 8);
      expect(place.file.execute(reads(place, 8)).ret).toBe(0);
      const { entries } = place.machine.scheduler.accounts!;
      return entries.find(({ label }) => label === `${place.gpu.name}: batches`)!.times;
    };
    expect(batches(0)).toBe(1);
    expect(batches(8)).toBe(1);
    expect(batches(2)).toBeGreaterThanOrEqual(4);
  });

  it('is worth more the more faults it has', () => {
    const times = [3, 5, 9, 17, 33].map((faultEntries) => {
      const place = gpuPlace(timingOf({ ...COSTS, link: null }), 32, { faultEntries });
      return place.time(() => void place.file.execute(reads(place, 32)));
    });
    expect(times).toEqual([...times].sort((a, b) => b - a));
    expect(new Set(times).size).toBe(times.length);
  });

  it('of an atomic access ends when the kernel has made the page exclusive', () => {
    const cpu = { ...NO_CPU_TIME, tlbShootdownNs: 700 };
    const place = gpuPlace({ ...timingOf({ ...COSTS, link: null }), cpu }, 1);
    const job = [{ kind: 'atomic', va: place.buffer, value: 1 } as const];
    const ns = place.time(() => void place.file.execute(job));
    expect(ns).toBe(4000 + 900 + 30 + 200 + 700);
    const worker = place.machine.scheduler.accounts!.entries.filter(({ thread }) =>
      thread.endsWith('fault worker'),
    );
    expect(worker.reduce((sum, entry) => sum + entry.ns, 0)).toBe(ns);
  });

  it('is what the job waits for', () => {
    const place = gpuPlace(timingOf({ ...COSTS, link: null }), 1);
    place.file.execute(reads(place, 1));
    const waits = place.machine.scheduler.accounts!.entries.filter(
      ({ reason }) => reason === 'fault_batch',
    );
    expect(waits).toEqual([
      { thread: 'caller', reason: 'fault_batch', label: 'nouveau0', ns: 5130, times: 1 },
    ]);
  });
});

describe('accesses', () => {
  const NEAR_AND_FAR = {
    memoryBytesPerSecond: 10e9,
    localAccessNs: 100,
    remoteAccessNs: 400,
    pageWalkNs: 50,
  };

  it('to memory of the CPU go over the link', () => {
    const place = gpuPlace(timingOf(NEAR_AND_FAR), 4);
    place.file.execute(reads(place, 4));
    const before = linksOf(place.machine.kernel)[0]!.toDevice.bytes;
    const ns = place.time(() => void place.file.execute(reads(place, 4, 4096)));
    expect(ns).toBe(4 * 4096 + 400 + 50);
    expect(linksOf(place.machine.kernel)[0]!.toDevice.bytes - before).toBe(4 * 4096);
  });

  it('that write go the other way', () => {
    const place = gpuPlace(timingOf(NEAR_AND_FAR), 1);
    const job = [{ kind: 'write', va: place.buffer, value: 3, bytes: 1000 } as const];
    place.file.execute(job);
    expect(place.time(() => void place.file.execute(job))).toBe(1000 + 450);
    expect(linksOf(place.machine.kernel)[0]!.toHost.bytes).toBe(2000);
  });

  it('to memory of the GPU take what that needs', () => {
    const place = gpuPlace(timingOf(NEAR_AND_FAR), 4);
    expect(place.file.svmBind(place.buffer, 4 * place.machine.pageSize)).toBe(0);
    const ns = place.time(() => void place.file.execute(reads(place, 4, 4096)));
    expect(ns).toBeCloseTo((4 * 4096) / 10 + 150, 6);
  });

  it('by two GPUs on one link take twice as long', () => {
    const together = (shared: boolean): number => {
      const place = gpuPlace(timingOf({}, linkOf({ shared })), 8, { name: 'one' });
      const { machine } = place;
      const job = reads(place, 8, 4096);
      const proc = [...machine.processes.values()][0]!;
      const second = machine.attach(new Nouveau());
      const other = second.open(proc);
      for (const file of [place.file, other]) file.execute(job);
      return place.time(() => {
        machine.spawn('first', place.file.executeTask(job));
        machine.spawn('second', other.executeTask(job));
        machine.runAll();
      });
    };
    expect(together(true)).toBe(2 * together(false));
  });
});

describe('a migration to the GPU', () => {
  it('takes the link for each page, and half as long at twice the bandwidth', () => {
    const times = [1e9, 2e9].map((bytesPerSecond) => {
      const lane = { bytesPerSecond, latencyNs: 0 };
      const place = gpuPlace(timingOf({}, linkOf({ toDevice: lane })), 64);
      return place.time(() => void place.file.svmBind(place.buffer, 64 * 4096));
    });
    expect(times).toEqual([64 * 4096, 32 * 4096]);
  });
});
