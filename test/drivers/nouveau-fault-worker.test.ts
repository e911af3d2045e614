// The fault worker: facts 8.7, row by row, from the buffer to the replay. What one fault comes to is
// tested in nouveau-range-fault, what hardware does with the buffer with the hardware.

import { describe, expect, it, vi } from 'vitest';
import { eraNamed } from '../../src/core/era.ts';
import { PTE_DEVICE_EXCLUSIVE, PTE_WRITE } from '../../src/core/mm/pte.ts';
import type { Task } from '../../src/core/sched/task.ts';
import { PAGE_SIZE, type Va } from '../../src/core/units.ts';
import { type CachedFault, groupEnd, sortFaults } from '../../src/drivers/nouveau/fault-batch.ts';
import { rulesOf } from '../../src/drivers/nouveau/rules.ts';
import type { FaultAccess } from '../../src/hw/fault-buffer.ts';
import { GPU_PTE_VALID } from '../../src/hw/gpu-page-table.ts';
import {
  ATOMIC,
  access,
  entryOf,
  inject,
  injectEntries,
  PREFETCH,
  READ,
  WRITE,
} from './nouveau-faults.ts';
import { GpuLab } from './nouveau-lab.ts';

const RULES = rulesOf(eraNamed('v6.1'));

describe('8.7 taking entries from the buffer', () => {
  it('clears the valid bit of each and moves GET to PUT', () => {
    const lab = new GpuLab();
    const va = lab.buffer(3, 5);
    const { faultBuffer } = lab.gpu.gpu;
    lab.read(va, 3);
    expect(faultBuffer.put).toBe(3);
    expect(faultBuffer.get).toBe(3);
    for (let at = 0; at < 3; at++) expect(faultBuffer.read(at).valid).toBe(false);
  });

  it('goes round the ring', () => {
    const lab = new GpuLab({ faultEntries: 4 });
    const va = lab.buffer(9, 5);
    for (let i = 0; i < 9; i++) expect(lab.read(lab.at(va, i))).toEqual([5 + i]);
    expect(lab.gpu.gpu.faultBuffer.get).toBe(9 % 4);
  });

  it('passes over an entry that is not valid, and warns of it', () => {
    const lab = new GpuLab();
    const va = lab.buffer(2, 5);
    const { inst } = lab.file.channel!.instance;
    const served = injectEntries(lab, [
      entryOf(inst, va, READ, false),
      entryOf(inst, lab.at(va, 1), READ),
    ]);
    expect(served).toEqual([[lab.at(va, 1), 'read', 0]]);
    expect(lab.mappings(va, 2)).toEqual([null, 'rw']);
    expect(lab.gpu.warnings).toEqual(['entry 0 of the fault buffer is not valid']);
  });

  it('reads GET and PUT again only when those it keeps are equal', () => {
    const lab = new GpuLab();
    const va = lab.buffer(4, 5);
    const { gpu } = lab;
    const { faultBuffer } = gpu.gpu;
    const { inst } = lab.file.channel!.instance;
    const push = (i: number): void => {
      faultBuffer.push(entryOf(inst, lab.at(va, i), READ));
      gpu.svm!.interrupt();
    };
    const batches: (string | null)[][] = [];
    lab.machine.events.on('fault_replay', () => batches.push(lab.mappings(va, 4)));
    gpu.suspend();
    push(2);
    push(3);
    lab.machine.spawn(
      'waker',
      (function* (): Task<void> {
        // Reads the registers. What comes before the worker runs is beyond the PUT it keeps.
        yield* gpu.resumeTask();
        push(0);
        push(1);
      })(),
    );
    lab.machine.runAll();
    expect(batches).toEqual([
      [null, null, 'rw', 'rw'],
      ['rw', 'rw', 'rw', 'rw'],
    ]);
    expect(faultBuffer.pending).toBe(0);
    lab.verify();
  });

  it('tells the hardware of GET once, when all are copied', () => {
    const lab = new GpuLab();
    const va = lab.buffer(3, 5);
    const { faultBuffer } = lab.gpu.gpu;
    const set = vi.spyOn(faultBuffer, 'get', 'set');
    lab.read(va, 3);
    expect(set.mock.calls).toEqual([[3]]);
  });

  it('cancels a fault that there is no memory to copy to, and keeps what memory it got', () => {
    const lab = new GpuLab();
    const va = lab.buffer(3, 5);
    const job = lab.each(va, 3).map((at) => access('read', at));
    lab.gpu.failAllocationAfter(2);
    expect(lab.file.execute(job)).toEqual({ ret: -12, results: [-1, -1, -1] });
    expect(lab.gpu.warnings).toEqual(['there is no memory to copy a fault to']);
    lab.file.revive();
    // Two of the three had been copied: only the third asks.
    lab.gpu.failAllocationAfter(2);
    expect(lab.file.execute(job)).toEqual({ ret: 0, results: [5, 6, 7] });
    lab.verify();
  });

  it('does nothing where there is nothing', () => {
    const lab = new GpuLab();
    const events = lab.eventsOf(() => {
      lab.gpu.svm!.interrupt();
      lab.machine.run(lab.gpu.svm!.idle());
    });
    expect(events).toEqual([]);
  });
});

