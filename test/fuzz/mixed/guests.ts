/**
 * What guests must see of their memory. Where a guest page is comes from the machine (the
 * ultravisor says whether it has the contents, gave them out sealed, or shares a page of the
 * host); what it must hold is worked out here.
 */
import { hex, NO_PAGE, type Page } from '../../../src/core/units.ts';
import type { KvmVm } from '../../../src/drivers/kvm-uvmem/index.ts';
import type { ProgramProcess } from '../../../src/program/types.ts';
import { type Cell, mayRead, mayWrite } from '../model.ts';
import type { Place, View } from '../view.ts';
import { checkRead, type Done, UNKNOWN, write } from './done.ts';
import type { MixedEye } from './eye.ts';

type Where = 'secure' | 'out' | 'shared' | null;

/** Where a guest page is, at one moment. */
interface GuestPlace {
  /** Where the ultravisor has the contents. */
  readonly where: Where;
  /** The page number in the process. */
  readonly at: number;
  /** The device page that stands for it, or NO_PAGE. */
  readonly standIn: Page;
}

/** The guest of one process, at one moment; pages by their number. */
interface GuestView {
  readonly stage: 'normal' | 'starting' | 'running';
  readonly pages: ReadonlyMap<number, GuestPlace>;
}

/** By process. */
type GuestViews = ReadonlyMap<number, GuestView>;

/** What a guest page must hold while its contents are the guest's own. */
interface GuestPage {
  /** The first word; UNKNOWN until the guest reads it. */
  value: number;
  /** The first word of what went out. Null: that is lost. UNKNOWN: it may be. */
  sealed: number | null;
  /** The cell of the host that held the page before this operation. */
  cellBefore: Cell | undefined;
  /** What went out stood there, unchanged, before this operation. */
  intact: boolean | null;
}

const GUEST_WRITES = 'guest_write';

function viewGuests(eye: MixedEye, processes: ReadonlyMap<number, ProgramProcess>): GuestViews {
  const views: Map<number, GuestView> = new Map();
  if (eye.uvmem === null) return views;
  for (const [number, one] of processes) {
    const vm = eye.vm(one);
    if (vm !== null && !vm.closed) views.set(number, viewOf(eye, vm));
  }
  return views;
}

function viewOf(eye: MixedEye, vm: KvmVm): GuestView {
  const { ultravisor } = eye.uvmem!;
  const { lpid } = vm;
  const stage = ultravisor.isRunning(lpid)
    ? 'running'
    : ultravisor.isStarting(lpid)
      ? 'starting'
      : 'normal';
  const pages: Map<number, GuestPlace> = new Map();
  const { pageSize } = eye.machine;
  for (const slot of vm.slots) {
    for (let i = 0; i < slot.npages; i++) {
      const gfn = slot.baseGfn + i;
      const where = ultravisor.whereIs(lpid, gfn * pageSize);
      const at = eye.numberOf(slot.address) + i;
      pages.set(gfn, { where, at, standIn: vm.uvmemSlots.uvmemPage(gfn) });
    }
  }
  return { stage, pages };
}

/** The account of all guests of a program. */
export class Guests {
  readonly #eye: MixedEye;
  /** By process and guest page. */
  readonly #known: Map<number, Map<number, GuestPage>> = new Map();
  #before: GuestViews = new Map();
  #now: GuestViews = new Map();

  constructor(eye: MixedEye) {
    this.#eye = eye;
  }

  /** Guest pages of a process whose guest runs. */
  readable(process: number): number[] {
    const view = this.#now.get(process);
    return view === undefined ? [] : [...view.pages.keys()];
  }

  /** A page of a guest's range is secure, but what stands for it is not where the guest has it. */
  isElsewhere(process: number, first: number, count: number, view: View): boolean {
    const pages = this.#before.get(process)?.pages;
    for (let gfn = first; gfn < first + count; gfn++) {
      const page = pages?.get(gfn);
      if (page === undefined || page.standIn === NO_PAGE) continue;
      if (view.get(process)?.get(page.at)?.page !== page.standIn) return true;
    }
    return false;
  }

