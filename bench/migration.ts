/** Pages between RAM and a device: one by one under CPU faults, and many at a time. */
import { Dmirror, type DmirrorFile, Machine, MiB, PAGE_SIZE, type Process } from '../src/index.ts';
import { bestRate, expectEqual, type Figure, keep, secondsOf } from './measure.ts';
import { emptyGenerators, pageCopies } from './yardsticks.ts';

const PAGES = 16_384;

interface Bench {
  readonly machine: Machine;
  readonly proc: Process;
  readonly file: DmirrorFile;
  readonly buffer: number;
}

/** A buffer of which every page has contents of its own. */
function setUp(): Bench {
  const machine = new Machine({ ramBytes: 256 * MiB });
  const device = machine.attach(new Dmirror({ chunkBytes: PAGES * PAGE_SIZE }));
  const proc = machine.createProcess();
  const file = device.open(proc);
  const buffer = proc.mmap({ pages: PAGES });
  for (let i = 0; i < PAGES; i++) proc.store32(buffer + i * PAGE_SIZE, i + 1);
  return { machine, proc, file, buffer };
}

function checkContents({ machine, proc, buffer }: Bench): void {
  for (let i = 0; i < PAGES; i++) {
    expectEqual(`page ${i}`, proc.load32(buffer + i * PAGE_SIZE), i + 1);
  }
  expectEqual('findings', machine.verify({ full: true }).length, 0);
}

function toDevice({ file, buffer }: Bench): void {
  const { ret, cpages } = file.migrateToDev(buffer, PAGES);
  expectEqual('ret', ret, 0);
  expectEqual('pages migrated', cpages, PAGES);
}

/** Touches every page; each is on the device, so each load faults it home. */
function touchAll({ proc, buffer }: Bench): number {
  let sum = 0;
  for (let i = 0; i < PAGES; i++) sum += proc.load32(buffer + i * PAGE_SIZE);
  return sum;
}

const SUM_OF_PAGES = (PAGES * (PAGES + 1)) / 2;

function roundTrips(bench: Bench, rounds: number, withWayBack: boolean): number {
  const rate = bestRate(rounds, () => {
    const back = secondsOf(() => toDevice(bench));
    const home = secondsOf(() => {
      const sum = touchAll(bench);
      if (sum !== SUM_OF_PAGES) throw new Error('the CPU read something else');
    });
    return { count: PAGES, seconds: withWayBack ? back + home : home };
  });
  checkContents(bench);
  return rate;
}

export function faultFigures(rounds: number): Figure[] {
  const yardstick = emptyGenerators(rounds);
  const bench = setUp();
  const home = roundTrips(bench, rounds, false);
  const both = roundTrips(bench, rounds, true);
  let heard = 0;
  bench.machine.events.on('owner_change', () => heard++);
  const listened = roundTrips(bench, rounds, true);
  bench.machine.events.removeAllListeners();
  keep(heard);
  const common = { unit: '/s', lessIsBetter: false } as const;
  return [
    {
      ...common,
      name: 'CPU fault round trips',
      value: both,
      yardstick,
      floor: 300_000,
      note: `${PAGES} pages to a device in bulk, then each touched and brought home by its fault`,
    },
    {
      ...common,
      name: 'CPU faults alone',
      value: home,
      yardstick,
      floor: null,
      note: 'the same without the time of the way to the device',
    },
    {
      ...common,
      name: 'round trips with a listener',
      value: listened,
      yardstick: { name: 'without one', value: both },
      floor: null,
      note: 'somebody listens to owner changes, so every event is built',
    },
  ];
}

export function bulkFigures(rounds: number): Figure[] {
  const yardstick = pageCopies(rounds, PAGES);
  const bench = setUp();
  const { file, buffer } = bench;
  const value = bestRate(rounds, () => {
    const seconds = secondsOf(() => {
      toDevice(bench);
      const { ret, cpages } = file.migrateToSys(buffer, PAGES);
      expectEqual('ret', ret, 0);
      expectEqual('pages migrated', cpages, PAGES);
    });
    return { count: 2 * PAGES, seconds };
  });
  checkContents(bench);
  return [
    {
      name: 'pages migrated in bulk',
      unit: '/s',
      value,
      yardstick,
      floor: 1_000_000,
      lessIsBetter: false,
      note: `${PAGES} pages with contents to a dmirror and home again`,
    },
  ];
}
