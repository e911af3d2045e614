/**
 * The behaviours that every driver of device memory shares, as cases for any test runner:
 *
 *     for (const one of driverSuite(spec)) {
 *       test.skipIf(one.skip !== undefined)(one.name, one.run);
 *     }
 */
import { DEFAULT_ERA, eraNamed } from '../core/era.ts';
import { SimError } from '../core/errors.ts';
import { KiB, PAGE_SIZE } from '../core/units.ts';
import type { DeviceDriver } from '../program/types.ts';
import type { CaseDef, Section } from './cases/case.ts';
import { FAILURES } from './cases/failures.ts';
import { HOME } from './cases/home.ts';
import { MAPPINGS } from './cases/mappings.ts';
import { NOTIFIERS } from './cases/notifiers.ts';
import { OWNER } from './cases/owner.ts';
import { PINS } from './cases/pins.ts';
import { RANGES } from './cases/ranges.ts';
import { REMOVAL } from './cases/removal.ts';
import { SHARING } from './cases/sharing.ts';
import { THREADS } from './cases/threads.ts';
import { DriverFailure } from './failure.ts';
import type { DriverSpec } from './spec.ts';
import { type Setting, Stage } from './stage.ts';

const SECTIONS: readonly Section[] = [
  OWNER,
  HOME,
  SHARING,
  RANGES,
  MAPPINGS,
  NOTIFIERS,
  FAILURES,
  REMOVAL,
  PINS,
  THREADS,
];

export interface DriverCase {
  /** Unique in a suite. */
  readonly name: string;
  /**
   * What it is about: owner, home, sharing, ranges, mappings, notifiers, failures, removal, pins or
   * threads.
   */
  readonly section: string;
  /** Why it is not run. */
  readonly skip?: string;
  /** Throws a `DriverFailure` whose message names the fault. */
  readonly run: () => void;
}

/** What came of a case. */
export interface CaseResult {
  readonly name: string;
  readonly section: string;
  readonly outcome: 'ok' | 'failed' | 'skipped';
  /** The fault, or the reason of the skip; empty if all is well. */
  readonly message: string;
}

/** The cases for one driver, once an era and page size of its spec, in the order to run them. */
export function driverSuite<D extends DeviceDriver>(spec: DriverSpec<D>): readonly DriverCase[] {
  const plain = spec as unknown as DriverSpec;
  checkSkips(plain);
  const settings = settingsOf(plain);
  return settings.flatMap((setting) =>
    SECTIONS.flatMap(({ name, cases }) =>
      cases.map((one) => bind(plain, name, one, setting, settings.length > 1)),
    ),
  );
}

/** Runs cases one after another. */
export function* runCases(cases: readonly DriverCase[]): Generator<CaseResult, void, undefined> {
  for (const { name, section, skip, run } of cases) {
    if (skip !== undefined) {
      yield { name, section, outcome: 'skipped', message: skip };
      continue;
    }
    try {
      run();
      yield { name, section, outcome: 'ok', message: '' };
    } catch (error) {
      if (!(error instanceof DriverFailure)) throw error;
      yield { name, section, outcome: 'failed', message: error.message };
    }
  }
}

function settingsOf({ eras, pageSizes }: DriverSpec): Setting[] {
  return (eras ?? [DEFAULT_ERA]).flatMap((era) =>
    (pageSizes ?? [PAGE_SIZE]).map((pageSize) => ({ era, pageSize })),
  );
}

function bind(
  spec: DriverSpec,
  section: string,
  one: CaseDef,
  setting: Setting,
  told: boolean,
): DriverCase {
  const { era, pageSize } = setting;
  const under = pageSize === PAGE_SIZE ? era : `${era}, ${pageSize / KiB} KiB pages`;
  const name = `${section}: ${one.name}${told ? ` (${under})` : ''}`;
  const run = (): void => {
    new Stage(spec, setting).play(one.run);
  };
  const skip = reasonToSkip(spec, one, setting);
  return skip === null ? { name, section, run } : { name, section, skip, run };
}

function reasonToSkip(spec: DriverSpec, one: CaseDef, setting: Setting): string | null {
  const era = eraNamed(setting.era);
  const skip = spec.skips?.[one.name];
  const reason = typeof skip === 'function' ? skip(era) : (skip ?? null);
  if (reason !== null) return reason;
  const missing = (one.needs ?? []).filter((call) => spec[call] === undefined);
  if (missing.length > 0) return `the spec has no ${missing.join(', no ')}`;
  return one.unfit?.(era) ?? null;
}

function checkSkips({ name, skips }: DriverSpec): void {
  const known = new Set(SECTIONS.flatMap(({ cases }) => cases.map((one) => one.name)));
  for (const [skipped, reason] of Object.entries(skips ?? {})) {
    if (!known.has(skipped)) {
      throw new SimError('bad-argument', `${name}: no case is named ${JSON.stringify(skipped)}`);
    }
    if (typeof reason === 'string' && reason.trim() === '') {
      throw new SimError('bad-argument', `${name}: a skip of "${skipped}" needs its reason`);
    }
  }
}
