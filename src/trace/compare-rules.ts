/**
 * Which rule made the difference between two eras, found by experiment: machines are built whose
 * era is one of the two with single rules taken from the other, and the program runs on them.
 */
import { ERA_RULES, ERAS, type Era, type EraName, type EraRuleKey } from '../core/era.ts';
import { differenceAt, PageEye, type PagePlace } from './compare-pages.ts';
import { type CompareSubject, EraRun, outcomeKey, trespassKey } from './compare-run.ts';

/** A rule of the era table that is not the same in two eras. */
export interface RuleChange {
  /** `release` stands for what a driver does by the era's name and not by a rule. */
  readonly key: EraRuleKey | 'release';
  readonly from: Era[keyof Era];
  readonly to: Era[keyof Era];
  /** What the newer kernel does, in one line. */
  readonly summary: string;
  /** The release that changed it. */
  readonly since: string;
  readonly commit: string | null;
}

/** Why the newer era differs from the older one. */
export interface Verdict {
  readonly older: EraName;
  readonly newer: EraName;
  readonly rules: readonly RuleChange[];
  /**
   * `one`: this rule alone turns the older era's answer into the newer one's. `any`: each of the
   * rules does so alone. `all`: only all of them together do, and none of them can be left out.
   */
  readonly need: 'one' | 'any' | 'all';
  /** Taking the rules away from the newer era gives the older one's answer. */
  readonly back: boolean;
}

/** One rule set to another value. */
interface Flip {
  readonly key: keyof Era;
  readonly value: Era[keyof Era];
}

/** What a run with changed rules came to, held against the two eras. */
interface Trial {
  /** How many operations from the start are as in the older era, and in the newer one. */
  readonly asOlder: number;
  readonly asNewer: number;
  /** By position among the watched places: the page is in the end as in that era. */
  readonly pageAsOlder: readonly boolean[];
  readonly pageAsNewer: readonly boolean[];
  /** What was touched without asking whose it is; empty unless the two eras differ in that. */
  readonly trespasses: string;
}

/** Does a trial show what the newer era (or the older one) shows? */
interface Target {
  isNewer(trial: Trial): boolean;
  isOlder(trial: Trial): boolean;
}

const FAILED: Trial = {
  asOlder: 0,
  asNewer: 0,
  pageAsOlder: [],
  pageAsNewer: [],
  trespasses: 'none: no machine',
};

/** With more rules than this, sets of two are not tried before the rules are weeded out. */
const PAIRS_MAX = 20;

export interface ExperimentOptions {
  readonly subject: CompareSubject;
  /** Runs of the two eras whose last operation was the last that is compared, still alive. */
  readonly older: EraRun;
  readonly newer: EraRun;
  /** All that the two eras answered, the end of the program included if it came to that. */
  readonly olderOutcomes: readonly string[];
  readonly newerOutcomes: readonly string[];
  /** What the two eras touched without asking whose it is: `trespassKey`. */
  readonly olderTrespasses: string;
  readonly newerTrespasses: string;
  /** Pages that differ between the two. */
  readonly places: readonly PagePlace[];
}

/** Experiments with the rules in which two eras differ. Every run is done at most once. */
export class Experiments {
  readonly #options: ExperimentOptions;
  readonly #older: Era;
  readonly #newer: Era;
  readonly #olderEye: PageEye;
  readonly #newerEye: PageEye;
  /** Values that bring a rule from the older era to the newer one, oldest first. */
  readonly #flips: readonly Flip[];
  readonly #trials: Map<string, Trial> = new Map();
  /** Pages in plenty come to the same few verdicts; each of them is one object. */
  readonly #verdicts: Map<string, Verdict> = new Map();
  /** Position of each watched place. */
  readonly #watched: Map<string, number>;

  constructor(options: ExperimentOptions) {
    this.#options = options;
    this.#older = options.older.era;
    this.#newer = options.newer.era;
    this.#olderEye = new PageEye(options.older);
    this.#newerEye = new PageEye(options.newer);
    this.#flips = flipsBetween(this.#older, this.#newer);
    this.#watched = new Map(options.places.map((place, i) => [placeKey(place), i]));
  }

