/** Target 1: CPU faults on device pages. */
import { interleave, secondsOf } from '../harness/measure.ts';
import type { Measurement } from '../harness/types.ts';
import { emptyGenerators } from '../yardsticks/loops.ts';
import {
  checkContents,
  DRIVER_NAMES,
  type DriverName,
  expectOnDevice,
  makeLab,
  touchAll,
} from './lab.ts';

const PAGES = 16_384;
/** Of a sample. */
const TRIPS = 8;
const YARDSTICK = 'empty generators/s';
const TARGETS = [{ bound: 1_000_000, on: 'value' }] as const;

function faults(driver: DriverName): Measurement {
  const home = `${driver}: CPU faults home`;
  const trip = `${driver}: to the device in bulk, home by faults`;
  const common = { unit: '/s', better: 'more', targets: TARGETS } as const;
  return {
    name: `faults-${driver}`,
    section: '1',
    figures: [
      {
        ...common,
        name: home,
        note: `each of ${PAGES} pages with contents is touched on the device and migrates home`,
      },
      { ...common, name: trip, note: 'the same, the way to the device included' },
    ],
    async run({ rounds }) {
      const lab = makeLab(driver, PAGES);
      const trips: number[] = [];
      const { homes, generators } = await interleave(rounds, {
        homes: () => {
          let there = 0;
          let back = 0;
          for (let trip = 0; trip < TRIPS; trip++) {
            there += secondsOf(() => lab.toDevice());
            expectOnDevice(lab);
            back += secondsOf(() => touchAll(lab));
          }
          trips.push((TRIPS * PAGES) / (there + back));
          return (TRIPS * PAGES) / back;
        },
        generators: emptyGenerators,
      });
      checkContents(lab);
      const yardstick = { name: YARDSTICK, samples: generators };
      return [
        { name: home, samples: homes, yardstick },
        { name: trip, samples: trips.slice(-rounds), yardstick },
      ];
    },
  };
}

export const FAULTS: readonly Measurement[] = DRIVER_NAMES.map(faults);
