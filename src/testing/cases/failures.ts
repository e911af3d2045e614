/** When something cannot be had: nothing may be lost, and nothing may stay behind. */
import type { Process } from '../../core/process.ts';
import type { Va } from '../../core/units.ts';
import { bufferValues, FIRST_VALUE, type Stage } from '../stage.ts';
import type { Section } from './case.ts';

const V = FIRST_VALUE;
const VALUES: readonly number[] = [V, V + 1, V + 2, V + 3];

/** A process that takes all RAM there is. */
function fillRam(stage: Stage): Process {
  const { machine } = stage;
  const hog = machine.createProcess();
  const room = stage.ramPages - stage.ramUsed;
  const va = hog.mmap({ pages: room });
  for (let i = 0; i < room; i++) hog.store32(stage.at(va, i), 1);
  return hog;
}

/** A CPU load that may fail as it likes, as long as it does not break anything. */
function touch(stage: Stage, proc: Process, va: Va): number {
  return stage.step('a CPU load', () => {
    try {
      return proc.tryLoad32(va);
    } catch (error) {
      // Linux's own test driver lets the CPU fault until there is RAM again.
      if (error instanceof Error && 'code' in error && error.code === 'refault-livelock') return -1;
      throw error;
    }
  });
}

export const FAILURES: Section = {
  name: 'failures',
  cases: [
    {
      name: 'a copy to the device fails',
      needs: ['failNextCopy'],
      run(stage) {
        const proc = stage.process();
        const va = stage.buffer(proc, 4);
        stage.spec.failNextCopy!(stage.use(proc));
        stage.watchingLeaks('the driver leaks a page on a failed copy', () => {
          stage.toDevice(proc, va, 4);
        });
        const stayed = [0, 1, 2, 3].filter((i) => !stage.isOnDevice(proc, stage.at(va, i)));
        stage.must(stayed.length > 0, 'a page whose copy failed went to the device all the same');
        stage.mustRead(proc, va, VALUES, 'after a failed copy to the device');
        stage.mustBeFree('a failed copy');
        stage.mustMove(proc, va, 4);
      },
    },
    {
      name: 'a copy to RAM fails',
      needs: ['failNextCopy'],
      run(stage) {
        const proc = stage.process();
        const va = stage.buffer(proc, 4);
        stage.mustMove(proc, va, 4);
        const before = stage.ramUsed;
        stage.spec.failNextCopy!(stage.use(proc));
        const fault = 'the driver leaks a page of RAM on a failed copy';
        stage.watchingLeaks(fault, () => touch(stage, proc, va));
        const home = stage.isOnDevice(proc, va) ? 0 : 1;
        const left = stage.ramUsed - before - home;
        stage.must(left <= 0, `${fault}: ${left} more of them are in use than mapped`);
        stage.mustRead(proc, va, VALUES, 'after a failed copy to RAM');
        stage.mustBeFree('a failed copy, and after the CPU read every page,');
      },
    },
    {
      name: 'a device page cannot be had',
      needs: ['failNextAlloc'],
      run(stage) {
        const proc = stage.process();
        const va = stage.buffer(proc, 4);
        stage.spec.failNextAlloc!(stage.use(proc));
        stage.toDevice(proc, va, 4);
        stage.mustRead(proc, va, VALUES, 'after an allocation failed');
        stage.mustBeFree('an allocation failed, and after the CPU read every page,');
        stage.mustMove(proc, va, 4);
      },
    },
    {
      name: 'device memory is full',
      needs: ['devicePages'],
      run(stage) {
        const proc = stage.process();
        const capacity = stage.spec.devicePages!(stage.use(proc));
        const count = capacity + 8;
        stage.must(count < stage.ramPages, `RAM has no room for ${count} pages`);
        const va = stage.map(proc, count);
        for (let i = 0; i < count; i++) proc.store32(stage.at(va, i), V + i);
        stage.toDevice(proc, va, count);
        const used = stage.devicePagesUsed;
        const told = `${used} device pages of ${capacity}`;
        stage.must(used > 0 && used <= capacity, `with more pages than fit, ${told} are used`);
        const values = bufferValues(count);
        stage.mustRead(proc, va, values, 'after device memory was full');
        stage.mustBeFree('device memory was full, and after the CPU read every page,');
      },
    },
    {
      name: 'RAM is full when the CPU touches a device page',
      run(stage) {
        const proc = stage.process();
        const va = stage.buffer(proc, 4);
        stage.mustMove(proc, va, 4);
        const hog = stage.step('RAM fills', () => fillRam(stage));
        const value = touch(stage, proc, va);
        stage.must(value < 0 || value === V, `the CPU reads ${value} from a page with no room`);
        stage.exit(hog);
        stage.mustRead(proc, va, VALUES, 'once there is RAM again');
      },
    },
    {
      name: 'RAM is full when pages go to the device',
      run(stage) {
        const proc = stage.process();
        const va = stage.buffer(proc, 4);
        const hog = stage.step('RAM fills', () => fillRam(stage));
        stage.toDevice(proc, va, 4);
        stage.exit(hog);
        stage.mustRead(proc, va, VALUES, 'once there is RAM again');
      },
    },
  ],
};
