// The tutorial's driver with one mistake each, made by changing its text.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DriverSpec } from '../../src/testing/index.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const DRIVER_PATH: string = join(ROOT, 'examples/09-your-own-driver/my-driver.ts');

export interface Planted {
  readonly mistake: string;
  /** Text of the driver, which must occur once, and what stands there instead. */
  readonly change: readonly [from: string, to: string];
  /** In the message of the first case that fails. */
  readonly told: string;
}

export const PLANTED: readonly Planted[] = [
  {
    mistake: 'forgets fault_page',
    change: [', faultPage: page }', ' }'],
    told: 'the driver forgets fault_page (migrate_vma.fault_page, since v6.1)',
  },
  {
    mistake: 'ignores every MIGRATE notification, not only its own',
    change: [
      '    hmm.mmuIntervalSetSeq(notifier, seq);\n',
      "    if (range.event === 'migrate') return true;\n    hmm.mmuIntervalSetSeq(notifier, seq);\n",
    ],
    told: 'the driver ignores a foreign MIGRATE notification',
  },
  {
    mistake: 'drops nothing when it hears of a foreign MIGRATE',
    change: [
      '    const { start, end } = range;\n',
      "    const { start, end } = range;\n    if (range.event === 'migrate' && range.owner !== this.#device) return true;\n",
    ],
    told: 'the device keeps a page mapped through a foreign MIGRATE notification',
  },
  {
    mistake: 'drops nothing when it hears of a CLEAR',
    change: [
      '    const { start, end } = range;\n',
      "    const { start, end } = range;\n    if (range.event === 'clear') return true;\n",
    ],
    told: 'the device keeps a page mapped through a CLEAR notification',
  },
  {
    mistake: 'drops nothing when it hears of an UNMAP',
    change: [
      '    const { start, end } = range;\n',
      "    const { start, end } = range;\n    if (range.event === 'unmap') return true;\n",
    ],
    told: 'the device keeps a page mapped through an UNMAP notification',
  },
  {
    mistake: 'ignores CLEAR notifications',
    change: [
      '    hmm.mmuIntervalSetSeq(notifier, seq);\n',
      "    if (range.event === 'clear') return true;\n    hmm.mmuIntervalSetSeq(notifier, seq);\n",
    ],
    told: 'the driver ignores a CLEAR notification',
  },
  {
    mistake: 'ignores UNMAP notifications',
    change: [
      '    hmm.mmuIntervalSetSeq(notifier, seq);\n',
      "    if (range.event === 'unmap') return true;\n    hmm.mmuIntervalSetSeq(notifier, seq);\n",
    ],
    told: 'the driver ignores an UNMAP notification',
  },
  {
    mistake: 'leaks a page on a failed copy',
    change: ['        pages.unlock(to);\n        pages.put(to);\n', ''],
    told: 'the driver leaks a page on a failed copy',
  },
  {
    mistake: 'unlocks, but does not put, a page on a failed copy',
    change: ['        pages.put(to);\n', ''],
    told: 'the driver leaks a page on a failed copy',
  },
  {
    mistake: 'names the destination in spite of a failed copy',
    change: [
      '        pages.unlock(to);\n        pages.put(to);\n',
      '        dst[i] = hmm.migratePfn(to);\n',
    ],
    told: 'a page whose copy failed went to the device all the same',
  },
  {
    mistake: 'gives its memory another owner than it migrates for',
    change: ['owner: this, ops', "owner: { name: 'mine' }, ops"],
    told: 'owners are objects, compared by identity',
  },
  {
    mistake: 'migrates in the name of another',
    change: ['pgmapOwner: this', "pgmapOwner: { name: 'mine' }"],
    told: 'pgmap_owner must be its own',
  },
  {
    mistake: 'migrates in the name of nobody',
    change: [', pgmapOwner: this }', ' }'],
    told: 'the driver migrates in the name of nobody',
  },
  {
    mistake: 'has no pageFree',
    change: ['  pageFree(page: hmm.Page): void {\n    this.free.push(page);\n  }\n', ''],
    told: 'memremap_pages wants an owner and ops with pageFree (page_free)',
  },
  {
    mistake: 'has no migrateToRam',
    change: ['  *migrateToRam(', '  *bringHome('],
    told: 'for private memory, migrateToRam (migrate_to_ram)',
  },
  {
    mistake: 'takes pages of another owner',
    change: [
      '    const [src, dst] =',
      `    const found = Array.from({ length: count }, (_, i) => mm.pageTable.leaf(mm.vpn(range.start) + i)
      ?.page[(mm.vpn(range.start) + i) % 512] ?? 0).find((page) => pages.isZoneDevice(page));
    const asked = found === undefined ? null : pages.pagemapOf(found);
    if (asked !== null && asked.owner !== this) {
      range = { ...range, flags: 3 };
      const [src, dst] = [new Uint32Array(count), new Uint32Array(count)];
      const theirs = new hmm.MigrateVma({ ...range, src, dst, pgmapOwner: asked.owner });
      yield* hmm.migrateVmaSetup(theirs);
      for (let i = 0; i < count; i++) {
        if ((src[i]! & hmm.MIGRATE_PFN_MIGRATE) === 0) continue;
        const to = allocate();
        pages.copyContents(to, hmm.migratePfnPage(src[i]!));
        dst[i] = hmm.migratePfn(to);
      }
      yield* hmm.migrateVmaPages(theirs);
      hmm.migrateVmaFinalize(theirs);
      return count;
    }
    const [src, dst] =`,
    ],
    told: 'the driver takes a page that belongs to another owner',
  },
  {
    mistake: 'does not put freed pages back on its list',
    change: ['    this.free.push(page);\n', '    void page;\n'],
    told: 'the driver does not use freed pages again (page_free)',
  },
  {
    mistake: 'keeps a reference on each device page',
    change: [
      'device.free.take());',
      '{\n      const page = device.free.take();\n      mm.pages.get(page);\n      return page;\n    });',
    ],
    told: 'refcount of page',
  },
  {
    mistake: 'brings its own pages home to read them',
    change: ['owner: this.#device }', 'owner: null }'],
    told: 'to read its own pages the driver brings them home',
  },
  {
    mistake: 'keeps its notifier when the file is closed',
    change: [
      '    return hmm.mmuIntervalNotifierRemove(this.#notifier);\n',
      '    return (function* () {})();\n',
    ],
    told: 'the driver leaves its interval notifier behind',
  },
  {
    mistake: 'copies nothing',
    change: [
      'this.engine.copy(to, hmm.migratePfnPage(src[i]!)) === 0',
      'hmm.migratePfnPage(src[i]!) >= 0',
    ],
    told: 'the CPU reads 0 in page',
  },
  {
    mistake: 'asks for pages of RAM when the CPU touches its memory',
    change: ['hmm.MIGRATE_VMA_SELECT_DEVICE_PRIVATE', 'hmm.MIGRATE_VMA_SELECT_SYSTEM'],
    told: 'migrate_to_ram collects nothing',
  },
  {
    mistake: 'maps what it was told without asking whether it is still true',
    change: [
      `      const result = yield* hmm.hmmPopulate({ ...range, request: hmm.HMM_PFN_REQ_FAULT }, (pfns) =>
        table.set(va, hmm.hmmPfnPage(pfns[0]!)),
      );
`,
      `      const hmmPfns = new Uint32Array([hmm.HMM_PFN_REQ_FAULT]);
      const notifierSeq = yield* hmm.mmuIntervalReadBegin(notifier);
      yield* notifier.mm.mmapLock.read();
      const asks = { ...range, devPrivateOwner: range.owner, notifierSeq, hmmPfns };
      const more = { defaultFlags: hmm.HMM_PFN_REQ_FAULT, pfnFlagsMask: 0 };
      const result = yield* hmm.hmmRangeFault({ ...asks, ...more });
      notifier.mm.mmapLock.unlockRead();
      table.set(va, hmm.hmmPfnPage(hmmPfns[0]!));
`,
    ],
    told: 'under its own lock the driver must ask mmu_interval_read_retry',
  },
  {
    mistake: 'keeps mmap_lock',
    change: ['    mm.mmapLock.unlockRead();\n', ''],
    told: 'mmap_lock',
  },
];

/** Writes the driver with a change, imports it, and hands its spec to `look`. */
export async function withPlanted(
  { change: [from, to] }: Pick<Planted, 'change'>,
  look: (spec: DriverSpec) => void,
): Promise<void> {
  const text = readFileSync(DRIVER_PATH, 'utf8');
  if (text.split(from).length !== 2) throw new Error(`not once in the driver: ${from}`);
  const folder = mkdtempSync(join(tmpdir(), 'hmmlab-planted-'));
  try {
    const path = join(folder, 'my-driver.ts');
    writeFileSync(
      path,
      text.replace(from, () => to),
    );
    const { spec } = (await import(/* @vite-ignore */ path)) as { readonly spec: DriverSpec };
    look(spec);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
