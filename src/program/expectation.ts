/**
 * Lines `expect …` of a program: how they are written, and whether they hold.
 *
 *     expect r1.data=100 or r1.data=9 and value(0,0)=9
 */
import { leafIndex } from '../core/mm/page-table.ts';
import { PTE_NONE } from '../core/mm/pte.ts';
import { NO_PAGE, type Page } from '../core/units.ts';
import type { ProgramRunner } from './run.ts';
import type { Json, Result } from './types.ts';

/** One comparison. */
export type Atom = {
  /** As written. */
  readonly text: string;
  /** `=` or `!=` */
  readonly equal: boolean;
  readonly value: string;
} & (
  | {
      readonly kind: 'result';
      readonly label: string;
      readonly step: number;
      readonly field: string;
    }
  | {
      readonly kind: 'value' | 'owner';
      readonly process: number;
      readonly buffer: number;
      readonly offset: number;
    }
);

/** A line `expect`. */
export interface Expectation {
  readonly line: number;
  /** How many steps of the program stand before it. */
  readonly after: number;
  /** As written, without the word `expect`. */
  readonly text: string;
  /** It holds if all atoms of any of these hold. */
  readonly clauses: readonly (readonly Atom[])[];
}

/** What came of a line `expect`. */
export interface ExpectationResult {
  readonly expectation: Expectation;
  readonly holds: boolean;
  /** What everything it asks for is: "r1.data=7, value(0,0)=9". */
  readonly found: string;
}

/** What a result does not have, or a process that does not exist. */
const NOTHING = 'nothing';

export function checkExpectation(
  runner: ProgramRunner,
  expectation: Expectation,
): ExpectationResult {
  const found: Map<string, string> = new Map();
  const holds = (atom: Atom): boolean => {
    const now = currentText(runner, atom);
    found.set(subjectOf(atom), now);
    return (now === atom.value) === atom.equal;
  };
  // Every atom is looked at, for the message tells all of them.
  const clauses = expectation.clauses.map((atoms) => atoms.map(holds).every((one) => one));
  return {
    expectation,
    holds: clauses.some((one) => one),
    found: [...found].map(([subject, now]) => `${subject}=${now}`).join(', '),
  };
}

/** Does it ask for the result of one of these steps? Without them it cannot be checked. */
export function asksFor({ clauses }: Expectation, steps: ReadonlySet<number>): boolean {
  return clauses.some((atoms) =>
    atoms.some((atom) => atom.kind === 'result' && steps.has(atom.step)),
  );
}

function subjectOf({ text, equal, value }: Atom): string {
  return text.slice(0, text.length - value.length - (equal ? 1 : 2));
}

function currentText(runner: ProgramRunner, atom: Atom): string {
  if (atom.kind === 'result') return fieldText(runner.results[atom.step], atom.field);
  const page = pageOf(runner, atom);
  if (page === undefined) return NOTHING;
  const { pages } = runner.machine.kernel;
  if (atom.kind === 'value') return String(page === null ? 0 : pages.read32(page, 0));
  return page === null ? 'none' : ownerName(runner, page);
}

/** A field of a result as an `expect` writes it: lists with commas. */
export function fieldText(result: Result | undefined, field: string): string {
  const value: Json | undefined = result?.[field];
  if (value === undefined) return NOTHING;
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? JSON.stringify(value)
    : String(value);
}

/** Null where nothing or only the zero page is mapped; undefined without such a process. */
function pageOf(
  runner: ProgramRunner,
  { process: number, buffer, offset }: Exclude<Atom, { readonly kind: 'result' }>,
): Page | null | undefined {
  const owner = runner.processes.get(number);
  if (owner === undefined) return undefined;
  const { process: proc, buffers } = owner;
  const start = buffers.get(buffer)?.address ?? 0;
  const vpn = proc.mm.vpn(start) + offset;
  const leaf = proc.mm.pageTable.leaf(vpn);
  const at = leafIndex(vpn);
  if (leaf === null || leaf.kind(at) === PTE_NONE) return null;
  const page = leaf.page[at]!;
  return page === NO_PAGE ? null : page;
}

/** As an `expect` writes it: "ram", or the device; spaces of a name are underscores. */
export function ownerName({ machine }: ProgramRunner, page: Page): string {
  const home = machine.kernel.pages.homeOf(page);
  return home === 'system' || home === null ? 'ram' : ownerWord(home.name);
}

export function ownerWord(name: string): string {
  return name.replaceAll(' ', '_');
}
