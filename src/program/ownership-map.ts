/**
 * Where every page of every buffer is, drawn with one character a page, and as a table.
 */

import type { Machine } from '../core/machine.ts';
import { leafIndex } from '../core/mm/page-table.ts';
import {
  PTE_DEVICE_EXCLUSIVE,
  PTE_DEVICE_PRIVATE,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_PROTNONE,
  PTE_WRITE,
} from '../core/mm/pte.ts';
import type { DevPagemap } from '../core/pagemap/pagemap.ts';
import type { Process } from '../core/process.ts';
import { NO_PAGE, type Page, type Va } from '../core/units.ts';
import type { ProgramProcess } from './types.ts';

const FIXED: readonly (readonly [symbol: string, meaning: string])[] = [
  ['.', 'nothing'],
  ['z', 'the zero page'],
  ['R', 'RAM'],
  ['X', 'RAM, exclusive to a device'],
  ['M', 'migrating'],
];
/** For devices that own their memory. */
const DIGITS = '0123456789';
/** For memory that somebody else owns, and for what digits do not reach. */
const LETTERS = 'abcdefghijklmnopqrstuvwyABCDEFGHIJKLNOPQSTUVWYZ';
const OTHER = '?';
const ROW_PAGES = 64;

/** What one address of one process has. */
export interface PageView {
  /** Null where nothing is mapped. */
  readonly page: Page | null;
  readonly symbol: string;
  /** The device, "RAM", "zero page" or "". */
  readonly where: string;
  /** Who owns the page: a device, "system", or "" for nobody. */
  readonly owner: string;
  /** The entry of the process: "rw", "r", "none", "device", "exclusive", "migrating" or "". */
  readonly mapping: string;
}

const NOTHING: PageView = { page: null, symbol: '.', where: '', owner: '', mapping: '' };

/** The places of one machine and their symbols; symbols do not change while the machine lives. */
export class OwnershipMap {
  readonly #machine: Machine;
  readonly #symbols: Map<string, string> = new Map();

  constructor(machine: Machine) {
    this.#machine = machine;
    for (const driver of machine.drivers) {
      // A device that maps memory owns what it will have, even if it has none yet.
      if (driver.mappingOf !== undefined) this.#symbolFor(driver.name, DIGITS + LETTERS);
    }
    for (const pagemap of machine.kernel.pagemaps) this.#symbolOf(pagemap);
  }

  /** What each symbol stands for: "0 hmm_dmirror0"; only those in `drawn`, if given. */
  legend(drawn?: readonly string[]): readonly string[] {
    const places = [...this.#symbols].map(([place, symbol]) => [symbol, place] as const);
    const used = drawn === undefined ? null : new Set(drawn.flatMap((line) => [...rowOf(line)]));
    return [...FIXED, ...places]
      .filter(([symbol]) => used === null || used.has(symbol))
      .map(([symbol, meaning]) => `${symbol} ${meaning}`);
  }

  /** One line or more for each buffer of each process: "process 0  buffer 1  RRz.00". */
  draw(processes: Iterable<ProgramProcess>): string[] {
    const lines: string[] = [];
    for (const { number, process: proc, buffers } of inOrder(processes)) {
      for (const [id, { address, pages }] of byNumber(buffers)) {
        const label = `process ${number}  buffer ${id}`;
        for (let from = 0; from < pages; from += ROW_PAGES) {
          const count = Math.min(ROW_PAGES, pages - from);
          const start = address + from * this.#machine.pageSize;
          const offset = pages > ROW_PAGES ? `+${from}`.padEnd(7) : '';
          lines.push(`${label}  ${offset}${this.#row(proc, start, count)}`);
        }
      }
    }
    return lines;
  }

  view(proc: Process, va: Va): PageView {
    const vpn = proc.mm.vpn(va);
    const leaf = proc.mm.pageTable.leaf(vpn);
    const at = leafIndex(vpn);
    const kind = leaf?.kind(at) ?? PTE_NONE;
    if (leaf === null || kind === PTE_NONE) return NOTHING;
    const page = leaf.page[at]!;
    const bits = leaf.bits[at]!;
    const rights = (bits & PTE_PROTNONE) !== 0 ? 'none' : (bits & PTE_WRITE) !== 0 ? 'rw' : 'r';
    if (page === NO_PAGE) {
      return { page, symbol: 'z', where: 'zero page', owner: '', mapping: rights };
    }
    const home = this.#home(page);
    switch (kind) {
      case PTE_MIGRATION:
        return { ...home, symbol: 'M', mapping: 'migrating' };
      case PTE_DEVICE_EXCLUSIVE:
        return { ...home, symbol: 'X', mapping: 'exclusive' };
      case PTE_DEVICE_PRIVATE:
        return { ...home, mapping: 'device' };
      default:
        return { ...home, mapping: rights };
    }
  }

  #row(proc: Process, start: Va, count: number): string {
    let row = '';
    for (let i = 0; i < count; i++) {
      row += this.view(proc, start + i * this.#machine.pageSize).symbol;
    }
    return row;
  }

  #home(page: Page): Omit<PageView, 'mapping'> {
    const pagemap = this.#machine.kernel.pages.pagemapOf(page);
    if (pagemap === null) return { page, symbol: 'R', where: 'RAM', owner: 'system' };
    const symbol = this.#symbolOf(pagemap);
    return { page, symbol, where: this.#placeOf(pagemap), owner: pagemap.owner.name };
  }

  /** A device that owns all its memory is one place, however many pagemaps it has. */
  #placeOf(pagemap: DevPagemap): string {
    return this.#ownsItself(pagemap) ? pagemap.owner.name : pagemap.name;
  }

