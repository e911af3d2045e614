/** Ranges with everything in them that an address space can have. */
import { ACCESS_SIGSEGV } from '../../core/process.ts';
import { FIRST_VALUE, signalName } from '../stage.ts';
import { needsOwners, type Section } from './case.ts';

const V = FIRST_VALUE;

export const RANGES: Section = {
  name: 'ranges',
  cases: [
    {
      name: 'a range with RAM, holes, the zero page and device pages',
      unfit: needsOwners,
      run(stage) {
        const proc = stage.process();
        const va = stage.map(proc, 6);
        for (const i of [0, 2, 4, 5]) stage.store(proc, stage.at(va, i), V + i);
        stage.load(proc, stage.at(va, 3));
        stage.mustMove(proc, stage.at(va, 2), 1);
        stage.step('another device takes a page', () => stage.probe.take(proc, stage.at(va, 4), 1));
        stage.toDevice(proc, va, 6);
        for (const i of [0, 2, 5]) {
          const place = stage.placeOf(proc, stage.at(va, i));
          stage.must(stage.isOnDevice(proc, stage.at(va, i)), `page ${i} is ${place}`);
        }
        stage.mustRead(proc, va, [V, 0, V + 2, 0, V + 4, V + 5], 'after a mixed range moved');
      },
    },
    {
      name: 'memory that was never touched',
      run(stage) {
        const proc = stage.process();
        const va = stage.map(proc, 4);
        stage.toDevice(proc, va, 4);
        stage.mustRead(proc, va, [0, 0], 'after untouched memory moved');
        stage.store(proc, stage.at(va, 2), 5);
        stage.mustRead(proc, va, [0, 0, 5, 0], 'after untouched memory moved');
      },
    },
    {
      name: 'the zero page',
      run(stage) {
        const proc = stage.process();
        const va = stage.map(proc, 4);
        stage.mustRead(proc, va, [0, 0, 0, 0], 'before anything moved');
        stage.toDevice(proc, va, 4);
        stage.store(proc, va, 5);
        stage.mustRead(proc, va, [5, 0, 0, 0], 'after the zero page moved');
      },
    },
    {
      name: 'a read-only mapping stays read-only',
      run(stage) {
        const proc = stage.process();
        const va = stage.buffer(proc, 2);
        stage.step('mprotect', () => proc.mprotect(va, stage.bytes(2), 'r'));
        stage.mustMove(proc, va, 2);
        if (stage.spec.write !== undefined) {
          const ret = stage.write(proc, va, 9);
          stage.must(ret < 0, `the device writes a read-only mapping and answers ${ret}`);
        }
        const result = stage.tryStore(proc, va, 9);
        const told = result < 0 ? signalName(result) : 'success';
        stage.must(result === ACCESS_SIGSEGV, `a CPU store there ends with ${told}, not SIGSEGV`);
        stage.mustRead(proc, va, [V, V + 1], 'in a read-only mapping');
        stage.step('mprotect', () => proc.mprotect(va, stage.bytes(2), 'rw'));
        stage.store(proc, va, 9);
        stage.mustRead(proc, va, [9, V + 1], 'once it is writable again');
      },
    },
    {
      name: 'a mapping without access',
      run(stage) {
        const proc = stage.process();
        const va = stage.buffer(proc, 2);
        stage.mustMove(proc, va, 1);
        stage.step('mprotect', () => proc.mprotect(va, stage.bytes(2), 'n'));
        stage.toDevice(proc, va, 2);
        const result = stage.tryLoad(proc, va);
        stage.must(result === ACCESS_SIGSEGV, `a CPU load there answers ${result}, not SIGSEGV`);
        stage.step('mprotect', () => proc.mprotect(va, stage.bytes(2), 'rw'));
        stage.mustRead(proc, va, [V, V + 1], 'once it is accessible again');
      },
    },
    {
      name: 'addresses where nothing is mapped',
      run(stage) {
        const proc = stage.process();
        const va = stage.buffer(proc, 2);
        stage.toDevice(proc, stage.at(va, 1000), 4);
        stage.step('munmap', () => proc.munmap(va, stage.bytes(2)));
        stage.toDevice(proc, va, 2);
        stage.mustBeFree('a migration of nothing');
      },
    },
    {
      name: 'pages of files stay in RAM',
      run(stage) {
        const proc = stage.process();
        const file = proc.createFile(2, (i) => V + i);
        const va = stage.map(proc, 2, { file, shared: true });
        file.drop();
        stage.mustRead(proc, va, [V, V + 1], 'in a file');
        stage.toDevice(proc, va, 2);
        for (let i = 0; i < 2; i++) {
          const place = stage.placeOf(proc, stage.at(va, i));
          stage.must(place === 'in RAM', `page ${i} of a file is ${place}`);
        }
        stage.store(proc, va, 5);
        stage.mustRead(proc, va, [5, V + 1], 'in a file');
      },
    },
  ],
};
