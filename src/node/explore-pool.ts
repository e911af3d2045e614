/**
 * Searches schedules on several cores.
 *
 * Schedule number i depends on the seed and on i alone, so it does not matter who runs it. Where a
 * search ends with its first failure, that is the one with the lowest number, and only schedules up
 * to it count: the answer is the same for any number of workers.
 */
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';
import type { FoundFailure, Outcome, SearchOptions } from '../explore/index.ts';
import type { ExploreJob, ExplorePart, ExploreSubject } from './explore-worker.ts';

const ENDING = extname(import.meta.url);
/** The first part of a search is so long... */
const FIRST_PART = 64;
/** ...and later ones so long that they take about this time. */
const PART_MS = 200;
const PART_MAX = 4096;

/** What a search has come to. */
export interface ExploreSum {
  runs: number;
  points: number;
  findings: FoundFailure[];
  outcomes: Outcome[];
  notes: readonly string[];
}

export interface PoolSearch {
  readonly subject: ExploreSubject;
  /** As for `explore`; `first` and `schedules` are those of the whole. Not for 'exhaustive'. */
  readonly options: SearchOptions & { readonly schedules: number };
  /** No further part begins after so many milliseconds; null for no such limit. */
  readonly mostMs: number | null;
  onProgress(sum: ExploreSum): void;
}

interface Part {
  readonly first: number;
  readonly result: ExplorePart;
}

export class ExplorePool {
  readonly workers: number;
  readonly #pool: Piscina<ExploreJob, ExplorePart>;

  constructor(workers: number) {
    this.workers = workers;
    this.#pool = new Piscina<ExploreJob, ExplorePart>({
      filename: fileURLToPath(new URL(`./explore-worker${ENDING}`, import.meta.url)),
      minThreads: workers,
      maxThreads: workers,
      ...(ENDING === '.ts' ? { execArgv: ['--import', 'tsx'] } : {}),
    });
  }

  /** Runs a search to its end. */
  async run(search: PoolSearch): Promise<ExploreSum> {
    const { subject, options, mostMs, onProgress } = search;
    const keepsGoing = options.keepGoing === true;
    const started = performance.now();
    const parts: Part[] = [];
    const begin = options.first ?? 0;
    const end = begin + options.schedules;
    let next = begin;
    let size = FIRST_PART;
    let firstFailing = Number.POSITIVE_INFINITY;
    const mayBegin = (): boolean => {
      if (next >= end || next > firstFailing) return false;
      return mostMs === null || performance.now() - started < mostMs;
    };
    const work = async (): Promise<void> => {
      while (mayBegin()) {
        const first = next;
        const schedules = Math.min(size, end - first);
        next += schedules;
        const at = performance.now();
        const result = await this.#pool.run({
          subject,
          options: { ...options, first, schedules },
        });
        const ms = performance.now() - at;
        if (result.runs === schedules) {
          size = Math.max(1, Math.min(PART_MAX, Math.ceil((schedules * PART_MS) / ms)));
        }
        parts.push({ first, result });
        const failing = result.findings[0]?.index ?? Number.POSITIVE_INFINITY;
        if (!keepsGoing) firstFailing = Math.min(firstFailing, failing);
        onProgress(sumOf(parts, firstFailing));
      }
    };
    await Promise.all(Array.from({ length: this.workers }, work));
    return sumOf(parts, firstFailing);
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}

/** Adds up the parts that count: those that begin no later than the first failure. */
function sumOf(parts: readonly Part[], firstFailing: number): ExploreSum {
  const counted = parts.filter(({ first }) => first <= firstFailing);
  counted.sort((a, b) => a.first - b.first);
  const sum: ExploreSum = { runs: 0, points: 0, findings: [], outcomes: [], notes: [] };
  const known: Set<string> = new Set();
  const outcomes: Map<string, Outcome> = new Map();
  for (const { result } of counted) {
    sum.runs += result.runs;
    sum.points += result.points;
    sum.notes = result.notes;
    for (const found of result.findings) {
      const key = `${found.failure.kind} ${found.failure.message}`;
      if (!known.has(key)) sum.findings.push(found);
      known.add(key);
    }
    for (const outcome of result.outcomes) {
      const same = outcomes.get(outcome.state);
      const count = (same?.count ?? 0) + outcome.count;
      outcomes.set(outcome.state, { ...(same ?? outcome), count });
    }
  }
  sum.outcomes = [...outcomes.values()].sort((a, b) => b.count - a.count);
  return sum;
}
