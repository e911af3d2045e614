/**
 * Reads a timing specification: a JSON file in which every number says its unit and where it is
 * from.
 *
 *     { "name": "…",
 *       "cpu":     { "kernelEntry": { "value": 0.5, "unit": "us", "source": "…" }, … },
 *       "links":   { "pcie": { "shared": false, "toDevice": { "bandwidth": …, "latency": … }, … } },
 *       "devices": { "*": { "link": "pcie", "copySetup": …, … } },
 *       "secure":  { "hypercall": …, … } }
 *
 * Whatever is left out takes no time. What the file does not know is refused.
 */
import * as v from 'valibot';
import {
  type CpuTiming,
  type DeviceTiming,
  type LaneTiming,
  type LinkTiming,
  NO_CPU_TIME,
  NO_DEVICE_TIME,
  NO_LANE_TIME,
  NO_SECURE_TIME,
  type SecureTiming,
  type Timing,
} from '../core/timing.ts';
import { InputError, readText } from './read-text.ts';

/** Units of a kind of number, and how many of ours each is. */
type Units = Readonly<Record<string, number>>;

const TIMES: Units = { ns: 1, us: 1e3, ms: 1e6 };
const RATES: Units = { 'B/s': 1, 'MB/s': 1e6, 'GB/s': 1e9 };
const SIZES: Units = { B: 1, KiB: 1024, MiB: 1024 * 1024 };
/** A number of CPUs, engines or entries. */
const COUNTS: Units = { count: 1 };

/** Beyond these, sums of times would no longer be numbers. */
const VALUE_MIN = 1e-6;
const VALUE_MAX = 1e15;

/** No specification is longer, in bytes. */
const SPEC_BYTES_MAX = 1024 * 1024;

/** A number in a file. */
interface Quantity {
  readonly value: number;
  readonly unit: string;
  readonly source: string;
}

function quantity(units: Units): v.GenericSchema<Quantity, number> {
  const names = Object.keys(units);
  const whole = units === COUNTS || units === SIZES;
  const number = v.pipe(v.number(), v.finite(), v.minValue(0), v.check(isUsable));
  return v.pipe(
    v.strictObject({
      value: whole ? v.pipe(number, v.integer()) : number,
      unit: v.picklist(names),
      source: v.pipe(v.string(), v.nonEmpty()),
    }),
    v.transform(({ value, unit }) => value * units[unit]!),
  );
}

function isUsable(value: number): boolean {
  return value === 0 || (value >= VALUE_MIN && value <= VALUE_MAX);
}

const time = v.optional(quantity(TIMES), { value: 0, unit: 'ns', source: '-' });
const rate = v.optional(quantity(RATES), { value: 0, unit: 'B/s', source: '-' });
const size = v.optional(quantity(SIZES), { value: 0, unit: 'B', source: '-' });
const count = v.optional(quantity(COUNTS), { value: 0, unit: 'count', source: '-' });

const cpu = v.strictObject({
  cpus: count,
  kernelEntry: time,
  pageWalk: time,
  tlbShootdown: time,
  tlbShootdownPerCpu: time,
  zeroBandwidth: rate,
  copyBandwidth: rate,
  collectPage: time,
  unmapPage: time,
  movePage: time,
  finalizePage: time,
  notifierCall: time,
});

const lane = v.strictObject({ bandwidth: rate, latency: time });

const link = v.strictObject({
  shared: v.optional(v.boolean(), false),
  packet: size,
  header: size,
  toDevice: v.optional(lane),
  toHost: v.optional(lane),
});

const device = v.strictObject({
  link: v.optional(v.string()),
  copyEngines: count,
  copySetup: time,
  memoryBandwidth: rate,
  localAccess: time,
  remoteAccess: time,
  pageWalk: time,
  faultInterrupt: time,
  faultBatch: count,
  faultBatchService: time,
  faultService: time,
  replay: time,
});

const secure = v.strictObject({
  hypercall: time,
  ultracall: time,
  encryptBandwidth: rate,
  decryptBandwidth: rate,
});

