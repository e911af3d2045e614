// npm run soak: hours of everything on machines that stay, with memory that must stay flat.

import { parseArgs } from 'node:util';
import { EXIT_FOUND, number, print, UsageError } from '../fuzz/command-line.ts';
import { type Sample, type Verdict, verdictOf } from './memory.ts';
import { SoakError, Turns } from './turns.ts';

const USAGE = `npm run soak -- [options]

  --minutes M   how long (10); fractions are fine; one or less is too short to judge memory by
  --seed N      where chance begins (1)
  --json        one JSON object a line
`;
const EXIT_USAGE = 2;
const EXIT_INTERRUPTED = 130;
const SAMPLES = 40;
const SAMPLE_SECONDS_MIN = 1;
const MIB = 1024 * 1024;

interface Settings {
  readonly minutes: number;
  readonly seed: number;
  readonly json: boolean;
}

function readSettings(): Settings | null {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '10' },
      seed: { type: 'string', default: '1' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return null;
  const minutes = /^\d+(\.\d+)?$/.test(values.minutes) ? Number(values.minutes) : 0;
  if (minutes <= 0 || minutes > 10_000) {
    throw new UsageError(`--minutes ${values.minutes}: expected a number above 0`);
  }
  return { minutes, seed: number(values.seed, 'seed', 0, 0x7fff_ffff), json: values.json };
}

class Soak {
  readonly #settings: Settings;
  readonly #turns: Turns;
  readonly #samples: Sample[] = [];
  readonly #began: number = performance.now();
  #interrupted = false;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#turns = new Turns(settings.seed);
  }

  interrupt(): void {
    this.#interrupted = true;
  }

  async run(): Promise<number> {
    const { minutes } = this.#settings;
    const every = Math.max(SAMPLE_SECONDS_MIN, (minutes * 60) / SAMPLES);
    let next = every;
    try {
      while (this.#seconds < minutes * 60 && !this.#interrupted) {
        this.#turns.turn();
        if (this.#seconds >= next) {
          this.#sample();
          next += every;
        }
        // Lets a signal in.
        await new Promise((resolve) => setImmediate(resolve));
      }
      this.#sample();
    } catch (error) {
      if (!(error instanceof SoakError)) throw error;
      this.#tell({ found: error.message }, `found: ${error.message}`);
      return EXIT_FOUND;
    }
    return this.#end();
  }

  get #seconds(): number {
    return (performance.now() - this.#began) / 1000;
  }

  #sample(): void {
    this.#turns.verify();
    for (let i = 0; i < 3; i++) globalThis.gc?.();
    const { heapUsed, arrayBuffers, rss } = process.memoryUsage();
    const seconds = this.#seconds;
    this.#samples.push({ seconds, bytes: heapUsed + arrayBuffers });
    const { counts } = this.#turns;
    const rate = Math.round(counts.operations / seconds);
    this.#tell(
      { seconds, ...counts, heapUsed, arrayBuffers, rss },
      `${seconds.toFixed(0).padStart(6)} s  ${counts.turns} turns  ${counts.programs} programs  ` +
        `${counts.accesses} accesses  ${rate} operations/s  heap ${mib(heapUsed)}  ` +
        `buffers ${mib(arrayBuffers)}  resident ${mib(rss)}  verified`,
    );
  }

  #end(): number {
    const verdict = verdictOf(this.#samples);
    if (verdict === null) {
      const message = 'too short to say whether memory is flat';
      this.#tell({ verdict: null }, message);
    } else this.#tell({ verdict }, verdictText(verdict));
    if (this.#interrupted) return EXIT_INTERRUPTED;
    return verdict === null || verdict.flat ? 0 : EXIT_FOUND;
  }

  #tell(json: object, text: string): void {
    print(this.#settings.json ? JSON.stringify(json) : text);
  }
}

function verdictText({ flat, growth, allowed, bytesPerMinute }: Verdict): string {
  const rise = `${mib(growth)} over the run after warming up, ${mib(bytesPerMinute)} a minute`;
  return flat
    ? `memory is flat: ${rise} (noise up to ${mib(allowed)} counts as flat)`
    : `memory grows: ${rise}; expected at most ${mib(allowed)}`;
}

function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}

async function main(): Promise<number> {
  let settings: Settings | null;
  try {
    settings = readSettings();
  } catch (error) {
    const isParseArgs = error instanceof TypeError && 'code' in error;
    if (!(error instanceof UsageError) && !isParseArgs) throw error;
    process.stderr.write(`soak: ${(error as Error).message}\n\n${USAGE}`);
    return EXIT_USAGE;
  }
  if (settings === null) {
    print(USAGE);
    return 0;
  }
  const soak = new Soak(settings);
  process.on('SIGINT', () => soak.interrupt());
  return soak.run();
}

process.exitCode = await main();
