/** The timed engine: tasks that sleep on the virtual clock, end to end. */
import { Scheduler } from '../src/core/sched/scheduler.ts';
import { Delay, type Task } from '../src/core/sched/task.ts';
import { bestRate, type Figure, secondsOf } from './measure.ts';
import { heapOfObjects } from './yardsticks.ts';

const LIVE = 1024;
const DISTINCT_DELAYS = 64;
const EVENTS_EACH = 1000;

function* sleeper(delays: readonly Delay[], first: number): Task<void> {
  for (let i = 0; i < EVENTS_EACH; i++) yield delays[(first + i * 7) % DISTINCT_DELAYS]!;
}

export function engineFigures(rounds: number): Figure[] {
  const delays = Array.from({ length: DISTINCT_DELAYS }, (_, i) => new Delay(1 + i * 13));
  const count = LIVE * EVENTS_EACH;
  const value = bestRate(rounds, () => {
    const scheduler = new Scheduler();
    for (let i = 0; i < LIVE; i++) scheduler.spawn(`sleeper ${i}`, sleeper(delays, i));
    const seconds = secondsOf(() => scheduler.runAll());
    return { count, seconds };
  });
  return [
    {
      name: 'events through the timed engine',
      unit: '/s',
      value,
      floor: 3_500_000,
      lessIsBetter: false,
      yardstick: heapOfObjects(rounds, LIVE, DISTINCT_DELAYS),
      note: `${LIVE} live tasks; an event is: schedule, order among the others, resume the task`,
    },
  ];
}
