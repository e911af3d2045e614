// dmirrors whose notifiers doze against those that are always told, because somebody listens.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Machine } from '../../src/core/machine.ts';
import type { Process } from '../../src/core/process.ts';
import { Delay, type Task } from '../../src/core/sched/task.ts';
import { PAGE_SIZE } from '../../src/core/units.ts';
import { Dmirror, type DmirrorFile } from '../../src/drivers/dmirror/index.ts';

const PAGES = 24;

type Step = readonly [what: number, who: number, page: number, n: number, more: number];

const step: fc.Arbitrary<Step> = fc.tuple(
  fc.nat(9),
  fc.nat(9),
  fc.nat(PAGES - 1),
  fc.nat(7),
  fc.nat(3),
);

/** Two processes, four dmirrors each, and calls at random. What came of each, and what is mapped then. */
function mirrored(calls: readonly Step[], heard: boolean): unknown[] {
  const machine = new Machine({ ramBytes: 4096 * PAGE_SIZE });
  if (heard) machine.events.on('*', () => {});
  const devices = Array.from({ length: 4 }, (_, i) =>
    machine.attach(new Dmirror({ chunkBytes: 64 * PAGE_SIZE, mended: i === 3 })),
  );
  const procs = [machine.createProcess(), machine.createProcess()];
  const files = procs.map((proc) => devices.map((device) => device.open(proc)));
  const buffers = procs.map((proc) => proc.mmap({ pages: PAGES }));
  const answers: unknown[] = [];
  for (const [what, who, page, n, more] of calls) {
    const at = who % 2;
    const [proc, file] = [procs[at] as Process, files[at]![who % 4] as DmirrorFile];
    const va = buffers[at]! + page * PAGE_SIZE;
    const pages = Math.min(n + 1, PAGES - page);
    answers.push(answerOf());
    answers.push(devices.map((device) => procs.map((one, i) => maps(device, one, buffers[i]!))));

    function answerOf(): unknown {
      switch (what) {
        case 0:
          return file.migrateToDev(va, pages);
        case 1:
          return file.migrateToSys(va, pages);
        case 2:
          return file.read(va, pages);
        case 3:
          return file.write(va, Array(pages).fill(more));
        case 4:
          return file.exclusive(va, pages);
        case 5:
          return file.snapshot(va, pages);
        case 6:
          return proc.store32(va, n * 8 + more);
        case 7:
          return proc.load32(va);
        case 8:
          return proc.dontneed(va, pages * PAGE_SIZE);
        default:
          return more === 0 ? proc.fork().exit() : file.tryStore32(va, n);
      }
    }
  }
  expect(machine.verify({ full: true })).toEqual([]);
  return answers;
}

function maps(device: Dmirror, proc: Process, buffer: number): (string | null)[] {
  return Array.from({ length: PAGES }, (_, i) => device.mappingOf(proc, buffer + i * PAGE_SIZE));
}

/** When each thing happens while a call waits for the lock of its file, and another one ends. */
function overlapping(heard: boolean): string[] {
  const machine = new Machine();
  if (heard) machine.events.on('*', () => {});
  const { scheduler } = machine;
  const proc = machine.createProcess();
  const file = machine.attach(new Dmirror()).open(proc);
  const va = proc.mmap({ pages: 2 });
  const log: string[] = [];
  const say = (what: string): void => {
    log.push(`${scheduler.nowNs} ${what}`);
  };
  function* hold(): Task<undefined> {
    file.mutex.tryLock();
    yield new Delay(10);
    file.mutex.unlock();
    return undefined;
  }
  function* after(ns: number, name: string, task: Task<unknown>): Task<undefined> {
    yield new Delay(ns);
    yield* task;
    say(name);
    return undefined;
  }
  scheduler.spawn('holder', hold());
  scheduler.spawn('reader', after(1, 'read', file.readTask(va, 1)));
  scheduler.spawn('refused', after(2, 'refused', file.readTask(va, 0)));
  scheduler.spawn('changer', after(3, 'changed', proc.dontneedTask(va, PAGE_SIZE)));
  scheduler.runAll();
  return log;
}

describe('dmirrors that doze', () => {
  it('are awake as long as one call runs', () => {
    const log = overlapping(false);
    expect(log).toEqual(['2 refused', '10 changed', '10 read']);
    expect(log).toEqual(overlapping(true));
  });

  it('answer and map as those do that are always told', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), (calls) => {
        expect(mirrored(calls, false)).toEqual(mirrored(calls, true));
      }),
      { numRuns: 150, seed: 11 },
    );
  });
});
