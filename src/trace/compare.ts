/**
 * One program under several eras, side by side: the first operation that is answered differently,
 * the pages that are different in the end, and which rule of the era table made it so.
 *
 * The machines have the same RAM and devices and differ in nothing but their era.
 */
import { ERAS, type EraName, eraNamed } from '../core/era.ts';
import { SimError } from '../core/errors.ts';
import type { Language } from '../program/language.ts';
import { parsePrograms } from '../program/parse.ts';
import { ProgramError } from '../program/program-error.ts';
import { eraOf } from '../program/rules.ts';
import type { MachineSpec, ProgramText } from '../program/types.ts';
import { foldPages, type PageRun } from './compare-fold.ts';
import {
  differenceAt,
  type PageDifference,
  PageEye,
  type PagePlace,
  placesOf,
} from './compare-pages.ts';
import { Experiments, type Verdict } from './compare-rules.ts';
import {
  type CompareSubject,
  EraRun,
  type OperationPlace,
  type Outcome,
  outcomeKey,
  placeOf,
  type Trespass,
  trespassKey,
} from './compare-run.ts';

/** An operation that is not answered the same in all eras. */
export interface OperationDifference extends OperationPlace {
  /** By era. */
  readonly outcomes: readonly Outcome[];
  /** For each two neighbouring eras that differ here for the first time. */
  readonly why: readonly Verdict[];
}

/** What an era did to device memory without asking whose it is. */
export interface EraTrespasses {
  readonly era: EraName;
  /** All that the machine counted. */
  readonly count: number;
  readonly list: readonly Trespass[];
}

export interface ProgramComparison {
  readonly program: string;
  /** Line of the program's name. */
  readonly line: number;
  /** Oldest first. */
  readonly eras: readonly EraName[];
  /** Bytes of a page. */
  readonly pageSize: number;
  /** How many operations were compared, from the first. */
  readonly compared: number;
  /** Operations of the program. */
  readonly operations: number;
  /** Where an operation ended in an error, so that nothing after it could be compared. */
  readonly stopped: (OperationPlace & { readonly eras: readonly EraName[] }) | null;
  /**
   * The first operation that differs between any of the eras; after it the first one of
   * neighbouring eras that differ only later.
   */
  readonly differences: readonly OperationDifference[];
  /** Pages that differ at the end, runs of equal ones folded together. */
  readonly pages: readonly PageRun[];
  /** By era. */
  readonly trespasses: readonly EraTrespasses[];
  /** For each two neighbouring eras whose trespasses differ. */
  readonly whyTrespasses: readonly Verdict[];
  /** Nothing differs, trespasses included. */
  readonly equal: boolean;
}

/** Runs a program under each era, each time on a fresh machine, and compares. */
export function compareProgram(
  subject: CompareSubject,
  eras: readonly EraName[],
): ProgramComparison {
  const sorted = sortEras(eras);
  if (sorted.length < 2) {
    throw new SimError('bad-argument', 'expected two eras or more to compare');
  }
  return new Comparison(subject, sorted).result();
}

/** Runs of all eras that are moved on together. */
class Lockstep {
  readonly runs: readonly EraRun[];
  readonly #steps: number;

  constructor(subject: CompareSubject, eras: readonly EraName[], listen: boolean) {
    const { machine } = subject;
    this.runs = eras.map((era) => new EraRun(subject, eraOf(machine, era), { listen }));
    this.#steps = subject.program.steps.length;
  }

  get done(): number {
    return this.runs[0]!.outcomes.length;
  }

  get failed(): boolean {
    return this.runs.some((run) => run.failed);
  }

  /** One operation in each era; false if there is none left, or one of them went wrong. */
  step(): boolean {
    if (this.failed || this.done >= this.#steps) return false;
    for (const run of this.runs) run.next();
    return true;
  }

  /** Ends the processes, unless something went wrong before. */
  end(): void {
    if (this.failed) return;
    for (const run of this.runs) run.next();
  }
}

/** The rules behind the differences. */
interface Explanation {
  readonly pages: readonly PageRun[];
  /** For each era and the next: why the first operation differs; null if none does. */
  readonly whyOf: readonly (Verdict | null)[];
  readonly whyTrespasses: readonly Verdict[];
}

class Comparison {
  readonly #subject: CompareSubject;
  readonly #eras: readonly EraName[];
  /** By era, then by operation. */
  #outcomes: readonly (readonly string[])[] = [];
  /** By era. */
  #trespasses: readonly string[] = [];

