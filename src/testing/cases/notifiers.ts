/** What the device has mapped must go when the CPU's entries change. */
import type { Process } from '../../core/process.ts';
import type { Va } from '../../core/units.ts';
import { FIRST_VALUE, type Stage } from '../stage.ts';
import type { Section } from './case.ts';

const V = FIRST_VALUE;

/** The device must read `value` at `va`; `fault` says what is wrong if it does not. */
function deviceMustRead(stage: Stage, proc: Process, va: Va, value: number, fault: string): void {
  const found = stage.read(proc, va);
  if (found !== value) stage.fail(`${fault}: the device reads ${found}, and the CPU ${value}`);
}

function mapped(stage: Stage): { readonly proc: Process; readonly va: Va } {
  const proc = stage.process();
  const va = stage.buffer(proc, 2);
  deviceMustRead(stage, proc, va, V, 'the device cannot read a page of RAM');
  return { proc, va };
}

/** Takes the page that was freed last, lest it come back to where a stale entry looks. */
function occupy(stage: Stage): void {
  const other = stage.process();
  stage.store(other, stage.map(other, 1), 1);
}

export const NOTIFIERS: Section = {
  name: 'notifiers',
  cases: [
    {
      name: 'foreign MIGRATE drops what the device has mapped',
      needs: ['read'],
      run(stage) {
        const { proc, va } = mapped(stage);
        stage.step('another device takes the page', () => stage.probe.take(proc, va, 1));
        occupy(stage);
        stage.store(proc, va, 7);
        const fault = 'the device keeps a page mapped through a foreign MIGRATE notification';
        deviceMustRead(stage, proc, va, 7, fault);
      },
    },
    {
      name: 'its own migrations leave nothing stale',
      needs: ['read'],
      run(stage) {
        const { proc, va } = mapped(stage);
        stage.mustMove(proc, va, 1);
        deviceMustRead(stage, proc, va, V, 'the device keeps the old page through its migration');
        stage.store(proc, va, 7);
        deviceMustRead(stage, proc, va, 7, 'the device keeps a page mapped that went home');
        stage.store(proc, va, 8);
        deviceMustRead(stage, proc, va, 8, 'the device keeps a page mapped that went home');
      },
    },
    {
      name: 'CLEAR: madvise(DONTNEED)',
      needs: ['read'],
      run(stage) {
        const { proc, va } = mapped(stage);
        stage.dontneed(proc, va, 1);
        occupy(stage);
        stage.store(proc, va, 7);
        const fault = 'the device keeps a page mapped through a CLEAR notification';
        deviceMustRead(stage, proc, va, 7, fault);
      },
    },
    {
      name: 'CLEAR: copy on write',
      needs: ['read'],
      run(stage) {
        const { proc, va } = mapped(stage);
        const child = stage.fork(proc);
        deviceMustRead(stage, proc, va, V, 'after fork');
        stage.store(proc, va, 7);
        deviceMustRead(stage, proc, va, 7, 'the device keeps the page that a write copied');
        deviceMustRead(stage, child, va, V, 'in the child');
      },
    },
    {
      name: 'UNMAP: munmap',
      needs: ['read'],
      run(stage) {
        const { proc, va } = mapped(stage);
        stage.step('munmap', () => proc.munmap(va, stage.bytes(1)));
        const data = stage.read(proc, va);
        const fault = 'the device keeps a page mapped through an UNMAP notification';
        stage.must(data < 0, `${fault}: it still reads there`);
        deviceMustRead(stage, proc, stage.at(va, 1), V + 1, 'beside the hole');
      },
    },
    {
      name: 'UNMAP: mremap',
      needs: ['read'],
      run(stage) {
        const { proc, va } = mapped(stage);
        const target = stage.map(proc, 1);
        stage.mremap(proc, va, 1, target);
        stage.store(proc, target, 7);
        deviceMustRead(stage, proc, target, 7, 'at the new place');
        const data = stage.read(proc, va);
        const fault = 'the device keeps a page mapped at its old place after mremap';
        stage.must(data < 0, fault);
      },
    },
    {
      name: 'PROTECTION_VMA: mprotect',
      needs: ['read', 'write'],
      run(stage) {
        const { proc, va } = mapped(stage);
        const ret = stage.write(proc, va, 5);
        stage.must(ret >= 0, `the device cannot write a page of RAM: ${ret}`);
        stage.mustRead(proc, va, [5], 'after the device wrote 5');
        stage.step('mprotect', () => proc.mprotect(va, stage.bytes(1), 'r'));
        const refused = stage.write(proc, va, 6);
        const fault = 'the device keeps write access through a PROTECTION_VMA notification';
        stage.must(refused < 0, `${fault}: a write answers ${refused}`);
        stage.mustRead(proc, va, [5], `${fault}:`);
      },
    },
    {
      name: 'PROTECTION_PAGE: fork',
      needs: ['read', 'write'],
      run(stage) {
        const { proc, va } = mapped(stage);
        const first = stage.write(proc, va, 5);
        stage.must(first >= 0, `the device cannot write a page of RAM: ${first}`);
        const child = stage.fork(proc);
        stage.write(proc, va, 6);
        const fault = 'the device keeps write access through a PROTECTION_PAGE notification:';
        stage.mustRead(child, va, [5], `${fault} in the child`);
        stage.mustRead(proc, va, [6], 'after the device wrote 6');
      },
    },
    {
      name: 'a mapping is made only if no invalidation came between',
      needs: ['read'],
      run(stage) {
        const proc = stage.process();
        const va = stage.map(proc, 1);
        // Right after hmm_range_fault, before the driver takes its own lock.
        stage.afterNextDeviceFault(proc, () => {
          proc.dontneed(va, stage.bytes(1));
          proc.store32(va, 7);
        });
        stage.read(proc, va);
        const fault =
          'the device maps a page that an invalidation took away meanwhile; under its own lock ' +
          'the driver must ask mmu_interval_read_retry';
        deviceMustRead(stage, proc, va, 7, fault);
      },
    },
  ],
};