  /** The pages of the process that some guest pages are. */
  placesOf(process: number, first: number, count: number): number[] {
    const view = this.#before.get(process);
    const found: number[] = [];
    for (let gfn = first; gfn < first + count; gfn++) {
      const page = view?.pages.get(gfn);
      if (page !== undefined) found.push(page.at);
    }
    return found;
  }

  /** All pages of the process that are guest memory, before or after the operation. */
  allPlacesOf(process: number): number[] {
    const both = [this.#before.get(process), this.#now.get(process)];
    return both.flatMap((view) => [...(view?.pages.values() ?? [])].map(({ at }) => at));
  }

  /** Before an operation runs. */
  begin(
    space: (process: number) => ReadonlyMap<number, { readonly cell: Cell }> | undefined,
  ): void {
    this.#before = this.#now;
    for (const [process, view] of this.#before) {
      for (const [gfn, { where, at }] of view.pages) {
        const page = this.#page(process, gfn);
        page.cellBefore = space(process)?.get(at)?.cell;
        if (where !== 'out') continue;
        const found = page.cellBefore?.value;
        if (page.sealed === null) page.intact = false;
        else page.intact = Number.isNaN(page.sealed) ? null : found === page.sealed;
      }
    }
  }

  /** After it: what moved within the account, and what the operation answered. */
  settle(done: Done, processes: ReadonlyMap<number, ProgramProcess>): void {
    this.#now = viewGuests(this.#eye, processes);
    for (const process of this.#known.keys()) {
      if (!this.#now.has(process)) this.#known.delete(process);
    }
    for (const process of this.#now.keys()) this.#settleGuest(done, process);
    if (done.name === 'guest_read') this.#checkGuestRead(done);
    if (done.name === GUEST_WRITES) this.#checkGuestWrite(done);
  }

  /** After the host's contents are known: what stands where a page went out. */
  seal(done: Done, isUnsure: (cell: Cell) => boolean): void {
    for (const [process, view] of this.#now) {
      const before = this.#before.get(process);
      for (const [gfn, { where, at }] of view.pages) {
        if (where !== 'out' || before?.pages.get(gfn)?.where === 'out') continue;
        const page = this.#page(process, gfn);
        // A page that never was here went out as zeros.
        if (before?.pages.get(gfn)?.where !== 'secure') page.value = 0;
        const cell = done.model.spaces.get(process)?.get(at)?.cell;
        const wasHere = done.pageAt(process, at) === before?.pages.get(gfn)?.standIn;
        const isHere = cell === page.cellBefore && wasHere;
        const stands = cell !== undefined && isHere && !done.written.has(cell);
        page.sealed = !stands ? null : isUnsure(cell) ? UNKNOWN : cell.value;
      }
    }
  }

  #page(process: number, gfn: number): GuestPage {
    let pages = this.#known.get(process);
    if (pages === undefined) {
      pages = new Map();
      this.#known.set(process, pages);
    }
    let page = pages.get(gfn);
    if (page === undefined) {
      page = { value: UNKNOWN, sealed: null, cellBefore: undefined, intact: null };
      pages.set(gfn, page);
    }
    return page;
  }

  #settleGuest(done: Done, process: number): void {
    const before = this.#before.get(process);
    const now = this.#now.get(process)!;
    const ended = (before?.stage ?? 'normal') !== 'normal' && now.stage === 'normal';
    if (ended && before !== undefined) {
      if (process === done.process && before.stage === 'starting') this.#undo(done, before);
      this.#known.delete(process);
      return;
    }
    for (const [gfn, { where, at }] of now.pages) {
      const old = before?.pages.get(gfn)?.where ?? null;
      const isAsked = process === done.process && isAskedFor(done, gfn);
      const page = this.#page(process, gfn);
      if (where === 'secure') this.#becameSecure(done, page, old, before, isAsked, gfn);
      if (where === 'shared') this.#becameShared(done, process, at, old, isAsked);
    }
  }

  /** H_SVM_INIT_ABORT: what was taken in comes back as it was, for the guest had no secrets yet. */
  #undo(done: Done, before: GuestView): void {
    if (done.name !== 'svm_init_abort' && done.name !== 'svm_esm') return;
    for (const [gfn, { where, at, standIn }] of before.pages) {
      const { value } = this.#page(done.process, gfn);
      const cell = done.model.spaces.get(done.process)?.get(at)?.cell;
      if (where === 'secure' && cell !== undefined && !done.lowRam) {
        if (done.before(at)?.page === standIn) cell.value = value;
      }
      if (where !== 'out') continue;
      // It came in once more first, for all who have it.
      for (const shared of done.sharing(at)) {
        if (Number.isNaN(value)) shared.value = value;
        else done.mayBe(shared, value);
      }
    }
  }

