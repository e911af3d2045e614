import { describe, expect, it } from 'vitest';
import { Machine } from '../../src/core/machine.ts';
import { Delay } from '../../src/core/sched/task.ts';
import { BusMaster } from '../../src/hw/bus.ts';
import { GPU_CANCELLED, Gpu } from '../../src/hw/gpu.ts';
import {
  GPU_PTE_ATOMIC as A,
  GPU_PTE_VALID as V,
  GPU_PTE_VRAM as VRAM,
  GPU_PTE_WRITE as W,
} from '../../src/hw/gpu-page-table.ts';
import { codeOf, errorOf } from '../core/tasks.ts';
import { access, issue, KINDS, lab, PAGE, replay, take, turn } from './gpu-lab.ts';
import { devicePage, owner, ramPage } from './lab.ts';

describe('what the page table allows', () => {
  it('is done at once, in order, without waiting', () => {
    const it = lab();
    const instance = it.gpu.createInstance();
    instance.pageTable.map(5, it.ram(40), V | W | A);
    const va = 5 * PAGE;
    const task = it.gpu.execute(instance, [
      access('read', va),
      access('write', va, 0xffffffff),
      access('atomic', va, 3),
      access('read', va),
      access('prefetch', va),
      access('write', va + PAGE - 4, 9),
      access('read', va + PAGE - 4),
      access('atomic', va),
    ]);
    const value = [40, 0, 0xffffffff, 2, 0, 0, 9, 2];
    expect(task.next()).toEqual({ done: true, value });
    expect([it.interrupts(), it.gpu.stalled, it.gpu.interruptPending]).toEqual([0, 0, false]);
  });

  it('depends on the access and on every bit of the entry', () => {
    const needs = { read: V, prefetch: V, write: V | W, atomic: V | W | A };
    for (const kind of KINDS) {
      for (let flags = 0; flags < 16; flags++) {
        const it = lab();
        const instance = it.gpu.createInstance();
        instance.pageTable.map(1, it.ram(0), flags);
        issue(it, instance, access(kind, PAGE));
        const allowed = (flags & needs[kind]) === needs[kind];
        const entries = take(it);
        expect([kind, flags, entries.length]).toEqual([kind, flags, allowed ? 0 : 1]);
        expect(it.gpu.stalled).toBe(allowed || kind === 'prefetch' ? 0 : 1);
        if (allowed) continue;
        const fault = (flags & V) === 0 ? 0x02 : (flags & W) === 0 ? 0x06 : 0x0f;
        expect([kind, flags, entries[0]!.fault]).toEqual([kind, flags, fault]);
      }
    }
  });

  it('counts pages in the size the machine has', () => {
    const it = lab({ pageSize: 65536 });
    const instance = it.gpu.createInstance();
    const page = it.ram(0);
    instance.pageTable.map(1, page, V | W);
    const issued = issue(it, instance, access('write', 2 * 65536 - 4, 7), access('read', 200004));
    expect(it.machine.kernel.pages.read32(page, 16383)).toBe(7);
    expect(take(it).map(({ addr }) => addr)).toEqual([3 * 65536]);
    expect(issued.results).toBeNull();
  });

  it('reaches high addresses', () => {
    const it = lab();
    const instance = it.gpu.createInstance();
    const va = 2 ** 47 - PAGE;
    const issued = issue(it, instance, access('read', va));
    expect(take(it)[0]!.addr).toBe(va);
    instance.pageTable.map(va / PAGE, it.ram(3), V);
    replay(it);
    expect(issued.results).toEqual([3]);
  });
});

