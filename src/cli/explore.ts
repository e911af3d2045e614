/** hmmlab explore: is there an order of events in which a program goes wrong? */
import { availableParallelism } from 'node:os';
import { type CommandDef, defineCommand } from 'citty';
import { FAULT_SITES, type FaultSite } from '../core/fault-plan.ts';
import {
  explore,
  type FoundFailure,
  type Scenario,
  type SearchOptions,
  type StrategyName,
  shrink,
} from '../explore/index.ts';
import { ExplorePool, type ExploreSum } from '../node/explore-pool.ts';
import { type ExploreSubject, scenarioOf } from '../node/explore-worker.ts';
import { readText } from '../node/read-text.ts';
import { type Program, parsePrograms } from '../program/index.ts';
import { EXIT_DIFFERENT, EXIT_OK, UsageError } from './errors.ts';
import {
  type Explored,
  explorationJson,
  explorationLines,
  progressText,
  storyOf,
  type ToldFailure,
} from './explore-text.ts';
import { languageFor, parseEra, programNamed, valuesOf } from './flags.ts';
import { listText } from './format.ts';
import { Breather, onSignal, Progress, print, printAll } from './output.ts';

const STRATEGIES: readonly StrategyName[] = ['mix', 'random', 'pct', 'exhaustive'];
const SCHEDULES = 10_000;
const WORKERS_MAX = 64;
/** An exhaustive search lets signals in so often. */
const BREATH_MS = 50;
/** So many failures are made smaller and told in full. */
const STORIES_MAX = 20;

const args = {
  // In capitals, for --program is another.
  PROGRAM: { type: 'positional', description: 'A text of programs, plain or gzip', required: true },
  program: { type: 'string', description: 'Only the program of this name', valueHint: 'NAME' },
  strategy: {
    type: 'string',
    description: 'random, pct, exhaustive, or mix (the default): random and pct in turn',
  },
  schedules: {
    type: 'string',
    description: 'At most so many (10000; exhaustive: all there are)',
  },
  time: { type: 'string', description: 'Stop after so many seconds' },
  seed: { type: 'string', description: 'Another seed, other schedules (1)' },
  depth: { type: 'string', description: 'pct: orderings that a bug needs (3)' },
  bound: {
    type: 'string',
    description: 'exhaustive: overtake at most so often; "iterative" for 0, 1, 2 and so on',
  },
  faults: { type: 'string', description: 'Sites that may fail on purpose, with commas, or "all"' },
  'most-faults': { type: 'string', description: 'At most so many of them in one run (1)' },
  starvation: { type: 'boolean', description: 'A thread that others keep from going on is wrong' },
  'keep-going': { type: 'boolean', description: 'Go on after the first failure' },
  outcomes: { type: 'boolean', description: 'Count how the runs end' },
  'self-check': { type: 'boolean', description: 'Run every schedule twice and compare' },
  workers: { type: 'string', description: 'Threads to search with (one for each core)' },
  driver: { type: 'string', description: 'A driver of your own; may be given more than once' },
  era: { type: 'string', description: 'Kernel rules to use, instead of those the program names' },
  json: { type: 'boolean', description: 'One JSON object a program' },
} as const;

type Switch = 'starvation' | 'keep-going' | 'outcomes' | 'self-check';
type Valued =
  | 'strategy'
  | 'schedules'
  | 'time'
  | 'seed'
  | 'depth'
  | 'bound'
  | 'faults'
  | 'most-faults'
  | 'workers';
type Given = { readonly [K in Switch]?: boolean } & { readonly [K in Valued]?: string };

export const exploreCommand: CommandDef<typeof args> = defineCommand({
  meta: { name: 'explore', description: 'Searches the schedules of programs for what goes wrong' },
  args,
  async run({ args: given, rawArgs }) {
    const flags = given as Given;
    const options = searchOptions(flags);
    const workers = whole(flags, 'workers', 1, WORKERS_MAX) ?? availableParallelism();
    const seconds = whole(flags, 'time', 1, 1_000_000);
    const era = given.era === undefined ? null : parseEra(given.era);
    const file = given.PROGRAM;
    const language = await languageFor(rawArgs);
    const text = readText(file);
    const parsed = parsePrograms(text, { file, language, ...(era === null ? {} : { era }) });
    const programs =
      given.program === undefined ? parsed.programs : [programNamed(parsed, given.program, file)];
    const drivers = valuesOf('driver', rawArgs);
    const many = parsed.programs.length > 1;
    const session = new Session({ options, workers, seconds, json: given.json === true });
    try {
      for (const program of programs) {
        await session.explore({ file, text, program: program.name, drivers, era }, program, many);
      }
    } finally {
      await session.close();
    }
    return session.found ? EXIT_DIFFERENT : EXIT_OK;
  },
});

