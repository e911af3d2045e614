/** Whose a page is, and which operation may change that. */
import type { Page } from '../../../src/core/units.ts';
import type { Home, View } from '../view.ts';
import { where } from '../words.ts';
import type { Done } from './done.ts';

type Rule = (from: Home, to: Home, values: readonly unknown[]) => boolean;

const nothingMoves: Rule = () => false;
/** Whoever touches a page it cannot reach gets it to RAM, by the hand of the page's owner. */
const comesHome: Rule = (_, to) => to === 'ram';
const isPlain = (home: Home): boolean => home === 'none' || home === 'ram';
const becomesSecure: Rule = (from, to) => isPlain(from) && to === 'uv';
const leavesSecure: Rule = (from, to) => from === 'uv' && to === 'ram';
const either =
  (...rules: readonly Rule[]): Rule =>
  (from, to, values) =>
    rules.some((rule) => rule(from, to, values));

const RULES: Readonly<Record<string, Rule>> = {
  cpu_read: comesHome,
  cpu_write: comesHome,
  dev_read: comesHome,
  dev_write: comesHome,
  exclusive: comesHome,
  gpu_read: comesHome,
  gpu_write: comesHome,
  gpu_atomic: comesHome,
  gpu_access: comesHome,
  gpu_bind: (from, to, values) => isPlain(from) && to === `gpu${values[0]}`,
  migrate_to_dev: (from, to, values) => isPlain(from) && to === `dev${values[0]}`,
  migrate_to_sys: (from, to, values) => from === `dev${values[0]}` && to === 'ram',
  guest_read: either(comesHome, becomesSecure),
  guest_write: either(comesHome, becomesSecure),
  svm_page_in: (from, to, values) =>
    values[1] === 1 ? comesHome(from, to, values) : becomesSecure(from, to, values),
  svm_page_out: leavesSecure,
  svm_share: comesHome,
  svm_unshare: becomesSecure,
  // What fails half-way is undone; what was a hole before is a page of zeros then.
  svm_esm: either(becomesSecure, comesHome),
  svm_init_done: becomesSecure,
  svm_init_abort: either(becomesSecure, comesHome),
  svm_off: leavesSecure,
  vm_slot: becomesSecure,
  vm_slot_delete: leavesSecure,
};

/** For all pages of the machine. */
const RULES_EVERYWHERE: Readonly<Record<string, Rule>> = {
  release: (from, to, values) => from === `dev${values[0]}` && to === 'ram',
  gpu_remove: (from, to, values) => from === `gpu${values[0]}` && to === 'ram',
  // A dmirror that is closed sends all home that it has, of every process.
  exit: (from, to) => from.startsWith('dev') && to === 'ram',
};

const REMAPPING = ['mmap', 'dontneed'];

export interface Moves {
  readonly done: Done;
  readonly before: View;
  readonly now: View;
  /** Page numbers of the process that the operation is about. */
  readonly asked: ReadonlySet<number>;
}

/** Every page is where it was, or where this operation may bring it. */
export function checkMoves({ done, before, now, asked }: Moves): void {
  const { name, process, values } = done;
  const everywhere = RULES_EVERYWHERE[name];
  const rule = everywhere ?? RULES[name] ?? nothingMoves;
  const mine = before.get(process);
  const touched: Set<Page> = new Set();
  for (const at of asked) {
    const page = mine?.get(at)?.page ?? 0;
    if (page !== 0) touched.add(page);
  }
  for (const [number, places] of now) {
    const old = before.get(number);
    if (old === undefined) continue;
    for (const [at, place] of places) {
      const was = old.get(at);
      if (was === undefined || was.home === place.home) continue;
      const isAsked = number === process && asked.has(at);
      if (isAsked && REMAPPING.includes(name)) continue;
      if (was.page === null && place.home === 'ram' && place.vma?.file != null) continue;
      const concerned = everywhere !== undefined || isAsked || touched.has(was.page ?? 0);
      if (!concerned || !rule(was.home, place.home, values)) {
        done.found(`${where(number, at)} went from ${was.home} to ${place.home}`);
      }
    }
  }
}