const specification = v.strictObject({
  name: v.pipe(v.string(), v.nonEmpty()),
  about: v.optional(v.string()),
  cpu: v.optional(cpu),
  links: v.optional(v.record(v.string(), link), {}),
  devices: v.optional(v.record(v.string(), device), {}),
  secure: v.optional(secure),
});

/**
 * The timing in a file.
 *
 * @throws InputError where there is none, or something in it is not as it should be
 */
export function readTiming(path: string): Timing {
  return parseTiming(readText(path, SPEC_BYTES_MAX), path);
}

/** The timing in a text; `file` names it in errors. */
export function parseTiming(text: string, file: string): Timing {
  const parsed = v.safeParse(specification, parseJson(text, file), { abortEarly: true });
  if (!parsed.success) throw problemOf(parsed.issues[0], file);
  const { name, cpu: processor, links, devices, secure: guests } = parsed.output;
  const linkNames = Object.keys(links);
  for (const [key, { link: wanted }] of Object.entries(devices)) {
    if (wanted === undefined || linkNames.includes(wanted)) continue;
    const known =
      linkNames.length === 0 ? 'nothing, for there are no links' : linkNames.join(' or ');
    throw wrong(file, `devices.${key}.link`, known, JSON.stringify(wanted));
  }
  return {
    name,
    cpu: processor === undefined ? NO_CPU_TIME : cpuOf(processor),
    links: Object.entries(links).map(([key, value]) => linkOf(key, value)),
    devices: Object.entries(devices).map(([key, value]) => deviceOf(key, value)),
    secure: guests === undefined ? NO_SECURE_TIME : secureOf(guests),
  };
}

function cpuOf(from: v.InferOutput<typeof cpu>): CpuTiming {
  return {
    ...NO_CPU_TIME,
    cpus: from.cpus,
    kernelEntryNs: from.kernelEntry,
    pageWalkNs: from.pageWalk,
    tlbShootdownNs: from.tlbShootdown,
    tlbShootdownPerCpuNs: from.tlbShootdownPerCpu,
    zeroBytesPerSecond: from.zeroBandwidth,
    copyBytesPerSecond: from.copyBandwidth,
    collectPageNs: from.collectPage,
    unmapPageNs: from.unmapPage,
    movePageNs: from.movePage,
    finalizePageNs: from.finalizePage,
    notifierCallNs: from.notifierCall,
  };
}

function laneOf(from: v.InferOutput<typeof lane> | undefined): LaneTiming {
  if (from === undefined) return NO_LANE_TIME;
  return { bytesPerSecond: from.bandwidth, latencyNs: from.latency };
}

function linkOf(name: string, from: v.InferOutput<typeof link>): LinkTiming {
  return {
    name,
    shared: from.shared,
    packetBytes: from.packet,
    headerBytes: from.header,
    toDevice: laneOf(from.toDevice),
    toHost: laneOf(from.toHost),
  };
}

function deviceOf(name: string, from: v.InferOutput<typeof device>): DeviceTiming {
  return {
    ...NO_DEVICE_TIME,
    device: name,
    link: from.link ?? null,
    copyEngines: from.copyEngines,
    copySetupNs: from.copySetup,
    memoryBytesPerSecond: from.memoryBandwidth,
    localAccessNs: from.localAccess,
    remoteAccessNs: from.remoteAccess,
    pageWalkNs: from.pageWalk,
    faultInterruptNs: from.faultInterrupt,
    faultBatch: from.faultBatch,
    faultBatchNs: from.faultBatchService,
    faultNs: from.faultService,
    replayNs: from.replay,
  };
}

function secureOf(from: v.InferOutput<typeof secure>): SecureTiming {
  return {
    hypercallNs: from.hypercall,
    ultracallNs: from.ultracall,
    encryptBytesPerSecond: from.encryptBandwidth,
    decryptBytesPerSecond: from.decryptBandwidth,
  };
}

// Errors ---------------------------------------------------------------------------------------

