/** hmmlab replay: plays the page stream of a program on a CPU and devices. */
import { setImmediate } from 'node:timers/promises';
import { type CommandDef, defineCommand } from 'citty';
import { type ReadTraceOptions, readTrace } from '../node/trace-input.ts';
import type { PagesHeader } from '../workloads/formats/index.ts';
import { MIXES, type Mix } from '../workloads/mixes/index.ts';
import { PageSet } from '../workloads/page-set.ts';
import {
  type AssignRule,
  type PlayDriver,
  Player,
  parseRule,
  playReport,
} from '../workloads/play/index.ts';
import type { AccessBatch, MappingChange, WorkloadSink } from '../workloads/types.ts';
import { EXIT_DIFFERENT, EXIT_INTERRUPTED, EXIT_OK, UsageError } from './errors.ts';
import { parseEra } from './flags.ts';
import { parseTraceFormat, wholeNumber } from './import.ts';
import { print, printAll, printError } from './output.ts';
import { type Portion, portionRead, ReadingBar, rateText } from './progress.ts';
import { ReplayRecording } from './replay-record.ts';
import { replayText } from './replay-text.ts';
import { parseBytes } from './sizes.ts';

const DEVICES_MAX = 64;
const BATCH_MAX = 4096;
const PRESSURE_MAX = 10_000;
/** How long a mix goes on before it looks whether it should. */
const PAUSE_MS = 50;
/** Of a page, where nothing else is said. */
const PAGE_BYTES = 4096;

const args = {
  trace: {
    type: 'positional',
    description: 'A page stream or another trace, - for standard input, or mix:NAME',
    required: true,
  },
  assign: {
    type: 'string',
    description:
      'Who makes which access: thread, range or phase; phase:100000, or thread for a mix',
  },
  devices: { type: 'string', description: 'How many devices, 1 to 64', default: '2' },
  driver: { type: 'string', description: 'nouveau or dmirror', default: 'nouveau' },
  memory: { type: 'string', description: 'Memory of a device, such as 4M; no limit unless given' },
  pressure: {
    type: 'string',
    description: 'Instead: pages that are touched, in percent of the memory of all devices',
  },
  batch: {
    type: 'string',
    description: 'Accesses of a device that wait for their faults together',
    default: '256',
  },
  era: { type: 'string', description: 'Kernel version', default: 'v6.1' },
  format: {
    type: 'string',
    description: 'pages, lackey, champsim, cloudsuite or kfd; found out unless given',
  },
  pages: { type: 'string', description: 'Of a mix: pages of the working set; 4096 unless given' },
  accesses: { type: 'string', description: 'Of a mix: how many; 1000000 unless given' },
  seed: { type: 'string', description: 'Of a mix: where chance begins; 1 unless given' },
  limit: { type: 'string', description: 'Stop after so many accesses' },
  record: { type: 'string', description: 'Write all events to this file; see explain, report' },
  json: { type: 'boolean', description: 'One JSON object instead of text' },
} as const;