  constructor(subject: CompareSubject, eras: readonly EraName[]) {
    this.#subject = subject;
    this.#eras = eras;
  }

  result(): ProgramComparison {
    const { program } = this.#subject;
    const first = new Lockstep(this.#subject, this.#eras, true);
    while (first.step());
    const found = differencesNow(first.runs);
    const compared = first.done;
    first.end();
    this.#outcomes = first.runs.map(({ outcomes }) => outcomes.map(outcomeKey));
    this.#trespasses = first.runs.map(trespassKey);
    const indexes = this.#firstIndexes();
    const { pages, whyOf, whyTrespasses } = this.#explain(found, indexes);
    const differences = [...new Set(indexes.filter((index) => index !== null))]
      .sort((a, b) => a - b)
      .map((index) => ({
        ...placeOf(program, index),
        outcomes: first.runs.map(({ outcomes }) => outcomes[index]!),
        why: indexes.flatMap((own, pair) => (own === index ? [whyOf[pair]!] : [])),
      }));
    const trespasses = first.runs.map((run): EraTrespasses => {
      const { trespasses: count } = run.machine.kernel;
      return { era: run.era.name, count, list: run.trespasses };
    });
    const differing = differences.length + pages.length + whyTrespasses.length;
    return {
      program: program.name,
      line: program.line,
      eras: this.#eras,
      pageSize: this.#subject.machine.pageSize,
      compared,
      operations: program.steps.length,
      stopped: this.#stopped(first),
      differences,
      pages,
      trespasses,
      whyTrespasses,
      equal: differing === 0,
    };
  }

  #stopped({ runs, failed, done }: Lockstep): ProgramComparison['stopped'] {
    if (!failed) return null;
    const eras = runs.filter((run) => run.failed).map(({ era }) => era.name);
    return { ...placeOf(this.#subject.program, done - 1), eras };
  }

  /** For each era and the next: the first operation that they answer differently, or null. */
  #firstIndexes(): (number | null)[] {
    return this.#eras.slice(1).map((_, i) => {
      const [older, newer] = [this.#outcomes[i]!, this.#outcomes[i + 1]!];
      const index = older.findIndex((outcome, at) => outcome !== newer[at]);
      return index < 0 ? null : index;
    });
  }

