/**
 * Rows of records in the order in which they were told, before anybody asks for columns.
 *
 * A row is the number of its shape and then its fields in the order of the schema, whole numbers
 * of 32 bits apart from those that may be wider. Time and thread stand in rows of their own, only
 * where they change; ids follow each other. Rows are written into pieces that never move.
 */
import { makeLog, makeTable, type RecordColumns, type Table } from './columns.ts';
import { isWide, SHAPE_FIELDS, SHAPES } from './schema.ts';

/** In place of a shape. */
const THREAD = -1;
const TIME = -2;

/**
 * Numbers of 32 bits that fit into the first piece, and into those after it, at most; half as many wide
 * ones, which is more than most records have.
 */
const FIRST_ROOM = 1 << 10;
const MOST_ROOM = 1 << 15;

/** No row has more numbers of one width, a new time and thread before it included. */
const ROW_MAX = Math.max(...SHAPE_FIELDS.map((fields) => fields.length)) + 4;

interface Piece {
  readonly small: Int32Array;
  readonly wide: Float64Array;
  /** Where the numbers of 32 bits end, and with them the rows. */
  readonly smallEnd: number;
}

export class Rows {
  /** Records so far. */
  length = 0;
  /** The piece that is being written, and where its next numbers go. */
  #small: Int32Array = new Int32Array(FIRST_ROOM);
  #wide: Float64Array = new Float64Array(FIRST_ROOM / 2);
  #smallAt = 0;
  #wideAt = 0;
  readonly #full: Piece[] = [];
  #firstId = 0;
  #thread = 0;
  #timeNs = 0;

  /** Is there a row of the record with that `id`, which is no later one? */
  has(id: number): boolean {
    return this.length > 0 && id >= this.#firstId;
  }

  /** Begins a row; its fields are put behind. `id` is one more than that of the row before. */
  add(shape: number, id: number, timeNs: number, thread: number): void {
    if (this.length === 0) this.#firstId = id;
    const { length } = this.#small;
    if (this.#smallAt > length - ROW_MAX || this.#wideAt > length / 2 - ROW_MAX) this.#newPiece();
    if (thread !== this.#thread) {
      this.#thread = thread;
      this.put(THREAD);
      this.put(thread);
    }
    if (timeNs !== this.#timeNs) {
      this.#timeNs = timeNs;
      this.put(TIME);
      this.putWide(timeNs);
    }
    this.put(shape);
    this.length++;
  }

  /** The next field, of 32 bits. */
  put(value: number): void {
    this.#small[this.#smallAt++] = value;
  }

  /** The next field, where that may be wider. */
  putWide(value: number): void {
    this.#wide[this.#wideAt++] = value;
  }

  #newPiece(): void {
    this.#full.push(this.#current());
    const room = Math.min(this.#small.length * 2, MOST_ROOM);
    this.#small = new Int32Array(room);
    this.#wide = new Float64Array(room / 2);
    this.#smallAt = 0;
    this.#wideAt = 0;
  }

  #current(): Piece {
    return { small: this.#small, wide: this.#wide, smallEnd: this.#smallAt };
  }

  /** All rows as columns. */
  columns(texts: readonly string[]): RecordColumns {
    const pieces = [...this.#full, this.#current()];
    const tables = tablesFor(pieces);
    const log = makeLog(this.length);
    const filled = new Uint32Array(SHAPES.length);
    let record = 0;
    let thread = 0;
    let timeNs = 0;
    for (const { small, wide, smallEnd } of pieces) {
      let s = 0;
      let w = 0;
      while (s < smallEnd) {
        const shape = small[s++]!;
        if (shape === THREAD) thread = small[s++]!;
        else if (shape === TIME) timeNs = wide[w++]!;
        else {
          log.shape[record] = shape;
          log.id[record] = this.#firstId + record;
          log.timeNs[record] = timeNs;
          log.thread[record] = thread;
          record++;
          const row = filled[shape]!++;
          const { list } = tables[shape]!;
          const wides = WIDES[shape]!;
          for (let field = 0; field < list.length; field++) {
            list[field]![row] = wides[field] === true ? wide[w++]! : small[s++]!;
          }
        }
      }
    }
    return { log, tables, texts };
  }
}

/** By shape and field: is it wide? */
const WIDES: readonly (readonly boolean[])[] = SHAPE_FIELDS.map((fields) =>
  fields.map(([name, type]) => isWide(name, type)),
);

/** Numbers of 32 bits in a row of each shape. */
const SMALLS: readonly number[] = WIDES.map((wides) => wides.filter((wide) => !wide).length);

/** A table for each shape, with as many rows as there are. */
function tablesFor(pieces: readonly Piece[]): Table[] {
  const counts = new Uint32Array(SHAPES.length);
  for (const { small, smallEnd } of pieces) {
    for (let s = 0; s < smallEnd; ) {
      const shape = small[s]!;
      if (shape >= 0) {
        counts[shape]!++;
        s += 1 + SMALLS[shape]!;
      } else s += shape === THREAD ? 2 : 1;
    }
  }
  return SHAPES.map(({ fields }, shape) => makeTable(fields, counts[shape]!));
}