export const replayCommand: CommandDef<typeof args> = defineCommand({
  meta: { name: 'replay', description: 'Plays the trace of a program on a CPU and devices' },
  args,
  async run({ args: given }) {
    const devices = wholeNumber('--devices', given.devices, 1, DEVICES_MAX);
    const batch = wholeNumber('--batch', given.batch, 1, BATCH_MAX);
    const driver = parseDriver(given.driver);
    const era = parseEra(given.era);
    const format = parseTraceFormat(given.format);
    const mix = mixNamed(given.trace);
    const assign = given.assign ?? (mix === null ? 'phase:100000' : 'thread');
    ruleOf(assign, devices, PAGE_BYTES);
    mustFit(mix, given);
    if (given.memory !== undefined && given.pressure !== undefined) {
      throw new UsageError('--pressure sets the memory of a device; it does not go with --memory');
    }
    const limit =
      given.limit === undefined
        ? null
        : wholeNumber('--limit', given.limit, 1, Number.MAX_SAFE_INTEGER);
    const recording =
      given.record === undefined
        ? null
        : new ReplayRecording(given.record, mix === null ? [given.trace] : []);
    const interruption = new AbortController();
    const interrupt = (): void => interruption.abort();
    process.once('SIGINT', interrupt);
    const reading: FeedOptions = {
      ...(format === undefined ? {} : { format }),
      signal: interruption.signal,
    };
    const bar = new ReadingBar();
    const whole = mix === null ? fromFile(given.trace) : fromMix(mix, given, devices);
    const feed = limit === null ? whole : upTo(limit, whole);
    try {
      const pressed =
        given.pressure === undefined
          ? null
          : await pagesUnder(
              feed,
              wholeNumber('--pressure', given.pressure, 1, PRESSURE_MAX),
              devices,
              reading,
            );
      let header: PagesHeader | null = null;
      const play = new LazyPlayer((pageSize, source) => {
        const memory =
          given.memory === undefined ? null : parseBytes('--memory', given.memory, pageSize);
        const held = pressed ?? (memory === null ? null : Math.floor(memory / pageSize));
        const player = new Player({
          driver,
          devices,
          // Threads of KFD are devices.
          rule: ruleOf(
            given.assign === undefined && source === 'kfd' ? 'thread' : assign,
            devices,
            pageSize,
          ),
          batch,
          era,
          pageSize,
          ...(held === null ? {} : { devicePages: held }),
        });
        recording?.start(player.machine, given.trace, driver);
        return player;
      });
      await feed(play, {
        ...reading,
        onStart: (format, found) => {
          header = found;
          play.begin(found?.pageSize ?? PAGE_BYTES, found?.source ?? format);
        },
        onProgress: (portion) => bar.update(portion),
      });
      const player = play.end();
      bar.clear();
      recording?.write();
      const report = playReport(player);
      const about = header as PagesHeader | null;
      const program = about?.program ?? '';
      if (given.json === true) {
        const { source = null, filter = null } = about ?? {};
        print(JSON.stringify({ trace: given.trace, program, source, filter, ...report }));
      } else printAll(replayText({ trace: given.trace, program, report }));
      if (process.stderr.isTTY === true) {
        printError(`${rateText(bar.rate(report.accesses))} accesses/s`);
      }
      return report.mismatches > 0 || report.findings.length > 0 ? EXIT_DIFFERENT : EXIT_OK;
    } catch (error) {
      if (!interruption.signal.aborted) throw error;
      bar.clear();
      printError('interrupted');
      return EXIT_INTERRUPTED;
    } finally {
      bar.clear();
      process.off('SIGINT', interrupt);
    }
  },
});

/** Makes its player when the trace is known. */
class LazyPlayer implements WorkloadSink {
  readonly #make: (pageSize: number, source: string) => Player;
  #player: Player | null = null;

  constructor(make: (pageSize: number, source: string) => Player) {
    this.#make = make;
  }

  /** @param source what the trace was before it was a page stream, or is */
  begin(pageSize: number, source: string): void {
    this.#player = this.#make(pageSize, source);
  }

  accesses(batch: AccessBatch): void {
    this.#player!.accesses(batch);
  }

  mapping(change: MappingChange): void {
    this.#player!.mapping(change);
  }

  end(): Player {
    this.#player!.end();
    return this.#player!;
  }
}

/** Where accesses come from; may be asked twice, except for standard input. */
type Feed = (sink: WorkloadSink, options: FeedOptions) => Promise<void>;

interface FeedOptions extends Omit<ReadTraceOptions, 'onProgress'> {
  readonly onProgress?: (portion: Portion) => void;
}

function fromFile(path: string): Feed {
  let reads = 0;
  return async (sink, { onProgress, ...options }) => {
    reads++;
    if (path === '-' && reads > 1) {
      throw new UsageError(
        '--pressure: expected a file, which is read twice; found standard input',
      );
    }
    await readTrace(path, sink, {
      ...options,
      onProgress: (progress) => onProgress?.(portionRead(progress)),
    });
  };
}

interface MixFlags {
  readonly pages?: string | undefined;
  readonly accesses?: string | undefined;
  readonly seed?: string | undefined;
}