  #ownsItself(pagemap: DevPagemap): boolean {
    return this.#machine.drivers.some((driver): boolean => (driver as object) === pagemap.owner);
  }

  #symbolOf(pagemap: DevPagemap): string {
    const wanted = this.#ownsItself(pagemap) ? DIGITS + LETTERS : LETTERS;
    return this.#symbolFor(this.#placeOf(pagemap), wanted);
  }

  #symbolFor(place: string, wanted: string): string {
    const known = this.#symbols.get(place);
    if (known !== undefined) return known;
    const used = new Set(this.#symbols.values());
    const symbol = [...wanted].find((one) => !used.has(one)) ?? OTHER;
    this.#symbols.set(place, symbol);
    return symbol;
  }
}

/** The symbols of a drawn line, without its label. */
export function rowOf(line: string): string {
  return line.slice(line.lastIndexOf(' ') + 1).replace(/^\+\d+/, '');
}

// --- The table ------------------------------------------------------------------------------

/** Pages of a buffer that follow each other and are alike. */
export interface TableRow {
  readonly buffer: number;
  readonly first: number;
  readonly last: number;
  readonly where: string;
  readonly owner: string;
  /** The mapping in each process and, after them, in each device that mirrors a process. */
  readonly mappings: readonly string[];
}

export interface OwnershipTable {
  /** Headings of `TableRow.mappings`: "process 0", "hmm_dmirror0". */
  readonly columns: readonly string[];
  readonly rows: readonly TableRow[];
}

/**
 * Every page of every buffer. Where processes have different pages at one place, as after a copy
 * on write, each page has a row.
 */
export function ownershipTable(
  machine: Machine,
  map: OwnershipMap,
  processes: Iterable<ProgramProcess>,
): OwnershipTable {
  const all = inOrder(processes);
  const mirrors = machine.drivers.filter((driver) => driver.mappingOf !== undefined);
  const columns = [
    ...all.map(({ number }) => `process ${number}`),
    ...mirrors.map((driver) => driver.name),
  ];
  const rows: TableRow[] = [];
  const ends: Map<string, number> = new Map();
  for (const [id, { address, pages }] of allBuffers(all)) {
    for (let i = 0; i < pages; i++) {
      for (const row of rowsAt(machine, map, all, address + i * machine.pageSize)) {
        addRow(rows, ends, { ...row, buffer: id, first: i, last: i });
      }
    }
  }
  const ordered = rows.sort((a, b) => a.buffer - b.buffer || a.first - b.first);
  return { columns, rows: ordered };
}

type RowContents = Omit<TableRow, 'buffer' | 'first' | 'last'>;

/** The rows of one address: one for each page that a process has there, or one for none. */
function rowsAt(
  machine: Machine,
  map: OwnershipMap,
  processes: readonly ProgramProcess[],
  va: Va,
): RowContents[] {
  const views = processes.map(({ process: proc }) => map.view(proc, va));
  const pages = [...new Set(views.map(({ page }) => page).filter((page) => page !== null))];
  const rowFor = (page: Page | null): RowContents => {
    const here = views.map((view) => view.page === page);
    const sample = views.find((view) => view.page === page) ?? NOTHING;
    const devices = machine.drivers
      .filter((driver) => driver.mappingOf !== undefined)
      .map((driver) => {
        const found = processes.map(({ number, process: proc }, i) => {
          const mapping = here[i] ? (driver.mappingOf!(proc, va) ?? '') : '';
          return mapping === '' || processes.length === 1 ? mapping : `${number}:${mapping}`;
        });
        return found.filter((text) => text !== '').join(' ');
      });
    const mappings = [...views.map((view, i) => (here[i] ? view.mapping : '')), ...devices];
    return { where: sample.where, owner: sample.owner, mappings };
  };
  const rows = pages.map(rowFor);
  const none = rowFor(null);
  // A device may still map what no process maps any more.
  if (rows.length === 0 || none.mappings.some((mapping) => mapping !== '')) rows.push(none);
  return rows;
}

/**
 * Adds a row, or makes the row that ends before it longer if it says the same. `ends` knows the
 * last row of each contents.
 */
function addRow(rows: TableRow[], ends: Map<string, number>, row: TableRow): void {
  const key = JSON.stringify([row.buffer, row.where, row.owner, row.mappings]);
  const at = ends.get(key);
  if (at !== undefined && rows[at]!.last === row.first - 1) {
    rows[at] = { ...rows[at]!, last: row.last };
    return;
  }
  ends.set(key, rows.length);
  rows.push(row);
}

function inOrder(processes: Iterable<ProgramProcess>): ProgramProcess[] {
  return [...processes].sort((a, b) => a.number - b.number);
}

function byNumber<T>(map: ReadonlyMap<number, T>): (readonly [number, T])[] {
  return [...map].sort(([a], [b]) => a - b);
}

/** Buffers of all processes; where two know one by the same number, it is at the same address. */
function allBuffers(
  processes: readonly ProgramProcess[],
): (readonly [number, { readonly address: Va; readonly pages: number }])[] {
  const found: Map<number, { readonly address: Va; readonly pages: number }> = new Map();
  for (const { buffers } of processes) {
    for (const [id, buffer] of buffers) {
      if ((found.get(id)?.pages ?? 0) < buffer.pages) found.set(id, buffer);
    }
  }
  return byNumber(found);
}
