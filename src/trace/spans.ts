/** Finding records by id, and the beginnings of ends. */
import { badRecording } from './bytes.ts';
import type { Log, RecordColumns, Table } from './columns.ts';
import { SHAPES } from './schema.ts';

/** Positions by id. Ids usually follow each other, and then nothing is kept. */
export class IdIndex {
  readonly #log: Log;
  readonly #positions: ReadonlyMap<number, number> | null;

  constructor(log: Log) {
    this.#log = log;
    this.#positions = isSequence(log) ? null : positionsOf(log);
  }

  /** The position of the record with that `id`, or -1. */
  indexOf(id: number): number {
    if (this.#positions !== null) return this.#positions.get(id) ?? -1;
    const { id: ids, length } = this.#log;
    const at = length === 0 ? -1 : id - ids[0]!;
    return Number.isInteger(at) && at >= 0 && at < length ? at : -1;
  }
}

function isSequence({ id, length }: Log): boolean {
  for (let i = 1; i < length; i++) if (id[i] !== id[0]! + i) return false;
  return true;
}

function positionsOf({ id, length }: Log): Map<number, number> {
  const positions: Map<number, number> = new Map();
  for (let i = 0; i < length; i++) positions.set(id[i]!, i);
  return positions;
}

/** The row that each record has in the table of its shape. */
export function rowsOf({ shape, length }: Log): Uint32Array {
  const counts = new Uint32Array(SHAPES.length);
  const rows = new Uint32Array(length);
  for (let i = 0; i < length; i++) rows[i] = counts[shape[i]!]!++;
  return rows;
}

/** Every end names a beginning of its kind; what is not so is told as damage at `offset`. */
export function checkBegins({ log, tables }: RecordColumns, offset: number): void {
  const ids = new IdIndex(log);
  const rows = rowsOf(log);
  for (let i = 0; i < log.length; i++) {
    const { kind, form } = SHAPES[log.shape[i]!]!;
    if (form !== 'end') continue;
    const id = log.id[i]!;
    const begin = ids.indexOf(id - beginBack(tables[log.shape[i]!]!, rows[i]!));
    const found = begin < 0 ? undefined : SHAPES[log.shape[begin]!];
    if (found?.kind !== kind || found.form !== 'begin') {
      throw badRecording(offset, `record ${id} ends a ${kind} that never began`);
    }
  }
}

function beginBack({ columns }: Table, row: number): number {
  const { begin } = columns;
  return begin![row]!;
}
