// What a GPU tells while it works.

import { expect, it } from 'vitest';
import { toldCall } from '../../src/core/events/call.ts';
import type { SimEvent } from '../../src/core/events/types.ts';
import { Machine } from '../../src/core/machine.ts';
import type { Task } from '../../src/core/sched/task.ts';
import { BusMaster } from '../../src/hw/bus.ts';
import { Gpu, type GpuAccess } from '../../src/hw/gpu.ts';
import { GPU_PTE_VALID } from '../../src/hw/gpu-page-table.ts';
import { turn } from './gpu-lab.ts';
import { owner, ramPage } from './lab.ts';

const PAGE = 4096;

function lab(entries: number) {
  const machine = new Machine();
  const gpu = new Gpu(machine.kernel, {
    name: 'gpu0',
    bus: new BusMaster(machine.kernel, owner('gpu0')),
    faultEntries: entries,
    onInterrupt() {},
  });
  const proc = machine.createProcess();
  const instance = gpu.createInstance(proc.pid);
  const told: SimEvent[] = [];
  const listen = (): unknown => machine.events.on('*', (event) => told.push(event));
  return { machine, gpu, proc, instance, told, listen };
}

type Lab = ReturnType<typeof lab>;

/** Issues accesses on a thread of their own, inside of a call. */
function issue({ machine, gpu, proc, instance }: Lab, accesses: readonly GpuAccess[]): void {
  const call = { actor: 'gpu0', name: 'execute', mm: proc.mm, start: 0, end: PAGE };
  const execute = function* (): Task<number> {
    yield* gpu.execute(instance, accesses);
    return 0;
  };
  machine.spawn('channel', toldCall(machine.kernel, call, execute()));
  turn(machine);
}

function read(vpn: number): GpuAccess {
  return { kind: 'read', va: vpn * PAGE + 8 };
}

it('an entry, an overflow, a replay, a cancelled fault, each with its cause', () => {
  const lab1 = lab(2);
  const { machine, gpu, instance, proc, told, listen } = lab1;
  listen();
  issue(lab1, [read(1), { kind: 'write', va: 2 * PAGE + 8 }]);
  const { faultBuffer } = gpu;
  const first = gpu.recordOf(0);
  faultBuffer.get = faultBuffer.put;
  instance.pageTable.map(1, ramPage(machine), GPU_PTE_VALID);
  gpu.replay();
  const second = gpu.recordOf(1);
  gpu.cancel(faultBuffer.read(1), 'no such mapping');
  turn(machine);

  const call = told[0]!.id;
  const of = { device: 'gpu0', pid: proc.pid };
  const reads = { ...of, va: PAGE + 8, access: 'read' };
  const writes = { ...of, va: 2 * PAGE + 8, access: 'write' };
  expect(told.map(({ id: _id, timeNs: _timeNs, thread: _thread, ...rest }) => rest)).toMatchObject([
    { kind: 'call', phase: 'begin', parent: null },
    { kind: 'gpu_fault', parent: call, ...reads, client: 0, entry: 0 },
    { kind: 'fault_buffer_overflow', parent: call, ...writes },
    { kind: 'fault_replay', parent: null, device: 'gpu0', faults: 2 },
    { kind: 'gpu_fault', parent: call, ...writes, client: 0, entry: 1 },
    { kind: 'fatal_fault', parent: null, ...writes, va: 2 * PAGE, reason: 'no such mapping' },
    { kind: 'call', phase: 'end' },
  ]);
  expect([first, second]).toEqual([told[1]!.id, told[4]!.id]);
});

it('an entry that nobody heard of has no record, also in a place that had one', () => {
  const lab1 = lab(2);
  const { machine, gpu, instance, told, listen } = lab1;
  issue(lab1, [read(1)]);
  expect(gpu.recordOf(0)).toBeUndefined();
  listen();
  gpu.faultBuffer.get = 1;
  gpu.replay();
  expect(gpu.recordOf(1)).toBe(told.at(-1)!.id);
  machine.events.removeAllListeners();
  gpu.faultBuffer.get = 0;
  gpu.replay();
  gpu.faultBuffer.get = 1;
  gpu.replay();
  expect([gpu.recordOf(0), gpu.recordOf(1)]).toEqual([undefined, undefined]);
  expect(gpu.faultBuffer.read(1).inst).toBe(instance.inst);
});

it('a listener may let the channel die in the middle of an issue or a replay', () => {
  for (const when of ['issue', 'overflow', 'replay'] as const) {
    const lab1 = lab(3);
    const { machine, gpu, instance } = lab1;
    const kill = (): void => gpu.cancel(gpu.faultBuffer.read(0));
    if (when === 'issue') machine.events.once('gpu_fault', kill);
    if (when === 'overflow') machine.events.once('fault_buffer_overflow', kill);
    let results: number[] | null = null;
    const execute = function* (): Task<void> {
      results = yield* gpu.execute(instance, [read(1), read(2), read(3), read(4)]);
    };
    machine.spawn('channel', execute());
    turn(machine);
    if (when === 'replay') {
      expect(results).toBeNull();
      gpu.faultBuffer.get = gpu.faultBuffer.put;
      machine.events.once('gpu_fault', kill);
      instance.pageTable.map(3, ramPage(machine), GPU_PTE_VALID);
      gpu.replay();
      turn(machine);
      expect(gpu.faultBuffer.pending).toBe(1);
    }
    expect([when, results, gpu.stalled, gpu.lost]).toEqual([when, [-1, -1, -1, -1], 0, 0]);
  }
});
