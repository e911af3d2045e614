import * as hmm from 'hmmlab';
import { type DriverSpec, factoryOf } from 'hmmlab/testing';

type Range = Omit<hmm.MigrateVmaOptions, 'src' | 'dst' | 'pgmapOwner'>;

/** A device with memory of its own. It is itself the owner of that memory. */
export class MyDevice implements hmm.DeviceDriver, hmm.DevPagemapOps {
  readonly name = 'mine';
  engine!: hmm.CopyEngine;
  free!: hmm.FreePages;

  attach(machine: hmm.Machine): void {
    const region = { name: 'my memory', type: 'private', owner: this, ops: this } as const;
    const pagemap = machine.memremapPages({ ...region, bytes: 512 * machine.pageSize });
    if (typeof pagemap === 'number') throw new Error(hmm.errnoName(pagemap));
    this.free = new hmm.FreePages(machine.kernel, pagemap);
    const bus = new hmm.BusMaster(machine.kernel, this);
    this.engine = new hmm.CopyEngine(machine.kernel, bus, { name: 'my copy engine' });
  }

  pageFree(page: hmm.Page): void {
    this.free.push(page);
  }

  /** Moves the pages of one VMA. How many moved; -errno if one had no destination. */
  *migrate(mm: hmm.Mm, range: Range, allocate: () => hmm.Page): hmm.Task<number> {
    const { pages, pageSize } = mm;
    const count = (range.end - range.start) / pageSize;
    const [src, dst] = [new Uint32Array(count), new Uint32Array(count)];
    const migration = new hmm.MigrateVma({ ...range, src, dst, pgmapOwner: this });
    let result = yield* hmm.migrateVmaSetup(migration);
    if (result < 0) return result;
    for (let i = 0; i < count; i++) {
      if ((src[i]! & hmm.MIGRATE_PFN_MIGRATE) === 0) continue;
      const to = allocate();
      if (to === hmm.NO_PAGE) result = -hmm.ENOMEM;
      else if (this.engine.copy(to, hmm.migratePfnPage(src[i]!)) === 0) dst[i] = hmm.migratePfn(to);
      else {
        result = -hmm.EIO;
        pages.unlock(to);
        pages.put(to);
      }
    }
    yield* hmm.migrateVmaPages(migration);
    hmm.migrateVmaFinalize(migration);
    return result < 0 ? result : hmm.countMigrated(src, count);
  }

  *migrateToRam({ vma, address, page }: hmm.DeviceFault): hmm.Task<number> {
    const { mm } = vma;
    const flags = hmm.MIGRATE_VMA_SELECT_DEVICE_PRIVATE;
    const range = { vma, start: address, end: address + mm.pageSize, flags, faultPage: page };
    const result = yield* this.migrate(mm, range, () => mm.pages.allocateLocked());
    return result < 0 ? hmm.VM_FAULT_SIGBUS : 0;
  }

  open(proc: hmm.Process): MyFile {
    return new MyFile(this, proc.mm);
  }
}

/** The device as one process has it open. */
export class MyFile implements hmm.OpenFile {
  readonly #device: MyDevice;
  readonly #notifier: hmm.IntervalNotifier;
  readonly #table: Map<hmm.Va, hmm.Page> = new Map();

  constructor(device: MyDevice, mm: hmm.Mm) {
    const invalidate = this.#invalidate.bind(this);
    const notifier = hmm.mmuIntervalNotifierInsert(mm, { name: device.name, invalidate });
    if (typeof notifier === 'number') throw new Error(hmm.errnoName(notifier));
    this.#device = device;
    this.#notifier = notifier;
  }

  *toDevice(start: hmm.Va, count: number): hmm.Task<number> {
    const [device, { mm }] = [this.#device, this.#notifier];
    const range = { start, end: start + count * mm.pageSize, flags: hmm.MIGRATE_VMA_SELECT_SYSTEM };
    yield* mm.mmapLock.read();
    const vma = mm.vmas.find(start);
    const result = yield* device.migrate(mm, { ...range, vma }, () => device.free.take());
    mm.mmapLock.unlockRead();
    return result;
  }

  *read(va: hmm.Va): hmm.Task<number> {
    const [notifier, table] = [this.#notifier, this.#table];
    const { pages, pageSize } = notifier.mm;
    const range = { notifier, start: va, end: va + pageSize, owner: this.#device };
    if (!table.has(va)) {
      const result = yield* hmm.hmmPopulate({ ...range, request: hmm.HMM_PFN_REQ_FAULT }, (pfns) =>
        table.set(va, hmm.hmmPfnPage(pfns[0]!)),
      );
      if (result !== 0) return result;
    }
    return pages.read32(table.get(va)!, 0);
  }

  #invalidate(notifier: hmm.IntervalNotifier, range: hmm.NotifierRange, seq: number): boolean {
    hmm.mmuIntervalSetSeq(notifier, seq);
    const { start, end } = range;
    for (const va of this.#table.keys()) if (va >= start && va < end) this.#table.delete(va);
    return true;
  }

  release(): hmm.Task<void> {
    return hmm.mmuIntervalNotifierRemove(this.#notifier);
  }
}

export const spec: DriverSpec<MyDevice> = {
  name: 'mine',
  create: () => new MyDevice(),
  toDevice: ({ file }, va, pages) => file.toDevice(va, pages),
  read: ({ file }, va) => file.read(va),
  failNextCopy: ({ driver }) => driver.engine.failAfter(1),
};

export const factory: hmm.DriverFactory<MyDevice> = factoryOf(spec);
