/** Two devices and one range: each has its own pages, and only those. */
import type { Process } from '../../core/process.ts';
import type { Va } from '../../core/units.ts';
import { bufferValues, FIRST_VALUE, type Stage } from '../stage.ts';
import { needsOwners, type Section } from './case.ts';

const V = FIRST_VALUE;

interface Shared {
  readonly proc: Process;
  readonly va: Va;
}

function setUp(stage: Stage, count: number): Shared {
  const proc = stage.process();
  return { proc, va: stage.buffer(proc, count) };
}

/** Pages 0, 2, … of `count` go to the stranger. */
function giveEveryOther(stage: Stage, count: number): Shared {
  const { proc, va } = setUp(stage, count);
  for (let i = 0; i < count; i += 2) {
    stage.step('another device takes a page', () => stage.probe.take(proc, stage.at(va, i), 1));
  }
  return { proc, va };
}

function mustStayWithProbe(stage: Stage, { proc, va }: Shared, count: number): void {
  for (let i = 0; i < count; i += 2) {
    if (stage.pagemapAt(proc, stage.at(va, i)) === stage.probe.pagemap) continue;
    const where = stage.placeOf(proc, stage.at(va, i));
    stage.fail(`the driver takes a page that belongs to another owner: page ${i} is ${where} now`);
  }
}

export const SHARING: Section = {
  name: 'sharing',
  cases: [
    {
      name: 'it leaves pages of another owner alone',
      unfit: needsOwners,
      run(stage) {
        const at = giveEveryOther(stage, 8);
        stage.toDevice(at.proc, at.va, 8);
        mustStayWithProbe(stage, at, 8);
        for (let i = 1; i < 8; i += 2) {
          const isHere = stage.isOnDevice(at.proc, stage.at(at.va, i));
          stage.must(isHere, `page ${i}, in RAM among pages of another owner, is not taken`);
        }
        const values = bufferValues(8);
        stage.mustRead(at.proc, at.va, values, 'after two devices took pages of one range');
      },
    },
    {
      name: 'another owner cannot take its pages',
      unfit: needsOwners,
      run(stage) {
        const { proc, va } = setUp(stage, 4);
        stage.mustMove(proc, va, 2);
        stage.step('another device takes the range', () => stage.probe.grab(proc, va, 4));
        for (let i = 0; i < 2; i++) {
          const isHere = stage.isOnDevice(proc, stage.at(va, i));
          stage.must(isHere, `another device took page ${i}, a device page of the driver`);
        }
        stage.mustRead(proc, va, [V, V + 1, V + 2, V + 3], 'afterwards');
      },
    },
    {
      name: 'it sends home only what is its own',
      needs: ['toSystem'],
      unfit: needsOwners,
      run(stage) {
        const at = giveEveryOther(stage, 8);
        stage.toDevice(at.proc, at.va, 8);
        stage.toSystem(at.proc, at.va, 8);
        mustStayWithProbe(stage, at, 8);
        for (let i = 1; i < 8; i += 2) {
          const place = stage.placeOf(at.proc, stage.at(at.va, i));
          stage.must(place === 'in RAM', `toSystem leaves its own page ${i} ${place}`);
        }
      },
    },
    {
      name: 'its pages come home when another device asks for them',
      unfit: ({ hmmFaultsForeign }) =>
        hmmFaultsForeign ? null : 'hmm_range_fault brings foreign pages home since v5.19',
      run(stage) {
        const { proc, va } = setUp(stage, 2);
        stage.mustMove(proc, va, 2);
        const ret = stage.step('another device reads', () => stage.probe.look(proc, va, 2));
        stage.must(ret === 0, `hmm_range_fault for another device answers ${ret}`);
        stage.mustRead(proc, va, [V, V + 1], 'after another device read the pages');
      },
    },
    {
      name: 'it reads its own pages where they are',
      needs: ['read'],
      run(stage) {
        const { proc, va } = setUp(stage, 4);
        stage.mustMove(proc, va, 4);
        stage.mustReadOnDevice(proc, va, [V, V + 1, V + 2, V + 3], 'of its own pages');
        const stays = stage.isOnDevice(proc, va);
        stage.must(stays, 'to read its own pages the driver brings them home: dev_private_owner');
      },
    },
  ],
};
