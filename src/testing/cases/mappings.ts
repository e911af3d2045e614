/** System calls on device pages: fork, munmap, mremap, mprotect, exit. */
import { ACCESS_SIGSEGV, type Process } from '../../core/process.ts';
import type { Va } from '../../core/units.ts';
import { FIRST_VALUE, type Stage } from '../stage.ts';
import type { Section } from './case.ts';

const V = FIRST_VALUE;

function onDevice(stage: Stage, pages: number): { readonly proc: Process; readonly va: Va } {
  const proc = stage.process();
  const va = stage.buffer(proc, pages);
  stage.mustMove(proc, va, pages);
  return { proc, va };
}

export const MAPPINGS: Section = {
  name: 'mappings',
  cases: [
    {
      name: 'fork: both see the device pages',
      run(stage) {
        const { proc, va } = onDevice(stage, 4);
        const child = stage.fork(proc);
        stage.mustRead(child, va, [V, V + 1], 'in the child');
        stage.mustRead(proc, va, [V, V + 1, V + 2, V + 3], 'in the parent');
        stage.mustRead(child, va, [V, V + 1, V + 2, V + 3], 'in the child');
      },
    },
    {
      name: 'fork: what one writes the other does not see',
      run(stage) {
        const { proc, va } = onDevice(stage, 4);
        const child = stage.fork(proc);
        stage.store(child, va, 71);
        stage.store(proc, stage.at(va, 1), 72);
        stage.mustRead(proc, va, [V, 72, V + 2, V + 3], 'in the parent, after both wrote,');
        stage.mustRead(child, va, [71, V + 1, V + 2, V + 3], 'in the child, after both wrote,');
      },
    },
    {
      name: 'fork: shared pages go to the device for both',
      run(stage) {
        const proc = stage.process();
        const va = stage.buffer(proc, 4);
        const child = stage.fork(proc);
        stage.toDevice(proc, va, 4);
        stage.store(child, va, 71);
        stage.mustRead(proc, va, [V, V + 1, V + 2, V + 3], 'in the parent');
        stage.mustRead(child, va, [71, V + 1, V + 2, V + 3], 'in the child');
      },
    },
    {
      name: 'fork: the parent ends first',
      run(stage) {
        const { proc, va } = onDevice(stage, 4);
        const child = stage.fork(proc);
        stage.exit(proc);
        stage.mustRead(child, va, [V, V + 1, V + 2, V + 3], 'after the parent ended');
        stage.mustBeFree('the child read every page');
      },
    },
    {
      name: 'fork: the child ends first',
      run(stage) {
        const { proc, va } = onDevice(stage, 4);
        stage.exit(stage.fork(proc));
        stage.mustRead(proc, va, [V, V + 1, V + 2, V + 3], 'after the child ended');
        stage.store(proc, va, 7);
        stage.mustMove(proc, va, 4);
        stage.mustRead(proc, va, [7, V + 1], 'after the child ended');
      },
    },
    {
      name: 'munmap frees device pages',
      run(stage) {
        const { proc, va } = onDevice(stage, 4);
        stage.step('munmap', () => proc.munmap(va, stage.bytes(2)));
        const used = stage.devicePagesUsed;
        stage.must(used === 2, `munmap of 2 of 4 device pages leaves ${used} in use`);
        stage.mustRead(proc, stage.at(va, 2), [V + 2], 'beside a hole');
        stage.step('munmap', () => proc.munmap(va, stage.bytes(4)));
        stage.mustBeFree('munmap');
      },
    },
    {
      name: 'madvise(DONTNEED) frees device pages',
      run(stage) {
        const { proc, va } = onDevice(stage, 2);
        stage.dontneed(proc, va, 2);
        stage.mustBeFree('madvise(MADV_DONTNEED)');
        stage.mustRead(proc, va, [0, 0], 'after madvise(MADV_DONTNEED)');
      },
    },
    {
      name: 'exit frees device pages',
      run(stage) {
        const { proc } = onDevice(stage, 4);
        stage.exit(proc);
        stage.mustBeFree('the process ended');
        const heard = proc.mm.notifiers.intervals.length;
        stage.must(heard === 0, 'the driver leaves its interval notifier behind: release the file');
      },
    },
    {
      name: 'mremap takes device pages along',
      run(stage) {
        const { proc, va } = onDevice(stage, 4);
        const target = stage.map(proc, 4);
        stage.mremap(proc, va, 4, target);
        stage.mustRead(proc, target, [V, V + 1], 'at the new place');
        if (stage.spec.read !== undefined) {
          stage.mustReadOnDevice(proc, target, [V, V + 1, V + 2, V + 3], 'after mremap');
        }
        stage.mustRead(proc, target, [V, V + 1, V + 2, V + 3], 'at the new place');
        const old = stage.tryLoad(proc, va);
        stage.must(old === ACCESS_SIGSEGV, `a CPU load at the old place answers ${old}`);
      },
    },
    {
      name: 'mprotect of device pages holds',
      run(stage) {
        const { proc, va } = onDevice(stage, 2);
        stage.step('mprotect', () => proc.mprotect(va, stage.bytes(2), 'r'));
        const result = stage.tryStore(proc, va, 7);
        stage.must(result === ACCESS_SIGSEGV, `a CPU store answers ${result}, not SIGSEGV`);
        stage.mustRead(proc, va, [V, V + 1], 'after mprotect');
        stage.step('mprotect', () => proc.mprotect(va, stage.bytes(2), 'rw'));
        stage.mustMove(proc, va, 2);
        stage.store(proc, va, 7);
        stage.mustRead(proc, va, [7, V + 1], 'after mprotect');
      },
    },
  ],
};
