/** Standard mixes of accesses as workloads: how fast they are made. */
import { MIXES } from '../../src/workloads/mixes/index.ts';
import type { AccessBatch, WorkloadSink } from '../../src/workloads/types.ts';
import { expectEqual, interleave, keep, rateOf } from '../harness/measure.ts';
import type { Measurement } from '../harness/types.ts';

const ACCESSES = 1_000_000;
const PAGES = 16_384;
const NAME = 'accesses of the standard mixes generated';

class CountingSink implements WorkloadSink {
  accessesSeen = 0;

  accesses({ count, weight }: AccessBatch): void {
    for (let i = 0; i < count; i++) this.accessesSeen += weight[i]!;
  }

  mapping(): void {}
}

function generateAll(): void {
  for (const mix of MIXES.values()) {
    const sink = new CountingSink();
    mix.generate({ pages: PAGES, devices: 2, accesses: ACCESSES, seed: 1 }, sink);
    expectEqual(`accesses of ${mix.name}`, sink.accessesSeen, ACCESSES);
  }
}

/** The numbers of a fixed stride into typed columns: what any generator does at the least. */
function fillColumns(count: number): void {
  const vpn = new Float64Array(4096);
  for (let i = 0; i < count; i++) vpn[i & 4095] = (i * 7) & (PAGES - 1);
  keep(vpn[17]!);
}

export const GENERATORS: Measurement = {
  name: 'mixes',
  section: '9',
  figures: [
    {
      name: NAME,
      unit: '/s',
      better: 'more',
      targets: [],
      note: `${ACCESSES} accesses of each of the mixes, over ${PAGES} pages, for two devices`,
    },
  ],
  async run({ rounds }) {
    const total = ACCESSES * MIXES.size;
    const got = await interleave(Math.min(rounds, 5), {
      mixes: () => rateOf(total, generateAll),
      columns: () => rateOf(total, () => fillColumns(total)),
    });
    const yardstick = { name: '/s, numbers into a column', samples: got.columns };
    return [{ name: NAME, samples: got.mixes, yardstick, detail: `${MIXES.size} mixes` }];
  },
};
