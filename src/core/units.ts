/**
 * Numbers that must not be mixed up.
 *
 * Each of these is a plain `number` at run time (48-bit addresses fit a double). The flavours let
 * arithmetic results and literals flow in, but refuse an address where a frame number is wanted.
 * Bit operators work on 32 bits only, so addresses are divided, never shifted.
 */
declare const flavour: unique symbol;
type Flavoured<Name extends string> = number & { readonly [flavour]?: Name };

/** A virtual address in bytes, 0 to 2^47. */
export type Va = Flavoured<'va'>;
/** A virtual page number: `Va` divided by the page size. */
export type Vpn = Flavoured<'vpn'>;
/** A physical frame number. */
export type Pfn = Flavoured<'pfn'>;
/** A handle of a `struct page`: the index of its row in the page columns. 0 is the zero page. */
export type Page = Flavoured<'page'>;

export const KiB = 1024;
export const MiB: number = 1024 * 1024;
export const GiB: number = 1024 * 1024 * 1024;

/** Size of a page of the default machine, in bytes; a machine may be made with another. */
export const PAGE_SIZE = 4096;

/** End of the address space of a process, exclusive (x86-64: TASK_SIZE with 4 levels). */
export const TASK_SIZE: Va = 2 ** 47 - PAGE_SIZE;

/** What a kernel pointer that is NULL stands for where a `Page` is expected. */
export const NO_PAGE: Page = 0;

/** An address as people write it: 0x7f0000000000. */
export function hex(address: number): string {
  return `0x${address.toString(16)}`;
}
