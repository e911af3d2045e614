/** Real programs as workloads: how fast they are replayed. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { AccessWriter } from '../../src/workloads/access-writer.ts';
import { type PlayDriver, Player, parseRule } from '../../src/workloads/play/index.ts';
import type { AccessBatch, WorkloadSink } from '../../src/workloads/types.ts';
import {
  expectEqual,
  interleave,
  keep,
  type Round,
  rateOf,
  scrambled,
} from '../harness/measure.ts';
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

const RESIDENT_ROWS = 1_000_000;
const COLUMNS = 'numbers into a column';
/** First page of the mapping: any address will do. */
const FIRST_PAGE = 0x1000_0000;

interface ResidentCase {
  readonly name: string;
  readonly driver: PlayDriver;
  /** 0 is the CPU, 1 the first device. */
  readonly thread: number;
  readonly pages: number;
}

const RESIDENT_CASES: readonly ResidentCase[] = [4096, 65_536].flatMap((pages) =>
  (
    [
      ['CPU', 'dmirror', 0],
      ['dmirror', 'dmirror', 1],
      ['nouveau', 'nouveau', 1],
    ] as const
  ).map(([who, driver, thread]) => {
    const order = pages === 4096 ? 'in order' : 'at random';
    return { name: `rows replayed by ${who}, ${pages} pages ${order}`, driver, thread, pages };
  }),
);

/** Rows of one agent over pages that are all where it needs them, a quarter of them stores. */
function residentRows({ pages, thread }: ResidentCase): AccessBatch[] {
  const batches: AccessBatch[] = [];
  const writer = new AccessWriter({
    accesses: ({ count, vpn, thread: threads, write, weight }) =>
      batches.push({
        count,
        vpn: vpn.slice(),
        thread: threads.slice(),
        write: write.slice(),
        weight: weight.slice(),
      }),
    mapping: () => {},
  });
  for (let i = 0; i < RESIDENT_ROWS; i++) {
    const page = (pages === 4096 ? i : scrambled(i)) % pages;
    writer.access(FIRST_PAGE + page, thread, i % 4 === 0);
  }
  writer.flush();
  return batches;
}

/** A player whose agent has touched every page, by stores. */
function warmPlayer({ driver, thread, pages }: ResidentCase): Player {
  const player = new Player({ driver, devices: 1, rule: parseRule('thread', 1, 4096) });
  const writer = new AccessWriter(player);
  writer.mapping({ kind: 'map', start: FIRST_PAGE, pages });
  for (let i = 0; i < pages; i++) writer.access(FIRST_PAGE + i, thread, true);
  writer.flush();
  return player;
}

const RESIDENT: Measurement = {
  name: 'replay-resident',
  section: '9',
  figures: RESIDENT_CASES.map(({ name }) => ({
    name,
    unit: '/s',
    better: 'more' as const,
    targets: [],
    note: 'each checked; all pages are resident, a quarter of the rows are stores',
  })),
  async run({ rounds }) {
    const column = new Float64Array(4096);
    const things: Record<string, Round> = {
      [COLUMNS]: () =>
        rateOf(RESIDENT_ROWS, () => {
          for (let i = 0; i < RESIDENT_ROWS; i++) column[i & 4095] = i;
          keep(column[17]!);
        }),
    };
    for (const one of RESIDENT_CASES) {
      const player = warmPlayer(one);
      const batches = residentRows(one);
      things[one.name] = () =>
        rateOf(RESIDENT_ROWS, () => {
          for (const batch of batches) player.accesses(batch);
          expectEqual('loads that found something else', player.mismatches, 0);
        });
    }
    const got = await interleave(Math.min(rounds, 7), things);
    const yardstick = { name: `/s, ${COLUMNS}`, samples: got[COLUMNS]! };
    return RESIDENT_CASES.map(({ name }) => ({ name, samples: got[name]!, yardstick }));
  },
};

export const REPLAYS: readonly Measurement[] = [GENERATED, OF_PROGRAMS, RESIDENT];
