/** Faults of the kernel's driver that are mended in 6.1 by now, and that a GPU can be given back. */

/** The name of one: see `NOUVEAU_DEFECTS`. */
export type NouveauDefect = 'keeps_lock' | 'unseen_copy_errors';

/**
 * Those that 6.1 still has are there without being asked for; see `Nouveau.mended`.
 *
 * - `keeps_lock`: until 6.1.130 the atomic path, when an invalidation overtook it, tried again
 *   without unlocking and putting the page that it had just been given. The next try first takes
 *   the page back from the device, for which it waits for that lock: it is its own, so the fault
 *   worker sleeps for ever, and with it the GPU and whoever touches the page. The reference is never
 *   given back either.
 * - `unseen_copy_errors`: until 6.1.113 a page of RAM that was to receive a page of VRAM was not
 *   cleared first, and that the engine had failed nobody noticed (CVE-2024-50096). The process then
 *   got what the page held before, which was somebody else's. A GPU with this remembers what pages
 *   of RAM held when they were freed, which costs time and memory. It lasts for CPU faults;
 *   removal and binds are as without it.
 */
export const NOUVEAU_DEFECTS: readonly {
  readonly name: NouveauDefect;
  readonly summary: string;
}[] = [
  {
    name: 'keeps_lock',
    summary: 'an atomic fault that was overtaken keeps the lock of its page (until 6.1.130)',
  },
  {
    name: 'unseen_copy_errors',
    summary: 'a copy home that failed counts as done, into a page nobody cleared (until 6.1.113)',
  },
];
