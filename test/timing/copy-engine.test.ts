// Copy engines in time: set-up, the link, several engines, fences.

import { describe, expect, it } from 'vitest';
import { Machine } from '../../src/core/machine.ts';
import { settle, type Task } from '../../src/core/sched/task.ts';
import type { DeviceTiming, LinkTiming } from '../../src/core/timing.ts';
import { BusMaster } from '../../src/hw/bus.ts';
import { CopyEngine } from '../../src/hw/copy-engine.ts';
import { deviceTime } from '../../src/hw/device-time.ts';
import { linksOf } from '../../src/hw/link.ts';
import { devicePage, owner, ramPage } from '../hw/lab.ts';
import { linkOf, timingOf } from './lab.ts';

const gpu0 = owner('gpu0');
/** Nanoseconds that a page takes on a link of 1 GB/s. */
const PAGE_NS = 4096;

function place(device: Partial<DeviceTiming> = {}, link?: Partial<LinkTiming>) {
  const machine = new Machine({ timing: timingOf(device, linkOf(link)), accounts: true });
  const { kernel } = machine;
  const time = deviceTime(kernel, 'gpu0', 'gpu');
  const engine = new CopyEngine(kernel, new BusMaster(kernel, gpu0), { name: 'engine', time });
  const first = (page: number): number => kernel.pages.read32(page, 0);
  const finish = (): number => {
    const start = machine.scheduler.nowNs;
    machine.run(wait(engine));
    return machine.scheduler.nowNs - start;
  };
  return { machine, engine, first, finish };
}

function* wait(engine: CopyEngine): Task<void> {
  yield* settle(engine.fence().wait());
}

describe('a copy over a link', () => {
  it('changes memory when its last byte has arrived', () => {
    const { machine, engine, first, finish } = place(
      { copySetupNs: 100 },
      { toDevice: { bytesPerSecond: 1e9, latencyNs: 50 } },
    );
    const [to, from] = [devicePage(machine, gpu0), ramPage(machine, 5)];
    engine.copy(to, from);
    expect(first(to)).toBe(0);
    expect(finish()).toBe(100 + PAGE_NS + 50);
    expect(first(to)).toBe(5);
  });

  it.each([1, 3])('takes as long as set-up and wire, times %i', (pages) => {
    const { machine, engine, finish } = place({ copySetupNs: 100 });
    for (let i = 0; i < pages; i++) engine.copy(devicePage(machine, gpu0), ramPage(machine, i));
    expect(finish()).toBe(pages * (100 + PAGE_NS));
  });

  it('does not wait for a latency before it sets up the next', () => {
    const late = { bytesPerSecond: 1e9, latencyNs: 1e6 };
    const { machine, engine, finish } = place({}, { toDevice: late });
    for (let i = 0; i < 5; i++) engine.copy(devicePage(machine, gpu0), ramPage(machine, i));
    expect(finish()).toBe(5 * PAGE_NS + 1e6);
  });

  it('goes twice as fast over twice the bandwidth', () => {
    const times = [1e9, 2e9].map((bytesPerSecond) => {
      const lane = { bytesPerSecond, latencyNs: 0 };
      const { machine, engine, finish } = place({}, { toDevice: lane });
      for (let i = 0; i < 8; i++) engine.copy(devicePage(machine, gpu0), ramPage(machine, i));
      return finish();
    });
    expect(times[0]).toBe(2 * times[1]!);
  });

  it('goes the way its data goes', () => {
    const { machine, engine, finish } = place();
    const [ram, vram] = [ramPage(machine, 1), devicePage(machine, gpu0)];
    const [link] = linksOf(machine.kernel);
    engine.copy(vram, ram);
    finish();
    expect([link!.toDevice.bytes, link!.toHost.bytes]).toEqual([4096, 0]);
    engine.copy(ram, vram);
    finish();
    expect([link!.toDevice.bytes, link!.toHost.bytes]).toEqual([4096, 4096]);
    engine.clear(vram);
    finish();
    expect([link!.toDevice.bytes, link!.toHost.bytes]).toEqual([4096, 4096]);
  });

  // At 100 the next operation is sent in the moment in which one arrives.
  it.each([50, 100])('spends the time of the link once, and then %i ns of latency', (latencyNs) => {
    const { machine, engine, finish } = place(
      { copySetupNs: 100 },
      { toDevice: { bytesPerSecond: 1e9, latencyNs } },
    );
    for (let i = 0; i < 3; i++) engine.copy(devicePage(machine, gpu0), ramPage(machine, i));
    finish();
    const spent = machine.scheduler.accounts!.entries.filter(({ reason }) => reason === 'link');
    expect(spent.map(({ thread, ns, times }) => [thread, ns, times])).toEqual([
      ['engine', 3 * PAGE_NS, 3],
      ['engine: arrivals', 3 * latencyNs, 3],
    ]);
  });

  it('inside the device takes the time of its memory, which is read and written', () => {
    const { machine, engine, finish } = place({ link: null, memoryBytesPerSecond: 2e9 });
    engine.copy(devicePage(machine, gpu0), devicePage(machine, gpu0));
    expect(finish()).toBe(PAGE_NS);
    engine.clear(devicePage(machine, gpu0));
    expect(finish()).toBe(PAGE_NS / 2);
  });
});

describe('several engines', () => {
  it('set up copies while others are on the wire', () => {
    const setup = { copySetupNs: PAGE_NS };
    const [one, two] = [1, 2].map((copyEngines) => {
      const { machine, engine, finish } = place({ ...setup, copyEngines });
      for (let i = 0; i < 10; i++) engine.copy(devicePage(machine, gpu0), ramPage(machine, i));
      return finish();
    });
    expect(one).toBe(20 * PAGE_NS);
    expect(two).toBe(11 * PAGE_NS);
  });

  it('finish in the order of the queue, whichever way is faster', () => {
    const { machine, engine, first, finish } = place(
      { copyEngines: 2, copySetupNs: 1 },
      {
        toDevice: { bytesPerSecond: 1e6, latencyNs: 0 },
        toHost: { bytesPerSecond: 0, latencyNs: 0 },
      },
    );
    const [a, b] = [devicePage(machine, gpu0), devicePage(machine, gpu0)];
    machine.kernel.pages.write32(b, 0, 8);
    const ram = ramPage(machine);
    engine.copy(a, ramPage(machine, 7));
    const fence = engine.fence();
    engine.copy(ram, b);
    expect(finish()).toBe(1 + 4096e3);
    expect([fence.done, first(a), first(ram)]).toEqual([true, 7, 8]);
  });
});

describe('without a number above 0', () => {
  it('a copy is done at once, and the link still counts it', () => {
    const nothing = { bytesPerSecond: 0, latencyNs: 0 };
    const { machine, engine, first } = place({}, { toDevice: nothing, toHost: nothing });
    const to = devicePage(machine, gpu0);
    engine.copy(to, ramPage(machine, 5));
    expect([first(to), engine.fence().done, machine.scheduler.nowNs]).toEqual([5, true, 0]);
    expect(linksOf(machine.kernel)[0]!.toDevice.bytes).toBe(4096);
  });
});
