/**
 * A GPU that works on memory of its own only: when it touches a page that is elsewhere it takes the
 * page, replays the access a moment later, and starts again if the page is gone by then.
 *
 * So do the drivers of AMD (amdkfd, with XNACK) and Intel (xe). Two such GPUs that want one page, or
 * one and a CPU, take it from each other before either is done. With `keep` the GPU holds what it
 * took for a while, and whoever wants it meanwhile waits: the timeslice of drm_gpusvm (6.15).
 */
import * as hmm from 'hmmlab';
import type { DriverSpec } from 'hmmlab/testing';

const PAGES = 512;
/** So often a page is taken away before the access is done until somebody says so. */
const ROUNDS_MAX = 100;
/** A GPU that replays at once still lets time pass from so many rounds on. */
const ROUNDS_AT_ONCE = 16;
const ROUND_NS = 1000;
const WRITABLE = hmm.HMM_PFN_REQ_FAULT | hmm.HMM_PFN_REQ_WRITE;

export type EagerAccess = 'read' | 'write' | 'atomic';

export interface EagerOptions {
  /** Time from the mapping of a page to the replay of the access, in nanoseconds; 1000 by default. */
  readonly replayNs?: number;
  /** So long the GPU keeps a page that it took, in nanoseconds; 0, not at all, by default. */
  readonly keepNs?: number;
}

/** What an access came to. */
export interface EagerResult {
  /** 0 or -errno. */
  readonly ret: number;
  /** What was read; for an atomic, what was there before. */
  readonly data: number;
  /** How often the GPU had to take the page. */
  readonly faults: number;
}

interface Entry {
  readonly page: hmm.Page;
  readonly writable: boolean;
}

export class EagerGpu implements hmm.DeviceDriver, hmm.DevPagemapOps {
  readonly replayNs: number;
  readonly keepNs: number;
  name = '';
  kernel!: hmm.Machine['kernel'];
  bus!: hmm.BusMaster;
  engine!: hmm.CopyEngine;
  readonly files: Set<EagerFile> = new Set();
  #free!: hmm.FreePages;
  /** When each page may leave. */
  readonly #keptUntil: Map<hmm.Page, number> = new Map();

  constructor({ replayNs = 1000, keepNs = 0 }: EagerOptions = {}) {
    this.replayNs = replayNs;
    this.keepNs = keepNs;
  }

  attach(machine: hmm.Machine): void {
    this.kernel = machine.kernel;
    this.name = `eager${machine.drivers.filter((one) => one instanceof EagerGpu).length}`;
    const region = {
      name: `${this.name} memory`,
      type: 'private',
      owner: this,
      ops: this,
    } as const;
    const pagemap = machine.memremapPages({ ...region, bytes: PAGES * machine.pageSize });
    if (typeof pagemap === 'number') throw new Error(hmm.errnoName(pagemap));
    this.#free = new hmm.FreePages(machine.kernel, pagemap);
    this.bus = new hmm.BusMaster(machine.kernel, this);
    const name = `${this.name} copy engine`;
    this.engine = new hmm.CopyEngine(machine.kernel, this.bus, { name });
  }

  open(proc: hmm.Process): EagerFile {
    const file = new EagerFile(this, proc);
    this.files.add(file);
    return file;
  }

  mappingOf(proc: hmm.Process, va: hmm.Va): string | null {
    for (const file of this.files) {
      const entry = file.process === proc ? file.table.get(va) : undefined;
      if (entry !== undefined) return entry.writable ? 'rw' : 'r';
    }
    return null;
  }

