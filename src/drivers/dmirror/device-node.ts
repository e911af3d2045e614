/** mmap of a dmirror device node: dmirror_fops_mmap. */
import { ENOMEM } from '../../core/errno.ts';
import { MemoryFile } from '../../core/mm/memory-file.ts';
import { leafIndex } from '../../core/mm/page-table.ts';
import { pageAddFileRmap } from '../../core/mm/rmap.ts';
import { VM_MIXEDMAP } from '../../core/mm/vma.ts';
import type { Process } from '../../core/process.ts';
import type { Task } from '../../core/sched/task.ts';
import { NO_PAGE, type Va } from '../../core/units.ts';

export interface NodeMapping {
  readonly pages: number;
  readonly addr?: Va;
  readonly prot?: 'rw' | 'r' | 'n';
  readonly shared?: boolean;
}

/**
 * Maps fresh zeroed pages of RAM at once. What they make of the VMA (VM_MIXEDMAP) keeps migrate_vma
 * away; hmm_range_fault works. Returns the address, or -errno.
 */
export function* mapDeviceNode(proc: Process, mapping: NodeMapping): Task<number> {
  const { mm } = proc;
  const { kernel, pages } = mm;
  // A file of no pages, so that a page that was dropped does not come back: its fault is SIGBUS.
  const file = new MemoryFile(pages, kernel.mappings, 0);
  const va = yield* proc.mmapTask({ ...mapping, file });
  file.drop();
  if (va < 0) return va;
  const vma = mm.vmas.find(va)!;
  for (let i = 0; i < mapping.pages; i++) {
    const page = pages.allocate();
    if (page === NO_PAGE) {
      yield* proc.munmapTask(va, mapping.pages * mm.pageSize);
      return -ENOMEM;
    }
    vma.flags |= VM_MIXEDMAP;
    const vpn = mm.vpn(va) + i;
    pageAddFileRmap(pages, page);
    mm.addRss(false, 1);
    mm.pageTable.leafFor(vpn).set(leafIndex(vpn), page, vma.pageProt);
    if (kernel.events.listening) {
      kernel.events.ownerChange(mm, mm.va(vpn), page, null, 'system');
    }
  }
  return va;
}
