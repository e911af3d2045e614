/** What threads load and store is part of where they stand; tells the run of it. */
import type { Machine } from '../core/machine.ts';
import type { MemoryWatch } from '../core/memory-watch.ts';
import type { Mm } from '../core/mm/mm.ts';
import type { Va, Vpn } from '../core/units.ts';
import type { RunContext } from './types.ts';

/** Stands before a watch, which is told as before. */
export class Learning implements MemoryWatch {
  readonly #machine: Machine;
  readonly #run: RunContext;
  readonly #watch: MemoryWatch | null;

  constructor(machine: Machine, run: RunContext, watch: MemoryWatch | null) {
    this.#machine = machine;
    this.#run = run;
    this.#watch = watch;
  }

  stored(pid: number, va: Va, value: number): void {
    this.#run.learned(this.#machine.scheduler.current, value);
    this.#watch?.stored(pid, va, value);
  }

  loaded(pid: number, va: Va, value: number): void {
    this.#run.learned(this.#machine.scheduler.current, value);
    this.#watch?.loaded(pid, va, value);
  }

  overlapped(pid: number, va: Va, value: number): void {
    this.#run.learned(this.#machine.scheduler.current, value);
    this.#watch?.overlapped(pid, va, value);
  }

  zapped(mm: Mm, vpn: Vpn): void {
    this.#watch?.zapped(mm, vpn);
  }

  moved(mm: Mm, from: Vpn, to: Vpn): void {
    this.#watch?.moved(mm, from, to);
  }

  forked(parent: Mm, child: Mm): void {
    this.#watch?.forked(parent, child);
  }
}