describe('8.7 the order', () => {
  function sorted(
    faults: readonly (readonly [inst: number, addr: Va, access: FaultAccess])[],
    era: 'v5.10' | 'v6.1' = 'v6.1',
  ): (readonly [number, Va, FaultAccess])[] {
    const cached: CachedFault[] = faults.map(([inst, addr, access]) => ({
      entry: entryOf(inst, addr, access),
      cause: undefined,
      svmm: null,
    }));
    sortFaults(cached, rulesOf(eraNamed(era)));
    return cached.map(({ entry }) => [entry.inst, entry.addr, entry.access] as const);
  }

  it('is by channel, then by address', () => {
    const faults = [
      [2, 0x1000, READ],
      [1, 0x7000_0000_3000, READ],
      [1, 0x2000, READ],
    ] as const;
    expect(sorted(faults)).toEqual([faults[2], faults[1], faults[0]]);
  });

  it('is then prefetch, read, write, atomic: what asks for least leads', () => {
    const order = sorted([
      [1, 0, ATOMIC],
      [1, 0, WRITE],
      [1, 0, READ],
      [1, 0, PREFETCH],
    ]).map(([, , access]) => access);
    expect(order).toEqual([PREFETCH, READ, WRITE, ATOMIC]);
  });

  it('had writes and atomics lead before v5.14', () => {
    const order = sorted(
      [
        [1, 0, READ],
        [1, 0, ATOMIC],
        [1, 0, PREFETCH],
        [1, 0, WRITE],
      ],
      'v5.10',
    ).map(([, , access]) => access);
    expect(order).toEqual([ATOMIC, WRITE, READ, PREFETCH]);
  });

  it('is that in which they are served', () => {
    const lab = new GpuLab();
    const va = lab.buffer(3, 5);
    const served = inject(lab, [
      [lab.at(va, 2), READ],
      [lab.at(va, 0), WRITE],
      [lab.at(va, 1), READ],
    ]);
    expect(served.map(([at]) => at)).toEqual(lab.each(va, 3));
  });
});

describe('8.7 whose fault', () => {
  it('is found by the instance pointer, once for each', () => {
    const lab = new GpuLab();
    const other = lab.machine.createProcess();
    const file = lab.gpu.open(other);
    const va = lab.buffer(1, 5);
    const otherVa = other.mmap({ pages: 1 });
    expect(otherVa).toBe(va);
    const served = injectEntries(lab, [
      entryOf(file.channel!.instance.inst, va, WRITE),
      entryOf(lab.file.channel!.instance.inst, va, READ),
    ]);
    expect(served).toEqual([
      [va, 'read', 0],
      [va, 'write', 0],
    ]);
    expect(lab.gpu.mappingOf(lab.proc, va)).toBe('rw');
    expect(lab.gpu.mappingOf(other, va)).toBe('rw');
    lab.verify();
  });

  it('cancels a fault of a channel that shares no address space', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    const stranger = lab.gpu.gpu.createInstance();
    const results = lab.machine.run(lab.gpu.gpu.execute(stranger, [access('read', va)]));
    expect(results).toEqual([-1]);
    expect(stranger.dead).toBe(true);
    expect(lab.read(va)).toEqual([5]);
  });

  it('cancels a fault of a process that is gone', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    lab.proc.mm.alive = false;
    const events = lab.eventsOf(() => {
      expect(lab.file.execute([access('read', va)])).toEqual({ ret: -22, results: [-1] });
    });
    // Without so much as a try to serve it.
    expect(events.map(({ kind }) => kind)).not.toContain('device_fault');
    lab.proc.mm.alive = true;
  });
});

