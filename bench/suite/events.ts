/** Target 6: what it costs to be heard, and to be able to be. */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { exportJsonl, PAGE_SIZE, Recorder } from '../../src/index.ts';
import { writeRecording } from '../../src/node/recording-file.ts';
import { Player, parseRule } from '../../src/workloads/play/index.ts';
import { costOf, expectEqual, interleave, keep, scrambled } from '../harness/measure.ts';
import type { Measurement } from '../harness/types.ts';
import { emittedObjects } from '../yardsticks/loops.ts';
import { checkContents, dmirrorLab, type Lab, makeLab, touchAll } from './lab.ts';
import { compactTrace, decode } from './trace-data.ts';

const PAGES = 16_384;
/** Of a sample. */
const TRIPS = 4;

const TRACE_RECORDED = 'replay of a trace, all recorded';
const TRACE_ROWS = 500_000;
const FAULTS_RECORDED = 'round trips by faults, all recorded';
const BULK_RECORDED = 'round trips in bulk, all recorded';
const LISTENER = 'an event for a listener to all';
const BYTES = 'an event on disk';

const RECORDER_TARGETS = [{ bound: 1.35, on: 'ratio' }] as const;

const RECORDER: Measurement = {
  name: 'recorder',
  section: '6',
  figures: [
    {
      name: FAULTS_RECORDED,
      unit: ' ns',
      better: 'less',
      targets: RECORDER_TARGETS,
      note: 'a page to a dmirror in bulk, home by its own fault; from the new recorder to its end',
    },
    {
      name: BULK_RECORDED,
      unit: ' ns',
      better: 'less',
      targets: RECORDER_TARGETS,
      note: 'a page to a dmirror and home, both in bulk',
    },
  ],
  async run({ rounds }) {
    const faults = dmirrorLab(PAGES);
    const bulk = dmirrorLab(PAGES);
    const byFaults = (): void => {
      for (let i = 0; i < TRIPS; i++) {
        faults.toDevice();
        touchAll(faults);
      }
    };
    const inBulk = (): void => {
      for (let i = 0; i < TRIPS; i++) {
        bulk.toDevice();
        bulk.home();
      }
    };
    const recorded = (machine: typeof faults.machine, work: () => void): void => {
      const recorder = new Recorder(machine);
      work();
      if (recorder.length < PAGES) throw new Error(`only ${recorder.length} events`);
      recorder.stop();
    };
    const got = await interleave(
      rounds,
      {
        faultsSilent: () => costOf(TRIPS * PAGES, byFaults),
        faultsRecorded: () => costOf(TRIPS * PAGES, () => recorded(faults.machine, byFaults)),
        bulkSilent: () => costOf(TRIPS * PAGES, inBulk),
        bulkRecorded: () => costOf(TRIPS * PAGES, () => recorded(bulk.machine, inBulk)),
      },
      3,
    );
    checkContents(faults);
    checkContents(bulk);
    const silent = (samples: number[]) => ({ name: 'ns, nobody listening', samples });
    return [
      {
        name: FAULTS_RECORDED,
        samples: got.faultsRecorded,
        yardstick: silent(got.faultsSilent),
      },
      { name: BULK_RECORDED, samples: got.bulkRecorded, yardstick: silent(got.bulkSilent) },
    ];
  },
};

const LISTENING: Measurement = {
  name: 'listener',
  section: '6',
  figures: [
    {
      name: LISTENER,
      unit: ' ns',
      better: 'less',
      targets: [],
      note: 'what a round trip by faults takes longer, by the events it tells',
    },
  ],
  async run({ rounds }) {
    const lab = dmirrorLab(PAGES);
    const trips = (): void => {
      for (let i = 0; i < TRIPS; i++) {
        lab.toDevice();
        touchAll(lab);
      }
    };
    const costs: number[] = [];
    let silent = 0;
    const { emits } = await interleave(rounds, {
      trips: () => {
        silent = costOf(1, trips);
        let heard = 0;
        lab.machine.events.on('*', () => {
          heard++;
        });
        const heardNs = costOf(1, trips);
        lab.machine.events.removeAllListeners();
        keep(heard);
        costs.push((heardNs - silent) / heard);
        return heardNs;
      },
      emits: () => 1e9 / emittedObjects(),
    });
    checkContents(lab);
    const yardstick = { name: 'ns, EventEmitter3 and a new object', samples: emits };
    return [{ name: LISTENER, samples: costs.slice(-rounds), yardstick }];
  },
};

/** Every page once, in an order that nothing foretells. */
function touchInDisorder({ proc, buffer, pages }: Lab): void {
  const order = Array.from({ length: pages }, (_, i) => i);
  order.sort((a, b) => scrambled(a) - scrambled(b));
  for (const page of order) keep(proc.load32(buffer + page * PAGE_SIZE));
}

const ON_DISK: Measurement = {
  name: 'recording-size',
  section: '6',
  figures: (['dmirror', 'nouveau'] as const).map((driver) => ({
    name: `${BYTES}, ${driver}`,
    unit: ' bytes',
    better: 'less' as const,
    targets: [{ bound: 12, on: 'value' }] as const,
    note: `a recording of ${PAGES} pages to the device in bulk and home by faults, out of order`,
  })),
  run() {
    const folder = mkdtempSync(join(tmpdir(), 'bench-'));
    const answers = (['dmirror', 'nouveau'] as const).map((driver) => {
      const lab = makeLab(driver, PAGES);
      const recorder = new Recorder(lab.machine);
      lab.toDevice();
      touchInDisorder(lab);
      const recording = recorder.stop();
      const path = join(folder, driver);
      writeRecording(path, recording);
      const events = recorder.length;
      const samples = [statSync(path).size / events];
      const lines = gzipSync([...exportJsonl(recording)].join('')).length;
      expectEqual('findings', lab.machine.verify({ full: true }).length, 0);
      const detail = `${events} events`;
      const yardstick = { name: 'bytes, a line of JSON, compressed', samples: [lines / events] };
      return { name: `${BYTES}, ${driver}`, samples, yardstick, detail };
    });
    rmSync(folder, { recursive: true });
    return answers;
  },
};

const TRACE_RECORDER: Measurement = {
  name: 'recorder-replay',
  section: '6',
  figures: [
    {
      name: TRACE_RECORDED,
      unit: ' ns',
      better: 'less',
      targets: RECORDER_TARGETS,
      note: `an access of ${TRACE_ROWS} on a CPU and two nouveaux, most of which find their page`,
    },
  ],
  async run({ rounds }) {
    const trace = compactTrace(TRACE_ROWS);
    const rule = parseRule('thread', 2, PAGE_SIZE);
    let events = 0;
    const play = (isRecorded: boolean): number => {
      const player = new Player({ driver: 'nouveau', devices: 2, rule });
      return costOf(TRACE_ROWS, () => {
        const recorder = isRecorded ? new Recorder(player.machine) : null;
        decode('pages', trace, player);
        player.end();
        recorder?.stop();
        events = recorder?.length ?? events;
        expectEqual('loads that found something else', player.mismatches, 0);
      });
    };
    const got = await interleave(rounds, {
      silent: () => play(false),
      recorded: () => play(true),
    });
    const yardstick = { name: 'ns, nobody listening', samples: got.silent };
    const detail = `${events} events`;
    return [{ name: TRACE_RECORDED, samples: got.recorded, yardstick, detail }];
  },
};

export const EVENTS: readonly Measurement[] = [RECORDER, TRACE_RECORDER, LISTENING, ON_DISK];
