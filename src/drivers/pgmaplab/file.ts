/** An open pgmaplab: the calls that act on the address space of the process that opened it. */
import type { OpenFile } from '../../core/driver.ts';
import { E2BIG, EBUSY, EINVAL, errnoName } from '../../core/errno.ts';
import { SimError } from '../../core/errors.ts';
import { isNoticed, userCall } from '../../core/events/call.ts';
import {
  type IntervalNotifier,
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBeginStep,
  mmuIntervalSetSeq,
} from '../../core/hmm/notifier.ts';
import {
  HMM_PFN_ERROR,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  type HmmRange,
  hmmPfnPage,
  hmmRangeFaultStep,
} from '../../core/hmm/range-fault.ts';
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  MigrateVma,
  migratePfnPage,
  migrateVmaFinalizeStep,
  migrateVmaPagesStep,
  migrateVmaSetupStep,
} from '../../core/migrate/index.ts';
import {
  FOLL_GET,
  FOLL_PIN,
  FOLL_WRITE,
  getUserPagesFast,
  putUserPage,
} from '../../core/mm/gup.ts';
import type { Mm } from '../../core/mm/mm.ts';
import type { Owner } from '../../core/pagemap/pagemap.ts';
import type { Process } from '../../core/process.ts';
import { type MaybeTask, settle, type Task } from '../../core/sched/task.ts';
import { NO_PAGE, type Page, type Va } from '../../core/units.ts';
import type { Pgmaplab } from './device.ts';
import { giveDestinations } from './give.ts';
import type { Lab } from './lab.ts';

/** Pages that one call may name. */
export const CALL_PAGES_MAX = 512;
/** Pages that one process may hold. */
export const HELD_MAX = 256;

/** One word of a migration's `src`, taken apart. */
export interface LabWord {
  readonly valid: boolean;
  readonly migrate: boolean;
  readonly write: boolean;
  /** Where the page is: a lab's number, 'R' for other memory, null where the word names none. */
  readonly at: number | 'R' | null;
}

export interface LabMigrateOptions {
  readonly start: Va;
  readonly npages: number;
  /** MIGRATE_VMA_SELECT_* bits. */
  readonly flags: number;
  readonly owner: Owner | null;
  readonly to: Lab | 'ram' | 'none';
  /** Positions in the range, below 64, that get no destination. */
  readonly skip?: ReadonlySet<number>;
}

export interface LabMigrateResult {
  readonly ret: number;
  /** Pages that setup chose. */
  readonly cpages: number;
  /** Each page's word after setup, and after the pages step; empty where setup failed. */
  readonly setup: readonly LabWord[];
  readonly pages: readonly LabWord[];
}

/** Where a page is, as the labs' owners see it in turn. */
export interface LabPlace {
  /** '.' nothing they see, '!' nothing can be there, 'z' the zero page, 'R' RAM, or a lab's number. */
  readonly place: string;
  /** What the entry allows; null where there is no page. */
  readonly access: 'r' | 'w' | null;
  /** Reference count of a device-private page, else -1. */
  readonly refs: number;
  /** Map count; -1 for no page and the zero page. */
  readonly maps: number;
}

export interface LabWhereResult {
  readonly ret: number;
  readonly places: readonly LabPlace[];
}

export interface LabPinResult {
  readonly ret: number;
  /** Pages taken. */
  readonly pages: number;
}

export interface HeldPage {
  readonly page: Page;
  /** Taken by pin_user_pages, not get_user_pages. */
  readonly pinned: boolean;
}

/** struct view. Addresses are in bytes, lengths in pages. */
export class LabFile implements OpenFile {
  readonly driver: Pgmaplab;
  readonly process: Process;
  readonly mm: Mm;
  readonly #notifier: IntervalNotifier;
  readonly #held: HeldPage[] = [];
  #closed = false;

  /** Use `Pgmaplab.open`. */
  constructor(driver: Pgmaplab, proc: Process) {
    this.driver = driver;
    this.process = proc;
    this.mm = proc.mm;
    // It mirrors nothing, so there is nothing to drop; it only lets hmm_range_fault notice changes.
    const notifier = mmuIntervalNotifierInsert(proc.mm, {
      name: driver.name,
      invalidate: (changed, _, seq) => {
        mmuIntervalSetSeq(changed, seq);
        return true;
      },
    });
    if (typeof notifier === 'number') {
      throw new SimError(
        'bad-argument',
        `process ${proc.pid} cannot open pgmaplab: ${errnoName(notifier)}`,
        { pid: proc.pid, ret: notifier },
      );
    }
    this.#notifier = notifier;
  }

  /** Pages this process holds, oldest first. */
  get held(): readonly HeldPage[] {
    return this.#held;
  }

