/** hmmlab: a laboratory for Linux heterogeneous memory management. */
export type { Driver, OpenFile } from './core/driver.ts';
export {
  DEFAULT_ERA,
  ERA_RULES,
  ERAS,
  type Era,
  type EraName,
  type EraRule,
  type EraRuleKey,
  eraNamed,
} from './core/era.ts';
export * from './core/errno.ts';
export { SimError, type SimErrorCode } from './core/errors.ts';
export { EventBus } from './core/events/bus.ts';
export type { DeviceFaultInfo } from './core/events/call.ts';
export type { CpuFaultInfo, EventSink, ReplayInfo, Stamp } from './core/events/sink.ts';
export { eventStream } from './core/events/stream.ts';
export type * from './core/events/types.ts';
export {
  CountedFaults,
  FAULT_SITES,
  type FaultPlan,
  type FaultSite,
  type FaultSiteInfo,
} from './core/fault-plan.ts';
export { makeDeviceExclusiveRange } from './core/hmm/exclusive.ts';
export {
  type IntervalNotifier,
  type IntervalNotifierOps,
  mmuIntervalDoze,
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
  mmuIntervalWake,
  type NotifierRange,
  type NotifyEvent,
} from './core/hmm/notifier.ts';
export { hmmPopulate, type PopulateOptions } from './core/hmm/populate.ts';
export * from './core/hmm/range-fault.ts';
export type { Kernel } from './core/kernel.ts';
export { Machine, type MachineOptions } from './core/machine.ts';
export type { Pages } from './core/memory/pages.ts';
export type { MemoryWatch } from './core/memory-watch.ts';
export * from './core/migrate/index.ts';
export { VM_FAULT_OOM, VM_FAULT_SIGBUS, VM_FAULT_SIGSEGV } from './core/mm/fault-flags.ts';
export * from './core/mm/gup.ts';
export type { MemoryFile } from './core/mm/memory-file.ts';
export type { Mm } from './core/mm/mm.ts';
export { VM_READ, VM_SHARED, VM_WRITE, type Vma } from './core/mm/vma.ts';
export {
  type DeviceFault,
  DevPagemap,
  type DevPagemapOps,
  type DevPagemapOptions,
  FreePages,
  memremapPages,
  type Owner,
} from './core/pagemap/pagemap.ts';
export {
  ACCESS_SIGBUS,
  ACCESS_SIGKILL,
  ACCESS_SIGSEGV,
  type MmapOptions,
  Process,
  type Prot,
} from './core/process.ts';
export { type TimeAccount, TimeAccounts } from './core/sched/accounts.ts';
export type { Explorer } from './core/sched/explorer.ts';
export { Mutex, RwSemaphore } from './core/sched/locks.ts';
export { firstInFirstOut, type Strategy } from './core/sched/scheduler.ts';
export {
  after,
  Delay,
  type MaybeTask,
  PREEMPT,
  RESCHEDULE,
  settle,
  type Task,
} from './core/sched/task.ts';
export { WaitQueue } from './core/sched/wait-queue.ts';
export { StateHash } from './core/state-hash.ts';
export {
  type CpuTiming,
  type DeviceTiming,
  type LaneTiming,
  type LinkTiming,
  NO_CPU_TIME,
  NO_DEVICE_TIME,
  NO_LANE_TIME,
  NO_SECURE_TIME,
  NO_TIME,
  type SecureTiming,
  type Timing,
} from './core/timing.ts';
export * from './core/units.ts';
export type { Finding } from './core/verify.ts';
export * from './drivers/dmirror/index.ts';
export { DRIVERS, LANGUAGE } from './drivers/index.ts';
export * from './drivers/kvm-uvmem/index.ts';
export * from './drivers/nouveau/index.ts';
export * from './drivers/pgmaplab/index.ts';
export {
  type Deviation,
  describeSchedule,
  explore,
  type Failure,
  type FailureKind,
  type FaultOptions,
  type FoundFailure,
  type MachineRun,
  type MachineScenarioOptions,
  machineScenario,
  type Narration,
  ORDINARY,
  type Outcome as ScheduleOutcome,
  type ProgramScenarioOptions,
  type Progress as SearchProgress,
  parseToken,
  programScenario,
  type ReplayOptions,
  type RunContext,
  type RunLimits,
  replay,
  type Scenario,
  type ScenarioChecks,
  type Schedule,
  type Search,
  type SearchOptions,
  type ShrinkOptions,
  type Shrunk,
  type StrategyName,
  scheduleToken,
  selfCheck,
  shrink,
  type Verdict as RunVerdict,
} from './explore/index.ts';
export { BusMaster, MASTER_ABORT } from './hw/bus.ts';
export { CopyEngine, type CopyEngineOptions, Fence } from './hw/copy-engine.ts';
export { type DeviceTime, deviceTime } from './hw/device-time.ts';
export * from './hw/fault-buffer.ts';
export * from './hw/gpu.ts';
export * from './hw/gpu-page-table.ts';
export { connectLink, type Lane, type Link, type LinkDirection, linksOf } from './hw/link.ts';
export { PageCipher, type SealedPage, type SealedPlace } from './hw/page-cipher.ts';
export * from './hw/svm-codes.ts';
export { Ultravisor } from './hw/ultravisor.ts';
export * from './program/index.ts';
export * from './trace/index.ts';
