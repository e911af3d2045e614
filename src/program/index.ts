// The names of the program layer.
export {
  BUFFER_ID_MAX,
  BUFFER_PAGES_MAX,
  bufferArg,
  deviceArg,
  intArg,
  lettersArg,
  listArg,
  newBufferArg,
  offsetArg,
  optional,
  PROCESSES_MAX,
  pagesArg,
  valueArg,
  wordArg,
} from './args.ts';
export { usage } from './checker.ts';
export { type Difference, type ProgramReport, replayRecording } from './conformance.ts';
export { bufferPageAt, CORE_OPERATIONS } from './core-operations.ts';
export {
  type Atom,
  checkExpectation,
  type Expectation,
  type ExpectationResult,
} from './expectation.ts';
export { finalState } from './final-state.ts';
export { HeldPages } from './held-pages.ts';
export { Language, type LanguageOptions } from './language.ts';
export {
  OwnershipMap,
  type OwnershipTable,
  ownershipTable,
  type PageView,
  rowOf,
  type TableRow,
} from './ownership-map.ts';
export { type ParseOptions, parsePrograms } from './parse.ts';
export { ProgramError } from './program-error.ts';
export {
  KERNELS,
  type KernelRecording,
  kernelOf,
  parseRecording,
  type RecordedProgram,
} from './recording.ts';
export { eraOf } from './rules.ts';
export {
  type BuildOptions,
  buildMachine,
  ProgramRunner,
  resultLine,
  type SkipStep,
  type StepListener,
  type StepResult,
  stepLine,
} from './run.ts';
export {
  blockAt,
  expectationError,
  type RunHooks,
  type RunOptions,
  runProgram,
  withDependents,
} from './run-program.ts';
export {
  type ArgSpec,
  type ArgValues,
  type Buffer,
  type DeviceClass,
  type DeviceDriver,
  type DeviceSpec,
  type DriverFactory,
  type Json,
  type MachineSpec,
  type Operation,
  type OptionProblem,
  type OptionSpec,
  type Options,
  type OptionValue,
  operation,
  type Program,
  type ProgramContext,
  type ProgramProcess,
  type ProgramText,
  type Result,
  type RuleChanges,
  type Scope,
  type Step,
  type TypedOperation,
} from './types.ts';
