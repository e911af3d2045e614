/** Runs a schedule twice: a machine whose future depends on anything else would show. */
import type { SimEvent } from '../core/events/types.ts';
import type { FaultSite } from '../core/fault-plan.ts';
import type { Thread } from '../core/sched/thread.ts';
import type { Listener, PointInfo } from './decider.ts';
import { replay } from './run-once.ts';
import type { Failure, RunLimits, Scenario, Schedule, Verdict } from './types.ts';

/** Everything that a run offers and tells, a line each. */
class Transcript implements Listener {
  readonly lines: string[] = [];

  point({ current, chosen, point, local, count }: PointInfo): void {
    const from = current === null ? '-' : current.name;
    this.lines.push(
      `point ${point} of ${from}, ${count} can run, carries ${local}: ${chosen.name}`,
    );
  }

  fault(site: FaultSite, thread: Thread | null, _position: number, fails: boolean): void {
    this.lines.push(`attempt at ${site} of ${thread?.name ?? '-'}: ${fails ? 'fails' : 'goes on'}`);
  }

  ended(thread: Thread, result: string): void {
    this.lines.push(`${thread.name} ended ${thread.doing}: ${result}`);
  }

  tell(event: SimEvent): void {
    this.lines.push(JSON.stringify(event, ownerNames));
  }
}

/** Owners are objects, and stand for themselves: their names do for a comparison. */
function ownerNames(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const isRecord = Object.getPrototypeOf(value) === Object.prototype;
  return isRecord ? value : ((value as { name?: unknown }).name ?? 'an object');
}

/** Null if both runs of the schedule are the same, else the first difference. */
export function selfCheck(
  scenario: Scenario,
  schedule: Schedule,
  limits: RunLimits = {},
): Failure | null {
  const first = transcript(scenario, schedule, limits);
  const second = transcript(scenario, schedule, limits);
  const length = Math.max(first.length, second.length);
  for (let i = 0; i < length; i++) {
    if (first[i] === second[i]) continue;
    return {
      kind: 'nondeterminism',
      message: `the same schedule gave two runs; they differ from line ${i + 1} of what happened on`,
      detail: [`first: ${first[i] ?? 'nothing more'}`, `second: ${second[i] ?? 'nothing more'}`],
    };
  }
  return null;
}

function transcript(scenario: Scenario, schedule: Schedule, limits: RunLimits): string[] {
  const listener = new Transcript();
  let verdict: Verdict;
  try {
    verdict = replay(scenario, schedule, { ...limits, listener });
  } catch (error) {
    // It fitted when it was found.
    return [...listener.lines, (error as Error).message];
  }
  const failures = verdict.failures.map(({ kind, message }) => `${kind}: ${message}`);
  return [...listener.lines, ...failures, `end: ${verdict.state}`];
}