describe('8.7 groups', () => {
  /** Where the group of the first fault ends, given the flags that its page got. */
  function end(accesses: readonly FaultAccess[], flags: number, era = RULES): number {
    const faults = accesses.map((access): CachedFault => {
      return { entry: entryOf(1, 0x1000, access), cause: undefined, svmm: null };
    });
    return groupEnd(faults, 0, 0x2000, flags, era);
  }

  const V = GPU_PTE_VALID;
  const W = 2;
  const A = 8;
  const rows: readonly (readonly [FaultAccess, number, boolean])[] = [
    [READ, V, true],
    [READ, 0, false],
    [PREFETCH, 0, true],
    [WRITE, V | W, true],
    [WRITE, V, false],
    [ATOMIC, V | W | A, true],
    [ATOMIC, V | W, false],
    [ATOMIC, V | A, false],
  ];

  it.each(rows)('leader %i with flags %i swallows those behind: %s', (leader, flags, all) => {
    expect(end([leader, ATOMIC, WRITE, READ], flags)).toBe(all ? 4 : 1);
  });

  it('asked an atomic for no right of its own before v5.14', () => {
    expect(end([ATOMIC, READ], V | W, rulesOf(eraNamed('v5.10')))).toBe(2);
  });

  it('ends with the page and with the address space', () => {
    const lab = new GpuLab();
    const { svmm } = lab.file;
    const other = lab.gpu.open(lab.machine.createProcess()).svmm;
    const fault = (addr: Va, one: typeof svmm): CachedFault => {
      return { entry: entryOf(1, addr, READ), cause: undefined, svmm: one };
    };
    const faults = [fault(0x1000, svmm), fault(0x1000, svmm), fault(0x2000, svmm)];
    expect(groupEnd(faults, 0, 0x2000, V, RULES)).toBe(2);
    expect(groupEnd([faults[0]!, fault(0x1000, other)], 0, 0x2000, V, RULES)).toBe(1);
  });

  it('a write behind a read is swallowed, and faults again after the replay', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1);
    const replays: number[] = [];
    lab.machine.events.on('fault_replay', ({ faults }) => replays.push(faults));
    const { results } = lab.file.execute([access('write', va, 7), access('read', va)]);
    // The read was first to be served, and found the zero page.
    expect(results).toEqual([0, 0]);
    expect(replays).toEqual([2, 1]);
    expect(lab.proc.load32(va)).toBe(7);
    lab.verify();
  });

  it('of a page that cannot be served is judged by the entry that was made before it', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    const bad = lab.at(va, 1);
    const served = inject(lab, [
      [va, READ],
      [bad, READ],
      [bad, READ],
    ]);
    expect(served).toEqual([
      [va, 'read', 0],
      [bad, 'read', -14],
    ]);
    expect(lab.file.channel!.instance.dead).toBe(true);
  });

  it('is not clipped by an unmanaged window: what is worked out for it is not used', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    const file = lab.gpu.open(lab.proc, { svm: false });
    file.svmInit({ unmanagedAddr: va, unmanagedSize: PAGE_SIZE });
    const { inst } = file.channel!.instance;
    const entries = [entryOf(inst, va, PREFETCH), entryOf(inst, va, READ)];
    expect(injectEntries(lab, entries)).toEqual([[va, 'prefetch', 0]]);
  });

  it('takes many faults of one page for one', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    const served = inject(lab, [
      [va, READ],
      [va, READ],
      [va, WRITE],
      [va, PREFETCH],
    ]);
    // The prefetch leads, and is content with anything.
    expect(served).toEqual([[va, 'prefetch', 0]]);
  });
});

describe('8.7 the sticky flag', () => {
  it('serves everything behind an atomic access as one', () => {
    const lab = new GpuLab();
    const va = lab.buffer(3, 5);
    const served = inject(lab, [
      [lab.at(va, 0), READ],
      [lab.at(va, 1), ATOMIC],
      [lab.at(va, 2), READ],
    ]);
    expect(served.map(([, , result]) => result)).toEqual([0, 0, 0]);
    expect(lab.mappings(va, 3)).toEqual(['rw', 'rwa', 'rwa']);
    expect(lab.entryAt(lab.at(va, 2))).toBe(PTE_DEVICE_EXCLUSIVE | PTE_WRITE);
    // The next batch starts anew.
    lab.proc.load32(lab.at(va, 2));
    inject(lab, [[lab.at(va, 2), READ]]);
    expect(lab.mappings(lab.at(va, 2), 1)).toEqual(['rw']);
    lab.verify();
  });

  it('kills a channel for reading a read-only page behind an atomic access', () => {
    const job = (lab: GpuLab): { ret: number; data: number } => {
      const va = lab.buffer(2, 5);
      lab.proc.mprotect(lab.at(va, 1), PAGE_SIZE, 'r');
      const accesses = [access('atomic', va, 1), access('read', lab.at(va, 1))];
      const { ret, results } = lab.file.execute(accesses);
      return { ret, data: results[1]! };
    };
    expect(job(new GpuLab())).toEqual({ ret: -22, data: -1 });
    expect(job(new GpuLab({ mended: true }))).toEqual({ ret: 0, data: 6 });
  });
});

