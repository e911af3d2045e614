/** What set off a migration, in our words, and in the words and numbers of KFD. */
import type { MigrateCause } from '../core/events/types.ts';
import type { OpenSpans } from './open-spans.ts';
import type { RecordedEventOf } from './recorded.ts';
import type { MigrationTrigger } from './report/types.ts';

export interface KfdTrigger {
  /** enum KFD_MIGRATE_TRIGGERS; null where it has no such thing. */
  readonly id: number | null;
  readonly name: MigrationTrigger;
}

/**
 * A page that comes home to be pinned was touched by a CPU as far as KFD can tell; a call of the
 * driver's own is what KFD calls a prefetch.
 */
export const KFD_TRIGGERS: Readonly<Record<MigrateCause, KfdTrigger>> = {
  driver: { id: 0, name: 'prefetch' },
  device_fault: { id: 1, name: 'gpu_page_fault' },
  cpu_fault: { id: 2, name: 'cpu_page_fault' },
  pin: { id: 2, name: 'cpu_page_fault' },
  evict: { id: 3, name: 'ttm_eviction' },
  unknown: { id: null, name: 'unknown' },
};

/**
 * What set off a migration. A driver that brings a page home does not see who touched it: where a
 * device did, the fault of that device is the cause.
 */
export function causeOf(event: RecordedEventOf<'migrate'>, spans: OpenSpans): MigrateCause {
  if (event.cause !== 'cpu_fault') return event.cause;
  let span = spans.around(event);
  while (span !== null && span.begin.kind !== 'cpu_fault') {
    if (span.begin.kind === 'device_fault') return 'device_fault';
    span = span.up;
  }
  return 'cpu_fault';
}
