/** Do the page tables of GPUs agree with those of the processes? For tests and fuzzing. */
import { leafIndex } from '../../core/mm/page-table.ts';
import {
  PTE_DEVICE_EXCLUSIVE,
  PTE_DEVICE_PRIVATE,
  PTE_KIND,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_WRITE,
} from '../../core/mm/pte.ts';
import { hex, type Page, type Va, type Vpn } from '../../core/units.ts';
import { GPU_PTE_WRITE, type GpuPte } from '../../hw/gpu-page-table.ts';
import type { Svmm } from './svmm.ts';

/** A page that a GPU still uses, though its process has another one there or may do less with it. */
export interface StaleMapping {
  readonly pid: number;
  readonly va: Va;
  /** What the GPU maps. */
  readonly page: Page;
  readonly message: string;
}

/** What the GPU maps in one address space and should not; meaningful while no task runs. */
export function staleMappings(svmm: Svmm): StaleMapping[] {
  const found: StaleMapping[] = [];
  for (const [vpn, entry] of svmm.vmm?.mapped() ?? []) {
    const wrong = whatIsWrong(svmm, vpn, entry);
    if (wrong === null) continue;
    const { mm } = svmm;
    const va = mm.va(vpn);
    const message = `${svmm.name} maps page ${entry.page} at ${hex(va)}, ${wrong}`;
    found.push({ pid: mm.pid, va, page: entry.page, message });
  }
  return found;
}

function whatIsWrong({ mm }: Svmm, vpn: Vpn, { page, flags }: GpuPte): string | null {
  const leaf = mm.pageTable.leaf(vpn);
  const at = leafIndex(vpn);
  const bits = leaf?.bits[at] ?? 0;
  const kind = bits & PTE_KIND;
  const isMapped =
    kind === PTE_DEVICE_PRIVATE ||
    kind === PTE_DEVICE_EXCLUSIVE ||
    (kind === PTE_PRESENT && (bits & PTE_PROTNONE) === 0);
  if (!isMapped) return 'where the process maps nothing';
  if (leaf!.page[at] !== page) return `where the process has page ${leaf!.page[at]}`;
  const writes = (flags & GPU_PTE_WRITE) !== 0;
  return writes && (bits & PTE_WRITE) === 0 ? 'writable, where the process may only read' : null;
}
