// The door for programs that run under Node: what needs files or processes is exported here.

export {
  type DecoderOptions,
  decoderFor,
  detectFormat,
  LruFilter,
  PagesDecoder,
  type PagesHeader,
  PagesWriter,
  TRACE_FORMATS,
  type TraceCounts,
  type TraceDecoder,
  type TraceFormat,
} from '../workloads/formats/index.ts';
export { MIXES, type Mix, type MixOptions } from '../workloads/mixes/index.ts';
export {
  type AssignRule,
  type PlayDriver,
  Player,
  type PlayerOptions,
  type PlayReport,
  parseRule,
  playReport,
} from '../workloads/play/index.ts';
export {
  type AccessBatch,
  type MappingChange as WorkloadMapping,
  newBatch,
  type WorkloadSink,
} from '../workloads/types.ts';
export { type DriverFile, languageWith, loadDriver } from './load-driver.ts';
export { InputError, readText, TEXT_BYTES_MAX } from './read-text.ts';
export { readRecording, writeRecording } from './recording-file.ts';
export { parseTiming, readTiming } from './timing-file.ts';
export {
  type ReadProgress,
  type ReadTraceOptions,
  readTrace,
  type TraceSummary,
} from './trace-input.ts';
export { PageStreamFile } from './trace-output.ts';
