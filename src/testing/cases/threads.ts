/** CPUs and the device at one range at the same time. */
import type { Process } from '../../core/process.ts';
import { RESCHEDULE, type Task } from '../../core/sched/task.ts';
import type { Va } from '../../core/units.ts';
import { FIRST_VALUE, type Stage } from '../stage.ts';
import { needsOwners, type Section } from './case.ts';

const V = FIRST_VALUE;
const PAGES = 4;
const ROUNDS = 10;

/** The CPU adds 1 to every page, again and again, and lets others in between any two accesses. */
function* count(stage: Stage, proc: Process, va: Va): Task<void> {
  for (let round = 0; round < ROUNDS; round++) {
    for (let i = 0; i < PAGES; i++) {
      const value = yield* proc.loadTask(stage.at(va, i));
      yield RESCHEDULE;
      if (value < 0) stage.fail(`a CPU load ends with ${value} while the device takes pages`);
      const result = yield* proc.storeTask(stage.at(va, i), value + 1);
      if (result < 0) stage.fail(`a CPU store ends with ${result} while the device takes pages`);
      yield RESCHEDULE;
    }
  }
}

function* takeAgainAndAgain(stage: Stage, proc: Process, va: Va): Task<void> {
  for (let round = 0; round < 2 * ROUNDS; round++) {
    const answer = stage.spec.toDevice(stage.use(proc), va, PAGES);
    if (typeof answer === 'object') yield* answer;
    yield RESCHEDULE;
  }
}

function* strangerTakes(stage: Stage, proc: Process, va: Va): Task<void> {
  for (let round = 0; round < 2 * ROUNDS; round++) {
    yield* stage.probe.takeTask(proc, stage.at(va, round % PAGES), 1);
    yield RESCHEDULE;
  }
}

function played(stage: Stage, withStranger: boolean): void {
  const proc = stage.process();
  const va = stage.buffer(proc, PAGES);
  const tasks = [
    () => count(stage, proc, va),
    () => takeAgainAndAgain(stage, proc, va),
    ...(withStranger ? [() => strangerTakes(stage, proc, va)] : []),
  ];
  stage.together('CPU and device at once', tasks);
  const values = Array.from({ length: PAGES }, (_, i) => V + i + ROUNDS);
  stage.mustRead(proc, va, values, `after the CPU added 1 to every page ${ROUNDS} times`);
}

export const THREADS: Section = {
  name: 'threads',
  cases: [
    {
      name: 'the CPU writes what the device takes',
      run: (stage) => played(stage, false),
    },
    {
      name: 'the CPU writes what two devices take',
      unfit: needsOwners,
      run: (stage) => played(stage, true),
    },
    {
      name: 'two threads touch one page at once',
      run(stage) {
        const proc = stage.process();
        const va = stage.buffer(proc, 1);
        stage.mustMove(proc, va, 1);
        const seen: number[] = [];
        function* load(): Task<void> {
          seen.push(yield* proc.loadTask(va));
        }
        stage.together('two CPUs touch one device page', [load, load]);
        const [first, second] = seen;
        stage.must(first === second, `one reads ${first}, the other ${second}`);
        stage.mustRead(proc, va, [V], 'after two threads touched the page');
      },
    },
  ],
};
