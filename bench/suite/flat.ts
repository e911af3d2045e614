/** Target 5: what a page costs does not depend on how many there are. */
import { userFault } from '../../src/core/mm/fault.ts';
import { Dmirror } from '../../src/drivers/dmirror/index.ts';
import { type Machine, PAGE_SIZE, type Process } from '../../src/index.ts';
import type { Sampled } from '../harness/figure.ts';
import { collectGarbage, expectEqual, secondsOf } from '../harness/measure.ts';
import type { Measurement } from '../harness/types.ts';
import { chunkFor, newMachine } from './lab.ts';

const FEW = 2 ** 12;
const MANY = 2 ** 24;
const MANY_QUICK = 2 ** 20;
/** So many times FEW for a sample. */
const REPEATS = 256;
const ROUNDS_MAX = 3;

const STEPS = ['touch', 'fork', 'exit', 'migrate', 'back', 'munmap'] as const;

type Step = (typeof STEPS)[number];
type Seconds = Record<Step, number>;

/** One life of a process; adds up what each step takes. */
class Life {
  readonly #machine: Machine = newMachine();
  readonly #device: Dmirror;
  readonly #pages: number;
  seconds: Seconds = noSeconds();

  constructor(pages: number) {
    this.#pages = pages;
    this.#device = this.#machine.attach(new Dmirror({ chunkBytes: chunkFor(pages) }));
  }

  live(): void {
    const pages = this.#pages;
    const proc = this.#machine.createProcess();
    const file = this.#device.open(proc);
    const buffer = proc.mmap({ pages });
    this.#time('touch', () => touch(proc, buffer, pages));
    expectEqual('resident pages', proc.mm.rssAnon, pages);
    let child: Process | null = null;
    this.#time('fork', () => {
      child = proc.fork();
    });
    this.#time('exit', () => child!.exit());
    this.#time('migrate', () => {
      expectEqual('pages there', file.migrateToDev(buffer, pages).cpages, pages);
    });
    this.#time('back', () => {
      expectEqual('pages back', file.migrateToSys(buffer, pages).cpages, pages);
    });
    this.#time('munmap', () => expectEqual('munmap', proc.munmap(buffer, pages * PAGE_SIZE), 0));
    expectEqual('resident pages at the end', proc.mm.rssAnon, 0);
    proc.exit();
  }

  #time(step: Step, work: () => void): void {
    this.seconds[step] += secondsOf(work);
  }
}

function noSeconds(): Seconds {
  return { touch: 0, fork: 0, exit: 0, migrate: 0, back: 0, munmap: 0 };
}

/** Makes pages resident without contents, of which no computer has memory for 2^24. */
function touch(proc: Process, buffer: number, pages: number): void {
  const { mm } = proc;
  for (let i = 0; i < pages; i++) userFault(mm, buffer + i * PAGE_SIZE, true);
}

function figureName(step: Step): string {
  return `${step}: a page of 2^24`;
}

const NOTES: Readonly<Record<Step, string>> = {
  touch: 'write faults on an anonymous mapping',
  fork: 'of the process that has them',
  exit: 'of the child',
  migrate: 'all to a dmirror in one call',
  back: 'all home in one call',
  munmap: 'of all',
};

export const FLAT: Measurement = {
  name: 'flat',
  section: '5',
  figures: STEPS.map((step) => ({
    name: figureName(step),
    unit: ' ns',
    better: 'less' as const,
    targets: [{ bound: 1.3, on: 'ratio' }] as const,
    note: `${NOTES[step]}; without contents; after one life of such a process`,
  })),
  run({ rounds, quick }) {
    const pages = quick ? MANY_QUICK : MANY;
    const few = new Life(FEW);
    const many = new Life(pages);
    const fewNs: Seconds[] = [];
    const manyNs: Seconds[] = [];
    // A first life each, in which columns grow and code is compiled.
    for (let i = 0; i < REPEATS; i++) few.live();
    many.live();
    for (let round = 0; round < Math.min(rounds, ROUNDS_MAX); round++) {
      few.seconds = noSeconds();
      many.seconds = noSeconds();
      collectGarbage();
      for (let i = 0; i < REPEATS; i++) few.live();
      collectGarbage();
      many.live();
      fewNs.push(few.seconds);
      manyNs.push(many.seconds);
    }
    return STEPS.map((step): Sampled => {
      const samples = manyNs.map((one) => (one[step] * 1e9) / pages);
      const ofFew = fewNs.map((one) => (one[step] * 1e9) / (FEW * REPEATS));
      const yardstick = { name: 'ns, a page of 2^12', samples: ofFew };
      return { name: figureName(step), samples, yardstick, small: quick };
    });
  },
};