  /** Does it all once more, to see since when pages differ, and finds the rules. */
  #explain(found: readonly FoundPage[], indexes: readonly (number | null)[]): Explanation {
    const quiet = new Set(this.#trespasses).size < 2;
    if (quiet && found.length === 0 && indexes.every((index) => index === null)) {
      return { pages: [], whyOf: [], whyTrespasses: [] };
    }
    const again = new Lockstep(this.#subject, this.#eras, false);
    const since = this.#watch(again, found);
    const whyOfPages = found.map((): Verdict[] => []);
    const whyTrespasses: Verdict[] = [];
    const whyOf = indexes.map((index, pair) => {
      const between = found.flatMap(({ difference: { place }, pairs }, i) =>
        pairs.includes(pair) ? [{ place, i }] : [],
      );
      const olderTrespasses = this.#trespasses[pair]!;
      const newerTrespasses = this.#trespasses[pair + 1]!;
      const alike = olderTrespasses === newerTrespasses;
      if (index === null && between.length === 0 && alike) return null;
      const experiments = new Experiments({
        subject: this.#subject,
        older: again.runs[pair]!,
        newer: again.runs[pair + 1]!,
        olderOutcomes: this.#outcomes[pair]!,
        newerOutcomes: this.#outcomes[pair + 1]!,
        olderTrespasses,
        newerTrespasses,
        places: between.map(({ place }) => place),
      });
      for (const { place, i } of between) whyOfPages[i]!.push(experiments.ofPage(place));
      if (!alike) whyTrespasses.push(experiments.ofTrespasses());
      return index === null ? null : experiments.ofOperation(index);
    });
    const pages = found.map(({ difference }, i) => ({
      difference,
      since: placeOf(this.#subject.program, since[i]!),
      why: whyOfPages[i]!,
    }));
    return { pages: foldPages(this.#eras, pages), whyOf, whyTrespasses };
  }

  /**
   * Runs to where the pages were compared; after which operation each of them first differed between
   * eras in which it differs at the end.
   */
  #watch(lockstep: Lockstep, found: readonly FoundPage[]): number[] {
    const eyes = lockstep.runs.map((run) => new PageEye(run));
    const since = found.map(() => -1);
    let waiting = found.map((_, i) => i);
    while (lockstep.step()) {
      const index = lockstep.done - 1;
      waiting = waiting.filter((i) => {
        const { difference, pairs } = found[i]!;
        if (pairs.every((pair) => pairDifference(eyes, pair, difference.place) === null))
          return true;
        since[i] = index;
        return false;
      });
    }
    return since;
  }
}

/** A page that is not the same in all eras. */
interface FoundPage {
  readonly difference: PageDifference;
  /** Which eras it differs between: 0 stands for the first and the second, and so on. */
  readonly pairs: readonly number[];
}

function differencesNow(runs: readonly EraRun[]): FoundPage[] {
  const eyes = runs.map((run) => new PageEye(run));
  const all = runs.slice(1).map((_, pair) => pair);
  const found: FoundPage[] = [];
  for (const place of placesOf(runs)) {
    const difference = differenceAt(eyes, place);
    if (difference === null) continue;
    const pairs = all.filter((pair) => pairDifference(eyes, pair, place) !== null);
    found.push({ difference, pairs });
  }
  return found;
}

function pairDifference(
  eyes: readonly PageEye[],
  pair: number,
  place: PagePlace,
): PageDifference | null {
  return differenceAt(eyes.slice(pair, pair + 2), place);
}

// --- A text under several eras ------------------------------------------------------------------

export interface CompareTextOptions {
  /** For messages. */
  readonly file: string;
  readonly language: Language;
  /** The eras to compare; without it all in which the text's machine and programs can exist. */
  readonly eras?: readonly EraName[];
}

/** A text of programs, checked for every era. */
export interface ComparableText {
  readonly text: ProgramText;
  /** Oldest first. */
  readonly eras: readonly EraName[];
  /** Eras that nobody asked for and in which the text cannot run, and why. */
  readonly leftOut: readonly { readonly era: EraName; readonly reason: string }[];
}

/**
 * Reads a text for comparison. Its machine has the devices that exist in the oldest of the eras.
 * Throws a `ProgramError` where the text is wrong, or where it cannot be in an era that was asked for.
 */
export function readComparable(text: string, options: CompareTextOptions): ComparableText {
  const { file, language } = options;
  const wanted = sortEras(options.eras ?? ERAS.map(({ name }) => name));
  const leftOut: { era: EraName; reason: string }[] = [];
  const texts: { readonly era: EraName; readonly text: ProgramText }[] = [];
  // The newest first: what is wrong in it is wrong in all of them.
  for (const era of [...wanted].reverse()) {
    try {
      texts.unshift({ era, text: parsePrograms(text, { file, language, era }) });
    } catch (error) {
      if (!(error instanceof ProgramError) || texts.length === 0) throw error;
      if (options.eras !== undefined) throw inEra(error, era);
      leftOut.unshift({ era, reason: error.message });
    }
  }
  return { text: texts[0]!.text, eras: texts.map(({ era }) => era), leftOut };
}

/** Says in which era the text is wrong, where it is not in others. */
function inEra(error: ProgramError, era: EraName): ProgramError {
  const { file, line, expected, found } = error;
  if (expected.includes(era)) return error;
  return new ProgramError(file, line, `${expected}, in era ${era}`, found);
}

/** Compares every program of a text. */
export function* compareText(
  comparable: ComparableText,
  language: Language,
): Generator<ProgramComparison, void, undefined> {
  const { text, eras } = comparable;
  const machine: MachineSpec = text.machine;
  for (const program of text.programs) {
    yield compareProgram({ program, machine, language }, eras);
  }
}

function sortEras(names: readonly EraName[]): EraName[] {
  const asked = new Set(names.map((name) => eraNamed(name).name));
  return ERAS.map(({ name }) => name).filter((name) => asked.has(name));
}