  /** What the GPU will act on and the kernel does not know; see `Driver.fingerprint`. */
  fingerprint(hash: { add(value: number): void }): void {
    const { nowNs } = this.kernel.scheduler;
    for (const { process: proc, table } of this.files) {
      hash.add(proc.pid);
      for (const [va, { page, writable }] of [...table].sort(([a], [b]) => a - b)) {
        hash.add(va);
        hash.add(page * 2 + (writable ? 1 : 0));
      }
    }
    for (const [page, untilNs] of [...this.#keptUntil].sort(([a], [b]) => a - b)) {
      hash.add(page);
      hash.add(Math.max(0, untilNs - nowNs));
    }
  }

  pageFree(page: hmm.Page): void {
    this.#keptUntil.delete(page);
    this.#free.push(page);
  }

  /** The CPU, or another device through it, wants a page: it waits while the page is kept. */
  *migrateToRam({ vma, address, page }: hmm.DeviceFault): hmm.Task<number> {
    const { scheduler } = this.kernel;
    const keptNs = (this.#keptUntil.get(page) ?? 0) - scheduler.nowNs;
    if (keptNs > 0) {
      yield new hmm.Delay(keptNs, 'pause', `${this.name} keeps a page`);
      // Things may have changed; who still wants it touches it again.
      return 0;
    }
    const { mm } = vma;
    const flags = hmm.MIGRATE_VMA_SELECT_DEVICE_PRIVATE;
    const faultPage = this.kernel.era.faultPage ? page : hmm.NO_PAGE;
    const range = { vma, start: address, end: address + mm.pageSize, flags, faultPage };
    const result = yield* this.#migrate(mm, range, () => mm.pages.allocateLocked());
    return result < 0 ? hmm.VM_FAULT_SIGBUS : 0;
  }

  /** Takes the pages of [start, end) that are in RAM: how many, or -errno. */
  *take(mm: hmm.Mm, start: hmm.Va, end: hmm.Va): hmm.Task<number> {
    if (!mm.mmapLock.tryRead()) yield* mm.mmapLock.read();
    try {
      const flags = hmm.MIGRATE_VMA_SELECT_SYSTEM;
      const range = { vma: mm.vmas.find(start), start, end, flags };
      return yield* this.#migrate(mm, range, () => this.#takeFree());
    } finally {
      mm.mmapLock.unlockRead();
    }
  }

  #takeFree(): hmm.Page {
    const page = this.#free.take();
    if (page !== hmm.NO_PAGE && this.keepNs > 0) {
      this.#keptUntil.set(page, this.kernel.scheduler.nowNs + this.keepNs);
    }
    return page;
  }

  *#migrate(
    mm: hmm.Mm,
    range: Omit<hmm.MigrateVmaOptions, 'src' | 'dst' | 'pgmapOwner'>,
    allocate: () => hmm.Page,
  ): hmm.Task<number> {
    const count = (range.end - range.start) / mm.pageSize;
    const [src, dst] = [new Uint32Array(count), new Uint32Array(count)];
    // In v5.7 naming an owner meant: that owner's device pages, and no others.
    const namesNobody =
      this.kernel.era.selection === 'src-owner' && range.flags === hmm.MIGRATE_VMA_SELECT_SYSTEM;
    const pgmapOwner = namesNobody ? null : this;
    const migration = new hmm.MigrateVma({ ...range, src, dst, pgmapOwner, by: this });
    let result = yield* hmm.migrateVmaSetup(migration);
    if (result < 0) return result;
    for (let i = 0; i < count; i++) {
      if ((src[i]! & hmm.MIGRATE_PFN_MIGRATE) === 0) continue;
      const to = allocate();
      if (to === hmm.NO_PAGE) {
        result = -hmm.ENOMEM;
        continue;
      }
      const word = (hmm.migratePfn(to) | hmm.MIGRATE_PFN_LOCKED) >>> 0;
      if (this.engine.copy(to, hmm.migratePfnPage(src[i]!)) === 0) dst[i] = word;
      else {
        result = -hmm.EIO;
        mm.pages.unlock(to);
        mm.pages.put(to);
      }
    }
    yield* hmm.migrateVmaPages(migration);
    hmm.migrateVmaFinalize(migration);
    return result < 0 ? result : hmm.countMigrated(src, count);
  }
}

/** The GPU as one process has it open. */
export class EagerFile implements hmm.OpenFile {
  readonly process: hmm.Process;
  /** What the GPU has mapped, by address. */
  readonly table: Map<hmm.Va, Entry> = new Map();
  readonly #device: EagerGpu;
  readonly #mm: hmm.Mm;
  readonly #notifier: hmm.IntervalNotifier;

  constructor(device: EagerGpu, proc: hmm.Process) {
    const invalidate = this.#invalidate.bind(this);
    const notifier = hmm.mmuIntervalNotifierInsert(proc.mm, { name: device.name, invalidate });
    if (typeof notifier === 'number') throw new Error(hmm.errnoName(notifier));
    this.#device = device;
    this.process = proc;
    this.#mm = proc.mm;
    this.#notifier = notifier;
  }

