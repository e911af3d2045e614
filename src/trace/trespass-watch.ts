/** Tells who touches device memory of somebody else, with the address where that can be known. */
import type { TrespassInfo } from '../core/events/types.ts';
import type { Machine } from '../core/machine.ts';
import type { Page } from '../core/units.ts';

type Place = Pick<TrespassInfo, 'pid' | 'va'>;

export class TrespassWatch {
  /** Where the pages were that were taken; a copy engine that reads one knows the page only. */
  readonly #taken: Map<Page, Place> = new Map();

  constructor(machine: Machine, onTrespass: (trespass: TrespassInfo) => void) {
    machine.events.on('trespass', ({ by, what, page, owner, pid, va }) => {
      if (va !== null) this.#taken.set(page, { pid, va });
      const place = va === null ? (this.#taken.get(page) ?? { pid, va }) : { pid, va };
      onTrespass({ by, what, page, owner, ...place });
    });
  }

  /** Another operation begins: pages may have gone elsewhere since. */
  forget(): void {
    this.#taken.clear();
  }
}
