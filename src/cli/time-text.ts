/** A report of time as text for people. */
import type { WaitReason } from '../core/sched/task.ts';
import type { LinkTime, ThreadTime, TimeReport } from '../trace/time/types.ts';
import colors from './colors.ts';
import { columnLines, indented } from './format.ts';
import { sizeText, timeText } from './report-text.ts';

/** So many things that a thread spent its time on are listed. */
const SPENT_MAX = 6;

const REASONS: readonly (readonly [WaitReason, string])[] = [
  ['work', 'own work'],
  ['link', 'link'],
  ['lock', 'lock'],
  ['page_lock', 'page lock'],
  ['fence', 'fence'],
  ['fault_batch', 'fault batch'],
  ['notifier', 'notifier'],
  ['pause', 'pause'],
  ['other', 'other'],
];

/** Where the time went, as lines. */
export function timeLines(report: TimeReport): string[] {
  const { timing, totalNs, threads, links } = report;
  const of = timing === null ? '' : `, ${timing}`;
  const head = `${colors.bold('simulated time')} ${timeText(totalNs)}${of}`;
  if (totalNs === 0) return [head, ''];
  const tasks = threads.filter(({ device }) => device === null);
  const workers = threads.filter(({ device }) => device !== null);
  const sections: readonly (readonly [string, readonly string[]])[] = [
    ['tasks', threadLines(tasks, totalNs)],
    ['devices', threadLines(workers, totalNs)],
    ['most of it', spentLines(threads)],
    ['links', linkLines(links)],
  ];
  const shown = sections.filter(([, lines]) => lines.length > 0);
  return [
    head,
    '',
    ...shown.flatMap(([title, lines]) => [colors.bold(title), ...indented(lines), '']),
  ];
}

function threadLines(threads: readonly ThreadTime[], totalNs: number): string[] {
  if (threads.length === 0) return [];
  const used = REASONS.filter(([reason]) => threads.some(({ byReason }) => byReason[reason]));
  return columnLines([
    ['', 'time', 'of all', ...used.map(([, name]) => name)],
    ...threads.map(({ thread, totalNs: ns, byReason }) => [
      nameOf(thread),
      timeText(ns),
      percent(ns / totalNs),
      ...used.map(([reason]) => timeOrDash(byReason[reason] ?? 0)),
    ]),
  ]);
}

/** What took the longest, whoever spent it. */
function spentLines(threads: readonly ThreadTime[]): string[] {
  const all = threads.flatMap(({ thread, spent }) => spent.map((one) => ({ ...one, thread })));
  if (all.length === 0) return [];
  all.sort((a, b) => b.ns - a.ns);
  const reasonText = new Map(REASONS);
  return columnLines([
    ['', 'for', 'of', 'time', 'times'],
    ...all
      .slice(0, SPENT_MAX)
      .map(({ thread, reason, label, ns, times }) => [
        nameOf(thread),
        reasonText.get(reason)!,
        label !== '' ? label : reason === 'work' ? 'the kernel' : '-',
        timeText(ns),
        String(times),
      ]),
  ]);
}

function linkLines(links: readonly LinkTime[]): string[] {
  const used = links.filter(({ transfers }) => transfers > 0);
  if (used.length === 0) return [];
  return columnLines([
    ['link', 'direction', 'bytes', 'transfers', 'busy', 'of all', 'queued', 'GB/s', 'while busy'],
    ...used.map((one) => [
      one.link,
      one.direction === 'toDevice' ? 'to the device' : 'to the host',
      sizeText(one.bytes),
      String(one.transfers),
      timeText(one.busyNs),
      percent(one.utilisation),
      timeOrDash(one.queuedNs),
      rateText(one.bytesPerSecond),
      one.busyNs === 0 ? '-' : rateText(one.busyBytesPerSecond),
    ]),
  ]);
}

/** What a program does outside of parallel threads, its process's caller does. */
function nameOf(thread: string): string {
  return thread === 'caller' ? 'main' : thread;
}

function timeOrDash(ns: number): string {
  return ns === 0 ? '-' : timeText(ns);
}

function percent(part: number): string {
  return `${(100 * part).toFixed(1)}%`;
}

function rateText(bytesPerSecond: number): string {
  return (bytesPerSecond / 1e9).toFixed(3);
}