describe('a fault', () => {
  it('writes an entry, interrupts, and waits for the replay', () => {
    const it = lab();
    it.machine.run(
      (function* () {
        yield new Delay(500);
      })(),
    );
    const instance = it.gpu.createInstance(3);
    const issued = issue(it, instance, access('write', 7 * PAGE + 20, 5));
    expect([issued.results, it.interrupts(), it.gpu.interruptPending]).toEqual([null, 1, true]);
    expect(take(it)).toEqual([
      {
        inst: instance.inst,
        addr: 7 * PAGE,
        timeNs: 500,
        engine: 0,
        gpc: 0,
        hub: false,
        access: 1,
        client: 0,
        fault: 2,
        valid: true,
      },
    ]);
    const page = it.ram(0);
    instance.pageTable.map(7, page, V | W);
    turn(it.machine);
    expect([issued.results, it.gpu.interruptPending]).toEqual([null, false]);
    replay(it);
    expect(issued.results).toEqual([0]);
    expect(it.machine.kernel.pages.read32(page, 5)).toBe(5);
    expect(it.interrupts()).toBe(1);
  });

  it('keeps nobody else waiting', () => {
    const it = lab();
    const instance = it.gpu.createInstance();
    const page = it.ram(1);
    instance.pageTable.map(1, page, V | W);
    const accesses = [access('read', 2 * PAGE), access('write', PAGE, 2), access('read', PAGE)];
    const issued = issue(it, instance, ...accesses);
    expect(it.machine.kernel.pages.read32(page, 0)).toBe(2);
    expect(issue(it, instance, access('read', PAGE)).results).toEqual([2]);
    expect([issued.results, it.gpu.stalled]).toEqual([null, 1]);
    instance.pageTable.map(2, it.ram(8), V);
    replay(it);
    expect(issued.results).toEqual([8, 0, 2]);
  });

  it('of many on one page writes an entry each, and one replay serves all', () => {
    const it = lab({ entries: 16 });
    const instance = it.gpu.createInstance();
    const accesses = Array.from({ length: 10 }, () => access('atomic', PAGE, 2));
    const issued = issue(it, instance, ...accesses);
    expect([take(it).length, it.interrupts()]).toEqual([10, 1]);
    instance.pageTable.map(1, it.ram(0), V | W | A);
    replay(it);
    expect(issued.results).toEqual([0, 2, 4, 6, 8, 10, 12, 14, 16, 18]);
  });

  it('that is not served faults anew at each replay', () => {
    const it = lab();
    const instance = it.gpu.createInstance();
    const accesses = [access('read', PAGE), access('write', PAGE), access('read', 2 * PAGE)];
    const issued = issue(it, instance, ...accesses);
    expect(take(it).map(({ access }) => access)).toEqual([0, 1, 0]);
    instance.pageTable.map(1, it.ram(6), V);
    replay(it);
    expect(take(it).map(({ access, addr, fault }) => [access, addr, fault])).toEqual([
      [1, PAGE, 6],
      [0, 2 * PAGE, 2],
    ]);
    expect([it.interrupts(), it.gpu.stalled, issued.results]).toEqual([2, 2, null]);
  });

  it('whose entry nobody read is reported again by a replay', () => {
    const it = lab();
    const instance = it.gpu.createInstance();
    issue(it, instance, access('read', PAGE));
    replay(it);
    expect(take(it)).toHaveLength(2);
    expect(it.gpu.stalled).toBe(1);
  });

  it('is told apart by the unit that asked', () => {
    const it = lab();
    const accesses = Array.from({ length: 6 }, (_, i) => access('read', i * PAGE));
    issue(it, it.gpu.createInstance(), ...accesses);
    expect(take(it).map(({ gpc, client }) => [gpc, client])).toEqual([
      [0, 0],
      [1, 0],
      [2, 0],
      [3, 0],
      [0, 1],
      [1, 1],
    ]);
  });

  it('may be served from within the interrupt', () => {
    const machine = new Machine();
    const gpu: Gpu = new Gpu(machine.kernel, {
      name: 'gpu0',
      bus: new BusMaster(machine.kernel, owner('gpu0')),
      faultEntries: 2,
      onInterrupt() {
        const { faultBuffer } = gpu;
        while (faultBuffer.get !== faultBuffer.put) {
          const { addr } = faultBuffer.read(faultBuffer.get);
          instance.pageTable.map(addr / PAGE, ramPage(machine, addr), V);
          faultBuffer.get = (faultBuffer.get + 1) % faultBuffer.entries;
        }
        gpu.replay();
      },
    });
    const instance = gpu.createInstance();
    const accesses = [1, 2, 3].map((vpn) => access('read', vpn * PAGE));
    expect(machine.run(gpu.execute(instance, accesses))).toEqual([PAGE, 2 * PAGE, 3 * PAGE]);
  });
});

describe('cancel', () => {
  it('ends all that waits in the channel, and all that comes', () => {
    const it = lab();
    const instance = it.gpu.createInstance();
    const page = it.ram(4);
    instance.pageTable.map(1, page, V | W);
    const first = issue(it, instance, access('read', PAGE), access('read', 2 * PAGE));
    const second = issue(it, instance, access('atomic', 3 * PAGE), access('write', PAGE, 5));
    it.gpu.cancel(take(it)[0]!);
    turn(it.machine);
    expect([first.results, second.results]).toEqual([
      [4, GPU_CANCELLED],
      [GPU_CANCELLED, 0],
    ]);
    const all = KINDS.map((kind) => access(kind, PAGE));
    expect(issue(it, instance, ...all).results).toEqual([-1, -1, -1, -1]);
    expect([instance.dead, it.gpu.stalled, take(it)]).toEqual([true, 0, []]);
    expect(it.machine.kernel.pages.read32(page, 0)).toBe(5);
  });

  it('leaves other channels alone, also of the same process', () => {
    const it = lab();
    const [dies, lives] = [it.gpu.createInstance(1), it.gpu.createInstance(1)];
    const dead = issue(it, dies, access('read', PAGE));
    const alive = issue(it, lives, access('read', PAGE));
    const entries = take(it);
    expect(entries.map(({ inst }) => inst)).toEqual([dies.inst, lives.inst]);
    it.gpu.cancel(entries[0]!);
    turn(it.machine);
    expect([dead.results, alive.results]).toEqual([[GPU_CANCELLED], null]);
    lives.pageTable.map(1, it.ram(9), V);
    replay(it);
    expect([alive.results, lives.dead]).toEqual([[9], false]);
  });

  it('of a channel that is dead or gone, or never was, does nothing', () => {
    const it = lab();
    const instance = it.gpu.createInstance();
    issue(it, instance, access('read', PAGE));
    const [entry] = take(it);
    const fatal: number[] = [];
    it.machine.events.on('fatal_fault', ({ va }) => fatal.push(va));
    it.gpu.cancel({ ...entry!, inst: instance.inst + 1 });
    expect([instance.dead, it.gpu.stalled]).toEqual([false, 1]);
    it.gpu.cancel(entry!);
    it.gpu.cancel(entry!);
    it.gpu.destroyInstance(instance);
    it.gpu.cancel(entry!);
    expect(fatal).toEqual([PAGE]);
  });
});

