/**
 * Exclusive access: a device has pages of RAM to itself, for atomic operations, until the CPU
 * touches them.
 *
 * Reference: mm/rmap.c of Linux 6.1. Every mapping of the page becomes an entry that faults. The
 * entry keeps the mapping's reference and stays in the resident set, but counts in no mapcount.
 */
import { chargeShootdown } from '../charge.ts';
import { SimError } from '../errors.ts';
import { PG_DIRTY } from '../memory/pages.ts';
import { FOLL_GET, FOLL_WRITE, getUserPagesRemote } from '../mm/gup.ts';
import type { Mm } from '../mm/mm.ts';
import { leafIndex } from '../mm/page-table.ts';
import {
  PTE_DEVICE_EXCLUSIVE,
  PTE_DIRTY,
  PTE_KIND,
  PTE_NONE,
  PTE_PRESENT,
  PTE_WRITE,
} from '../mm/pte.ts';
import { isAnon, pageRemoveRmap, pageVa, rmapVmas } from '../mm/rmap.ts';
import type { Vma } from '../mm/vma.ts';
import type { Owner } from '../pagemap/pagemap.ts';
import { PREEMPT, type Task } from '../sched/task.ts';
import type { Page, Va } from '../units.ts';

export { removeDeviceExclusiveEntry, restoreExclusivePte } from './exclusive-entry.ts';

/** What makeDeviceExclusiveRange found. */
export interface ExclusivePages {
  /** Pages found in the range; may be fewer than asked for. */
  readonly count: number;
  /** By position in the range: a page the device now has, locked and referenced, or null. */
  readonly pages: (Page | null)[];
}

/**
 * Gives the pages of [start, end) to a device: make_device_exclusive_range. Faults them in for
 * writing first. The caller holds mmap_lock, programs the device, then unlocks and puts each page;
 * from then on a CPU access takes it back. Returns a negative errno where no page is there at all.
 */
export function* makeDeviceExclusiveRange(
  mm: Mm,
  start: Va,
  end: Va,
  owner: Owner | null,
): Task<ExclusivePages | number> {
  const { pages, kernel } = mm;
  if (!kernel.era.deviceExclusive) {
    throw new SimError(
      'not-in-this-era',
      `make_device_exclusive_range came with v5.14; this machine is ${kernel.era.name}`,
    );
  }
  const found = yield* getUserPagesRemote(
    mm,
    start,
    Math.floor((end - start) / mm.pageSize),
    FOLL_GET | FOLL_WRITE,
  );
  if (typeof found === 'number') return found;
  const given: (Page | null)[] = [];
  const { scheduler } = kernel;
  if (scheduler.preempts && scheduler.overtaken('make exclusive', found.length)) yield PREEMPT;
  for (let i = 0; i < found.length; i++) {
    const page = found[i]!;
    if (!pages.tryLock(page)) {
      pages.put(page);
      given.push(null);
    } else if (yield* makeExclusive(mm, start + i * mm.pageSize, page, owner)) given.push(page);
    else {
      pages.unlock(page);
      pages.put(page);
      given.push(null);
    }
  }
  return { count: found.length, pages: given };
}

/**
 * folio_make_device_exclusive: true if no mapping of the page is left and the one at `va` in `mm`
 * allowed writing. Where it is false, some mappings may have been replaced all the same.
 */
function* makeExclusive(mm: Mm, va: Va, page: Page, owner: Owner | null): Task<boolean> {
  const { pages, kernel } = mm;
  // Writeback of a file's page would go on behind the device's back.
  if (!isAnon(pages, page) || pages.mapcount[page] === 0) return false;
  let valid = false;
  for (const vma of rmapVmas(kernel, page)) {
    const at = pageVa(vma, page);
    const range = {
      mm: vma.mm,
      start: at,
      end: at + vma.mm.pageSize,
      event: 'exclusive',
      owner,
    } as const;
    const waiting = vma.mm.notifiers.start(range);
    if (waiting !== undefined) yield* waiting;
    const { scheduler } = kernel;
    if (scheduler.preempts && scheduler.overtaken('make exclusive: told', page)) yield PREEMPT;
    const bits = replaceMapping(vma, at, page);
    chargeShootdown(kernel);
    vma.mm.notifiers.end(range);
    if (bits === ALREADY_EXCLUSIVE) break;
    if (vma.mm === mm && at === va && (bits & PTE_WRITE) !== 0) valid = true;
    if (pages.mapcount[page] === 0) break;
  }
  return valid && pages.mapcount[page] === 0;
}

const ALREADY_EXCLUSIVE = -1;

/**
 * page_make_device_exclusive_one: the entry's old bits, PTE_NONE where it does not map the page, or
 * ALREADY_EXCLUSIVE, which ends the walk.
 */
function replaceMapping(vma: Vma, va: Va, page: Page): number {
  const { mm } = vma;
  const vpn = mm.vpn(va);
  const leaf = mm.pageTable.leaf(vpn);
  const at = leafIndex(vpn);
  if (leaf === null || leaf.page[at] !== page) return PTE_NONE;
  const bits = leaf.bits[at]!;
  const kind = bits & PTE_KIND;
  if (kind === PTE_DEVICE_EXCLUSIVE) return ALREADY_EXCLUSIVE;
  if (kind !== PTE_PRESENT) return PTE_NONE;
  if ((bits & PTE_DIRTY) !== 0) mm.pages.flags[page] = mm.pages.flags[page]! | PG_DIRTY;
  leaf.bits[at] = PTE_DEVICE_EXCLUSIVE | (bits & PTE_WRITE);
  pageRemoveRmap(mm.pages, page);
  return bits;
}
