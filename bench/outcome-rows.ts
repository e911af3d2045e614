/**
 * What two CPUs of a real kernel made of small programs, and whether a search of every schedule
 * finds the same possible.
 *
 * test/recordings/outcomes has a program (`NAME.txt`) and its outcomes on Linux 6.1 (`NAME.json`):
 * how often each came on an untouched kernel (`plain`) and where interrupts stalled the CPUs at
 * random (`stalled`). `freed`: results that hold what the device read from memory that was freed, so
 * their `data` means nothing. `exempt`: a cause that the machine does not have, see `EXEMPT`.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { LANGUAGE } from '../src/drivers/index.ts';
import {
  explore,
  programScenario,
  type Scenario,
  type Search,
  type SearchOptions,
} from '../src/explore/index.ts';
import { parsePrograms } from '../src/program/index.ts';

const FOLDER = new URL('../test/recordings/outcomes/', import.meta.url);

/** Causes of outcomes that the machine does not have. */
export const EXEMPT: { readonly lru: string } = {
  lru:
    'pages new to a process wait in a batch of their CPU for the LRU lists, and the batch holds a ' +
    'reference on each while it is emptied; here pages are on their list at once',
};

/** The fields that an operation answers. */
export type Result = Readonly<Record<string, unknown>>;
export type Results = Readonly<Record<string, Result>>;

export interface KernelOutcome {
  readonly count: number;
  readonly plain: number;
  readonly stalled: number;
  readonly results: Results;
  readonly freed?: readonly string[];
  readonly exempt?: keyof typeof EXEMPT;
}

export interface KernelRuns {
  readonly program: string;
  readonly kernel: string;
  readonly runs: number;
  readonly notes: readonly string[];
  /** Most frequent first. */
  readonly outcomes: readonly KernelOutcome[];
}

export interface OutcomeCase {
  readonly kernel: KernelRuns;
  readonly scenario: Scenario;
  /** Of the steps, by number; null for those without. */
  readonly labels: readonly (string | null)[];
}

export function outcomeCases(): OutcomeCase[] {
  const files = readdirSync(FOLDER).filter((file) => file.endsWith('.txt'));
  return files.sort().map((file) => outcomeCase(file.slice(0, -'.txt'.length)));
}

function outcomeCase(name: string): OutcomeCase {
  const read = (file: string): string => readFileSync(new URL(file, FOLDER), 'utf8');
  const kernel = JSON.parse(read(`${name}.json`)) as KernelRuns;
  const text = parsePrograms(read(`${name}.txt`), { file: `${name}.txt`, language: LANGUAGE });
  const program = text.programs[0]!;
  // Only outcomes are looked at: several programs are here because the driver loses stores in them.
  const checks = { lostWrites: false, verify: false, leaks: false, lockOrder: false };
  const scenario = programScenario(text, program, LANGUAGE, { checks });
  return { kernel, scenario, labels: program.steps.map(({ label }) => label) };
}

export function startSearch({ scenario }: OutcomeCase, options: SearchOptions): Search {
  const all = { keepGoing: true, outcomes: true } as const;
  return explore(scenario, { ...all, strategy: 'exhaustive', ...options });
}

export interface OurOutcome {
  readonly results: Results;
  /** A schedule that ends so. */
  readonly token: string;
}

/** What a search has found so far, by its results in canonical text. */
export function outcomesOf({ labels }: OutcomeCase, search: Search): Map<string, OurOutcome> {
  const found: Map<string, OurOutcome> = new Map();
  for (const { state, token } of search.outcomes) {
    const results = resultsOf(state, labels);
    // A run that livelocks has no results.
    if (results === null) continue;
    const key = canonical(results);
    if (!found.has(key)) found.set(key, { results, token });
  }
  return found;
}

/** The results with a label out of the text of a final state. */
function resultsOf(state: string, labels: readonly (string | null)[]): Results | null {
  const results: Record<string, Result> = {};
  let steps = 0;
  for (const line of state.split('\n')) {
    const match = /^step (\d+): (.*)$/.exec(line);
    if (match === null) continue;
    steps++;
    const label = labels[Number(match[1])];
    if (label != null) results[label] = JSON.parse(match[2]!) as Result;
  }
  return steps === labels.length ? results : null;
}

function canonical(results: Results): string {
  const labels = Object.keys(results).sort();
  return JSON.stringify(
    labels.map((label) => {
      const fields = Object.entries(results[label]!);
      return [label, fields.sort(([a], [b]) => (a < b ? -1 : 1))];
    }),
  );
}

/** The outcome of ours that is `outcome`, or null. Freed memory reads as zeros here. */
export function sameOutcome(
  found: ReadonlyMap<string, OurOutcome>,
  { results, freed = [] }: KernelOutcome,
): OurOutcome | null {
  const wanted: Record<string, Result> = { ...results };
  for (const label of freed) {
    const { data, ...rest } = results[label]! as { readonly data: readonly number[] };
    wanted[label] = { ...rest, data: data.map(() => 0) };
  }
  return found.get(canonical(wanted)) ?? null;
}

export function missingOutcomes(
  one: OutcomeCase,
  found: ReadonlyMap<string, OurOutcome>,
): KernelOutcome[] {
  return one.kernel.outcomes.filter((outcome) => sameOutcome(found, outcome) === null);
}

/** Outcomes of ours that the kernel never showed. */
export function ownOutcomes(
  one: OutcomeCase,
  found: ReadonlyMap<string, OurOutcome>,
): OurOutcome[] {
  const { outcomes } = one.kernel;
  const shown = new Set(outcomes.map((outcome) => sameOutcome(found, outcome)));
  return [...found.values()].filter((ours) => !shown.has(ours));
}

/** "r1 ok 7, r3 ret 0 faults 1": for people. */
export function resultsText(results: Results): string {
  return Object.entries(results)
    .map(([label, result]) => {
      const fields = Object.entries(result).map(([name, value]) => {
        const text = Array.isArray(value) ? value.join('/') : String(value);
        return name === 'data' ? text : `${name} ${text}`;
      });
      return `${label} ${fields.join(' ')}`;
    })
    .join(', ');
}
