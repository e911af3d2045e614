// Links: queues in each direction, shared or not, with headers and latencies.

import { describe, expect, it } from 'vitest';
import { Machine } from '../../src/core/machine.ts';
import type { Task } from '../../src/core/sched/task.ts';
import { NO_TIME } from '../../src/core/timing.ts';
import { connectLink, Lane, type Link, linksOf } from '../../src/hw/link.ts';
import { codeOf } from '../core/tasks.ts';
import { linkOf } from './lab.ts';

function machineWith(link: Parameters<typeof linkOf>[0] = {}): Machine {
  return new Machine({ timing: { ...NO_TIME, links: [linkOf(link)] }, accounts: true });
}

/** Sends `times` × `bytes` one after the other, and notes when the last has arrived. */
function* send(link: Link, direction: 'toDevice' | 'toHost', bytes: number, times = 1): Task<void> {
  for (let i = 0; i < times; i++) yield* link.transfer(direction, bytes);
}

/** When each of the tasks has ended. */
function endsOf(machine: Machine, tasks: readonly Task<void>[]): number[] {
  const ends: number[] = tasks.map(() => -1);
  tasks.forEach((task, i) => {
    machine.spawn(
      `task ${i}`,
      (function* () {
        yield* task;
        ends[i] = machine.scheduler.nowNs;
      })(),
    );
  });
  machine.runAll();
  return ends;
}

describe('a link', () => {
  it('takes a transfer bytes / bandwidth + latency', () => {
    const machine = machineWith({ toDevice: { bytesPerSecond: 2e9, latencyNs: 300 } });
    const link = connectLink(machine.kernel, 'gpu', 'wire');
    expect(endsOf(machine, [send(link, 'toDevice', 4000)])).toEqual([2300]);
  });

  it('sends packet headers, too', () => {
    const machine = machineWith({ packetBytes: 128, headerBytes: 24 });
    const link = connectLink(machine.kernel, 'gpu', 'wire');
    // 1000 bytes are 8 packets.
    expect(endsOf(machine, [send(link, 'toDevice', 1000)])).toEqual([1000 + 8 * 24]);
    expect(link.toDevice.bytes).toBe(1000);
  });

  it('lets transfers in one direction wait for each other: half the throughput for each of two', () => {
    const machine = machineWith();
    const link = connectLink(machine.kernel, 'gpu', 'wire');
    const alone = endsOf(machine, [send(link, 'toHost', 100, 10)])[0]!;
    expect(alone).toBe(1000);
    const start = machine.scheduler.nowNs;
    const both = endsOf(machine, [send(link, 'toHost', 100, 10), send(link, 'toHost', 100, 10)]);
    expect(both.map((end) => end - start)).toEqual([1900, 2000]);
    expect(link.toHost.queuedNs).toBeGreaterThan(0);
  });

  it('has a queue for each direction', () => {
    const machine = machineWith();
    const link = connectLink(machine.kernel, 'gpu', 'wire');
    const tasks = [send(link, 'toHost', 100, 10), send(link, 'toDevice', 100, 10)];
    expect(endsOf(machine, tasks)).toEqual([1000, 1000]);
    expect([link.toHost.queuedNs, link.toDevice.queuedNs]).toEqual([0, 0]);
  });

  it('keeps sending while what was sent is on its way', () => {
    const machine = machineWith({ toDevice: { bytesPerSecond: 1e9, latencyNs: 10_000 } });
    const link = connectLink(machine.kernel, 'gpu', 'wire');
    const four = Array.from({ length: 4 }, () => send(link, 'toDevice', 100));
    expect(endsOf(machine, four)).toEqual([10_100, 10_200, 10_300, 10_400]);
  });

  it('is one for all devices if shared, and one for each if not', () => {
    for (const shared of [true, false]) {
      const machine = machineWith({ shared });
      const first = connectLink(machine.kernel, 'gpu0', 'wire');
      const second = connectLink(machine.kernel, 'gpu1', 'wire');
      expect(first === second).toBe(shared);
      const names = shared ? ['wire'] : ['wire of gpu0', 'wire of gpu1'];
      expect(linksOf(machine.kernel).map(({ name }) => name)).toEqual(names);
      const ends = endsOf(machine, [send(first, 'toHost', 500), send(second, 'toHost', 500)]);
      expect(ends).toEqual(shared ? [500, 1000] : [500, 500]);
    }
  });

  it('that is not there is an error', () => {
    const { kernel } = machineWith();
    expect(codeOf(() => connectLink(kernel, 'gpu', 'rope'))).toBe('bad-argument');
  });
});

describe('a lane', () => {
  it('without a bandwidth takes no time', () => {
    const lane = new Lane({ bytesPerSecond: 0, latencyNs: 0 });
    expect([lane.send(7, 1e12), lane.send(7, 1e12)]).toEqual([7, 7]);
    expect(lane).toMatchObject({ bytes: 2e12, transfers: 2, busyNs: 0, queuedNs: 0 });
  });

  it('knows how long it was busy and how long others waited', () => {
    const lane = new Lane({ bytesPerSecond: 1e9, latencyNs: 5 });
    lane.send(0, 100);
    lane.send(40, 100);
    lane.send(1000, 50);
    expect(lane).toMatchObject({ busyNs: 250, queuedNs: 60 });
    expect(lane.send(1000, 0)).toBe(1050);
  });
});
