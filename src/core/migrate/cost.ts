/** What the steps of a migration cost, by page. Call only where there is a timing. */
import { chargeShootdown } from '../charge.ts';
import type { Kernel } from '../kernel.ts';
import { NO_PAGE } from '../units.ts';
import { MIGRATE_PFN_MIGRATE, migratePfnPage } from './words.ts';

/** Every entry was looked at; if pages were taken, one shootdown is for all. */
export function chargeCollect(kernel: Kernel, src: Uint32Array, count: number): void {
  kernel.scheduler.charge(count * kernel.timing!.cpu.collectPageNs);
  if (countPages(src, count) > 0) chargeShootdown(kernel);
}

/** The same for a migration by page: what is free costs nothing. */
export function chargeCollectPages(kernel: Kernel, src: Uint32Array, count: number): void {
  const pages = countPages(src, count);
  kernel.scheduler.charge(pages * kernel.timing!.cpu.collectPageNs);
  if (pages > 0) chargeShootdown(kernel);
}

/** Call before the unmapping: pages that are given up cost as much. */
export function chargeUnmap(kernel: Kernel, src: Uint32Array, count: number): void {
  kernel.scheduler.charge(countPages(src, count) * kernel.timing!.cpu.unmapPageNs);
}

/** Pages that have a destination, holes that are filled among them. */
export function chargeMove(kernel: Kernel, dst: Uint32Array, count: number): void {
  kernel.scheduler.charge(countPages(dst, count) * kernel.timing!.cpu.movePageNs);
}

export function chargeFinalize(kernel: Kernel, src: Uint32Array, count: number): void {
  let pages = 0;
  for (let i = 0; i < count; i++) {
    const word = src[i]!;
    if ((word & MIGRATE_PFN_MIGRATE) !== 0 || migratePfnPage(word) !== NO_PAGE) pages++;
  }
  kernel.scheduler.charge(pages * kernel.timing!.cpu.finalizePageNs);
}

function countPages(words: Uint32Array, count: number): number {
  let pages = 0;
  for (let i = 0; i < count; i++) if (migratePfnPage(words[i]!) !== NO_PAGE) pages++;
  return pages;
}
