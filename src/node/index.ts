// The door for programs that run under Node: what needs files or processes is exported here.
export { type DriverFile, languageWith, loadDriver } from './load-driver.ts';
export { InputError, readText, TEXT_BYTES_MAX } from './read-text.ts';
export { readRecording, writeRecording } from './recording-file.ts';
export { parseTiming, readTiming } from './timing-file.ts';