const MIX_FLAGS = ['pages', 'accesses', 'seed'] as const;

/** Refuses flags that would say nothing: those of mixes for a file, and of files for a mix. */
function mustFit(
  mix: Mix | null,
  given: MixFlags & { readonly format?: string | undefined },
): void {
  if (mix !== null && given.format !== undefined) {
    throw new UsageError('--format is of files; a mix has none');
  }
  const lost = mix === null && MIX_FLAGS.find((flag) => given[flag] !== undefined);
  if (lost) {
    const instead = lost === 'accesses' ? '; --limit stops a trace early' : '';
    throw new UsageError(`--${lost} is of mixes; a trace has its own${instead}`);
  }
}

function fromMix(mix: Mix, flags: MixFlags, devices: number): Feed {
  const options = {
    devices,
    pages: wholeNumber('--pages', flags.pages ?? '4096', 16, 2 ** 24),
    accesses: wholeNumber('--accesses', flags.accesses ?? '1000000', 1, Number.MAX_SAFE_INTEGER),
    seed: wholeNumber('--seed', flags.seed ?? '1', 0, 2 ** 32 - 1),
  };
  return async (sink, { onStart, onProgress, signal }) => {
    const about = { pageSize: PAGE_BYTES, source: 'mix', program: mix.about, filter: 0 };
    onStart?.('pages', about);
    let accesses = 0;
    const counted: WorkloadSink = {
      accesses: (batch) => {
        accesses += batch.count;
        sink.accesses(batch);
      },
      mapping: (change) => sink.mapping(change),
    };
    let paused = performance.now();
    for (const _ of mix.steps(options, counted)) {
      if (performance.now() - paused < PAUSE_MS) continue;
      onProgress?.({ done: accesses, total: options.accesses, accesses });
      // For Ctrl-C.
      await setImmediate();
      signal?.throwIfAborted();
      paused = performance.now();
    }
  };
}

/** The mix that `mix:NAME` names; null for anything else. */
function mixNamed(trace: string): Mix | null {
  if (!trace.startsWith('mix:')) return null;
  const mix = MIXES.get(trace.slice('mix:'.length));
  if (mix !== undefined) return mix;
  const names = [...MIXES.keys()].join(', ');
  throw new UsageError(`${trace}: expected a mix of ${names}`);
}

/** Ends a feed that has told enough; nobody sees it but `upTo`. */
class Enough extends Error {}

/** The first `limit` accesses of a feed. A row that stands for more than are left comes whole. */
function upTo(limit: number, feed: Feed): Feed {
  return async (sink, options) => {
    let left = limit;
    const accesses = (batch: AccessBatch): void => {
      let count = 0;
      while (count < batch.count && left > 0) left -= batch.weight[count++]!;
      sink.accesses({ ...batch, count });
      if (left <= 0) throw new Enough();
    };
    try {
      await feed({ accesses, mapping: (change) => sink.mapping(change) }, options);
    } catch (error) {
      if (!(error instanceof Enough)) throw error;
    }
  };
}

/** Pages that each device holds, so that what a trace touches is so much of all of them together. */
async function pagesUnder(
  feed: Feed,
  percent: number,
  devices: number,
  options: FeedOptions,
): Promise<number> {
  const touched = new PageSet();
  await feed(
    {
      accesses: ({ count, vpn }) => {
        for (let i = 0; i < count; i++) touched.add(vpn[i]!);
      },
      mapping: () => {},
    },
    options,
  );
  return Math.max(1, Math.ceil((touched.size * 100) / percent / devices));
}

function parseDriver(name: string): PlayDriver {
  if (name === 'nouveau' || name === 'dmirror') return name;
  throw new UsageError(`--driver: expected nouveau or dmirror; found ${JSON.stringify(name)}`);
}

function ruleOf(text: string, devices: number, pageSize: number): AssignRule {
  try {
    return parseRule(text, devices, pageSize);
  } catch (error) {
    throw new UsageError(`--assign: ${(error as Error).message}`);
  }
}
