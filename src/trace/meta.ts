/** The meta data of a recording, from JSON. */
import { badRecording } from './bytes.ts';
import {
  RECORDING_VERSION,
  type RecordedDevice,
  type RecordedProcess,
  type RecordingMeta,
} from './recorded.ts';

type Bag = Readonly<Record<string, unknown>>;

/** Throws a `SimError` (bad-recording, with `offset`) for what is no meta data. */
export function parseMeta(text: string, offset: number): RecordingMeta {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw badRecording(offset, 'the meta data are no JSON');
  }
  if (!isMeta(value)) throw badRecording(offset, 'the meta data lack a field');
  return value;
}

function isMeta(value: unknown): value is RecordingMeta {
  if (!isBag(value)) return false;
  const { version, era, pageSize, ramBytes, program, owners, devices, processes } = value;
  return (
    version === RECORDING_VERSION &&
    isText(era) &&
    isCount(pageSize) &&
    isCount(ramBytes) &&
    (program === null || isText(program)) &&
    isListOf(owners, isText) &&
    isListOf(devices, isDevice) &&
    isListOf(processes, isProcess)
  );
}

function isDevice(value: unknown): value is RecordedDevice {
  if (!isBag(value)) return false;
  const { name, driver, owners } = value;
  return isText(name) && isText(driver) && isListOf(owners, isText);
}

function isProcess(value: unknown): value is RecordedProcess {
  if (!isBag(value)) return false;
  const { pid, alive } = value;
  return Number.isSafeInteger(pid) && typeof alive === 'boolean';
}

function isBag(value: unknown): value is Bag {
  return typeof value === 'object' && value !== null;
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0;
}

function isListOf<T>(value: unknown, isOne: (one: unknown) => one is T): value is readonly T[] {
  return Array.isArray(value) && value.every(isOne);
}
