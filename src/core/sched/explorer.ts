/** Who decides which thread goes next, wherever that is open. */
import type { Thread } from './thread.ts';

/**
 * Answers the choice points of a machine that is searched for races.
 *
 * A choice point is a place where the kernel may be preempted or may sleep: before a lock, between
 * the steps of a migration, before each access of a CPU. Without an explorer a task runs until it
 * waits.
 */
export interface Explorer {
  /**
   * Which thread goes on: `current` or one of `others`.
   *
   * @param current the thread that stands at the point; null where it sleeps or has ended, so that
   *   somebody else must go on
   * @param others the other threads that can run, first come first; may be empty unless `current`
   *   is null. Valid during the call only
   * @param point where it stands: "mmap_lock of process 1", "migrate: unmap"; '' if `current` is null
   * @param local a hash of what the thread carries with it there, beyond what the point says
   */
  next(current: Thread | null, others: readonly Thread[], point: string, local: number): Thread;
}
