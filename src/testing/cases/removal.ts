/** The device goes away, or sleeps, with live pages in its memory. */
import type { Process } from '../../core/process.ts';
import type { Va } from '../../core/units.ts';
import { FIRST_VALUE, type Stage } from '../stage.ts';
import type { CaseDef, Section } from './case.ts';

const V = FIRST_VALUE;
const VALUES: readonly number[] = [V, V + 1, V + 2, V + 3];

const needsRange: NonNullable<CaseDef['unfit']> = ({ migrateDeviceRange }) =>
  migrateDeviceRange ? null : 'a driver can move pages it does not know who maps since v6.1';

interface Live {
  readonly proc: Process;
  readonly child: Process;
  readonly va: Va;
}

/** Pages of two processes on the device: some shared by fork, one written since. */
function livePages(stage: Stage): Live {
  const proc = stage.process();
  const va = stage.buffer(proc, 4);
  stage.mustMove(proc, va, 4);
  const child = stage.fork(proc);
  stage.store(child, va, 7);
  stage.toDevice(child, va, 1);
  return { proc, child, va };
}

function mustAllBeHome(stage: Stage, { proc, child, va }: Live, after: string): void {
  for (const one of [proc, child]) {
    for (let i = 0; i < 4; i++) {
      const place = stage.placeOf(one, stage.at(va, i));
      stage.must(place === 'in RAM', `after ${after} page ${i} is ${place}, not in RAM`);
    }
  }
  stage.mustBeFree(after);
  stage.mustRead(proc, va, VALUES, `after ${after}`);
  stage.mustRead(child, va, [7, V + 1, V + 2, V + 3], `after ${after}`);
}

export const REMOVAL: Section = {
  name: 'removal',
  cases: [
    {
      name: 'removal with live pages',
      needs: ['remove'],
      unfit: needsRange,
      run(stage) {
        const live = livePages(stage);
        stage.call('remove', () => stage.spec.remove!(stage.use(live.proc)));
        mustAllBeHome(stage, live, 'removal');
      },
    },
    {
      name: 'suspend with live pages',
      needs: ['suspend'],
      unfit: needsRange,
      run(stage) {
        const live = livePages(stage);
        stage.call('suspend', () => stage.spec.suspend!(stage.use(live.proc)));
        mustAllBeHome(stage, live, 'suspend');
        const { resume } = stage.spec;
        if (resume === undefined) return;
        stage.call('resume', () => resume(stage.use(live.proc)));
        stage.mustMove(live.child, live.va, 1);
        stage.mustRead(live.child, live.va, [7], 'after resume');
      },
    },
  ],
};
