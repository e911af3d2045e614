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
  readonly runs: number;
  readonly points: number;
  readonly findings: readonly FoundFailure[];
  readonly outcomes: readonly Outcome[];
  readonly notes: readonly string[];
}

export interface PoolSearch {
  readonly subject: ExploreSubject;
  /** As for `explore`; `first` and `schedules` are those of the whole. Not for 'exhaustive'. */
  readonly options: SearchOptions & { readonly schedules: number };
  /** No further part begins after so many milliseconds; null for no such limit. */
  readonly mostMs: number | null;
  onProgress(sum: ExploreSum): void;
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
    const total = new Total();
    const begin = options.first ?? 0;
    const end = begin + options.schedules;
    let next = begin;
    let part = 0;
    let size = FIRST_PART;
    let failed = false;
    const mayBegin = (): boolean => {
      // Parts begin in order: whatever begins after a failure has higher numbers than it.
      if (next >= end || failed) return false;
      return mostMs === null || performance.now() - started < mostMs;
    };
    const work = async (): Promise<void> => {
      while (mayBegin()) {
        const number = part++;
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
        if (!keepsGoing && result.findings.length > 0) failed = true;
        total.add(number, result, !keepsGoing);
        onProgress(total.sum);
      }
    };
    await Promise.all(Array.from({ length: this.workers }, work));
    return total.sum;
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}

/** Adds up parts in the order of their numbers, in whatever order they come. */
class Total {
  #runs = 0;
  #points = 0;
  #notes: readonly string[] = [];
  readonly #findings: FoundFailure[] = [];
  readonly #known: Set<string> = new Set();
  readonly #outcomes: Map<string, Outcome> = new Map();
  /** Those that came before one with a lower number. */
  readonly #waiting: Map<number, ExplorePart> = new Map();
  #next = 0;
  #isOver = false;

  /** `last`: what comes after the first part with a failure does not count. */
  add(number: number, part: ExplorePart, last: boolean): void {
    this.#waiting.set(number, part);
    for (let now = this.#take(); now !== null; now = this.#take()) {
      this.#addUp(now);
      if (last && now.findings.length > 0) this.#isOver = true;
    }
  }

  get sum(): ExploreSum {
    const outcomes = [...this.#outcomes.values()].sort((a, b) => b.count - a.count);
    const findings = [...this.#findings];
    return { runs: this.#runs, points: this.#points, findings, outcomes, notes: this.#notes };
  }

  #take(): ExplorePart | null {
    const part = this.#waiting.get(this.#next);
    if (part === undefined || this.#isOver) return null;
    this.#waiting.delete(this.#next++);
    return part;
  }

  #addUp({ runs, points, notes, findings, outcomes }: ExplorePart): void {
    this.#runs += runs;
    this.#points += points;
    this.#notes = notes;
    for (const found of findings) {
      const key = `${found.failure.kind} ${found.failure.message}`;
      if (!this.#known.has(key)) this.#findings.push(found);
      this.#known.add(key);
    }
    for (const outcome of outcomes) {
      const same = this.#outcomes.get(outcome.state);
      const count = (same?.count ?? 0) + outcome.count;
      this.#outcomes.set(outcome.state, { ...(same ?? outcome), count });
    }
  }
}
