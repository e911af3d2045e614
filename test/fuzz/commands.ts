/**
 * Random programs. What fast-check generates and shrinks is a list of wishes; writing them down
 * turns each into an operation that the program language accepts at that point, so every subset
 * of a list is a program, too.
 */
import fc from 'fast-check';
import type { EraName } from '../../src/core/era.ts';

/** Numbers that are small wishes: each is taken modulo what there is to choose from. */
export interface Wish {
  readonly name: string;
  /** Where the last operation was: same process, same pages. */
  readonly again: boolean;
  readonly process: number;
  readonly buffer: number;
  readonly offset: number;
  readonly pages: number;
  /** A device, a lab, or a buffer to move to. */
  readonly target: number;
  /** Words that the operation takes as they are. */
  readonly words: readonly string[];
}

export interface Plan {
  readonly first: Wish;
  readonly rest: readonly Wish[];
}

const BUFFERS = 4;
const PAGES_MAX = 8;
/** Children of process 0 over a whole program. */
const CHILDREN_MAX = 5;
/** Owner of each lab. */
const LAB_OWNERS = ['0', '1', '2', '0'];

const kinds = fc.constantFrom('anon', 'anon', 'anon', 'anon', 'shared', 'file', 'fileshared');
const prots = fc.constantFrom('rw', 'rw', 'rw', 'rw', 'r', 'n');
const labFlags = fc.constantFrom('SP', 'SP', 'SP', 'SP', 'S', 'S', 'P', 'P', 'C', 'SPC', '-');
/** `last` is the owner of the lab that pages went to last. */
const labOwners = fc.constantFrom('last', 'last', 'last', 'last', '0', '1', '2', '3', 'null');
const labDestinations = fc.constantFrom('0', '1', '2', '3', 'ram', 'none');
const skipped = fc.constantFrom('', '', '', '0', '1,3', '0,2,5');

const WORDS: Readonly<Record<string, fc.Arbitrary<readonly string[]>>> = {
  mmap: fc.tuple(kinds, prots),
  mprotect: fc.tuple(prots),
  lab_migrate: fc.tuple(labOwners, labFlags, labDestinations, skipped),
  lab_pin: fc.tuple(fc.constantFrom('r', 'w'), fc.constantFrom('get', 'pin')),
  lab_mode: fc.tuple(fc.constantFrom('normal', 'normal', 'refuse', 'forget')),
};

const WEIGHTS: Readonly<Record<string, number>> = {
  mmap: 4,
  munmap: 2,
  dontneed: 2,
  mprotect: 4,
  mremap: 2,
  cpu_read: 6,
  cpu_write: 9,
  fork: 3,
  exit: 1,
  pagemap: 1,
  dev_read: 4,
  dev_write: 5,
  migrate_to_dev: 9,
  migrate_to_sys: 3,
  snapshot: 1,
  exclusive: 3,
  check_exclusive: 1,
  release: 1,
  lab_migrate: 14,
  lab_where: 2,
  lab_pin: 2,
  lab_unpin: 1,
  lab_evict: 1,
  lab_mode: 1,
};

function wishes(name: string): fc.Arbitrary<Wish> {
  return fc.record({
    name: fc.constant(name),
    again: fc.boolean(),
    process: fc.oneof(fc.constant(0), fc.nat({ max: 5 })),
    buffer: fc.nat({ max: BUFFERS - 1 }),
    // Mostly from the start: half of the others are empty ranges near the end.
    offset: fc.oneof(fc.constant(0), fc.nat({ max: PAGES_MAX - 1 })),
    pages: fc.integer({ min: 1, max: PAGES_MAX }),
    target: fc.nat({ max: BUFFERS - 1 }),
    words: WORDS[name] ?? fc.constant([]),
  });
}

/** Programs of up to `operations` operations. */
export function plans(operations: number): fc.Arbitrary<Plan> {
  const any = fc.oneof(
    ...Object.entries(WEIGHTS).map(([name, weight]) => ({ weight, arbitrary: wishes(name) })),
  );
  const maxLength = Math.max(0, operations - 1);
  return fc.record({ first: wishes('mmap'), rest: fc.array(any, { maxLength, size: 'max' }) });
}

/** Device lines of the machine: small, so that devices grow by several chunks. */
export function deviceLines(era: EraName): string[] {
  const types = era.startsWith('v5') ? ['private', 'private'] : ['private', 'private', 'coherent'];
  return [...types.map((type) => `device dmirror ${type} chunk 64KiB`), 'device pgmaplab'];
}