interface SessionOptions {
  readonly options: SearchOptions & { readonly strategy: StrategyName };
  readonly workers: number;
  readonly seconds: number | null;
  readonly json: boolean;
}

/** Told of what a search has come to. */
type Note = (sum: ExploreSum, more?: { readonly bound: number | null; states: number }) => void;

/** The searches of one command. */
class Session {
  found = false;
  readonly #session: SessionOptions;
  readonly #progress: Progress = new Progress();
  #pool: ExplorePool | null = null;

  constructor(session: SessionOptions) {
    this.#session = session;
  }

  async explore(subject: ExploreSubject, program: Program, many: boolean): Promise<void> {
    const { options } = this.#session;
    const scenario = await scenarioOf(subject);
    const explored = new Exploration({ subject, program, many, options });
    const callOff = onSignal(() => {
      // What was seen so far is worth telling.
      this.#progress.clear();
      this.#tell({ ...explored.now(), interrupted: true });
    });
    const note: Note = (sum, more) => {
      explored.note(sum, more?.states ?? 0);
      const bound = more?.bound ?? null;
      this.#progress.update(progressText(explored.now(), bound));
    };
    try {
      this.#progress.update(program.name);
      if (options.strategy === 'exhaustive') {
        explored.complete = await this.#exhaustive(scenario, note);
      } else await this.#random(subject, note);
      explored.stopClock();
      this.#progress.update(`${program.name}: making what was found smaller`);
      const breather = new Breather();
      for (const found of explored.toTell()) {
        await breather.breathe();
        explored.add(shrunk(scenario, found));
      }
      this.#progress.clear();
      this.#tell(explored.now());
    } finally {
      callOff();
      this.#progress.clear();
    }
    if (explored.hasFailed) this.found = true;
  }

  async close(): Promise<void> {
    await this.#pool?.close();
  }

  #tell(explored: Explored): void {
    if (this.#session.json) print(JSON.stringify(explorationJson(explored)));
    else printAll(explorationLines(explored));
  }

  /** On one core: where to go next depends on what was seen before. */
  async #exhaustive(scenario: Scenario, note: Note): Promise<boolean> {
    const { options, seconds } = this.#session;
    const search = explore(scenario, options);
    const until = seconds === null ? Number.POSITIVE_INFINITY : performance.now() + seconds * 1000;
    for (let more = true; more && performance.now() < until; ) {
      const pause = performance.now() + BREATH_MS;
      while (more && performance.now() < pause) more = search.step();
      const { findings, outcomes, notes, progress } = search;
      const { runs, points, bound, states } = progress;
      note({ runs, points, findings, outcomes, notes }, { bound, states });
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    return search.complete;
  }

  async #random(subject: ExploreSubject, note: Note): Promise<void> {
    const { options, seconds, workers } = this.#session;
    this.#pool ??= new ExplorePool(workers);
    const schedules = options.schedules ?? (seconds === null ? SCHEDULES : Number.MAX_SAFE_INTEGER);
    const sum = await this.#pool.run({
      subject,
      options: { ...options, schedules },
      mostMs: seconds === null ? null : seconds * 1000,
      onProgress: (now) => note(now),
    });
    note(sum);
  }
}

type About = Pick<Explored, 'subject' | 'program' | 'many' | 'options'>;

/** What is known of one program's search. */
class Exploration {
  complete = false;
  readonly #about: About;
  readonly #started: number = performance.now();
  readonly #told: ToldFailure[] = [];
  #sum: ExploreSum = { runs: 0, points: 0, findings: [], outcomes: [], notes: [] };
  #states = 0;
  #seconds: number | null = null;

  constructor(about: About) {
    this.#about = about;
  }

  get hasFailed(): boolean {
    return this.#sum.findings.length > 0;
  }

  note(sum: ExploreSum, states: number): void {
    this.#sum = sum;
    this.#states = states;
  }

