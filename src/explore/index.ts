// The names of the explore layer.
export { LIVELOCK_POINTS, type Listener, MOST_POINTS, type PointInfo } from './decider.ts';
export { LostWrites, type PlaceName } from './lost-writes.ts';
export {
  type MachineRun,
  type MachineScenarioOptions,
  machineScenario,
} from './machine-scenario.ts';
export { describeSchedule, type Narration } from './narrate.ts';
export {
  type ProgramScenarioOptions,
  programScenario,
  type ScenarioChecks,
} from './program-scenario.ts';
export { RANDOM_SCHEDULES } from './random-search.ts';
export { type ReplayOptions, replay } from './run-once.ts';
export { explore } from './search.ts';
export { selfCheck } from './self-check.ts';
export { type ShrinkOptions, type Shrunk, shrink } from './shrink.ts';
export { ORDINARY, parseToken, scheduleToken } from './token.ts';
export type {
  Deviation,
  Failure,
  FailureKind,
  FaultOptions,
  Fingerprint,
  FoundFailure,
  Outcome,
  Progress,
  RunContext,
  RunLimits,
  Scenario,
  Schedule,
  Search,
  SearchOptions,
  StrategyName,
  Verdict,
} from './types.ts';
