/**
 * Faults that bring nothing. Two tasks that fault on one device page keep it from moving, each by
 * the reference it holds (so do real CPUs until v6.15); a driver that forgets fault_page keeps its
 * own page from moving for ever.
 */
import { SimError } from '../errors.ts';
import { Delay, type Task } from '../sched/task.ts';
import type { Va } from '../units.ts';
import type { Mm } from './mm.ts';

/** From so many faults in a row on one address, each takes a little time, and others get a turn. */
export const REFAULTS_AT_ONCE = 16;
const REFAULTS_MAX = 10_000;
const REFAULT_NS = 1000;

/** Call before a further fault once REFAULTS_AT_ONCE were in vain. Throws `refault-livelock`. */
export function* refaultPause(mm: Mm, va: Va, faults: number): Task<void> {
  if (faults >= REFAULTS_MAX) {
    throw new SimError(
      'refault-livelock',
      `process ${mm.pid} faulted ${faults} times in a row at 0x${va.toString(16)} ` +
        'without getting the page: does the driver set fault_page?',
      { pid: mm.pid, va },
    );
  }
  // A search for races must see what real CPUs do: fault again at once.
  if (!mm.kernel.scheduler.preempts) yield new Delay(REFAULT_NS, 'pause', 'a further fault');
}
