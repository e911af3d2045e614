/** Why a page belonged to whom it did: for each change of its owner, what led to it. */
import { SimError } from '../core/errors.ts';
import type { Va } from '../core/units.ts';
import type { OwnerChange, OwnerSpan } from './history.ts';
import { type History, isExplained, isUntil, type Moment } from './history.ts';
import type { RecordedEnd, RecordedEvent, RecordedEventOf } from './recorded.ts';

/** One cause in a chain: a record and, where it is a span that ended, its end. */
export interface Cause {
  readonly event: RecordedEvent;
  readonly end: RecordedEnd | null;
}

export interface MigrationStep {
  readonly step: RecordedEventOf<'migrate_phase'>['step'];
  /** Ids of its records; the end is null where it has none. */
  readonly begin: number;
  readonly end: number | null;
}

/** Who was told that entries change, before they did. */
export interface Invalidation {
  readonly invalidate: RecordedEventOf<'invalidate'>;
  readonly told: readonly RecordedEventOf<'invalidate_call'>[];
}

/** A change of owner and what led to it. */
export interface ChangeExplained {
  readonly type: 'change';
  readonly change: OwnerChange;
  /** The page frame before, where the recording tells of one. */
  readonly frameBefore: number | null;
  /** From the root, an access or a call, down to the change itself. */
  readonly chain: readonly Cause[];
  /** False where the recording does not reach back to an access or a call. */
  readonly complete: boolean;
  /** The steps of the migration that changed it; empty if none did. */
  readonly steps: readonly MigrationStep[];
  readonly invalidations: readonly Invalidation[];
  /** Who took what belonged to somebody else on the way. */
  readonly trespasses: readonly RecordedEventOf<'trespass'>[];
}

/** A migration that looked at the page and left it where it was. */
export interface AttemptExplained {
  readonly type: 'attempt';
  /** From the root down to the migration. */
  readonly chain: readonly Cause[];
  /** Who kept the page. */
  readonly owner: string | null;
  /** How many like it followed in the same access or call, this one among them. */
  readonly times: number;
}

export interface PageExplained {
  readonly pid: number;
  /** First byte of the page, and the first after it. */
  readonly start: Va;
  readonly end: Va;
  readonly owners: readonly OwnerSpan[];
  /** The moment asked for, or null for the whole life. */
  readonly at: Moment | null;
  /** Whose it was at that moment, or at the end. */
  readonly owner: string | null;
  /** In order. With a moment, only the change that led to the owner at that moment. */
  readonly steps: readonly (ChangeExplained | AttemptExplained)[];
}

/**
 * The life of the page at `va` of a process, or how it got its owner at one moment. Throws a
 * `SimError` (bad-argument) where the process never had a page there.
 */
export function explainPage(history: History, pid: number, va: Va, at?: Moment): PageExplained {
  const changes = history.changes(pid, va);
  const start = history.pageStart(va);
  if (changes.length === 0) {
    throw new SimError('bad-argument', `process ${pid} never had a page at 0x${va.toString(16)}`, {
      pid,
      va,
    });
  }
  const told = at === undefined ? changes : changes.filter((one) => isUntil(one, at)).slice(-1);
  const explained = told.map((change) => explainChange(history, changes, change));
  const attempts = at === undefined ? attemptsOn(history, pid, start, changes) : [];
  return {
    pid,
    start,
    end: start + history.recording.meta.pageSize,
    owners: history.life(pid, va),
    at: at ?? null,
    owner: history.ownerAt(pid, va, at),
    steps: [...explained, ...attempts].sort((a, b) => idOf(a) - idOf(b)),
  };
}

function idOf({ chain }: ChangeExplained | AttemptExplained): number {
  return chain.at(-1)!.event.id;
}

