/** The timed engine, and the search for races on top of it. */
import { Scheduler } from '../../src/core/sched/scheduler.ts';
import { Delay, type Task } from '../../src/core/sched/task.ts';
import { LANGUAGE } from '../../src/drivers/index.ts';
import { explore, programScenario } from '../../src/explore/index.ts';
import { parsePrograms } from '../../src/program/index.ts';
import { expectEqual, interleave, rateOf } from '../harness/measure.ts';
import type { Measurement } from '../harness/types.ts';
import { emptyGenerators, heapOfObjects } from '../yardsticks/loops.ts';

const LIVE = 1024;
const DISTINCT_DELAYS = 64;
const EVENTS_EACH = 1000;
const ENGINE_NAME = 'events through the timed engine';

function* sleeper(delays: readonly Delay[], first: number): Task<void> {
  for (let i = 0; i < EVENTS_EACH; i++) yield delays[(first + i * 7) % DISTINCT_DELAYS]!;
}

const ENGINE: Measurement = {
  name: 'engine',
  section: 'also',
  figures: [
    {
      name: ENGINE_NAME,
      unit: '/s',
      better: 'more',
      targets: [{ bound: 3_500_000, on: 'value' }],
      note: `${LIVE} live tasks; an event is: schedule, order among the others, resume the task`,
    },
  ],
  async run({ rounds }) {
    const delays = Array.from({ length: DISTINCT_DELAYS }, (_, i) => new Delay(1 + i * 13));
    const got = await interleave(rounds, {
      engine: () => {
        const scheduler = new Scheduler();
        for (let i = 0; i < LIVE; i++) scheduler.spawn(`sleeper ${i}`, sleeper(delays, i));
        return rateOf(LIVE * EVENTS_EACH, () => scheduler.runAll());
      },
      heap: () => heapOfObjects(LIVE, DISTINCT_DELAYS),
    });
    const yardstick = { name: 'pushes and pops/s of a heap of objects', samples: got.heap };
    return [{ name: ENGINE_NAME, samples: got.engine, yardstick }];
  },
};

const SCHEDULES = 5000;
const EXPLORE_NAME = 'schedules of a two-task fault race';

/** Two CPU threads fault on one page of a device. */
const RACE = `
machine era v6.1 ram 1MiB
device dmirror private chunk 2MiB
program fault-race
mmap 0 1 anon rw
cpu_write 0 0 1 100
migrate_to_dev 0 0 0 1
parallel
  thread A
    cpu_read 0 0 1
  thread B
    cpu_write 0 0 1 7
join
end
`;

const EXPLORE: Measurement = {
  name: 'explore',
  section: 'also',
  figures: [
    {
      name: EXPLORE_NAME,
      unit: '/s',
      better: 'more',
      targets: [{ bound: 5000, on: 'value' }],
      note:
        'a machine each; with lock order, lost writes, invariants and leaks checked; random, ' +
        'one core',
    },
  ],
  async run({ rounds }) {
    const text = parsePrograms(RACE, { file: 'fault-race', language: LANGUAGE });
    const scenario = programScenario(text, text.programs[0]!, LANGUAGE, {});
    let points = 0;
    const got = await interleave(Math.min(rounds, 5), {
      schedules: () => {
        const search = explore(scenario, { strategy: 'random', schedules: SCHEDULES });
        const rate = rateOf(SCHEDULES, () => {
          while (search.step());
        });
        expectEqual('failures of the fault race', search.findings.length, 0);
        expectEqual('schedules', search.progress.runs, SCHEDULES);
        points = search.progress.points / search.progress.runs;
        return rate;
      },
      generators: emptyGenerators,
    });
    const yardstick = { name: 'empty generators/s', samples: got.generators };
    const detail = `${points.toFixed(0)} choice points`;
    return [{ name: EXPLORE_NAME, samples: got.schedules, yardstick, detail }];
  },
};

export const ENGINES: readonly Measurement[] = [ENGINE, EXPLORE];