  /** Takes pages without touching them: how many came, or -errno. */
  toDevice(start: hmm.Va, pages: number): hmm.Task<number> {
    return this.#device.take(this.#mm, start, start + pages * this.#mm.pageSize);
  }

  /**
   * One access to the first word of the page at `va`. A page that cannot move (of a file, pinned, or
   * because the GPU is full) is read and written where it is; an atomic needs it here: -EINVAL for
   * pages of files.
   *
   * @throws SimError `livelock` where the page is taken away each time before the access is done
   */
  *access(kind: EagerAccess, va: hmm.Va, value = 0): hmm.Task<EagerResult> {
    for (let faults = 0; ; faults++) {
      const entry = this.#usable(kind, va);
      if (entry !== null) return { ret: 0, data: this.#perform(kind, va, value, entry), faults };
      if (faults >= ROUNDS_MAX) throw this.#livelock(va, faults);
      const result = yield* this.#fault(kind, va);
      if (result < 0) return { ret: result, data: 0, faults };
      // The access waits in the GPU's queue and is replayed from there.
      const ns = this.#device.replayNs || (faults < ROUNDS_AT_ONCE ? 0 : ROUND_NS);
      if (ns > 0) yield new hmm.Delay(ns, 'work', `${this.#device.name} replays`);
    }
  }

  release(): hmm.Task<void> {
    this.#device.files.delete(this);
    this.table.clear();
    return hmm.mmuIntervalNotifierRemove(this.#notifier);
  }

  #usable(kind: EagerAccess, va: hmm.Va): Entry | null {
    const entry = this.table.get(va);
    if (entry === undefined || (kind !== 'read' && !entry.writable)) return null;
    return kind === 'atomic' && !this.#owns(entry.page) ? null : entry;
  }

  #owns(page: hmm.Page): boolean {
    return this.#mm.pages.homeOf(page) === this.#device;
  }

  #perform(kind: EagerAccess, va: hmm.Va, value: number, { page }: Entry): number {
    const { bus } = this.#device;
    const { pid } = this.#mm;
    const before = kind === 'write' ? 0 : bus.read32(page, 0, pid, va);
    if (kind === 'write') bus.write32(page, 0, value, pid, va);
    if (kind === 'atomic') bus.write32(page, 0, before + value, pid, va);
    return before;
  }

  /** Takes the page, from whoever has it, and maps it. 0, or -errno. */
  *#fault(kind: EagerAccess, va: hmm.Va): hmm.Task<number> {
    const device = this.#device;
    const write = kind !== 'read';
    let isReadOnly = false;
    let result = yield* this.#populate(va, write, device, (word) => {
      isReadOnly = write && (word & hmm.HMM_PFN_WRITE) === 0;
    });
    // A page of its own that is read-only, as after a fork: only in RAM can it become writable.
    if (result === 0 && isReadOnly) result = yield* this.#populate(va, write, null, () => {});
    if (result !== 0) return result;
    const vma = this.#mm.vmas.find(va);
    if (kind === 'atomic' && vma !== null && vma.file !== null) return -hmm.EINVAL;
    const taken = yield* device.take(this.#mm, va, va + this.#mm.pageSize);
    if (taken < 0 && kind === 'atomic') return taken;
    return yield* this.#populate(va, write, device, (word) => this.#enter(va, word, taken > 0));
  }

  /** `mustOwn`: the page came a moment ago, so where it is not here it was taken away again. */
  #enter(va: hmm.Va, word: number, mustOwn: boolean): void {
    const page = hmm.hmmPfnPage(word);
    if (mustOwn && !this.#owns(page)) return;
    this.table.set(va, { page, writable: (word & hmm.HMM_PFN_WRITE) !== 0 });
  }

  *#populate(
    va: hmm.Va,
    write: boolean,
    owner: EagerGpu | null,
    commit: (word: number) => void,
  ): hmm.Task<number> {
    const request = write ? WRITABLE : hmm.HMM_PFN_REQ_FAULT;
    const range = { start: va, end: va + this.#mm.pageSize, request, owner };
    return yield* hmm.hmmPopulate({ ...range, notifier: this.#notifier }, (pfns) =>
      commit(pfns[0]!),
    );
  }

  #livelock(va: hmm.Va, faults: number): hmm.SimError {
    const { pid } = this.#mm;
    return new hmm.SimError(
      'livelock',
      `${this.#device.name} took the page at 0x${va.toString(16)} of process ${pid} ` +
        `${faults} times, and each time somebody else had it before the access was done`,
      { pid, va },
    );
  }

  /** A migration of its own is no exception: what it maps it maps anew. */
  #invalidate(notifier: hmm.IntervalNotifier, range: hmm.NotifierRange, seq: number): boolean {
    hmm.mmuIntervalSetSeq(notifier, seq);
    const { start, end } = range;
    for (const va of this.table.keys()) if (va >= start && va < end) this.table.delete(va);
    return true;
  }
}

