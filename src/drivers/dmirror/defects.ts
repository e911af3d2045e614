/** Faults of the reference driver that a device can be given, to see what they do. */

/** The name of one: see `DMIRROR_DEFECTS`. */
export type DmirrorDefect = 'close_keeps_pages' | 'gone_mm_loops' | 'no_fault_page';

/**
 * Each is one line of lib/test_hmm.c that was wrong for a while, or that other drivers get wrong:
 *
 * - `close_keeps_pages`: until 6.1.176 and 6.12.86 a file that was closed left its pages on the
 *   device. Each of them leads back to the file that migrated it, and a CPU fault follows that way:
 *   here it ends in a SimError `use-after-free`. Only processes that shared the pages by fork can
 *   still fault on them. (Machines before v6.1 leave them there without this, too; then the way
 *   back leads nowhere and does no harm.)
 * - `gone_mm_loops`: until 6.1.188 a device fault in an address space whose process had ended
 *   answered 0, as if it had mapped something. The call looks, finds nothing, faults, for ever; here
 *   a SimError `livelock` ends that after a while.
 * - `no_fault_page`: what drivers from before v6.1 did when fault_page came. The CPU fault holds a
 *   reference of its own on the page, so the page never moves, and the CPU faults for ever: a
 *   SimError `refault-livelock`.
 */
export const DMIRROR_DEFECTS: readonly {
  readonly name: DmirrorDefect;
  readonly summary: string;
}[] = [
  {
    name: 'close_keeps_pages',
    summary: 'close leaves pages on the device that lead back to the closed file (until 6.1.176)',
  },
  {
    name: 'gone_mm_loops',
    summary: 'a device fault answers 0 where the process has ended, and is tried again for ever',
  },
  {
    name: 'no_fault_page',
    summary: 'a CPU fault does not name its page as fault_page, so the page never moves',
  },
];
