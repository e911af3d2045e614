/**
 * VMAs of a file or an anon_vma, ordered by their first page offset; among equals the one inserted
 * first comes first, as in the kernel's interval trees. Reverse-map walks visit them in this order.
 */
import type { Vma } from './vma.ts';

export function insertByPgoff(vmas: Vma[], vma: Vma): void {
  let low = 0;
  let high = vmas.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (vmas[middle]!.pgoff <= vma.pgoff) low = middle + 1;
    else high = middle;
  }
  vmas.splice(low, 0, vma);
}

export function removeFrom(vmas: Vma[], vma: Vma): void {
  const at = vmas.indexOf(vma);
  if (at >= 0) vmas.splice(at, 1);
}