  #becameSecure(
    done: Done,
    page: GuestPage,
    old: Where,
    before: GuestView | undefined,
    isAsked: boolean,
    gfn: number,
  ): void {
    if (old === 'out' && page.intact === false) {
      done.found(`guest page ${gfn} came in, though what went out was lost or changed`);
    }
    if (old === 'shared') page.value = 0;
    else if (old === null) {
      const isRunning = before?.stage === 'running' || done.name.startsWith('guest_');
      page.value = isRunning ? 0 : this.#plainOf(done, page, gfn);
    } else if (isAsked && done.name === 'svm_unshare' && before?.stage === 'running') {
      page.value = done.result.ret === 'U_SUCCESS' ? 0 : UNKNOWN;
    }
  }

  /** What the ultravisor takes in of a page of the host. */
  #plainOf(done: Done, { cellBefore }: GuestPage, gfn: number): number {
    const pages = this.#now.get(done.process)?.pages;
    const at = pages?.get(gfn)?.at;
    // Until v5.6 a device page may be taken for a page of the host: of another guest, or its own.
    const mayBeSecure =
      done.era.selection === 'any-owner' &&
      (done.before(at ?? -1)?.home === 'uv' ||
        [...(pages ?? [])].some(([other, page]) => other !== gfn && page.at === at));
    // Until v5.9 a page of a file that is not mapped is taken for a hole, and comes in as zeros.
    const host = done.model.space(done.process).get(at ?? -1);
    const mayBeZero = done.era.collectsFileHoles && host?.shared === true;
    return cellBefore === undefined || mayBeSecure || mayBeZero ? UNKNOWN : cellBefore.value;
  }

  #becameShared(done: Done, process: number, at: number, old: Where, isAsked: boolean): void {
    const cell = done.model.spaces.get(process)?.get(at)?.cell;
    if (cell === undefined || !isAsked) return;
    const shared = done.name === 'svm_share';
    if (old === 'shared') {
      if (shared && done.result.ret === 'U_SUCCESS') write(done, cell, 0);
      else if (shared) done.mayBe(cell, 0);
    } else if (shared || (done.name === 'svm_page_in' && old !== null)) write(done, cell, 0);
  }

  #checkGuestRead(done: Done): void {
    const [first, count] = done.values as [number, number];
    const { data } = done.result;
    if (!Array.isArray(data) || data.length !== count) {
      done.found('answered no data');
      return;
    }
    for (let i = 0; i < count; i++) {
      const got = data[i];
      const gfn = first + i;
      const where = this.#whereNow(done, gfn);
      const what = `guest page ${gfn}`;
      if (typeof got !== 'number') {
        this.#checkFailure(done, gfn, String(got), mayRead);
        continue;
      }
      if (where === undefined) done.found(`${what}: read ${got} where the guest has no memory`);
      else if (where.running && where.where !== 'shared') {
        this.#checkOwn(done, gfn, got, where.where);
      } else {
        const page = done.model.space(done.process).get(where.at);
        if (!mayRead(page)) done.found(`${what}: read ${got} where the process may not`);
        else checkRead(done, page.cell, got, what);
      }
    }
  }

  #checkOwn(done: Done, gfn: number, got: number, where: Where): void {
    const page = this.#page(done.process, gfn);
    if (where !== 'secure') done.found(`guest page ${gfn}: read ${got} of a page that is ${where}`);
    if (Number.isNaN(page.value)) page.value = got;
    if (got !== page.value) {
      done.found(`guest page ${gfn}: read ${hex(got)}, expected ${hex(page.value)}`);
    }
  }

  #checkGuestWrite(done: Done): void {
    const [first, count, base] = done.values as [number, number, number];
    const ok = done.result.ret === '0';
    for (let i = 0; i < count; i++) {
      const gfn = first + i;
      const value = base + i;
      const where = this.#whereNow(done, gfn);
      if (where === undefined) {
        if (ok) done.found(`guest page ${gfn}: wrote where the guest has no memory`);
        continue;
      }
      if (where.running && where.where === 'secure') {
        this.#page(done.process, gfn).value = value;
        done.secrets.add(value);
        continue;
      }
      if (where.running && where.where !== 'shared') {
        if (ok) done.found(`guest page ${gfn}: wrote to a page that is ${where.where}`);
        else this.#checkFailure(done, gfn, '', mayWrite);
        continue;
      }
      const page = done.model.space(done.process).get(where.at);
      if (ok && !mayWrite(page)) done.found(`guest page ${gfn}: wrote where the process may not`);
      else if (ok) write(done, page!.cell, value);
      else if (mayWrite(page)) done.mayBe(page.cell, value);
    }
  }

  #whereNow(
    done: Done,
    gfn: number,
  ): { readonly where: Where; readonly at: number; readonly running: boolean } | undefined {
    const view = this.#now.get(done.process);
    const page = view?.pages.get(gfn);
    return page === undefined ? undefined : { ...page, running: view!.stage === 'running' };
  }

  /** An access to one page failed: is there a reason? */
  #checkFailure(done: Done, gfn: number, got: string, may: typeof mayRead): void {
    const view = this.#before.get(done.process);
    const found = view?.pages.get(gfn);
    if (view === undefined || found === undefined || view.stage === 'starting') return;
    const host = done.model.space(done.process).get(found.at);
    const place = done.before(found.at);
    const isOwn = view.stage === 'running' && found.where !== 'shared';
    const reason = isOwn
      ? // A slot that came late, where the process has a hole, is none to the ultravisor.
        found.where === null || (found.where === 'out' && this.#mayStayOut(done, gfn, place))
      : !(view.stage === 'running' ? mayWrite(host) : may(host)) || mayNotCome(done, place);
    if (!reason) done.found(`guest page ${gfn}: ${got} without a reason`);
  }

  /** A page comes back only as it went out, from RAM, and where there is room for it. */
  #mayStayOut(done: Done, gfn: number, place: Place | undefined): boolean {
    const { intact } = this.#page(done.process, gfn);
    if (intact !== true || place === undefined) return true;
    const uvmem = this.#eye.uvmem!;
    const room = uvmem.secureBytes / this.#eye.machine.pageSize - uvmem.pagesInUse;
    return place.home !== 'ram' || place.exclusive || place.vma?.file != null || room < 16;
  }
}

function mayNotCome(done: Done, place: Place | undefined): boolean {
  if (done.lowRam) return true;
  const home = place?.home ?? 'none';
  return home.startsWith('gpu') && done.gpus[Number(home.slice(3))]!.failing;
}

/** The operation is about this guest page. */
function isAskedFor({ name, values }: Pick<Done, 'name' | 'values'>, gfn: number): boolean {
  const [first, count] = values as [number, number];
  if (name === 'svm_page_in' || name === 'svm_page_out') return gfn === first;
  if (!['svm_share', 'svm_unshare', 'guest_read', GUEST_WRITES].includes(name)) return false;
  return gfn >= first && gfn < first + count;
}
