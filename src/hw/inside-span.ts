/** What hardware does later still belongs to the call that asked for it. */
import type { Scheduler } from '../core/sched/scheduler.ts';

/**
 * Does `action` on the current thread as if inside of the event span `span` of another thread, so
 * that what it tells names that span as its parent. Without a span, just does it.
 */
export function insideSpan(
  scheduler: Scheduler,
  span: number | undefined,
  action: () => void,
): void {
  if (span === undefined) {
    action();
    return;
  }
  const { spans } = scheduler.current;
  const depth = spans.length;
  spans.push(span);
  try {
    action();
  } finally {
    spans.length = depth;
  }
}
