import { describe, expect, it } from 'vitest';
import { EIO } from '../../src/core/errno.ts';
import { Machine } from '../../src/core/machine.ts';
import { settle, type Task } from '../../src/core/sched/task.ts';
import { BusMaster } from '../../src/hw/bus.ts';
import { CopyEngine, type Fence } from '../../src/hw/copy-engine.ts';
import { codeOf } from '../core/tasks.ts';
import { devicePage, owner, ramPage } from './lab.ts';

const gpu0 = owner('gpu0');

function engineOf(latencyNs?: number) {
  const machine = new Machine();
  const bus = new BusMaster(machine.kernel, gpu0);
  const options = { name: 'gpu0 copy engine', ...(latencyNs !== undefined && { latencyNs }) };
  const engine = new CopyEngine(machine.kernel, bus, options);
  const first = (page: number) => machine.kernel.pages.read32(page, 0);
  return { machine, engine, first };
}

function* wait(fence: Fence): Task<void> {
  yield* settle(fence.wait());
}

describe('without latency', () => {
  it('an operation is done when the call returns', () => {
    const { machine, engine, first } = engineOf();
    const to = devicePage(machine, gpu0);
    expect(engine.copy(to, ramPage(machine, 5))).toBe(0);
    expect(first(to)).toBe(5);
    const fence = engine.fence();
    expect(fence.done).toBe(true);
    expect(fence.wait()).toBeUndefined();
    expect(engine.clear(to)).toBe(0);
    expect(first(to)).toBe(0);
    expect(engine.done).toBe(2);
    expect(machine.scheduler.nowNs).toBe(0);
  });
});

describe('with latency', () => {
  it('operations follow each other, and each takes its time', () => {
    const { machine, engine, first } = engineOf(100);
    const [from, middle, to] = [ramPage(machine, 5), ramPage(machine), ramPage(machine)];
    expect(engine.copy(middle, from)).toBe(0);
    const half = engine.fence();
    expect(engine.copy(to, middle)).toBe(0);
    expect(engine.clear(middle)).toBe(0);
    const all = engine.fence();
    expect([half.done, all.done, first(middle)]).toEqual([false, false, 0]);

    machine.run(wait(half));
    expect([half.done, all.done, machine.scheduler.nowNs]).toEqual([true, false, 100]);
    expect([first(middle), first(to)]).toEqual([5, 0]);

    machine.run(wait(all));
    expect([all.done, machine.scheduler.nowNs]).toEqual([true, 300]);
    expect([first(middle), first(to)]).toEqual([0, 5]);
  });

  it('a copy sees what its source holds when its turn comes', () => {
    const { machine, engine, first } = engineOf(100);
    const [from, to] = [ramPage(machine, 5), ramPage(machine)];
    engine.copy(to, from);
    machine.kernel.pages.write32(from, 0, 6);
    machine.run(wait(engine.fence()));
    expect(first(to)).toBe(6);
  });

  it('an idle engine starts anew', () => {
    const { machine, engine, first } = engineOf(100);
    const to = ramPage(machine);
    engine.copy(to, ramPage(machine, 5));
    machine.runAll();
    expect([first(to), machine.scheduler.nowNs]).toEqual([5, 100]);
    engine.copy(to, ramPage(machine, 6));
    machine.runAll();
    expect([first(to), machine.scheduler.nowNs]).toEqual([6, 200]);
  });

  it('several may wait for one fence', () => {
    const { machine, engine } = engineOf(100);
    engine.clear(ramPage(machine));
    const fence = engine.fence();
    const woken: string[] = [];
    const waiter = function* (name: string): Task<void> {
      yield* wait(fence);
      woken.push(`${name} at ${machine.scheduler.nowNs}`);
    };
    machine.spawn('a', waiter('a'));
    machine.spawn('b', waiter('b'));
    machine.runAll();
    expect(woken).toEqual(['a at 100', 'b at 100']);
  });

  it('a trespass names the span in which the copy was queued', () => {
    const { machine, engine } = engineOf(100);
    const proc = machine.createProcess();
    const call = { actor: 'gpu0', name: 'copy', mm: proc.mm, start: 0, end: 4096 };
    const foreign = devicePage(machine, owner('gpu1'));
    const parents: (number | null)[] = [];
    let id = 0;
    machine.events.on('call', (event) => (id ||= event.id));
    machine.events.on('trespass', (event) => parents.push(event.parent));
    machine.events.callBegin(call);
    engine.copy(ramPage(machine), foreign);
    machine.events.callEnd(call, 0);
    engine.copy(ramPage(machine), foreign);
    machine.runAll();
    expect(id).toBeGreaterThan(0);
    expect(parents).toEqual([id, null]);
  });
});

describe.each([0, 100])('failures, latency %i', (latencyNs) => {
  it('the operation told to fail writes nothing, and only that one', () => {
    const { machine, engine, first } = engineOf(latencyNs);
    const from = ramPage(machine, 5);
    const targets = [1, 2, 3, 4, 5].map(() => ramPage(machine));
    engine.failAfter(2);
    engine.failAfter(4);
    expect(targets.map((to) => engine.copy(to, from))).toEqual([0, -EIO, 0, -EIO, 0]);
    const fence = engine.fence();
    machine.run(wait(fence));
    expect(fence.done).toBe(true);
    expect(targets.map(first)).toEqual([5, 0, 5, 0, 5]);
    expect(engine.done).toBe(3);
  });

  it('a clear can fail, too', () => {
    const { machine, engine, first } = engineOf(latencyNs);
    const page = ramPage(machine, 5);
    engine.failAfter(1);
    expect(engine.clear(page)).toBe(-EIO);
    machine.runAll();
    expect(first(page)).toBe(5);
  });
});

it('refuses what is no latency and no operation', () => {
  expect(codeOf(() => engineOf(-1))).toBe('bad-argument');
  expect(codeOf(() => engineOf(Number.NaN))).toBe('bad-argument');
  const { engine } = engineOf();
  for (const n of [0, -1, 1.5]) expect(codeOf(() => engine.failAfter(n))).toBe('bad-argument');
});

it('who waits in vain is told for what', () => {
  const { machine, engine } = engineOf(100);
  engine.clear(ramPage(machine));
  const fence = engine.fence();
  const task = fence.wait() as Task<undefined>;
  const queue = task.next().value as { what(): string };
  expect(queue.what()).toBe('a fence of gpu0 copy engine (0 of 1 operations done)');
});
