/** Target 2: many pages with contents in one call, to a device and back. */

import { Nouveau } from '../../src/drivers/nouveau/index.ts';
import { PAGE_SIZE } from '../../src/index.ts';
import { expectEqual, interleave, rateOf } from '../harness/measure.ts';
import type { Measurement } from '../harness/types.ts';
import { pageCopier } from '../yardsticks/memcpy.ts';
import {
  checkContents,
  DRIVER_NAMES,
  type DriverName,
  dmirrorLab,
  expectOnDevice,
  filledBuffer,
  type Lab,
  newMachine,
  vramFor,
} from './lab.ts';

const PAGES = 2 ** 18;
const PAGES_QUICK = 2 ** 15;
const TARGETS = [
  { bound: 5_000_000, on: 'value' },
  { bound: 2, on: 'ratio' },
] as const;

interface BulkLab extends Lab {
  home(): void;
}

/** A nouveau's pages come home in bulk when it is taken away; each round plugs in another. */
function nouveauBulk(pages: number): BulkLab {
  const machine = newMachine();
  const proc = machine.createProcess();
  const buffer = filledBuffer(proc, pages);
  let gpu: Nouveau;
  const plugIn = (): void => {
    gpu = machine.attach(new Nouveau({ vramBytes: vramFor(pages) }));
    gpu.open(proc);
  };
  plugIn();
  return {
    machine,
    proc,
    buffer,
    pages,
    toDevice: () => expectEqual('svmBind', gpu.svmBind(proc, buffer, pages * PAGE_SIZE), 0),
    home: () => {
      expectEqual('remove', gpu.remove(), 0);
      gpu.fileOf(proc).close();
      plugIn();
    },
  };
}

function bulk(driver: DriverName): Measurement {
  const there = `${driver}: pages to the device in bulk`;
  const back = `${driver}: pages home in bulk`;
  const common = { unit: '/s', better: 'more', targets: TARGETS } as const;
  const how = driver === 'dmirror' ? 'by migrateToSys' : 'by taking the GPU away';
  return {
    name: `bulk-${driver}`,
    section: '2',
    figures: [
      { ...common, name: there, note: '2^18 pages with contents in one call' },
      { ...common, name: back, note: `the same pages ${how}` },
    ],
    async run({ rounds, quick }) {
      const pages = quick ? PAGES_QUICK : PAGES;
      const lab: BulkLab = driver === 'dmirror' ? dmirrorLab(pages) : nouveauBulk(pages);
      const copier = pageCopier(pages);
      const backs: number[] = [];
      const { moves, copies } = await interleave(rounds, {
        moves: () => {
          const rate = rateOf(pages, () => lab.toDevice());
          expectOnDevice(lab);
          backs.push(rateOf(pages, () => lab.home()));
          return rate;
        },
        copies: () => copier.round(),
      });
      copier.close();
      checkContents(lab);
      const yardstick = { name: copier.name, samples: copies };
      return [
        { name: there, samples: moves, yardstick, small: quick },
        { name: back, samples: backs.slice(-rounds), yardstick, small: quick },
      ];
    },
  };
}

export const BULK: readonly Measurement[] = DRIVER_NAMES.map(bulk);
