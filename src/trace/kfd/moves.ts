/** What KFD must know when a migration begins: it tells the places at once, we only at the end. */
import { type EventSource, eventsOf } from '../event-source.ts';
import { MoveCollector } from '../moves.ts';
import { OpenSpans } from '../open-spans.ts';
import type { RecordedEndOf, RecordedEventOf } from '../recorded.ts';
import { KFD_RAM, type KfdNodes } from './nodes.ts';

/** Pages that follow each other in a process and go the same way. */
export interface KfdMove {
  readonly pid: number;
  /** First byte. */
  readonly start: number;
  pages: number;
  /** Node numbers. */
  readonly from: number;
  readonly to: number;
}

/** The moves of each migration that moved something, by the id of its beginning. */
export function planKfdMoves(source: EventSource, nodes: KfdNodes): Map<number, KfdMove[]> {
  const { pageSize } = source.meta;
  const plan = new Map<number, KfdMove[]>();
  const spans = new OpenSpans();
  const collector = new MoveCollector();
  for (const event of eventsOf(source)) {
    collector.see(event, spans);
    if (event.kind === 'migrate' && event.phase === 'end') {
      const all = movesOf(event, collector.take(event), nodes, pageSize);
      // KFD tells nothing of pages that stay in RAM.
      const moves = all.filter(({ from, to }) => from !== KFD_RAM || to !== KFD_RAM);
      if (moves.length > 0) plan.set(event.begin, moves);
    }
    spans.pass(event);
  }
  return plan;
}

/** One line for the whole range where all of it went one way, as KFD has it; else runs of pages. */
function movesOf(
  end: RecordedEndOf<'migrate'>,
  changes: readonly RecordedEventOf<'owner_change'>[],
  nodes: KfdNodes,
  pageSize: number,
): KfdMove[] {
  if (end.migrated === 0) return [];
  const { pid, start, pages } = end;
  // Fresh device pages in the place of nothing: to KFD they, too, come from RAM.
  const from = end.from === null ? KFD_RAM : nodes.ofHome(end.from);
  const to = nodes.ofHome(end.to);
  if (pid !== null && from !== undefined && to !== undefined) {
    return [{ pid, start, pages, from, to }];
  }
  return runsOf(changes, nodes, pageSize);
}

function runsOf(
  changes: readonly RecordedEventOf<'owner_change'>[],
  nodes: KfdNodes,
  pageSize: number,
): KfdMove[] {
  const runs: KfdMove[] = [];
  const sorted = [...changes].sort((a, b) => a.pid - b.pid || a.va - b.va);
  for (const change of sorted) {
    const from = nodes.ofHome(change.from) ?? KFD_RAM;
    const to = nodes.ofHome(change.to);
    if (to === undefined) continue;
    const { pid, va } = change;
    const last = runs.at(-1);
    const follows =
      last !== undefined && last.pid === pid && last.start + last.pages * pageSize === va;
    if (follows && last.from === from && last.to === to) last.pages++;
    else runs.push({ pid, start: va, pages: 1, from, to });
  }
  return runs;
}
