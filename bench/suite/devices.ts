/** Target 5: what a CPU fault costs where there are many devices. */
import { Dmirror } from '../../src/drivers/dmirror/index.ts';
import { MiB, PAGE_SIZE, type Process } from '../../src/index.ts';
import { costOf, expectEqual, interleave } from '../harness/measure.ts';
import type { Measurement } from '../harness/types.ts';
import { checkContents, filledBuffer, type Lab, newMachine } from './lab.ts';

const DEVICES = 64;
const PAGES = 16_384;
/** Of a sample. */
const TRIPS = 4;

/** A part of the pages, on one device. */
interface Part extends Lab {
  readonly proc: Process;
}

/** `shared`: one process mirrored by all devices; else each device has a process of its own. */
function makeParts(devices: number, shared: boolean): Part[] {
  const machine = newMachine();
  const one = shared ? machine.createProcess() : null;
  const pages = PAGES / devices;
  const parts: Part[] = [];
  for (let i = 0; i < devices; i++) {
    const proc = one ?? machine.createProcess();
    const device = machine.attach(new Dmirror({ chunkBytes: 64 * MiB }));
    const file = device.open(proc);
    const buffer = filledBuffer(proc, pages);
    const toDevice = (): void => {
      expectEqual('pages migrated', file.migrateToDev(buffer, pages).cpages, pages);
      expectEqual('owner', machine.ownerOf(proc, buffer), device);
    };
    parts.push({ machine, proc, buffer, pages, toDevice });
  }
  return parts;
}

/** Nanoseconds a fault; the devices take turns. */
function faultCost(parts: readonly Part[]): number {
  let ns = 0;
  for (let trip = 0; trip < TRIPS; trip++) {
    for (const part of parts) part.toDevice();
    ns += costOf(TRIPS * PAGES, () => touchInTurns(parts));
  }
  return ns;
}

function touchInTurns(parts: readonly Part[]): void {
  const { pages } = parts[0]!;
  let sum = 0;
  for (let i = 0; i < pages; i++) {
    const offset = i * PAGE_SIZE;
    for (let at = 0; at < parts.length; at++) {
      const { proc, buffer } = parts[at]!;
      sum += proc.load32(buffer + offset);
    }
  }
  expectEqual('sum of the pages', sum, (parts.length * pages * (pages + 1)) / 2);
}

const APART = 'CPU fault home, 64 devices with a process each';
const TOGETHER = 'CPU fault home, 64 devices that mirror one process';
const common = {
  unit: ' ns',
  better: 'less',
  targets: [{ bound: 1.2, on: 'ratio' }],
} as const;

export const DEVICE_COUNT: Measurement = {
  name: 'devices',
  section: '5',
  figures: [
    { ...common, name: APART, note: `${PAGES} pages, the devices take turns` },
    {
      ...common,
      name: TOGETHER,
      note: 'the same; each device has a notifier on the process',
    },
  ],
  async run({ rounds }) {
    const one = makeParts(1, true);
    const apart = makeParts(DEVICES, false);
    const together = makeParts(DEVICES, true);
    const got = await interleave(rounds, {
      one: () => faultCost(one),
      apart: () => faultCost(apart),
      together: () => faultCost(together),
    });
    for (const part of [...one, apart[0]!, together[0]!]) checkContents(part);
    const yardstick = { name: 'ns, with one device', samples: got.one };
    return [
      { name: APART, samples: got.apart, yardstick },
      { name: TOGETHER, samples: got.together, yardstick },
    ];
  },
};
