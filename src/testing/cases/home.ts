/** Device pages come home when the CPU touches them, and are used again. */
import type { Process } from '../../core/process.ts';
import type { Va } from '../../core/units.ts';
import { bufferValues, FIRST_VALUE, type Stage } from '../stage.ts';
import type { Section } from './case.ts';
import { mustBeInItsName } from './owner.ts';

const V = FIRST_VALUE;

/** More than one batch of any driver we know. */
const MANY = 150;
const ROUND = 64;

function mustBeHome(stage: Stage, proc: Process, va: Va, after: string): void {
  const place = stage.placeOf(proc, va);
  stage.must(place === 'in RAM', `after ${after} the page is ${place}, not in RAM`);
}

export const HOME: Section = {
  name: 'home',
  cases: [
    {
      name: 'a CPU load brings a page home',
      run(stage) {
        const proc = stage.process();
        const va = stage.buffer(proc, 4);
        stage.mustMove(proc, va, 4);
        const page = stage.pageAt(proc, va);
        const { freed } = stage.diagnosis;
        freed.length = 0;
        stage.mustRead(proc, va, [V], 'from a device page');
        mustBeHome(stage, proc, va, 'a CPU load');
        mustBeInItsName(stage);
        const times = freed.filter((one) => one === page).length;
        stage.must(times === 1, `the device page is freed ${times} times, not once`);
        stage.mustRead(proc, va, [V, V + 1, V + 2, V + 3], 'from device pages');
        stage.mustBeFree('the CPU read every page');
      },
    },
    {
      name: 'a CPU store brings a page home',
      run(stage) {
        const proc = stage.process();
        const va = stage.buffer(proc, 4);
        stage.mustMove(proc, va, 4);
        stage.store(proc, va, 77);
        mustBeHome(stage, proc, va, 'a CPU store');
        stage.mustRead(proc, va, [77, V + 1, V + 2, V + 3], 'after a store');
      },
    },
    {
      name: 'the whole page travels',
      run(stage) {
        const proc = stage.process();
        const va = stage.buffer(proc, 1);
        const last = va + stage.pageSize - 4;
        for (let round = 0; round < 3; round++) {
          stage.store(proc, last, 500 + round);
          stage.mustMove(proc, va, 1);
          stage.mustRead(proc, va, [V], `in round ${round}`);
          const found = stage.load(proc, last);
          stage.must(found === 500 + round, `the last word of a page that travelled is ${found}`);
        }
      },
    },
    {
      name: 'ranges longer than a batch travel',
      run(stage) {
        const proc = stage.process();
        const va = stage.buffer(proc, MANY);
        stage.mustMove(proc, va, MANY);
        const values = bufferValues(MANY);
        stage.mustRead(proc, va, values, 'after a long range travelled');
      },
    },
    {
      name: 'the range may begin anywhere',
      run(stage) {
        const proc = stage.process();
        const va = stage.buffer(proc, 8);
        stage.mustMove(proc, stage.at(va, 3), 2);
        for (const i of [0, 1, 2, 5, 6, 7]) {
          const place = stage.placeOf(proc, stage.at(va, i));
          stage.must(place === 'in RAM', `page ${i}, outside the range, is ${place}`);
        }
        const values = bufferValues(8);
        stage.mustRead(proc, va, values, 'after part of a buffer moved');
      },
    },
    {
      name: 'freed device pages are used again',
      run(stage) {
        const proc = stage.process();
        const va = stage.buffer(proc, ROUND);
        stage.mustMove(proc, va, ROUND);
        const total = (): number => stage.pagemaps.reduce((sum, one) => sum + one.pageCount, 0);
        const before = total();
        const rounds = Math.ceil(before / ROUND) + 1;
        stage.about('the driver does not use freed pages again (page_free)', () => {
          for (let round = 1; round <= rounds; round++) {
            stage.step('the CPU reads every page', () => {
              for (let i = 0; i < ROUND; i++) proc.load32(stage.at(va, i));
            });
            stage.mustMove(proc, va, ROUND);
          }
          const grown = total() - before;
          stage.must(grown <= 0, `it registered ${grown} more device pages instead`);
        });
      },
    },
    {
      name: 'the driver brings pages home itself',
      needs: ['toSystem'],
      run(stage) {
        const proc = stage.process();
        const va = stage.buffer(proc, 8);
        stage.mustMove(proc, va, 8);
        stage.toSystem(proc, va, 4);
        for (let i = 0; i < 4; i++) mustBeHome(stage, proc, stage.at(va, i), 'toSystem');
        const stays = stage.isOnDevice(proc, stage.at(va, 4));
        stage.must(stays, 'toSystem brings home pages outside its range');
        const values = bufferValues(8);
        stage.mustRead(proc, va, values, 'after toSystem');
      },
    },
  ],
};
