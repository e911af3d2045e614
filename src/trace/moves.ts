/** Which pages a migration moved, from whom to whom. */
import type { OpenSpans } from './open-spans.ts';
import type { RecordedEndOf, RecordedEvent, RecordedEventOf } from './recorded.ts';

type OwnerChange = RecordedEventOf<'owner_change'>;
type MigrateEnd = RecordedEndOf<'migrate'>;

/** Pages that one migration moved from one owner to another. */
export interface Move {
  /** Null: nothing was there, and the destination has fresh pages, with nothing to copy. */
  readonly from: string | null;
  readonly to: string;
  /** Pages; one that several processes share counts once. */
  readonly pages: number;
}

/** Collects the changes of owner that happen in migrations. */
export class MoveCollector {
  readonly #changes = new Map<number, OwnerChange[]>();

  /** To be called for each record, in order, before `spans` passes it. */
  see(event: RecordedEvent, spans: OpenSpans): void {
    if (event.kind !== 'owner_change') return;
    const mover = spans.mover(event);
    if (mover === null) return;
    const { id } = mover.begin;
    const changes = this.#changes.get(id);
    if (changes === undefined) this.#changes.set(id, [event]);
    else changes.push(event);
  }

  /** The changes of owner of a migration that ends, in order; they are forgotten then. */
  take(end: MigrateEnd): readonly OwnerChange[] {
    const changes = this.#changes.get(end.begin) ?? [];
    this.#changes.delete(end.begin);
    return changes;
  }
}

/** What a migration moved. Pages that nobody has mapped are counted where all went one way. */
export function movesOf(end: MigrateEnd, changes: readonly OwnerChange[]): Move[] {
  const { from, to, migrated } = end;
  if (migrated === 0) return [];
  if (from !== undefined && to !== undefined && to !== null) {
    return [{ from, to, pages: migrated }];
  }
  const moves = new Map<string, { from: string | null; to: string; pages: number }>();
  const seen = new Set<number>();
  for (const change of changes) {
    if (change.to === null || seen.has(change.page)) continue;
    seen.add(change.page);
    const key = JSON.stringify([change.from, change.to]);
    const move = moves.get(key);
    if (move === undefined) moves.set(key, { from: change.from, to: change.to, pages: 1 });
    else move.pages++;
  }
  return [...moves.values()];
}
