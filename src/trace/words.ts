/** Records in words, for people: one line each. */

import { errnoName } from '../core/errno.ts';
import { hex } from '../core/units.ts';
import { hcallResultName, ucallResultName } from '../hw/svm-codes.ts';
import { type RecordedEnd, type RecordedEvent, type RecordedEventOf, SYSTEM } from './recorded.ts';

/** A record as a word for what it is and a sentence. */
export interface Worded {
  /** "call", "CPU fault", "migration", … */
  readonly label: string;
  readonly text: string;
}

/** Whose something is: "RAM" for the system's, "nobody". */
export function ownerWords(owner: string | null | undefined): string {
  if (owner === undefined) return 'unknown';
  if (owner === null) return 'nobody';
  return owner === SYSTEM ? 'system (RAM)' : owner;
}

function placeWords(owner: string | null | undefined): string {
  if (owner === undefined) return 'several places';
  if (owner === null) return 'nothing';
  return owner === SYSTEM ? 'RAM' : owner;
}

function rangeWords(start: number, end: number): string {
  return `${hex(start)}-${hex(end)}`;
}

function count(number: number, noun: string): string {
  return number === 1 ? `1 ${noun}` : `${number} ${noun}s`;
}

/** What a record tells; of a span, what its end tells, too. */
export function words(event: RecordedEvent, end: RecordedEnd | null): Worded {
  switch (event.kind) {
    case 'call':
      return { label: 'call', text: callWords(event, end) };
    case 'cpu_fault':
      return { label: 'CPU fault', text: cpuFaultWords(event, end) };
    case 'gpu_fault':
      return { label: 'GPU fault', text: gpuFaultWords(event) };
    case 'device_fault':
      return { label: 'device fault', text: deviceFaultWords(event, end) };
    case 'migrate':
      return { label: 'migration', text: migrateWords(event, end) };
    case 'trespass':
      return { label: 'TRESPASS', text: trespassWords(event) };
    default:
      return { label: event.kind.replaceAll('_', ' '), text: '' };
  }
}

function callWords(event: RecordedEventOf<'call'>, end: RecordedEnd | null): string {
  const { actor, name, pid, start } = event;
  if (actor === 'program') return `program, ${name}`;
  const whose = pid === null || actor === `process ${pid}` ? '' : ` for process ${pid}`;
  const where = event.end > start ? `, ${rangeWords(start, event.end)}` : '';
  const result = end?.kind === 'call' ? `: ${resultWords(name, end.result)}` : '';
  return `${actor}, ${name}${whose}${where}${result}`;
}

/** A result as whoever called it would name it. */
function resultWords(name: string, result: number): string {
  if (name.startsWith('H_')) return hcallResultName(result);
  if (name.startsWith('UV_')) return ucallResultName(result);
  if (result < 0) return `-${errnoName(result)}`;
  return result > 0xffff ? hex(result) : String(result);
}

function cpuFaultWords(event: RecordedEventOf<'cpu_fault'>, end: RecordedEnd | null): string {
  const result = end?.kind === 'cpu_fault' ? `: ${end.result}` : '';
  return `process ${event.pid} wanted to ${event.access} ${hex(event.va)}${result}`;
}

function gpuFaultWords(event: RecordedEventOf<'gpu_fault'>): string {
  const { device, pid, access, va, client, entry } = event;
  const whose = pid === null ? '' : ` of process ${pid}`;
  const wish = ACCESS_WORDS[access];
  return `${device} wanted to ${wish} ${hex(va)}${whose} (client ${client}, buffer entry ${entry})`;
}

const ACCESS_WORDS = {
  read: 'read',
  write: 'write',
  atomic: 'do an atomic access to',
  prefetch: 'prefetch',
} as const;

function deviceFaultWords(event: RecordedEventOf<'device_fault'>, end: RecordedEnd | null): string {
  const { device, pid, access, start } = event;
  const range = rangeWords(start, event.end);
  const result = end?.kind === 'device_fault' ? `: ${resultWords('', end.result)}` : '';
  return `${device} asked for ${range} of process ${pid}, to ${ACCESS_WORDS[access]}${result}`;
}

const CAUSE_WORDS = {
  cpu_fault: 'a CPU fault',
  device_fault: 'a device fault',
  driver: 'a call of the driver',
  evict: 'an eviction',
  pin: 'a pin',
  unknown: 'an unknown cause',
} as const;

function migrateWords(event: RecordedEventOf<'migrate'>, end: RecordedEnd | null): string {
  const { pages, cause, owner } = event;
  const by = owner === null ? 'nobody in particular' : owner;
  const head = `${count(pages, 'page')} for ${by}, by ${CAUSE_WORDS[cause]}`;
  if (end?.kind !== 'migrate') return `${head}; it did not end`;
  const { selected, migrated, failed, from, to } = end;
  if (selected === 0) return `${head}: none could move`;
  const way =
    from === undefined && to === undefined ? '' : `${placeWords(from)} to ${placeWords(to)}, `;
  const lost = failed > 0 ? `, ${failed} did not` : '';
  return `${head}: ${way}${selected} could move, ${migrated} did${lost}`;
}

function trespassWords(event: RecordedEventOf<'trespass'>): string {
  const { by, what, page, owner } = event;
  const deed = { migrate: 'took', read: 'read', write: 'wrote' }[what];
  return `${by} ${deed} page frame ${page}, which belongs to ${owner}`;
}

/** "hmm_dmirror0 and pgmaplab dropped what they map; hmm_dmirror1 let it pass". */
export function toldWords(told: readonly RecordedEventOf<'invalidate_call'>[]): string {
  if (told.length === 0) return 'nobody listens there';
  const heeded = told.filter(({ ignored }) => !ignored).map(({ notifier }) => notifier);
  const ignored = told.filter((one) => one.ignored).map(({ notifier }) => notifier);
  const parts: string[] = [];
  if (heeded.length > 0) parts.push(`${list(heeded)} dropped what ${they(heeded)} there`);
  if (ignored.length > 0) parts.push(`${list(ignored)} let it pass as its own doing`);
  return parts.join('; ');
}

function they(names: readonly string[]): string {
  return names.length === 1 ? 'it maps' : 'they map';
}

function list(names: readonly string[]): string {
  const unique = [...new Set(names)];
  return unique.length < 2
    ? unique.join('')
    : `${unique.slice(0, -1).join(', ')} and ${unique.at(-1)}`;
}
