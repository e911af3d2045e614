// Workloads in TypeScript as scenarios.

import { describe, expect, it } from 'vitest';
import { Machine } from '../../src/core/machine.ts';
import { Delay, RESCHEDULE, type Task } from '../../src/core/sched/task.ts';
import { StateHash } from '../../src/core/state-hash.ts';
import { NO_TIME } from '../../src/core/timing.ts';
import { MiB } from '../../src/core/units.ts';
import { Dmirror } from '../../src/drivers/dmirror/device.ts';
import { addMachine } from '../../src/explore/fingerprint.ts';
import { machineScenario } from '../../src/explore/machine-scenario.ts';
import { replay } from '../../src/explore/run-once.ts';
import { parseToken } from '../../src/explore/token.ts';
import type { Scenario } from '../../src/explore/types.ts';
import { searched } from './programs.ts';

/** Two CPU threads and a device on one page; `check` wants what the last thread left. */
function workload(wanted: number): Scenario {
  return machineScenario({
    name: 'three at a page',
    build(options, ended) {
      const machine = new Machine({ ...options, ramBytes: MiB });
      const file = machine.attach(new Dmirror({ chunkBytes: MiB })).open(machine.createProcess());
      const proc = file.process;
      const va = proc.mmap({ pages: 1 });
      proc.store32(va, 1);
      for (const value of [2, 3]) {
        machine.spawn(
          `CPU ${value}`,
          (function* () {
            yield* proc.storeTask(va, value);
            ended(`stored ${value}`);
          })(),
        );
      }
      machine.spawn(
        'device',
        (function* () {
          const { data } = yield* file.readTask(va, 1);
          ended(`read ${data[0]}`);
        })(),
      );
      const value = (): number => machine.kernel.pages.read32(machine.pageAt(proc, va)!, 0);
      return {
        machine,
        check: () => (value() === wanted ? [] : [`the page has ${value()}, not ${wanted}`]),
        state: () => String(value()),
      };
    },
  });
}

describe('a machine scenario', () => {
  it('is searched like a program', () => {
    const search = searched(workload(3), {
      strategy: 'exhaustive',
      keepGoing: true,
      outcomes: true,
    });
    expect(search.complete).toBe(true);
    expect(search.outcomes.map(({ state }) => state).sort()).toEqual(['2', '3']);
    expect(search.findings.map(({ failure }) => failure.message)).toEqual([
      'the page has 2, not 3',
    ]);
    const { token, failure } = search.findings[0]!;
    expect(replay(workload(3), parseToken(workload(3), token)).failures).toEqual([failure]);
  });

  it('has every check of the machine: what leaks is told', () => {
    const leaking = machineScenario({
      name: 'leak',
      build(options) {
        const machine = new Machine({ ...options, ramBytes: MiB });
        machine.spawn(
          'T',
          (function* () {
            machine.kernel.pages.allocate();
            yield* [];
          })(),
        );
        return { machine };
      },
    });
    const kinds = searched(leaking, {}).findings.map(({ failure }) => failure.kind);
    expect(kinds).toContain('leak');
  });

  it('is not pruned where time passes: nobody tells what is due when', () => {
    const timed = machineScenario({
      name: 'timed',
      build: (options) => ({
        machine: new Machine({ ...options, ramBytes: MiB, timing: NO_TIME }),
      }),
    });
    expect(timed.cannotPrune).toBe('time passes');
  });

  it('tells apart who pauses for how long yet', () => {
    const state = (first: number, second: number): number => {
      const machine = new Machine({ ramBytes: MiB });
      for (const ns of [first, second]) machine.spawn('T', pause(ns));
      machine.run(
        (function* (): Task<void> {
          yield RESCHEDULE;
        })(),
      );
      const hash = new StateHash();
      addMachine(machine, hash, false);
      return hash.value;
    };
    expect(state(10, 20)).not.toBe(state(20, 10));
    expect(state(10, 20)).toBe(state(10, 20));
  });

  it('tells pages apart by all their words', () => {
    const scenario = (words: readonly number[]): number => {
      const machine = new Machine({ ramBytes: MiB });
      const proc = machine.createProcess();
      const va = proc.mmap({ pages: 1 });
      words.forEach((word, i) => {
        proc.store32(va + 4 * i, word);
      });
      const hash = new StateHash();
      addMachine(machine, hash, false);
      return hash.value;
    };
    // A sum of 32 bits over the words was the same for these.
    expect(scenario([5, 7])).not.toBe(scenario([6, 2_940_933_130]));
    expect(scenario([5, 7])).toBe(scenario([5, 7]));
  });
});

function* pause(ns: number): Task<void> {
  yield new Delay(ns, 'pause');
}
