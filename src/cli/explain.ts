/** hmmlab explain: the life of a page in a recording, and why each owner had it. */
import { type CommandDef, defineCommand } from 'citty';
import { hex } from '../core/units.ts';
import { readRecording } from '../node/recording-file.ts';
import { bufferPageAt } from '../program/index.ts';
import { explainPage, type PageExplained } from '../trace/explain.ts';
import { explainLines, type PlaceNames } from '../trace/explain-text.ts';
import { History, type Moment } from '../trace/history.ts';
import { pageRanges } from '../trace/page-ranges.ts';
import { EXIT_OK, UsageError } from './errors.ts';
import { print, printAll } from './output.ts';

const args = {
  file: { type: 'positional', description: 'A recording', required: true },
  page: { type: 'string', description: 'Any byte of the page: 0x100000000' },
  at: { type: 'string', description: 'A virtual time in nanoseconds, or #N for record N' },
  pid: { type: 'string', description: 'Only this process' },
  json: { type: 'boolean', description: 'One JSON object' },
} as const;

/** So many ranges are named where there was no page. */
const RANGES_MAX = 8;

export const explainCommand: CommandDef<typeof args> = defineCommand({
  meta: { name: 'explain', description: 'Tells who owned a page of a recording, when and why' },
  args,
  run({ args: given }) {
    const va = parsePage(given.page);
    const at = given.at === undefined ? undefined : parseMoment(given.at);
    const wanted = given.pid === undefined ? undefined : parseNumber('--pid', given.pid);
    const history = new History(readRecording(given.file));
    checkMoment(history, at);
    const pids = history.processesAt(va).filter((pid) => wanted === undefined || pid === wanted);
    if (pids.length === 0) throw noPage(history, va, wanted);
    const pages = pids.map((pid) => explainPage(history, pid, va, at));
    if (given.json === true) print(JSON.stringify(jsonOf(history, pages)));
    else printAll(pages.flatMap((page, i) => [...gap(i), ...explainLines(page, naming(history))]));
    return EXIT_OK;
  },
});

/** The buffers of programs are where the program language puts them. */
function naming({ recording }: History): PlaceNames {
  const { program, pageSize } = recording.meta;
  return (va) => {
    const place = program === null ? null : bufferPageAt(va, pageSize);
    return place === null ? null : `buffer ${place.buffer}, page ${place.page}`;
  };
}

function gap(i: number): string[] {
  return i === 0 ? [] : [''];
}

function jsonOf({ recording }: History, pages: readonly PageExplained[]): object {
  const { era, pageSize, program } = recording.meta;
  return { recording: { era, pageSize, program }, pages };
}

/** Where there were pages, for whoever asked for another one. */
function noPage(history: History, va: number, pid: number | undefined): UsageError {
  const ranges = pageRanges(history);
  const named = ranges
    .slice(0, RANGES_MAX)
    .map((one) => `process ${one.pid} ${hex(one.start)}-${hex(one.end)}`);
  const more = ranges.length - named.length;
  const all = more > 0 ? `${named.join(', ')} and ${more} more` : named.join(', ');
  const whose = pid === undefined ? '' : ` of process ${pid}`;
  const there = ranges.length === 0 ? 'the recording has no pages' : `pages were at ${all}`;
  return new UsageError(`--page ${hex(va)}: no page${whose} was ever there; ${there}`);
}

function parsePage(text: string | undefined): number {
  const value = /^(0x[0-9a-f]{1,13}|\d{1,16})$/i.test(text ?? '') ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value)) return value;
  if (text === undefined) {
    throw new UsageError('explain: expected --page ADDR; see hmmlab explain --help');
  }
  const found = JSON.stringify(text);
  throw new UsageError(`--page: expected an address, as 0x100000000; found ${found}`);
}

function parseMoment(text: string): Moment {
  const match = /^(#?)(\d{1,15})$/.exec(text);
  if (match === null) {
    const found = JSON.stringify(text);
    throw new UsageError(`--at: expected nanoseconds, or #N for record N; found ${found}`);
  }
  const value = Number(match[2]);
  return match[1] === '#' ? { event: value } : { timeNs: value };
}

/** Times go on after the last record; records do not. */
function checkMoment({ recording }: History, at: Moment | undefined): void {
  if (at === undefined || !('event' in at)) return;
  const last = recording.length === 0 ? 0 : recording.event(recording.length - 1).id;
  if (at.event <= last) return;
  throw new UsageError(`--at: expected a record up to #${last}; found #${at.event}`);
}

function parseNumber(flag: string, text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new UsageError(`${flag}: expected a number; found ${JSON.stringify(text)}`);
}
