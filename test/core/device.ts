// The smallest device there is, for tests of the core: memory, an owner, and a way in and out.

import type { Machine } from '../../src/core/machine.ts';
import type { PagemapType } from '../../src/core/pagemap/pagemap.ts';
import { Probe } from '../../src/testing/index.ts';

/** A probe that has its memory at once, and is none of the machine's drivers. */
export class SmallDevice extends Probe {
  constructor(machine: Machine, name: string, type: PagemapType = 'private') {
    super({ name, type });
    this.attach(machine);
  }
}
