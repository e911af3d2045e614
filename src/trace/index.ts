// Recording what a machine does, and asking a recording.

export {
  type ComparableText,
  type CompareTextOptions,
  compareProgram,
  compareText,
  type EraTrespasses,
  type OperationDifference,
  type ProgramComparison,
  readComparable,
} from './compare.ts';
export type { EraPageState, PageRun } from './compare-fold.ts';
export type { ContentsDifference, PageAspect } from './compare-pages.ts';
export type { RuleChange, Verdict } from './compare-rules.ts';
export type { CompareSubject, OperationPlace, Outcome, Trespass } from './compare-run.ts';
export type { EventSource } from './event-source.ts';
export {
  type AttemptExplained,
  type Cause,
  type ChangeExplained,
  explainPage,
  type Invalidation,
  type MigrationStep,
  type PageExplained,
} from './explain.ts';
export { explainLines, type PlaceNames } from './explain-text.ts';
export { CHROME_SCHEMA_VERSION, type ChromeOptions, exportChrome } from './export-chrome.ts';
export { exportJsonl, JSONL_VERSION } from './export-jsonl.ts';
export { exportKfd, type KfdExport } from './export-kfd.ts';
export {
  History,
  type Moment,
  type OwnerChange,
  type OwnerSpan,
  type PagePlace,
  unexplainedChanges,
} from './history.ts';
export { type PageRange, pageRanges } from './page-ranges.ts';
export {
  RECORDING_VERSION,
  type RecordedBegin,
  type RecordedDevice,
  type RecordedEnd,
  type RecordedEndOf,
  type RecordedEvent,
  type RecordedEventOf,
  type RecordedProcess,
  type RecordingMeta,
  SYSTEM,
} from './recorded.ts';
export { Recorder, type RecorderOptions } from './recorder.ts';
export { Recording } from './recording.ts';
export type {
  DeviceDetail,
  DeviceMigrations,
  Direction,
  DirectionTotals,
  LabReport,
  PingPongPage,
  ReportSummary,
  UnifiedMemoryReport,
} from './report/types.ts';
export { makeReport, type ReportOptions } from './report.ts';
export { causeEvents, deviceEvents, pageEvents } from './streams.ts';
export { makeTimeReport } from './time/report.ts';
export type { DeviceTimes, LinkTime, ThreadTime, TimeReport, TimeSpent } from './time/types.ts';