  /** migrate_vma from setup to finalize. */
  migrate(options: LabMigrateOptions): LabMigrateResult {
    return this.driver.machine.run(this.migrateTask(options));
  }

  migrateTask(options: LabMigrateOptions): Task<LabMigrateResult> {
    return this.#told('MIGRATE', options.start, options.npages, this.#migrate(options));
  }

  *#migrate(options: LabMigrateOptions): Task<LabMigrateResult> {
    const { start, npages, to } = options;
    const refused = this.#refuse(npages);
    if (refused !== 0) return { ret: refused, cpages: 0, setup: [], pages: [] };
    const { mm } = this;
    const { kernel } = mm;
    const src = kernel.words.take(npages + 1);
    const dst = kernel.words.take(npages + 1);
    if (!mm.mmapLock.tryRead()) yield* mm.mmapLock.read();
    try {
      const args = new MigrateVma({
        vma: mm.vmas.find(start),
        start,
        end: start + npages * mm.pageSize,
        src,
        dst,
        pgmapOwner: options.owner,
        flags: options.flags,
        cause: 'driver',
      });
      const begun = migrateVmaSetupStep(args);
      const ret = typeof begun === 'object' ? yield* begun : begun;
      if (ret !== 0) return { ret, cpages: 0, setup: [], pages: [] };
      const { cpages } = args;
      const setup = this.#words(src, npages);
      giveDestinations(kernel, src, dst, npages, to, options.skip ?? NOTHING_SKIPPED);
      const moved = migrateVmaPagesStep(args);
      if (moved !== undefined) yield* moved;
      const pages = this.#words(src, npages);
      const done = migrateVmaFinalizeStep(args);
      if (done !== undefined) yield* done;
      return { ret, cpages, setup, pages };
    } finally {
      mm.mmapLock.unlockRead();
      kernel.words.give(src);
      kernel.words.give(dst);
    }
  }

  /** Where each page is, without faulting anything. */
  where(start: Va, npages: number): LabWhereResult {
    return this.driver.machine.run(this.whereTask(start, npages));
  }

  *whereTask(start: Va, npages: number): Task<LabWhereResult> {
    const refused = this.#refuse(npages);
    if (refused !== 0) return { ret: refused, places: [] };
    const owners = this.driver.labOwners;
    const { pageSize, kernel } = this.mm;
    // Other threads may change what is between two pages only where there is a search for races.
    const step = kernel.scheduler.preempts ? 1 : npages;
    const places = new Array<LabPlace>(npages);
    const seen = owners.map(() => kernel.words.take(step));
    for (let i = 0; i < npages; i += step) {
      let lookers = 0;
      for (const owner of owners) {
        const words = seen[lookers++]!;
        const looking = this.#look(start + i * pageSize, words, step, owner);
        if (looking !== undefined) yield* looking;
        // The first that sees the page tells.
        if (step === 1 && (words[0]! & HMM_PFN_VALID) !== 0) break;
      }
      for (let page = 0; page < step; page++) places[i + page] = this.#placeOf(seen, lookers, page);
    }
    for (const words of seen) kernel.words.give(words);
    return { ret: 0, places };
  }

  /**
   * get_user_pages_fast, or with `pin` pin_user_pages_fast. The pages are held until `unpin` or the
   * file is closed.
   */
  pin(start: Va, npages: number, access: 'r' | 'w', how: 'get' | 'pin'): LabPinResult {
    return this.driver.machine.run(this.pinTask(start, npages, access, how));
  }

  pinTask(start: Va, npages: number, access: 'r' | 'w', how: 'get' | 'pin'): Task<LabPinResult> {
    return this.#told('PIN', start, npages, this.#pin(start, npages, access, how));
  }

  *#pin(start: Va, npages: number, access: 'r' | 'w', how: 'get' | 'pin'): Task<LabPinResult> {
    const refused = this.#refuse(npages);
    if (refused !== 0) return { ret: refused, pages: 0 };
    const wanted = Math.min(npages, HELD_MAX - this.#held.length);
    if (wanted === 0) return { ret: 0, pages: 0 };
    const pinned = how === 'pin';
    const flags = (access === 'w' ? FOLL_WRITE : 0) | (pinned ? FOLL_PIN : FOLL_GET);
    const taken = yield* getUserPagesFast(this.mm, start, wanted, flags);
    if (typeof taken === 'number') return { ret: taken, pages: 0 };
    for (const page of taken) this.#held.push({ page, pinned });
    return { ret: 0, pages: taken.length };
  }

  /** Lets go of all this process holds; returns how many pages that were. */
  unpin(): number {
    const count = this.#held.length;
    for (const { page, pinned } of this.#held.splice(0).reverse()) {
      putUserPage(this.mm.kernel, page, pinned);
    }
    return count;
  }

  close(): void {
    this.driver.machine.run(this.release());
  }

  /** Closes the file, as a process does for those still open when it ends: lab_close. */
  *release(): Task<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.process.openFiles.delete(this);
    this.unpin();
    yield* mmuIntervalNotifierRemove(this.#notifier);
    this.driver.forgetFile(this);
  }

  /** An ioctl, for those who listen. */
  #told<R extends { readonly ret: number }>(
    name: string,
    va: Va,
    npages: number,
    task: Task<R>,
  ): Task<R> {
    const { driver, mm } = this;
    if (!isNoticed(mm.kernel)) return task;
    const call = { actor: driver.name, name, mm, start: va, end: va + npages * mm.pageSize };
    return userCall(mm.kernel, call, task, ({ ret }) => ret);
  }

  #refuse(npages: number): number {
    if (this.#closed || !Number.isInteger(npages)) return -EINVAL;
    return npages < 0 || npages > CALL_PAGES_MAX ? -E2BIG : 0;
  }

  #words(src: Uint32Array, npages: number): LabWord[] {
    const words = new Array<LabWord>(npages);
    for (let i = 0; i < npages; i++) {
      const word = src[i]!;
      const page = migratePfnPage(word);
      words[i] = {
        valid: (word & MIGRATE_PFN_VALID) !== 0,
        migrate: (word & MIGRATE_PFN_MIGRATE) !== 0,
        write: (word & MIGRATE_PFN_WRITE) !== 0,
        at: page === NO_PAGE ? null : (this.driver.labOf(page)?.index ?? 'R'),
      };
    }
    return words;
  }

  /** From the `at`-th words of the first owners. */
  #placeOf(seen: readonly Uint32Array[], owners: number, at: number): LabPlace {
    const { pages } = this.mm;
    let place = '.';
    for (let i = 0; i < owners; i++) {
      const word = seen[i]![at]!;
      if ((word & HMM_PFN_ERROR) !== 0) place = '!';
      if ((word & HMM_PFN_VALID) === 0) continue;
      const access = (word & HMM_PFN_WRITE) !== 0 ? 'w' : 'r';
      const page = hmmPfnPage(word);
      if (page === NO_PAGE) return { place: 'z', access, refs: -1, maps: -1 };
      const lab = this.driver.labOf(page);
      const refs = lab === null ? -1 : pages.refcount[page]!;
      return { place: String(lab?.index ?? 'R'), access, refs, maps: pages.mapcount[page]! };
    }
    return { place, access: null, refs: -1, maps: -1 };
  }

  /** The words of `count` pages from hmm_range_fault, without requests. */
  #look(start: Va, hmmPfns: Uint32Array, count: number, owner: Owner): MaybeTask<undefined> {
    const { mm } = this;
    for (let i = 0; i < count; i++) hmmPfns[i] = 0;
    const range: HmmRange = {
      notifier: this.#notifier,
      notifierSeq: 0,
      start,
      end: start + count * mm.pageSize,
      hmmPfns,
      defaultFlags: 0,
      pfnFlagsMask: 0,
      devPrivateOwner: owner,
    };
    const begun = mmuIntervalReadBeginStep(this.#notifier);
    if (typeof begun === 'object' || !mm.mmapLock.tryRead()) return this.#lookLater(range, begun);
    range.notifierSeq = begun;
    let result: MaybeTask<number>;
    try {
      result = hmmRangeFaultStep(range);
    } catch (error) {
      mm.mmapLock.unlockRead();
      throw error;
    }
    if (typeof result === 'object') return this.#lookUnderLock(range, result);
    mm.mmapLock.unlockRead();
    return result === -EBUSY ? this.#lookAgain(range) : undefined;
  }

  *#lookLater(range: HmmRange, begun: MaybeTask<number>): Task<undefined> {
    range.notifierSeq = typeof begun === 'object' ? yield* begun : begun;
    yield* this.mm.mmapLock.read();
    return yield* this.#lookUnderLock(range, null);
  }

  /** @param begun what hmm_range_fault has begun, if it has */
  *#lookUnderLock(range: HmmRange, begun: Task<number> | null): Task<undefined> {
    let result: number;
    try {
      result = yield* begun ?? settle(hmmRangeFaultStep(range));
    } finally {
      this.mm.mmapLock.unlockRead();
    }
    return result === -EBUSY ? yield* this.#lookAgain(range) : undefined;
  }

  /** It was overtaken. */
  *#lookAgain(range: HmmRange): Task<undefined> {
    range.hmmPfns.fill(0);
    return yield* this.#lookLater(range, mmuIntervalReadBeginStep(this.#notifier));
  }
}

const NOTHING_SKIPPED: ReadonlySet<number> = new Set();
