/** Where the pages of one program are on machines of several eras, and in what they differ. */
import { ZERO_FRAME } from '../core/memory/frames.ts';
import type { Page, Va } from '../core/units.ts';
import { OwnershipMap } from '../program/ownership-map.ts';
import type { EraRun } from './compare-run.ts';

/** One page of a buffer of a process. */
export interface PagePlace {
  readonly process: number;
  readonly buffer: number;
  /** Counted from the start of the buffer. */
  readonly page: number;
  readonly address: Va;
}

/** What one machine has there. */
export interface PageState {
  /** The page in the entry; null where nothing is mapped. */
  readonly page: Page | null;
  /** The device or region, "RAM", "zero page", or "". */
  readonly where: string;
  /** "system", the name of a device's owner, or "" for nobody. */
  readonly owner: string;
  /** The entry of the process: "rw", "r", "none", "device", "exclusive", "migrating" or "". */
  readonly mapping: string;
  /** How each device that mirrors the process maps it, by the device's name; no entry for none. */
  readonly devices: Readonly<Record<string, string>>;
}

/** Words of a page that are not the same on all machines. */
export interface ContentsDifference {
  /** The first of them, as its number in the page. */
  readonly word: number;
  /** How many there are. */
  readonly words: number;
  /** That first word on each machine; null where nothing is mapped. */
  readonly values: readonly (number | null)[];
}

export type PageAspect = 'presence' | 'owner' | 'mapping' | 'contents';

/** In what a page differs between machines. */
export interface PageDifference {
  readonly place: PagePlace;
  readonly aspects: readonly PageAspect[];
  /** By machine; null where the process or its buffer does not exist. */
  readonly states: readonly (PageState | null)[];
  readonly contents: ContentsDifference | null;
}

/** Looks at the pages of one machine. */
export class PageEye {
  readonly run: EraRun;
  readonly #map: OwnershipMap;

  constructor(run: EraRun) {
    this.run = run;
    this.#map = new OwnershipMap(run.machine);
  }

  /** What is there; null if there is no such process, or it has no such buffer. */
  look({ process, buffer, page: at, address }: PagePlace): PageState | null {
    const found = this.run.runner.processes.get(process);
    if (found === undefined || (found.buffers.get(buffer)?.pages ?? 0) <= at) return null;
    const { page, where, owner, mapping } = this.#map.view(found.process, address);
    const devices: Record<string, string> = {};
    for (const driver of this.run.machine.drivers) {
      const mapped = driver.mappingOf?.(found.process, address) ?? null;
      if (mapped !== null) devices[driver.name] = mapped;
    }
    return { page, where, owner, mapping, devices };
  }

  /** The contents, or null where they are all zeros. */
  words(page: Page): Uint32Array | null {
    const { pages } = this.run.machine.kernel;
    return pages.frame[page] === ZERO_FRAME ? null : pages.readPage(page);
  }
}

/** Every page of every buffer that a process has on any of the machines, in order. */
export function* placesOf(runs: readonly EraRun[]): Generator<PagePlace, void, undefined> {
  const sizes: Map<string, Omit<PagePlace, 'page'> & { readonly pages: number }> = new Map();
  for (const { runner } of runs) {
    for (const { number, buffers } of runner.processes.values()) {
      for (const [buffer, { address, pages }] of buffers) {
        const key = `${number} ${buffer}`;
        if ((sizes.get(key)?.pages ?? 0) >= pages) continue;
        sizes.set(key, { process: number, buffer, address, pages });
      }
    }
  }
  const ordered = [...sizes.values()].sort((a, b) => a.process - b.process || a.buffer - b.buffer);
  const pageSize = runs[0]?.machine.pageSize ?? 0;
  for (const { process, buffer, address, pages } of ordered) {
    for (let page = 0; page < pages; page++) {
      yield { process, buffer, page, address: address + page * pageSize };
    }
  }
}

/** In what the page differs between the machines; null if it is the same on all. */
export function differenceAt(eyes: readonly PageEye[], place: PagePlace): PageDifference | null {
  const states = eyes.map((eye) => eye.look(place));
  const first = states[0] ?? null;
  const contents = compareContents(eyes, states);
  if (contents === null && states.every((state) => isSame(state, first))) return null;
  const there = states.filter((state) => state !== null);
  const differ = (same: (one: PageState, two: PageState) => boolean): boolean =>
    there.some((state) => !same(state, there[0]!));
  const aspects: PageAspect[] = [];
  if (there.length < states.length && there.length > 0) aspects.push('presence');
  if (differ(sameOwner)) aspects.push('owner');
  if (differ(sameMapping)) aspects.push('mapping');
  if (contents !== null) aspects.push('contents');
  return { place, aspects, states, contents };
}

function isSame(one: PageState | null, two: PageState | null): boolean {
  if (one === null || two === null) return one === two;
  return sameOwner(one, two) && sameMapping(one, two);
}

function sameOwner(one: PageState, two: PageState): boolean {
  return one.owner === two.owner && one.where === two.where;
}

function sameMapping(one: PageState, two: PageState): boolean {
  if (one.mapping !== two.mapping) return false;
  const names = Object.keys(one.devices);
  if (names.length !== Object.keys(two.devices).length) return false;
  return names.every((name) => one.devices[name] === two.devices[name]);
}

function compareContents(
  eyes: readonly PageEye[],
  states: readonly (PageState | null)[],
): ContentsDifference | null {
  const contents = eyes.map((eye, i) => {
    const page = states[i]?.page ?? null;
    return page === null ? null : eye.words(page);
  });
  const mapped = states.flatMap((state, i) => ((state?.page ?? null) === null ? [] : [i]));
  const differing = differingWords(mapped.map((i) => contents[i]!));
  if (differing === null) return null;
  const values: (number | null)[] = eyes.map(() => null);
  for (const i of mapped) values[i] = contents[i]?.[differing.word] ?? 0;
  return { ...differing, values };
}

/** The first word that is not the same in all, and how many are not; `null` is all zeros. */
function differingWords(
  all: readonly (Uint32Array | null)[],
): { readonly word: number; readonly words: number } | null {
  const count = all.find((words) => words !== null)?.length ?? 0;
  const different = new Uint8Array(all.length < 2 ? 0 : count);
  for (const other of all.slice(1)) {
    const one = all[0]!;
    if (one === other) continue;
    for (let i = 0; i < count; i++) {
      if ((one === null ? 0 : one[i]) !== (other === null ? 0 : other![i])) different[i] = 1;
    }
  }
  const word = different.indexOf(1);
  return word < 0 ? null : { word, words: different.reduce((sum, one) => sum + one, 0) };
}
