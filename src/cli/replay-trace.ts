/** hmmlab replay: plays the page stream of a program on a CPU and devices. */
import { type CommandDef, defineCommand } from 'citty';
import { type ReadTraceOptions, readTrace } from '../node/trace-input.ts';
import type { PagesHeader } from '../workloads/formats/index.ts';
import { type PlayDriver, Player, parseRule, playReport } from '../workloads/play/index.ts';
import type { AccessBatch, MappingChange, WorkloadSink } from '../workloads/types.ts';
import { EXIT_DIFFERENT, EXIT_INTERRUPTED, EXIT_OK, UsageError } from './errors.ts';
import { parseEra } from './flags.ts';
import { parseTraceFormat, wholeNumber } from './import.ts';
import { print, printAll, printError } from './output.ts';
import { ReadingBar, rateText } from './progress.ts';
import { replayText } from './replay-text.ts';
import { parseBytes } from './sizes.ts';

const DEVICES_MAX = 64;
const BATCH_MAX = 4096;
const PRESSURE_MAX = 10_000;

const args = {
  trace: {
    type: 'positional',
    description: 'A page stream or another trace; - for standard input',
    required: true,
  },
  assign: {
    type: 'string',
    description: 'Who makes which access: thread, range or phase, each with details',
    default: 'phase:100000',
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
    checkRule(given.assign, devices);
    const interruption = new AbortController();
    const interrupt = (): void => interruption.abort();
    process.once('SIGINT', interrupt);
    const reading: ReadTraceOptions = {
      ...(format === undefined ? {} : { format }),
      signal: interruption.signal,
    };
    const bar = new ReadingBar();
    try {
      const pressed =
        given.pressure === undefined
          ? null
          : await pagesUnder(
              given.trace,
              wholeNumber('--pressure', given.pressure, 1, PRESSURE_MAX),
              devices,
              reading,
            );
      let header: PagesHeader | null = null;
      const play = new LazyPlayer((pageSize) => {
        const memory =
          given.memory === undefined ? null : parseBytes('--memory', given.memory, pageSize);
        const limit = pressed ?? (memory === null ? null : Math.floor(memory / pageSize));
        return new Player({
          driver,
          devices,
          rule: parseRule(given.assign, devices, pageSize),
          batch,
          era,
          pageSize,
          ...(limit === null ? {} : { devicePages: limit }),
        });
      });
      await readTrace(given.trace, play, {
        ...reading,
        onStart: (_format, found) => {
          header = found;
          play.begin(found?.pageSize ?? 4096);
        },
        onProgress: (progress) => bar.update(progress),
      });
      const player = play.end();
      bar.clear();
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

/** Makes its player when the size of a page is known. */
class LazyPlayer implements WorkloadSink {
  readonly #make: (pageSize: number) => Player;
  #player: Player | null = null;

  constructor(make: (pageSize: number) => Player) {
    this.#make = make;
  }

  begin(pageSize: number): void {
    this.#player = this.#make(pageSize);
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

/** Pages that each device holds, so that what a trace touches is so much of all of them together. */
async function pagesUnder(
  trace: string,
  percent: number,
  devices: number,
  options: ReadTraceOptions,
): Promise<number> {
  if (trace === '-') {
    throw new UsageError('--pressure: expected a file, which is read twice; found standard input');
  }
  const touched = new Set<number>();
  await readTrace(
    trace,
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

/** Before anything is read. */
function checkRule(text: string, devices: number): void {
  try {
    parseRule(text, devices, 4096);
  } catch (error) {
    throw new UsageError(`--assign: ${(error as Error).message}`);
  }
}
