/** Schedules searched a second: what a search for races costs, checks included. */
import { LANGUAGE } from '../src/drivers/index.ts';
import { explore, programScenario } from '../src/explore/index.ts';
import { parsePrograms } from '../src/program/index.ts';
import { bestRate, expectEqual, type Figure, secondsOf } from './measure.ts';
import { emptyGenerators } from './yardsticks.ts';

const SCHEDULES = 5000;

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

export function exploreFigures(rounds: number): Figure[] {
  const text = parsePrograms(RACE, { file: 'fault-race', language: LANGUAGE });
  const scenario = programScenario(text, text.programs[0]!, LANGUAGE, {});
  let points = 0;
  const value = bestRate(rounds, () => {
    const search = explore(scenario, { strategy: 'random', schedules: SCHEDULES });
    const seconds = secondsOf(() => {
      while (search.step());
    });
    expectEqual('failures of the fault race', search.findings.length, 0);
    points = search.progress.points / search.progress.runs;
    return { count: search.progress.runs, seconds };
  });
  return [
    {
      name: 'schedules of a two-task fault race',
      unit: '/s',
      value,
      floor: 5000,
      lessIsBetter: false,
      yardstick: emptyGenerators(rounds),
      note:
        `a machine each, ${points.toFixed(0)} choice points, random; with lock order, lost ` +
        'writes, invariants and leaks checked; one core',
    },
  ];
}
