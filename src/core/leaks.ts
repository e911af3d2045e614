/** Memory that nobody can use any more. */
import type { Machine } from './machine.ts';
import type { DevPagemap } from './pagemap/pagemap.ts';
import type { Page } from './units.ts';

/**
 * What did not come back although every process of the machine has ended: pages of devices and of
 * RAM, a line for each region. Empty if nothing leaked.
 */
export function leakedMemory(machine: Machine): string[] {
  const { pages, pagemaps } = machine.kernel;
  const leaks: string[] = [];
  for (const pagemap of pagemaps) {
    if (pagemap.pagesInUse === 0) continue;
    const left = usedPages(machine, pagemap);
    leaks.push(
      `${countOf(pagemap.pagesInUse, 'device page')} of ${pagemap.name} never came back` +
        (left.length === 0 ? '' : `: ${left.slice(0, 4).join(', ')}`),
    );
  }
  if (pages.ramUsed > 0) {
    leaks.push(`${countOf(pages.ramUsed, 'page')} of RAM never came back`);
  }
  return leaks;
}

/** The used pages of a region, each with what keeps it: "page 512 (1 reference, locked)". */
export function usedPages(machine: Machine, pagemap: DevPagemap): string[] {
  const { pages } = machine.kernel;
  const { firstPage, pageCount } = pagemap;
  const used: string[] = [];
  for (let page: Page = firstPage; page < firstPage + pageCount; page++) {
    const refs = pages.refcount[page]! - pages.freeDevicePageRefs;
    if (refs <= 0) continue;
    const locked = pages.isLocked(page) ? ', locked' : '';
    used.push(`page ${page} (${countOf(refs, 'reference')}${locked})`);
  }
  return used;
}

function countOf(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