  /** Why the operation at `index`, the first that differs, is answered differently. */
  ofOperation(index: number): Verdict {
    return this.#judge({
      isNewer: ({ asNewer }) => asNewer > index,
      isOlder: ({ asOlder }) => asOlder > index,
    });
  }

  /** Why a page is different in the end; `place` is one of those handed in. */
  ofPage(place: PagePlace): Verdict {
    const at = this.#watched.get(placeKey(place))!;
    return this.#judge({
      isNewer: ({ pageAsNewer }) => pageAsNewer[at] === true,
      isOlder: ({ pageAsOlder }) => pageAsOlder[at] === true,
    });
  }

  /** Why other device memory was touched without asking whose it is. */
  ofTrespasses(): Verdict {
    const { olderTrespasses, newerTrespasses } = this.#options;
    return this.#judge({
      isNewer: ({ trespasses }) => trespasses === newerTrespasses,
      isOlder: ({ trespasses }) => trespasses === olderTrespasses,
    });
  }

  #judge(target: Target): Verdict {
    const single = this.#singles(target);
    if (single.length > 0) {
      const both = single.filter((flip) => target.isOlder(this.#backward([flip.key])));
      const chosen = both.length > 0 ? both : single;
      return this.#verdict(target, chosen, chosen.length === 1 ? 'one' : 'any');
    }
    return this.#verdict(target, this.#earliest(target, this.#smallestSet(target)), 'all');
  }

  /** Each rule that does it alone, with the earliest value that does. */
  #singles(target: Target): Flip[] {
    const found: Map<keyof Era, Flip> = new Map();
    for (const flip of this.#flips) {
      if (!found.has(flip.key) && target.isNewer(this.#forward([flip]))) found.set(flip.key, flip);
    }
    return [...found.values()];
  }

  /** Two rules if two do, else as few as are left when none can be taken away any more. */
  #smallestSet(target: Target): Flip[] {
    const last = this.#lastFlips();
    if (last.length <= PAIRS_MAX) {
      for (const [i, one] of last.entries()) {
        for (const two of last.slice(i + 1)) {
          if (target.isNewer(this.#forward([one, two]))) return [one, two];
        }
      }
    }
    let kept = last;
    for (const flip of [...last].reverse()) {
      const fewer = kept.filter((other) => other !== flip);
      if (target.isNewer(this.#forward(fewer))) kept = fewer;
    }
    return kept;
  }

  /** Of a rule that changed twice the first change is meant, if that is enough. */
  #earliest(target: Target, set: readonly Flip[]): readonly Flip[] {
    let chosen = set;
    for (const flip of this.#flips) {
      const at = chosen.findIndex(({ key, value }) => key === flip.key && value !== flip.value);
      if (at < 0 || this.#flips.indexOf(chosen[at]!) < this.#flips.indexOf(flip)) continue;
      const earlier = chosen.with(at, flip);
      if (target.isNewer(this.#forward(earlier))) chosen = earlier;
    }
    return chosen;
  }

  /** Each differing rule once, with its value in the newer era. */
  #lastFlips(): Flip[] {
    return this.#flips.filter(({ key, value }) => value === this.#newer[key]);
  }

  #verdict(target: Target, flips: readonly Flip[], need: Verdict['need']): Verdict {
    const back = target.isOlder(this.#backward(flips.map(({ key }) => key)));
    const id = `${need} ${back} ${flips.map(({ key, value }) => `${key}=${value}`).join(' ')}`;
    let verdict = this.#verdicts.get(id);
    if (verdict === undefined) {
      const rules = flips.map((flip) => describeChange(flip, this.#older));
      verdict = { older: this.#older.name, newer: this.#newer.name, rules, need, back };
      this.#verdicts.set(id, verdict);
    }
    return verdict;
  }

  /** The older era with some rules changed. */
  #forward(flips: readonly Flip[]): Trial {
    return this.#trial(this.#older, flips);
  }

  /** The newer era with some rules as they were in the older one. */
  #backward(keys: readonly (keyof Era)[]): Trial {
    const flips = keys.map((key) => ({ key, value: this.#older[key] }));
    return this.#trial(this.#newer, flips);
  }

  #trial(base: Era, flips: readonly Flip[]): Trial {
    let key = base.name as string;
    for (const flip of flips) key += ` ${flip.key}=${flip.value}`;
    let trial = this.#trials.get(key);
    if (trial === undefined) {
      const changed = Object.fromEntries(flips.map(({ key, value }) => [key, value]));
      trial = this.#run(Object.freeze({ ...base, ...changed }));
      this.#trials.set(key, trial);
    }
    return trial;
  }

  #run(era: Era): Trial {
    const { subject, older, places, olderOutcomes, newerOutcomes } = this.#options;
    const listen = this.#options.olderTrespasses !== this.#options.newerTrespasses;
    let run: EraRun;
    try {
      run = new EraRun(subject, era, { tolerant: true, listen });
    } catch {
      // Such a machine cannot even be built, which is neither the one era's answer nor the other's.
      return FAILED;
    }
    // The pages are looked at when as much was done as on the machines they are held against.
    const count = older.outcomes.length;
    while (run.outcomes.length < count && !run.failed) run.next();
    const comparable = run.outcomes.length === count;
    const eye = new PageEye(run);
    const equals = (other: PageEye): boolean[] =>
      places.map((place) => comparable && differenceAt([eye, other], place) === null);
    const pageAsOlder = equals(this.#olderEye);
    const pageAsNewer = equals(this.#newerEye);
    const all = Math.max(olderOutcomes.length, newerOutcomes.length);
    while (run.outcomes.length < all && !run.failed) run.next();
    const outcomes = run.outcomes.map(outcomeKey);
    return {
      asOlder: agreement(outcomes, olderOutcomes),
      asNewer: agreement(outcomes, newerOutcomes),
      pageAsOlder,
      pageAsNewer,
      trespasses: listen ? trespassKey(run) : '',
    };
  }
}

/** How many outcomes from the start are equal. */
function agreement(one: readonly string[], two: readonly string[]): number {
  let count = 0;
  while (count < one.length && count < two.length && one[count] === two[count]) count++;
  return count;
}

function placeKey({ process, buffer, page }: PagePlace): string {
  return `${process} ${buffer} ${page}`;
}

/**
 * The steps from one era to another, rule by rule; a rule that changed twice in between has two.
 * The era's name comes last: it is no rule, but a driver may go by it.
 */
function flipsBetween(older: Era, newer: Era): Flip[] {
  // By name: a header may have changed rules of both.
  const position = ({ name }: Era): number => ERAS.findIndex((era) => era.name === name);
  const between = ERAS.slice(position(older) + 1, position(newer) + 1);
  const flips: Flip[] = [];
  const keys = (Object.keys(older) as (keyof Era)[]).filter((key) => key !== 'name');
  for (const key of [...keys, 'name'] as const) {
    const values = new Set<Era[keyof Era]>(
      key === 'name' ? [newer.name] : between.map((era) => era[key]),
    );
    if (older[key] === newer[key]) continue;
    for (const value of values) if (value !== older[key]) flips.push({ key, value });
  }
  return flips;
}

function describeChange({ key, value }: Flip, older: Era): RuleChange {
  if (key === 'name') {
    const summary = 'what a driver does by the release itself, and not by a rule of the table';
    const since = String(value);
    return { key: 'release', from: older.name, to: value, summary, since, commit: null };
  }
  const rule = ERA_RULES.find((one) => one.key === key && one.value === value);
  return {
    key,
    from: older[key],
    to: value,
    summary: rule?.summary ?? `${key} is ${value}`,
    since: rule?.since ?? '',
    commit: rule?.commit ?? null,
  };
}
