/** Pages that a program locks or pins on purpose, as some other user of memory would. */
import type { Driver } from '../core/driver.ts';
import { EFAULT, EINVAL } from '../core/errno.ts';
import type { Machine } from '../core/machine.ts';
import { PIN_BIAS } from '../core/memory/pages.ts';
import { FOLL_PIN, FOLL_WRITE, getUserPagesFast, putUserPage } from '../core/mm/gup.ts';
import { leafIndex } from '../core/mm/page-table.ts';
import { PTE_MIGRATION } from '../core/mm/pte.ts';
import type { Process } from '../core/process.ts';
import { RESCHEDULE, type Task } from '../core/sched/task.ts';
import type { StateHash } from '../core/state-hash.ts';
import { NO_PAGE, type Page, type Va } from '../core/units.ts';

interface LockedPage {
  readonly pid: number;
  readonly va: Va;
  readonly page: Page;
}

/**
 * What one program holds so. Stands among the drivers of the machine while it holds anything, for
 * the machine counts the references of drivers only.
 */
export class HeldPages implements Driver {
  readonly name = 'page holder';
  readonly #machine: Machine;
  readonly #locked: LockedPage[] = [];
  readonly #pinned: Page[] = [];

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  attach(): void {}

  heldReferences(): ReadonlyMap<Page, number> {
    const held: Map<Page, number> = new Map();
    const add = (page: Page, count: number): void => {
      held.set(page, (held.get(page) ?? 0) + count);
    };
    for (const { page } of this.#locked) add(page, 1);
    for (const page of this.#pinned) if (page !== NO_PAGE) add(page, PIN_BIAS);
    return held;
  }

  /**
   * Locks the page that `proc` has at `va`, with a reference, and waits for it if need be: 0, or
   * -EFAULT where there is none.
   */
  *lock(proc: Process, va: Va): Task<number> {
    const { pages, scheduler } = this.#machine.kernel;
    for (;;) {
      const page = this.#machine.pageAt(proc, va);
      if (page === null || page === NO_PAGE) return -EFAULT;
      if (isMigrating(proc, va)) {
        // Whoever migrates holds the lock until the entry is a page again.
        if (pages.isLocked(page)) yield* pages.waitUnlocked(page);
        else yield RESCHEDULE;
        continue;
      }
      pages.get(page);
      yield* pages.lock(page);
      // It may have moved while this waited.
      if (this.#machine.pageAt(proc, va) === page) {
        this.#locked.push({ pid: proc.pid, va, page });
        // Somebody else has it from here on: what this thread takes next is not taken under it.
        if (scheduler.lockOrder !== null) scheduler.current.held.pop();
        this.#present();
        return 0;
      }
      pages.unlock(page);
      pages.put(page);
    }
  }

  /** Unlocks what was locked last at `va` of `proc`: 0, or -EINVAL if nothing was. */
  unlock(proc: Process, va: Va): number {
    const at = this.#locked.findLastIndex((one) => one.pid === proc.pid && one.va === va);
    if (at < 0) return -EINVAL;
    const [locked] = this.#locked.splice(at, 1);
    this.#release(locked!);
    this.#present();
    return 0;
  }

  /** Pins all of `npages` pages for writing, or none: 0 or -errno. */
  *pin(proc: Process, va: Va, npages: number): Task<number> {
    const found = yield* getUserPagesFast(proc.mm, va, npages, FOLL_WRITE | FOLL_PIN);
    if (typeof found === 'number') return found;
    if (found.length < npages) {
      for (const page of found) putUserPage(this.#machine.kernel, page, true);
      return -EFAULT;
    }
    this.#pinned.push(...found);
    this.#present();
    return 0;
  }

  /** Lets go of all pinned pages. */
  unpin(): void {
    for (const page of this.#pinned.splice(0)) putUserPage(this.#machine.kernel, page, true);
    this.#present();
  }

  fingerprint(hash: StateHash): void {
    for (const { pid, va, page } of this.#locked) {
      hash.add(pid);
      hash.add(va);
      hash.add(page);
    }
    for (const page of this.#pinned) hash.add(page);
  }

  /** Lets go of everything. */
  releaseAll(): void {
    if (this.#locked.length + this.#pinned.length === 0) return;
    for (const locked of this.#locked.splice(0)) this.#release(locked);
    this.unpin();
  }

  #release({ page }: LockedPage): void {
    const { pages } = this.#machine.kernel;
    pages.unlock(page);
    pages.put(page);
  }

  /** Is a driver of the machine as long as it holds something. */
  #present(): void {
    const { drivers } = this.#machine;
    const at = drivers.indexOf(this);
    const holds = this.#locked.length + this.#pinned.length > 0;
    if (holds && at < 0) drivers.push(this);
    if (!holds && at >= 0) drivers.splice(at, 1);
  }
}

function isMigrating({ mm }: Process, va: Va): boolean {
  const vpn = mm.vpn(va);
  return mm.pageTable.leaf(vpn)?.kind(leafIndex(vpn)) === PTE_MIGRATION;
}
