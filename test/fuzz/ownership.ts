/**
 * Who owns a page, and what may change that: every page is in one place, and each operation moves
 * pages only from owners whose pages it may take, to the one owner it is for.
 */
import { VM_SHARED } from '../../src/core/mm/vma.ts';
import type { Page } from '../../src/core/units.ts';
import { type Done, rangeOf } from './results.ts';
import type { Home, Place, View } from './view.ts';
import { where } from './words.ts';

/** Owner of each lab, and of nothing. */
const LAB_OWNERS = ['0', '1', '2', '0'];

type Rule = (from: Home, to: Home, values: readonly unknown[]) => boolean;

const nothingMoves: Rule = () => false;
/** What the CPU cannot use comes home; what was never touched gets a page; a store may copy. */
const cpuTouches: Rule = (_, to) => to === 'ram';
const deviceOf = (values: readonly unknown[]): Home => `dev${values[0]}`;

/** For pages that an operation was asked to touch. */
const RULES: Readonly<Record<string, Rule>> = {
  cpu_read: cpuTouches,
  cpu_write: cpuTouches,
  lab_pin: cpuTouches,
  exclusive: cpuTouches,
  dev_read: (from, to) => to === 'ram' && from !== 'ram',
  dev_write: cpuTouches,
  migrate_to_dev: (from, to, values) =>
    to === deviceOf(values) && (from === 'none' || from === 'ram'),
  migrate_to_sys: (from, to, values) => from === deviceOf(values) && to === 'ram',
  lab_migrate: (from, to, values) => {
    const [owner, flags, destination] = values as [number | null, string, number | 'ram' | 'none'];
    const expected = destination === 'ram' ? 'ram' : `lab${destination}`;
    if (destination === 'none' || to !== expected) return false;
    if (from === 'none') return true;
    if (from === 'ram') return flags.includes('S');
    if (!from.startsWith('lab') || !flags.includes('P')) return false;
    return owner !== null && LAB_OWNERS[Number(from.slice(3))] === String(owner);
  },
};

/** For all pages of the machine. */
const RULES_EVERYWHERE: Readonly<Record<string, Rule>> = {
  release: (from, to, values) => from === deviceOf(values) && to === 'ram',
  lab_evict: (from, to, values) => from === `lab${values[0]}` && to === 'ram',
  // A dmirror that is closed sends all home that it has, of every process.
  exit: (from, to) => from.startsWith('dev') && to === 'ram',
};

/** Operations whose faults may read. */
const FAULTING = ['cpu_read', 'dev_read', 'dev_write', 'lab_pin', 'exclusive'];

/** Operations that move pages but must leave alone those that somebody holds. */
const MIGRATIONS = ['migrate_to_dev', 'migrate_to_sys', 'lab_migrate', 'lab_evict', 'release'];

export interface Ownership {
  readonly done: Done;
  readonly before: View;
  readonly now: View;
  /** Pages that were held before the operation. */
  readonly held: ReadonlySet<Page>;
}

export function checkOwnership(ownership: Ownership): void {
  // Rules before v5.9 take other owners' pages; there only contents are checked.
  if (ownership.done.era.selection === 'flags') checkMoves(ownership);
  checkArrivals(ownership);
  checkWritableOnce(ownership.done, ownership.now);
}

function checkMoves({ done, before, now, held }: Ownership): void {
  const { name, process, values } = done;
  const { first, count } = rangeOf(done);
  const everywhere = RULES_EVERYWHERE[name];
  const rule = everywhere ?? RULES[name] ?? nothingMoves;
  const mine = before.get(process);
  const touched: Set<Page> = new Set();
  for (let i = 0; i < count; i++) {
    const page = mine?.get(first + i)?.page;
    if (page !== undefined && page !== null && page !== 0) touched.add(page);
  }
  const remapped = name === 'mmap' || name === 'dontneed' || name === 'mremap';
  for (const [number, places] of now) {
    for (const [at, place] of places) {
      const old = before.get(number)?.get(at);
      if (old === undefined) continue;
      const asked = number === process && at >= first && at < first + count;
      const concerned = everywhere !== undefined || asked || touched.has(old.page ?? 0);
      if (old.home !== place.home) {
        if (remapped && number === process && place.vma !== null) continue;
        if (isFaultAround(done, old, place)) continue;
        if (!concerned || !rule(old.home, place.home, values)) {
          done.found(`${where(number, at)} went from ${old.home} to ${place.home}`);
        }
      }
      if (old.page !== place.page && held.has(old.page ?? 0) && MIGRATIONS.includes(name)) {
        done.found(`${where(number, at)} moved although somebody holds it`);
      }
    }
  }
}

/** A fault on a page of a file maps the pages around it that are cached, too: do_fault_around. */
function isFaultAround({ name }: Done, old: Place, place: Place): boolean {
  const { vma } = place;
  return FAULTING.includes(name) && old.page === null && place.home === 'ram' && vma?.file != null;
}

/** What must have moved. */
function checkArrivals({ done, before, now, held }: Ownership): void {
  const { name, process, values, result } = done;
  const { first } = rangeOf(done);
  const mine = now.get(process);
  if (name === 'lab_migrate' && Array.isArray(result.pages)) {
    const to = values[2] === 'ram' ? 'ram' : `lab${values[2]}`;
    result.pages.forEach((word, i) => {
      const place = mine?.get(first + i);
      const old = before.get(process)?.get(first + i);
      if (String(word).includes('M')) {
        if (place?.home !== to) done.found(`page ${i} is in ${place?.home}, not in ${to}`);
      } else if (place?.page !== old?.page) done.found(`page ${i} moved, but does not say so`);
    });
  }
  if (name === 'migrate_to_sys' && result.ret === '0') {
    const home = deviceOf(values);
    let moved = 0;
    for (let i = 0; i < (values[3] as number); i++) {
      const left = before.get(process)?.get(first + i)?.home === home;
      if (left && mine?.get(first + i)?.home !== home) moved++;
    }
    if (moved !== result.cpages) done.found(`cpages ${result.cpages}, but ${moved} moved`);
  }
  if (!done.era.migrateDeviceRange) return;
  const emptied =
    name === 'release' ? deviceOf(values) : name === 'lab_evict' ? `lab${values[0]}` : null;
  if (emptied === null && name !== 'exit') return;
  for (const [number, places] of now) {
    for (const [at, { home, page }] of places) {
      const left = emptied === null ? home.startsWith('dev') : home === emptied;
      if (left && !held.has(page ?? 0)) done.found(`${where(number, at)} was left in ${home}`);
    }
  }
}

/** A private page that one address may write is nobody else's. */
export function checkWritableOnce(done: Pick<Done, 'found'>, now: View): void {
  const first: Map<Page, Place> = new Map();
  for (const [number, places] of now) {
    for (const [at, place] of places) {
      if (place.page === null || place.page === 0) continue;
      const other = first.get(place.page);
      if (other === undefined) first.set(place.page, place);
      else if (isOwnToWrite(place) || isOwnToWrite(other)) {
        done.found(`${where(number, at)} shares page ${place.page}, which one may write`);
      }
    }
  }
}

function isOwnToWrite({ vma, writable }: Place): boolean {
  return writable && vma !== null && (vma.flags & VM_SHARED) === 0;
}