function parseJson(text: string, file: string): unknown {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    const at = brokenAt(text);
    const line = text.slice(0, at).split('\n').length;
    const found = at < text.length ? JSON.stringify(text[at]) : 'the end';
    throw new InputError(`${file}:${line}: expected JSON; found ${found} where it cannot stand`);
  }
  if (parsed === null || typeof parsed !== 'object' || Array.isArray(parsed)) {
    throw new InputError(`${file}: expected an object; found ${kindOf(parsed)}`);
  }
  const list = pathToList(parsed, '');
  if (list !== null) throw wrong(file, list, 'an object', 'a list');
  return parsed;
}

/** How much of `text` can be the beginning of JSON. Not every error of JSON.parse tells. */
function brokenAt(text: string): number {
  let good = 0;
  let bad = text.length + 1;
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    if (mayGoOn(text.slice(0, middle))) good = middle;
    else bad = middle;
  }
  return good;
}

function mayGoOn(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch (error) {
    const { message } = error as Error;
    if (message.startsWith('Unexpected end') || message.startsWith('Unterminated')) return true;
    const position = /position (\d+)/.exec(message)?.[1];
    return position !== undefined && Number(position) >= text.length;
  }
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'a list' : typeof value;
}

/** Nothing in a specification is a list, and an empty one would pass for an empty object. */
function pathToList(value: object, path: string): string | null {
  for (const [key, inside] of Object.entries(value) as [string, unknown][]) {
    const here = path === '' ? key : `${path}.${key}`;
    if (Array.isArray(inside)) return here;
    const found = typeof inside === 'object' && inside !== null ? pathToList(inside, here) : null;
    if (found !== null) return found;
  }
  return null;
}

function wrong(file: string, path: string, expected: string, found: string): InputError {
  return new InputError(`${file}: ${path}: expected ${expected}; found ${found}`);
}

function problemOf(issue: v.BaseIssue<unknown>, file: string): InputError {
  const path = v.getDotPath(issue) ?? '(the whole file)';
  if (issue.type === 'strict_object' && issue.expected === 'never') {
    const name = path.slice(path.lastIndexOf('.') + 1);
    const inside = path.slice(0, -name.length - 1) || 'the file';
    const known = namesIn(path);
    return wrong(file, inside, known === '' ? 'no other names' : `one of ${known}`, `"${name}"`);
  }
  return wrong(file, path, expectedBy(issue), foundBy(issue));
}

/** The names that may stand where `path` leads. */
function namesIn(path: string): string {
  const keys = path.split('.');
  let schema: unknown = specification;
  for (const key of keys.slice(0, -1)) {
    const { wrapped, value, entries } = unwrapped(schema);
    schema = entries?.[key] ?? value ?? wrapped;
  }
  const { entries } = unwrapped(schema);
  return entries === undefined ? '' : Object.keys(entries).join(', ');
}

interface Inside {
  readonly entries?: Record<string, unknown>;
  /** Of a record: what each name stands for. */
  readonly value?: unknown;
  readonly wrapped?: unknown;
  readonly pipe?: readonly unknown[];
}

/** What an optional schema, or the first of a pipe, is made of. */
function unwrapped(schema: unknown): Inside {
  let inside = schema as Inside;
  while (inside.entries === undefined && inside.value === undefined) {
    const next = inside.wrapped ?? inside.pipe?.[0];
    if (next === undefined) break;
    inside = next as Inside;
  }
  return inside;
}

function expectedBy({ type, expected, input }: v.BaseIssue<unknown>): string {
  if (input === undefined) return 'a value';
  switch (type) {
    case 'min_value':
      return 'a number from 0 on';
    case 'check':
      return `0, or a number from ${VALUE_MIN} to ${VALUE_MAX}`;
    case 'integer':
      return 'a whole number';
    case 'finite':
      return 'a finite number';
    case 'non_empty':
      return 'some text';
    case 'strict_object':
    case 'record':
      return 'an object';
    default:
      return expected?.replace(/^\((.*)\)$/, '$1').replaceAll(' | ', ' or ') ?? 'something else';
  }
}

function foundBy({ received, input }: v.BaseIssue<unknown>): string {
  if (input === undefined) return 'nothing';
  if (typeof input === 'number' || typeof input === 'string') return JSON.stringify(input);
  return received;
}