function explainChange(
  history: History,
  changes: readonly OwnerChange[],
  change: OwnerChange,
): ChangeExplained {
  const upwards = history.chain(change);
  const chain = upwards.toReversed();
  const before = changes[changes.indexOf(change) - 1];
  const mover = moverOf(chain);
  return {
    type: 'change',
    change,
    frameBefore: before === undefined || before.to === null ? null : before.page,
    chain: causes(history, chain),
    complete: isExplained(upwards),
    steps: mover?.kind === 'migrate' ? stepsOf(history, mover.id) : [],
    invalidations: invalidationsOf(history, mover, chain, change),
    trespasses: mover === undefined ? [] : trespassesOf(history, mover.id, change),
  };
}

/** Records with their ends; the steps of a migration are told with the migration. */
function causes(history: History, chain: readonly RecordedEvent[]): Cause[] {
  return chain
    .filter(({ kind }) => kind !== 'migrate_phase' && kind !== 'invalidate')
    .map((event) => ({ event, end: history.endOf(event) }));
}

/** What did it: the innermost migration, or else the innermost fault or call. */
function moverOf(chain: readonly RecordedEvent[]): RecordedEvent | undefined {
  const movers = ['cpu_fault', 'device_fault', 'call'];
  return (
    chain.findLast(({ kind }) => kind === 'migrate') ??
    chain.findLast(({ kind }) => movers.includes(kind))
  );
}

function stepsOf(history: History, migration: number): MigrationStep[] {
  return history
    .within(migration, ['migrate_phase'])
    .filter(({ parent }) => parent === migration)
    .map((phase) => ({
      step: phase.step,
      begin: phase.id,
      end: history.endOf(phase)?.id ?? null,
    }));
}

function invalidationsOf(
  history: History,
  mover: RecordedEvent | undefined,
  chain: readonly RecordedEvent[],
  change: OwnerChange,
): Invalidation[] {
  const around = chain.filter((event) => event.kind === 'invalidate');
  const inside = mover === undefined ? [] : history.within(mover.id, ['invalidate']);
  const all = new Map([...around, ...inside].map((one) => [one.id, one]));
  return [...all.values()]
    .filter(({ start, end, id }) => start <= change.va && change.va < end && id < change.id)
    .sort((a, b) => a.id - b.id)
    .map((invalidate) => ({
      invalidate,
      told: history
        .within(invalidate.id, ['invalidate_call'])
        .filter(({ parent }) => parent === invalidate.id),
    }));
}

function trespassesOf(
  history: History,
  mover: number,
  change: OwnerChange,
): RecordedEventOf<'trespass'>[] {
  return history
    .within(mover, ['trespass'])
    .filter(({ pid, va, id }) => pid === change.pid && va === change.va && id < change.id);
}

/** Migrations over the page, while it was somebody's, in which nothing became of it. */
function attemptsOn(
  history: History,
  pid: number,
  va: Va,
  changes: readonly OwnerChange[],
): AttemptExplained[] {
  const movers = new Set(changes.map((change) => moverOf(history.chain(change).reverse())?.id));
  const attempts: AttemptExplained[] = [];
  for (const begin of history.migrationsOver(pid, va)) {
    const owner = changes.findLast(({ id }) => id < begin.id)?.to ?? null;
    if (movers.has(begin.id) || owner === null) continue;
    const chain = history.chain(begin).reverse();
    const last = attempts.at(-1);
    if (last !== undefined && last.owner === owner && isLike(last, chain)) {
      attempts[attempts.length - 1] = { ...last, times: last.times + 1 };
      continue;
    }
    attempts.push({ type: 'attempt', chain: causes(history, chain), owner, times: 1 });
  }
  return attempts;
}

/** True for another migration for the same owner in the same access or call. */
function isLike({ chain }: AttemptExplained, other: readonly RecordedEvent[]): boolean {
  const mine = chain.at(-1)!.event;
  const yours = other.at(-1)!;
  if (mine.kind !== 'migrate' || yours.kind !== 'migrate') return false;
  return chain[0]!.event.id === other[0]!.id && mine.owner === yours.owner;
}
