/** Real programs as workloads: how fast they are replayed. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { Player, parseRule } from '../../src/workloads/play/index.ts';
import type { WorkloadSink } from '../../src/workloads/types.ts';
import { expectEqual, interleave, rateOf } from '../harness/measure.ts';
import { ROOT } from '../harness/project.ts';
import type { Measurement } from '../harness/types.ts';
import { compactTrace, decode } from './trace-data.ts';

const RECORDS = 1_000_000;
const DEVICES = 2;

const ROWS = 'rows of the compact format replayed';
const COMMITTED = 'accesses of the committed traces replayed';

const NOTHING: WorkloadSink = { accesses: () => {}, mapping: () => {} };

/** Accesses of the program that were played. */
function replay(trace: Uint8Array): number {
  const rule = parseRule('thread', DEVICES, 4096);
  const player = new Player({ driver: 'nouveau', devices: DEVICES, rule });
  decode('pages', trace, player);
  player.end();
  expectEqual('loads that found something else', player.mismatches, 0);
  return player.accessesPlayed;
}

function committedTraces(): Uint8Array[] {
  const folder = join(ROOT, 'examples', 'traces');
  const names = readdirSync(folder).filter((name) => name.endsWith('.pages.gz'));
  if (names.length < 6) throw new Error(`only ${names.length} traces in ${folder}`);
  return names.map((name) => gunzipSync(readFileSync(join(folder, name))));
}

const note = `read from memory, a CPU and ${DEVICES} nouveaux, assigned by thread`;

const GENERATED: Measurement = {
  name: 'replay',
  section: '9',
  figures: [{ name: ROWS, unit: '/s', better: 'more', targets: [], note }],
  async run({ rounds }) {
    const trace = compactTrace(RECORDS);
    const got = await interleave(rounds, {
      replays: () => rateOf(RECORDS, () => expectEqual('accesses', replay(trace), RECORDS)),
      reads: () => rateOf(RECORDS, () => decode('pages', trace, NOTHING)),
    });
    const yardstick = { name: '/s, the same only read', samples: got.reads };
    return [{ name: ROWS, samples: got.replays, yardstick }];
  },
};

const OF_PROGRAMS: Measurement = {
  name: 'replay-committed',
  section: '9',
  figures: [
    {
      name: COMMITTED,
      unit: '/s',
      better: 'more',
      targets: [{ bound: 20_000_000, on: 'value' }],
      note: `what the rows of a filtered trace stand for; ${note}`,
    },
  ],
  async run({ rounds }) {
    const traces = committedTraces();
    const replayAll = (): number => traces.reduce((sum, one) => sum + replay(one), 0);
    const accesses = replayAll();
    const got = await interleave(rounds, {
      replays: () => rateOf(accesses, () => expectEqual('accesses', replayAll(), accesses)),
      reads: () =>
        rateOf(accesses, () => {
          for (const one of traces) decode('pages', one, NOTHING);
        }),
    });
    const yardstick = { name: '/s, the same only read', samples: got.reads };
    const detail = `${accesses} accesses of ${traces.length} programs`;
    return [{ name: COMMITTED, samples: got.replays, yardstick, detail }];
  },
};

export const REPLAYS: readonly Measurement[] = [GENERATED, OF_PROGRAMS];