/** The text of a program, as `hmmlab run` takes it. */
export function programText(plan: Plan, era: EraName): string {
  const devices = deviceLines(era);
  const writer = new Writer(devices.length - 1);
  for (const wish of [plan.first, ...plan.rest]) writer.add(wish);
  const header = [`machine era ${era} ram 64MiB`, ...devices];
  return [...header, 'program fuzz', ...writer.lines, 'end', ''].join('\n');
}

interface Place {
  readonly process: number;
  readonly buffer: number;
  readonly offset: number;
  readonly pages: number;
}

class Writer {
  readonly lines: string[] = [];
  readonly #devices: number;
  /** Buffers each living process knows. */
  readonly #buffers: Map<number, number[]> = new Map([[0, []]]);
  #children = 0;
  #nextValue = 1000;
  #last: Place | null = null;
  #lastOwner = '0';

  constructor(devices: number) {
    this.#devices = devices;
  }

  add(wish: Wish): void {
    const process = choose([...this.#buffers.keys()], wish.process);
    const known = this.#buffers.get(process)!;
    switch (wish.name) {
      case 'fork':
        if (this.#children < CHILDREN_MAX) this.#fork();
        return;
      case 'exit':
        if (process === 0) return;
        this.#buffers.delete(process);
        this.#write(process, 'exit');
        return;
      case 'mmap':
        this.#write(process, 'mmap', wish.buffer, wish.pages, ...wish.words);
        if (!known.includes(wish.buffer)) known.push(wish.buffer);
        return;
      case 'release':
        this.#write(process, 'release', wish.target % this.#devices);
        return;
      case 'lab_unpin':
        this.#write(process, 'lab_unpin');
        return;
      case 'lab_evict':
      case 'lab_mode':
        this.#write(process, wish.name, wish.target % LAB_OWNERS.length, ...wish.words);
        return;
      default:
        if (known.length > 0) this.#addRanged(wish, process, known);
    }
  }

  /** Where a wish is about: where the last one was, if it says so and that is still there. */
  #placeOf(wish: Wish, process: number, known: readonly number[]): Place {
    const { again, offset, pages } = wish;
    const last = this.#last;
    const isThere = last !== null && this.#buffers.get(last.process)?.includes(last.buffer);
    if (again && isThere) return last;
    return { process, buffer: choose(known, wish.buffer), offset, pages };
  }

  #addRanged(wish: Wish, wished: number, knownThere: readonly number[]): void {
    const { name, target, words } = wish;
    const place = this.#placeOf(wish, wished, knownThere);
    this.#last = place;
    const { process } = place;
    const known = this.#buffers.get(process)!;
    const range = [place.buffer, place.offset, place.pages];
    switch (name) {
      case 'mremap':
        this.#write(process, name, ...range, target);
        if (!known.includes(target)) known.push(target);
        return;
      case 'cpu_write':
        this.#write(process, name, ...range, this.#values());
        return;
      case 'dev_write':
        this.#write(process, name, target % this.#devices, ...range, this.#values());
        return;
      case 'lab_migrate': {
        const [wished, flags, to, skip] = words as [string, string, string, string];
        const owner = wished === 'last' ? this.#lastOwner : wished;
        this.#lastOwner = LAB_OWNERS[Number(to)] ?? this.#lastOwner;
        this.#write(process, name, owner, flags, to, ...range, ...(skip === '' ? [] : [skip]));
        return;
      }
      case 'munmap':
      case 'dontneed':
      case 'mprotect':
      case 'cpu_read':
      case 'pagemap':
      case 'lab_where':
      case 'lab_pin':
        this.#write(process, name, ...range, ...words);
        return;
      default:
        this.#write(process, name, target % this.#devices, ...range);
    }
  }

  #fork(): void {
    const child = ++this.#children;
    this.#buffers.set(child, [...this.#buffers.get(0)!]);
    this.#write(0, 'fork', child);
  }

  /** Every store of a program has values of its own. */
  #values(): number {
    this.#nextValue += 100;
    return this.#nextValue;
  }

  #write(process: number, ...words: readonly (string | number)[]): void {
    this.lines.push([...(process === 0 ? [] : [`@${process}`]), ...words].join(' '));
  }
}

function choose<T>(from: readonly T[], wish: number): T {
  return from[wish % from.length]!;
}
