/**
 * anon_vma: the reverse map of anonymous pages.
 *
 * A page names the anon_vma of the process that made it; that anon_vma lists every VMA, in all
 * address spaces, in which the page may be mapped. fork links the child's VMA to all anon_vmas of
 * the parent's and gives it one of its own for pages the child makes.
 */
import type { Mappings } from './mapping.ts';
import type { Vma } from './vma.ts';
import { insertByPgoff, removeFrom } from './vma-tree.ts';

/** struct anon_vma, mm/rmap.c. */
export class AnonVma {
  readonly kind = 'anon';
  readonly id: number;
  /** VMAs linked to it, by first page offset, then by age: the interval tree `rb_root`. */
  readonly vmas: Vma[] = [];
  readonly parent: AnonVma | null;
  /** VMAs whose own anon_vma this is. */
  activeVmas = 0;
  /** anon_vmas made by fork from this one. */
  children: number;
  readonly #mappings: Mappings;

  constructor(mappings: Mappings, parent: AnonVma | null) {
    this.#mappings = mappings;
    this.id = mappings.register(this);
    this.parent = parent;
    // A root counts itself as a child, so that it is not taken for one that nobody uses.
    this.children = parent === null ? 1 : 0;
    if (parent !== null) parent.children++;
  }

  link(vma: Vma): void {
    insertByPgoff(this.vmas, vma);
    vma.chain.push(this);
  }

  unlink(vma: Vma): void {
    removeFrom(this.vmas, vma);
    if (this.vmas.length > 0) return;
    this.#mappings.unregister(this.id);
    if (this.parent !== null) this.parent.children--;
  }
}

/** Makes sure that anonymous pages of `vma` have an anon_vma: anon_vma_prepare. */
export function anonVmaPrepare(mappings: Mappings, vma: Vma): AnonVma {
  if (vma.anonVma !== null) return vma.anonVma;
  const anonVma = findMergeableAnonVma(vma) ?? new AnonVma(mappings, null);
  vma.anonVma = anonVma;
  anonVma.activeVmas++;
  anonVma.link(vma);
  return anonVma;
}

/** Links `to` to everything `from` is linked to: anon_vma_clone. */
export function anonVmaClone(to: Vma, from: Vma): void {
  for (const anonVma of from.chain) {
    anonVma.link(to);
    // An old anon_vma that nobody makes pages for any more is used again.
    if (
      to.anonVma === null &&
      from.anonVma !== null &&
      anonVma.children < 2 &&
      anonVma.activeVmas === 0
    ) {
      to.anonVma = anonVma;
    }
  }
  if (to.anonVma !== null) to.anonVma.activeVmas++;
}

/** What fork does to the child's copy of `parent`: anon_vma_fork. */
export function anonVmaFork(mappings: Mappings, child: Vma, parent: Vma): void {
  if (parent.anonVma === null) return;
  child.anonVma = null;
  anonVmaClone(child, parent);
  if (child.anonVma !== null) return;
  const anonVma = new AnonVma(mappings, parent.anonVma);
  child.anonVma = anonVma;
  anonVma.activeVmas++;
  anonVma.link(child);
}

/** unlink_anon_vmas. */
export function unlinkAnonVmas(vma: Vma): void {
  for (const anonVma of vma.chain) anonVma.unlink(vma);
  vma.chain.length = 0;
  if (vma.anonVma !== null) vma.anonVma.activeVmas--;
  vma.anonVma = null;
}

/** A neighbour's anon_vma, so that the two VMAs can be merged again later: find_mergeable_anon_vma. */
function findMergeableAnonVma(vma: Vma): AnonVma | null {
  const next = vma.mm.vmas.find(vma.end);
  if (next !== null && compatible(vma, next) && next.chain.length === 1) return next.anonVma;
  const previous = vma.mm.vmas.previous(vma);
  if (previous !== null && compatible(previous, vma) && previous.chain.length === 1) {
    return previous.anonVma;
  }
  return null;
}

/** anon_vma_compatible: neighbours that differ in access rights at most. */
function compatible(low: Vma, high: Vma): boolean {
  return (
    low.end === high.start &&
    low.file === high.file &&
    (low.flags & ~ACCESS_FLAGS) === (high.flags & ~ACCESS_FLAGS) &&
    high.pgoff === low.pgoff + low.pages
  );
}

/** VM_ACCESS_FLAGS. */
const ACCESS_FLAGS = 0x7;
