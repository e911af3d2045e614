/** One run of a scenario under a schedule, and what its errors mean. */
import { SimError, type SimErrorCode } from '../core/errors.ts';
import { type Chooser, Replay } from './chooser.ts';
import { Decider, type DeciderOptions, type Listener, RunEnded } from './decider.ts';
import { scheduleToken } from './token.ts';
import type { Failure, FailureKind, RunLimits, Scenario, Schedule, Verdict } from './types.ts';

/** Runs the scenario; null where the run was broken off as leading nowhere new. */
export function runOnce(scenario: Scenario, decider: Decider): Verdict | null {
  try {
    return scenario.execute(decider);
  } catch (error) {
    if (error instanceof RunEnded && error.failure === null) return null;
    const failure = failureOf(error);
    const failures = failure === null ? [] : [failure];
    const end = failure === null ? `stopped: ${(error as Error).message}` : failedState(failure);
    return { failures, state: end, points: decider.points };
  }
}

/** The outcome of a run that has no end to look at. */
function failedState({ kind, message }: Failure): string {
  return `${kind}: ${message}`;
}

const KINDS: ReadonlyMap<SimErrorCode, FailureKind> = new Map([
  ['deadlock', 'deadlock'],
  ['livelock', 'livelock'],
  ['refault-livelock', 'livelock'],
  ['lock-order', 'lock_order'],
  ['expectation', 'expectation'],
]);

/** The failure that an error is; null for a machine that has no more room, which is no fault. */
export function failureOf(error: unknown): Failure | null {
  if (error instanceof RunEnded) return error.failure;
  if (error instanceof SimError) {
    if (error.code === 'limit') return null;
    const [message, ...detail] = error.message.split('\n');
    const kind = KINDS.get(error.code) ?? 'crash';
    return { kind, message: message!, detail: detail.map((line) => line.trim()) };
  }
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  const frames = (stack ?? '').split('\n').filter((line) => line.startsWith('    at '));
  return { kind: 'crash', message, detail: frames.slice(0, 4).map((line) => line.trim()) };
}

/** What a run followed, made from the decisions it took. */
export function scheduleOf(decider: Decider, base: Schedule): Schedule {
  const deviations = [];
  const { taken } = decider;
  for (let position = 0; position < taken.length; position++) {
    const alternative = taken[position]!;
    if (alternative !== 0) deviations.push({ position, alternative });
  }
  const { omitted, faults, starvation } = base;
  return { deviations, lockstep: decider.lockstepFrom, omitted, faults, starvation };
}

export interface ReplayOptions extends RunLimits {
  readonly listener?: Listener | null;
  /** Decides what the schedule does not say; by default nothing deviates from it. */
  readonly chooser?: Chooser;
}

/** A decider that follows a schedule. */
export function deciderOf(schedule: Schedule, options: ReplayOptions): Decider {
  const given: DeciderOptions = {
    ...options,
    chooser: options.chooser ?? new Replay(schedule.deviations),
    lockstep: schedule.lockstep,
    omitted: new Set(schedule.omitted),
    faults: schedule.faults,
    starvation: schedule.starvation,
  };
  return new Decider(given);
}

/**
 * Runs the scenario under a schedule again.
 *
 * @throws SimError `bad-argument` where the schedule does not fit: a decision that the run never
 *   comes to, or that has not so many alternatives
 */
export function replay(
  scenario: Scenario,
  schedule: Schedule,
  options: ReplayOptions = {},
): Verdict {
  const follower = new Replay(schedule.deviations);
  const decider = deciderOf(schedule, { ...options, chooser: follower });
  const verdict = runOnce(scenario, decider)!;
  const { pending } = follower;
  if (decider.misfit !== null) throw doesNotFit(scenario, schedule, decider.misfit);
  if (pending !== null) {
    const why = `the run ends after ${decider.taken.length} decisions, before decision ${pending.position}`;
    throw doesNotFit(scenario, schedule, why);
  }
  return verdict;
}

function doesNotFit(scenario: Scenario, schedule: Schedule, why: string): SimError {
  const token = scheduleToken(scenario, schedule);
  return new SimError(
    'bad-argument',
    `the schedule "${token}" does not fit ${scenario.name}: ${why}`,
    {
      token,
    },
  );
}
