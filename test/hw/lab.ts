// A machine with device memory of several owners, for tests of what stands under a driver.

import type { Machine } from '../../src/core/machine.ts';
import type {
  DevPagemap,
  DevPagemapOps,
  Owner,
  PagemapType,
} from '../../src/core/pagemap/pagemap.ts';
import type { Page } from '../../src/core/units.ts';

const OPS: DevPagemapOps = {
  pageFree() {},
  migrateToRam: () => 0,
};

export function owner(name: string): Owner {
  return { name };
}

/** A page of device memory, in use. */
export function devicePage(machine: Machine, owner: Owner, type: PagemapType = 'private'): Page {
  const bytes = machine.pageSize;
  const made = machine.memremapPages({ type, owner, ops: OPS, bytes, name: owner.name });
  const { firstPage } = made as DevPagemap;
  (made as DevPagemap).initPage(firstPage);
  machine.kernel.pages.unlock(firstPage);
  return firstPage;
}

/** A page of RAM whose first word is `value`. */
export function ramPage(machine: Machine, value = 0): Page {
  const page = machine.kernel.pages.allocate();
  machine.kernel.pages.write32(page, 0, value);
  return page;
}