// For the suite and for programs -----------------------------------------------------------------

function* dataOf(task: hmm.Task<EagerResult>): hmm.Task<number> {
  const { ret, data } = yield* task;
  return ret < 0 ? ret : data;
}

export const spec: DriverSpec<EagerGpu> = {
  name: 'eager',
  create: () => new EagerGpu(),
  toDevice: ({ file }, va, pages) => file.toDevice(va, pages),
  read: ({ file }, va) => dataOf(file.access('read', va)),
  write: ({ file }, va, value) => dataOf(file.access('write', va, value)),
  failNextCopy: ({ driver }) => driver.engine.failAfter(1),
};

const range = [hmm.deviceArg('eager'), hmm.bufferArg(), hmm.offsetArg(), hmm.pagesArg()] as const;

function fileOf(ctx: hmm.ProgramContext, device: number): EagerFile {
  return ctx.file(ctx.devices(EagerGpu)[device]!);
}

/** An access to each page, one after the other; ends with the first that fails. */
function* accesses(
  ctx: hmm.ProgramContext,
  [device, buffer, offset, pages]: readonly [number, number, number, number],
  kind: EagerAccess,
  valueAt: (i: number) => number,
): hmm.Task<hmm.Result> {
  const file = fileOf(ctx, device);
  const data: number[] = [];
  let faults = 0;
  for (let i = 0; i < pages; i++) {
    const done = yield* file.access(kind, ctx.address(buffer, offset + i), valueAt(i));
    faults += done.faults;
    if (done.ret < 0) return { ret: hmm.errnoName(done.ret), faults };
    data.push(done.data);
  }
  return kind === 'write' ? { ret: '0', faults } : { ret: '0', faults, data };
}

const operations: readonly hmm.Operation[] = [
  hmm.operation({
    name: 'eager_to_device',
    summary: 'the GPU takes pages that are in RAM, without touching them',
    args: range,
    *run(ctx, [device, buffer, offset, pages]) {
      const taken = yield* fileOf(ctx, device).toDevice(ctx.address(buffer, offset), pages);
      return taken < 0 ? { ret: hmm.errnoName(taken) } : { ret: '0', pages: taken };
    },
  }),
  hmm.operation({
    name: 'eager_read',
    summary: 'the GPU reads the first word of each page, in its own memory',
    args: range,
    run: (ctx, args) => accesses(ctx, args, 'read', () => 0),
  }),
  hmm.operation({
    name: 'eager_write',
    summary: 'the GPU stores value + i in the first word of page i, in its own memory',
    args: [...range, hmm.valueArg()],
    run: (ctx, [device, buffer, offset, pages, value]) =>
      accesses(ctx, [device, buffer, offset, pages], 'write', (i) => (value + i) >>> 0),
  }),
  hmm.operation({
    name: 'eager_atomic',
    summary: 'the GPU adds value to the first word of each page and answers what was there',
    args: [...range, hmm.valueArg()],
    run: (ctx, [device, buffer, offset, pages, value]) =>
      accesses(ctx, [device, buffer, offset, pages], 'atomic', () => value),
  }),
];

const TIME_MAX = 1_000_000_000;

/** `device eager [replay NS] [keep NS]` */
export const factory: hmm.DriverFactory<EagerGpu> = {
  name: 'eager',
  summary: 'a GPU that takes every page it touches, and may keep it for a while',
  options: [
    { kind: 'count', name: 'replay', min: 0, max: TIME_MAX, default: 1000 },
    { kind: 'count', name: 'keep', min: 0, max: TIME_MAX, default: 0 },
  ],
  max: 8,
  create: ({ replay, keep }) =>
    new EagerGpu({ replayNs: replay as number, keepNs: keep as number }),
  operations,
};