describe('a channel that is destroyed', () => {
  it('ends its accesses, and its name is not given again', () => {
    const it = lab();
    const instance = it.gpu.createInstance();
    const issued = issue(it, instance, access('read', PAGE));
    it.gpu.destroyInstance(instance);
    turn(it.machine);
    expect([issued.results, instance.dead, it.gpu.stalled]).toEqual([[GPU_CANCELLED], true, 0]);
    expect(it.gpu.createInstance().inst).not.toBe(instance.inst);
    expect(take(it).map(({ inst }) => inst)).toEqual([instance.inst]);
    expect(codeOf(() => it.gpu.destroyInstance(instance))).toBe('bad-argument');
  });

  it('has an address space that no other channel sees', () => {
    const it = lab();
    const [one, two] = [it.gpu.createInstance(), it.gpu.createInstance()];
    one.pageTable.map(1, it.ram(11), V);
    two.pageTable.map(1, it.ram(22), V);
    expect(issue(it, one, access('read', PAGE)).results).toEqual([11]);
    it.gpu.destroyInstance(one);
    expect(issue(it, two, access('read', PAGE)).results).toEqual([22]);
  });
});

describe('misuse', () => {
  it.each([2, 4097, -4, 0.5, Number.NaN, 2 ** 60])('no access of %d', (va) => {
    const it = lab();
    const instance = it.gpu.createInstance();
    const task = it.gpu.execute(instance, [access('read', va)]);
    expect(codeOf(() => it.machine.run(task))).toBe('bad-argument');
    expect([it.gpu.stalled, take(it)]).toEqual([0, []]);
  });

  it('a channel of another GPU', () => {
    const [it, other] = [lab(), lab()];
    other.gpu.createInstance();
    const foreign = other.gpu.createInstance();
    const task = it.gpu.execute(foreign, [access('read', 0)]);
    expect(codeOf(() => it.machine.run(task))).toBe('bad-argument');
  });

  it('a fault buffer without room', () => {
    expect(codeOf(() => lab({ entries: 1 }))).toBe('bad-argument');
  });
});

describe('waiting in vain', () => {
  it('is told with GPU, access and address, and leaves nothing behind', () => {
    const it = lab();
    const instance = it.gpu.createInstance();
    const accesses = [access('write', 0x7f0000001008), access('read', PAGE)];
    const { code, message } = errorOf(() => it.machine.run(it.gpu.execute(instance, accesses)));
    expect(code).toBe('deadlock');
    expect(message).toContain('GPU gpu0: replay of a write of 0x7f0000001008 and 1 more');
    expect([it.gpu.stalled, it.gpu.lost]).toEqual([0, 0]);
    instance.pageTable.map(1, it.ram(2), V);
    expect(it.machine.run(it.gpu.execute(instance, [access('read', PAGE)]))).toEqual([2]);
  });
});

it('private memory of another owner does not answer', () => {
  const it = lab();
  const proc = it.machine.createProcess();
  const instance = it.gpu.createInstance(proc.pid);
  const other = owner('gpu1');
  const page = devicePage(it.machine, other);
  it.machine.kernel.pages.write32(page, 1, 77);
  instance.pageTable.map(1, page, V | W | A | VRAM);
  instance.pageTable.map(2, devicePage(it.machine, it.self), V | W | VRAM);
  const told: unknown[] = [];
  it.machine.events.on('trespass', ({ by, what, owner, pid, va }) => {
    told.push([by, what, owner === other, pid, va]);
  });
  const va = PAGE + 4;
  const kinds = ['read', 'write', 'atomic', 'prefetch'] as const;
  const issued = issue(it, instance, ...kinds.map((kind) => access(kind, va, 1)));
  expect(issued.results).toEqual([0xffffffff, 0, 0xffffffff, 0]);
  expect(issue(it, instance, access('write', 2 * PAGE, 1)).results).toEqual([0]);
  expect(it.machine.kernel.pages.read32(page, 1)).toBe(77);
  expect(told).toEqual(
    ['read', 'write', 'read', 'write'].map((what) => ['gpu0', what, true, proc.pid, va]),
  );
});
