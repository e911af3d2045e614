/** Runs a part of a search in a thread of its own: what `ExplorePool` gives its workers to do. */

import type { EraName } from '../core/era.ts';
import {
  explore,
  type FoundFailure,
  type Outcome,
  programScenario,
  type Scenario,
  type SearchOptions,
} from '../explore/index.ts';
import { parsePrograms } from '../program/index.ts';
import { languageWith, loadDriver } from './load-driver.ts';

/** A program to explore, as it can be sent to a thread. */
export interface ExploreSubject {
  /** For messages. */
  readonly file: string;
  readonly text: string;
  /** Name of one program of the text. */
  readonly program: string;
  /** Files of drivers. */
  readonly drivers: readonly string[];
  /** Instead of the era that the header names. */
  readonly era: EraName | null;
}

/** Schedules `first` to `first + schedules - 1` of a search. */
export interface ExploreJob {
  readonly subject: ExploreSubject;
  readonly options: SearchOptions;
}

export interface ExplorePart {
  readonly runs: number;
  readonly points: number;
  readonly findings: readonly FoundFailure[];
  readonly outcomes: readonly Outcome[];
  readonly notes: readonly string[];
}

/** The last one: a pool works at one program after another. */
let known: { readonly key: string; readonly scenario: Scenario } | null = null;

export async function scenarioOf(subject: ExploreSubject): Promise<Scenario> {
  const key = JSON.stringify(subject);
  if (known?.key === key) return known.scenario;
  const files = [];
  for (const path of subject.drivers) files.push(await loadDriver(path));
  const language = languageWith(files);
  const { file, era } = subject;
  const text = parsePrograms(subject.text, { file, language, ...(era === null ? {} : { era }) });
  const program = text.programs.find(({ name }) => name === subject.program)!;
  const scenario = programScenario(text, program, language);
  known = { key, scenario };
  return scenario;
}

export default async function runPart({ subject, options }: ExploreJob): Promise<ExplorePart> {
  const search = explore(await scenarioOf(subject), options);
  while (search.step());
  const { findings, outcomes, notes, progress } = search;
  return { runs: progress.runs, points: progress.points, findings, outcomes, notes };
}