describe('8.7 the outcome', () => {
  it('is one replay for the whole batch', () => {
    const lab = new GpuLab();
    const va = lab.buffer(20, 5);
    const events = lab.eventsOf(() => lab.read(va, 20));
    const replays = events.filter((event) => event.kind === 'fault_replay');
    expect(replays).toMatchObject([{ device: 'nouveau0', faults: 20 }]);
  });

  it('is no replay where nothing could be served', () => {
    const lab = new GpuLab();
    const events = lab.eventsOf(() => lab.file.execute([access('read', 0x1000)]));
    expect(events.filter(({ kind }) => kind === 'fault_replay')).toEqual([]);
    expect(events.find(({ kind }) => kind === 'fatal_fault')).toMatchObject({
      pid: lab.proc.pid,
      va: 0x1000,
      access: 'read',
      reason: 'EFAULT',
    });
  });

  it('is that all of a group are cancelled together, and others live', () => {
    const lab = new GpuLab();
    const other = lab.machine.createProcess();
    const file = lab.gpu.open(other);
    const va = other.mmap({ pages: 1 });
    other.store32(va, 9);
    const accesses = [access('read', 0x1000), access('read', 0x1000)];
    let died: unknown;
    let lived: unknown;
    lab.machine.spawn(
      'one',
      (function* (): Task<void> {
        died = yield* lab.file.executeTask(accesses);
      })(),
    );
    lab.machine.spawn(
      'two',
      (function* (): Task<void> {
        lived = yield* file.executeTask([access('read', va)]);
      })(),
    );
    lab.machine.runAll();
    expect(died).toEqual({ ret: -14, results: [-1, -1] });
    expect(lived).toEqual({ ret: 0, results: [9] });
    lab.verify();
  });

  it('leads from every fault back to the access', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    const events = lab.eventsOf(() => lab.read(va));
    const fault = events.find(({ kind }) => kind === 'gpu_fault')!;
    const call = events.find(({ kind }) => kind === 'call')!;
    const served = events.find(({ kind }) => kind === 'device_fault')!;
    expect(call).toMatchObject({ actor: 'nouveau0', name: 'execute', pid: 1, start: va });
    expect(fault.parent).toBe(call.id);
    expect(served).toMatchObject({ parent: fault.id, device: 'nouveau0', access: 'read' });
    expect(events.at(-1)).toMatchObject({ kind: 'call', phase: 'end', result: 0 });
  });

  it('after an endless fault is -EBUSY: its own read-only page does not become writable', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    lab.bind(va, 1);
    const child = lab.proc.fork();
    expect(lab.file.execute([access('write', va, 6)])).toEqual({ ret: -16, results: [-1] });
    // It took its time, so that others could have got on.
    expect(lab.machine.scheduler.nowNs).toBeGreaterThan(200_000);
    expect(lab.owners(va, 1)).toEqual(['nouveau0']);
    expect(child.load32(va)).toBe(5);
    lab.verify();
  });

  it('is not endless because a page faults in job after job', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1);
    for (let job = 0; job < 300; job++) {
      lab.proc.dontneed(va, PAGE_SIZE);
      expect(lab.file.execute([access('read', va)])).toEqual({ ret: 0, results: [0] });
    }
    lab.verify();
  });

  it('is endless, too, for a page of the unmanaged window that no buffer object covers', () => {
    const lab = new GpuLab();
    const proc = lab.machine.createProcess();
    const va = proc.mmap({ pages: 2 });
    const file = lab.gpu.open(proc, { svm: false });
    file.svmInit({ unmanagedAddr: va, unmanagedSize: PAGE_SIZE });
    expect(file.execute([access('read', va)])).toEqual({ ret: -16, results: [-1] });
    expect(file.revive()).toBe(true);
    expect(file.execute([access('read', lab.at(va, 1))])).toEqual({ ret: 0, results: [0] });
    lab.verify();
  });

  it('is a copy for the writer if it is mended', () => {
    const lab = new GpuLab({ mended: true });
    const va = lab.buffer(1, 5);
    lab.bind(va, 1);
    const child = lab.proc.fork();
    lab.write(va, 1, 6);
    expect(lab.proc.load32(va)).toBe(6);
    expect(child.load32(va)).toBe(5);
    lab.verify();
  });
});

describe('a channel that died', () => {
  it('refuses jobs until there is a new one, which knows no mapping', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 5);
    lab.read(va);
    expect(lab.file.execute([access('read', 0x1000)]).ret).toBe(-14);
    expect(lab.file.execute([access('read', va)])).toEqual({ ret: -5, results: [-1] });
    expect(lab.file.revive()).toBe(true);
    expect(lab.mappings(va, 1)).toEqual([null]);
    expect(lab.read(va)).toEqual([5]);
    expect(lab.file.revive()).toBe(true);
  });
});