  /** The search is over; making failures smaller does not count. */
  stopClock(): void {
    this.#seconds = this.#elapsed();
  }

  add(told: ToldFailure): void {
    // Two failures may come down to the same.
    if (this.#told.every(({ token }) => token !== told.token)) this.#told.push(told);
    else this.#told.push({ ...told, story: null });
  }

  /** The first failure of each run: what else went wrong in it, its story tells. */
  toTell(): readonly FoundFailure[] {
    const { findings } = this.#sum;
    const indexes = findings.map(({ index }) => index);
    return findings.filter(({ index }, i) => indexes.indexOf(index) === i).slice(0, STORIES_MAX);
  }

  now(): Explored {
    return {
      ...this.#about,
      sum: this.#sum,
      states: this.#states,
      complete: this.complete,
      seconds: this.#seconds ?? this.#elapsed(),
      told: this.#told,
      interrupted: false,
    };
  }

  #elapsed(): number {
    return (performance.now() - this.#started) / 1000;
  }
}

/** A failure as small as it gets, with its story. */
function shrunk(scenario: Scenario, found: FoundFailure): ToldFailure {
  // What differs from run to run has no story to tell.
  if (found.failure.kind === 'nondeterminism') {
    return { ...found, found, story: null };
  }
  const small = shrink(scenario, found.schedule, found.failure.kind);
  const { schedule, token, failure } = small ?? found;
  return { found, schedule, token, failure, story: storyOf(scenario, schedule) };
}

// Flags --------------------------------------------------------------------------------------

function searchOptions(given: Given): SearchOptions & { readonly strategy: StrategyName } {
  const strategy = STRATEGIES.find((name) => name === (given.strategy ?? 'mix'));
  if (strategy === undefined) {
    throw new UsageError(
      `--strategy: expected one of ${STRATEGIES.join(', ')}; found ${quoted(given.strategy)}`,
    );
  }
  const only = (flag: Valued, names: readonly StrategyName[]): void => {
    if (given[flag] === undefined || names.includes(strategy)) return;
    const wanted = listText(names, 'or');
    throw new UsageError(`--${flag} goes with --strategy ${wanted}, not ${strategy}`);
  };
  only('depth', ['pct', 'mix']);
  only('bound', ['exhaustive']);
  only('seed', ['random', 'pct', 'mix']);
  only('workers', ['random', 'pct', 'mix']);
  const sites = faultSites(given.faults);
  const most = whole(given, 'most-faults', 1, 1000);
  if (most !== null && sites === null) throw new UsageError('--most-faults needs --faults');
  const schedules = whole(given, 'schedules', 1, Number.MAX_SAFE_INTEGER);
  const depth = whole(given, 'depth', 1, 1000);
  return {
    strategy,
    seed: whole(given, 'seed', 0, Number.MAX_SAFE_INTEGER) ?? 1,
    ...(schedules === null ? {} : { schedules }),
    ...(depth === null ? {} : { depth }),
    bound: given.bound === 'iterative' ? 'iterative' : whole(given, 'bound', 0, 1_000_000),
    faults: sites === null ? null : { sites, most: most ?? 1 },
    starvation: given.starvation === true,
    keepGoing: given['keep-going'] === true,
    outcomes: given.outcomes === true,
    selfCheck: given['self-check'] === true,
  };
}

function faultSites(value: string | undefined): FaultSite[] | null {
  if (value === undefined) return null;
  const known = FAULT_SITES.map(({ site }) => site);
  if (value === 'all') return known;
  return value.split(',').map((word) => {
    const site = known.find((one) => one === word);
    if (site !== undefined) return site;
    throw new UsageError(
      `--faults: expected "all" or sites out of ${known.join(', ')}; found ${quoted(word)}`,
    );
  });
}

function whole(given: Given, flag: Valued, least: number, most: number): number | null {
  const value = given[flag];
  if (value === undefined) return null;
  const number = /^\d{1,16}$/.test(value) ? Number(value) : Number.NaN;
  if (number >= least && number <= most) return number;
  const range = most < 2 ** 50 ? `from ${least} to ${most}` : `from ${least} on`;
  throw new UsageError(`--${flag}: expected a whole number ${range}; found ${quoted(value)}`);
}

function quoted(value: unknown): string {
  return JSON.stringify(value ?? '');
}
