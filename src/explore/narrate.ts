/** Tells what happened under a schedule, in words and as a sequence diagram. */
import type { SimEvent } from '../core/events/types.ts';
import type { FaultSite } from '../core/fault-plan.ts';
import type { Thread } from '../core/sched/thread.ts';
import { hex } from '../core/units.ts';
import type { Listener, PointInfo } from './decider.ts';
import { foldLoops } from './loops.ts';
import { replay } from './run-once.ts';
import type { RunLimits, Scenario, Schedule, Verdict } from './types.ts';

export interface Narration {
  /** For people, from the first operation to the failure. */
  readonly lines: readonly string[];
  /** The text of a Mermaid sequence diagram of the same. */
  readonly mermaid: string;
  readonly verdict: Verdict;
}

/**
 * What each thread does between the switches of a schedule.
 *
 * @throws SimError `bad-argument` if the schedule does not fit the scenario
 */
export function describeSchedule(
  scenario: Scenario,
  schedule: Schedule,
  limits: RunLimits = {},
): Narration {
  const narrator = new Narrator();
  const verdict = replay(scenario, schedule, { ...limits, listener: narrator });
  narrator.finish();
  const ends = verdict.failures.flatMap(({ kind, message, detail }) => [
    `${kind}: ${message}`,
    ...detail.map((line) => `  ${line}`),
  ]);
  const [first, last] = parted(narrator.stretches, verdict);
  const left = narrator.stretches.length - first.length - last.length;
  const gap = left === 0 ? [] : [`… and so on: ${left} times more another thread goes on …`];
  const width = Math.max(0, ...narrator.stretches.map(({ thread }) => thread.length));
  const story = [...linesOf(first, width), ...gap, ...linesOf(last, width)];
  const lines = foldLoops(story, (loop, times) => [
    ...loop,
    `… and the same ${times - 1} times more …`,
  ]);
  lines.push(...ends);
  return { lines, mermaid: diagramOf([first, last], gap, verdict), verdict };
}

/** Longer stories lose their middle, and a livelock, which goes on and on, even more of it. */
const TOLD_FIRST = 40;
const TOLD_FIRST_OF_LIVELOCK = 20;
const TOLD_LAST = 6;

function parted(
  stretches: readonly Stretch[],
  { failures }: Verdict,
): [readonly Stretch[], readonly Stretch[]] {
  if (stretches.length <= TOLD_FIRST + TOLD_LAST) return [stretches, []];
  if (failures.some(({ kind }) => kind === 'livelock' || kind === 'starvation')) {
    return [stretches.slice(0, TOLD_FIRST_OF_LIVELOCK), []];
  }
  return [stretches.slice(0, TOLD_FIRST), stretches.slice(-TOLD_LAST)];
}

/** What one thread does until another goes on. */
interface Stretch {
  readonly thread: string;
  readonly steps: Step[];
  /** Why another goes on: "overtaken by B at migrate: unmap"; null where it just ended. */
  end: { readonly next: string; readonly why: string; readonly overtaken: boolean } | null;
}

/** A part of an operation that happens in one stretch. */
interface Step {
  readonly doing: string;
  readonly notes: string[];
}

class Narrator implements Listener {
  readonly stretches: Stretch[] = [];
  #stretch: Stretch | null = null;
  /** What threads were at last and are through with. */
  readonly #over: Map<string, string> = new Map();

  point({ current, chosen, point, position }: PointInfo): void {
    if (current !== null) this.#note(current.name, current.doing, point);
    if (chosen === current) return;
    const last = this.#stretch;
    if (last !== null && last.thread !== chosen.name) {
      const why = current === null ? waitOf(last) : `at "${point}"`;
      const number = position === null ? '' : ` (decision ${position})`;
      last.end = { next: chosen.name, why: `${why}${number}`, overtaken: current !== null };
    }
    this.#enter(chosen.name);
  }

  fault(site: FaultSite, thread: Thread | null, position: number, fails: boolean): void {
    if (!fails || thread === null) return;
    this.#note(thread.name, thread.doing, `attempt at ${site} fails on purpose (${position})`);
  }

  ended(thread: Thread, result: string): void {
    this.#note(thread.name, thread.doing, `ends: ${resultOf(result)}`);
    this.#over.set(thread.name, thread.doing);
  }

  tell(event: SimEvent): void {
    const text = eventText(event);
    if (text !== null) this.#note(event.thread, null, text);
  }

  finish(): void {
    if (this.#stretch !== null) this.#stretch.end = null;
  }

  #enter(thread: string): Stretch {
    const stretch: Stretch = { thread, steps: [], end: null };
    this.stretches.push(stretch);
    this.#stretch = stretch;
    return stretch;
  }

  #note(thread: string, said: string | null, text: string): void {
    // What a thread is at stays written there when it is through with it.
    const isOver = said === null ? this.#isBetween(thread) : this.#over.get(thread) === said;
    const doing = isOver ? '' : said;
    if (!isOver && said !== null) this.#over.delete(thread);
    let stretch = this.#stretch;
    if (stretch === null || stretch.thread !== thread) stretch = this.#enter(thread);
    const last = stretch.steps.at(-1);
    if (last === undefined || (doing !== null && last.doing !== doing && last.doing !== '')) {
      stretch.steps.push({ doing: doing ?? '', notes: [text] });
      return;
    }
    // What came before the thread said what it is at belongs to the same.
    if (last.doing === '' && doing !== null && doing !== '') {
      stretch.steps[stretch.steps.length - 1] = { doing, notes: [...last.notes, text] };
      return;
    }
    last.notes.push(text);
  }

  #isBetween(thread: string): boolean {
    return this.#over.has(thread);
  }
}

/** A thread that is not overtaken has gone to sleep or has ended. */
function waitOf({ steps }: Stretch): string {
  return steps.at(-1)?.notes.at(-1)?.startsWith('ends:') === true ? 'is through' : 'waits';
}

/** The result of an operation without what the line says already. */
function resultOf(text: string): string {
  if (!text.startsWith('{"op":')) return text;
  const { op, proc, thread, args, ...rest } = JSON.parse(text) as Record<string, unknown>;
  const fields = Object.entries(rest).map(([name, value]) => {
    return `${name} ${Array.isArray(value) ? value.join(' ') : String(value)}`;
  });
  return fields.join(', ');
}

function eventText(event: SimEvent): string | null {
  switch (event.kind) {
    case 'cpu_fault':
      if (event.phase === 'begin') return `faults (${event.access} at ${hex(event.va)})`;
      return event.result === 'ok' ? null : `fault ends in ${event.result}`;
    case 'device_fault':
      if (event.phase === 'end') return null;
      return `${event.device} faults (${event.access} at ${hex(event.start)})`;
    case 'owner_change':
      return `${hex(event.va)} goes from ${homeText(event.from)} to ${homeText(event.to)}`;
    case 'invalidate_call':
      if (event.ignored) return `${event.notifier} ignores the invalidation`;
      return `${event.notifier} is told: ${event.event}`;
    case 'trespass':
      return `${event.by} trespasses: ${event.what} of page ${event.page} of ${event.owner.name}`;
    case 'fatal_fault':
      return `${event.device}: fatal fault at ${hex(event.va)}: ${event.reason}`;
    default:
      return null;
  }
}

function homeText(home: { readonly name: string } | 'system' | null): string {
  if (home === null) return 'nothing';
  return home === 'system' ? 'RAM' : home.name;
}

function linesOf(stretches: readonly Stretch[], width: number): string[] {
  const lines: string[] = [];
  for (const { thread, steps, end } of stretches) {
    for (const { doing, notes } of steps) {
      const what = doing === '' ? '' : `${doing} | `;
      lines.push(`${thread.padEnd(width)}  ${what}${shortened(notes).join(', ')}`);
    }
    if (end === null) continue;
    const verb = end.overtaken ? `is overtaken by ${end.next}` : end.why;
    lines.push(
      `${thread.padEnd(width)}  ${verb}${end.overtaken ? ` ${end.why}` : `; ${end.next} goes on`}`,
    );
  }
  return lines;
}

/** What is repeated is told once, with how often. */
function shortened(notes: readonly string[]): string[] {
  return foldLoops(notes, (loop, times) => [
    loop.length === 1 ? `${loop[0]} (${times} times)` : `[${loop.join(', ')}] ${times} times`,
  ]);
}

/** Notes of one box of a diagram; a long way is cut in the middle. */
const NOTES_MAX = 8;

function diagramOf(
  [first, last]: readonly [readonly Stretch[], readonly Stretch[]],
  gap: readonly string[],
  { failures }: Verdict,
): string {
  const names = [...new Set([...first, ...last].map(({ thread }) => thread))];
  const people = names.map((name, i) => `  participant t${i} as ${plain(name)}`);
  const all = names.length === 1 ? 't0' : `t0,t${names.length - 1}`;
  const lines = ['sequenceDiagram', ...people, ...first.flatMap((one) => arrowsOf(one, names))];
  lines.push(...gap.map((text) => `  Note over ${all}: ${text}`));
  lines.push(...last.flatMap((one) => arrowsOf(one, names)));
  for (const { kind, message } of names.length === 0 ? [] : failures) {
    lines.push(`  Note over ${all}: ${plain(`${kind}: ${message}`)}`);
  }
  return `${lines.join('\n')}\n`;
}

function arrowsOf({ thread, steps, end }: Stretch, names: readonly string[]): string[] {
  const id = (name: string): string => `t${names.indexOf(name)}`;
  const lines = steps.map(({ doing, notes }) => {
    const text = [doing, ...cutShort(shortened(notes))].filter((part) => part !== '');
    return `  Note over ${id(thread)}: ${text.map(plain).join('<br/>')}`;
  });
  if (end !== null && names.includes(end.next)) {
    const arrow = end.overtaken ? '->>' : '-->>';
    const text = end.overtaken ? `overtaken ${end.why}` : end.why;
    lines.push(`  ${id(thread)}${arrow}${id(end.next)}: ${plain(text)}`);
  }
  return lines;
}

function cutShort(notes: readonly string[]): readonly string[] {
  if (notes.length <= NOTES_MAX) return notes;
  const half = NOTES_MAX / 2;
  const left = notes.length - 2 * half;
  return [...notes.slice(0, half), `… ${left} more …`, ...notes.slice(-half)];
}

/** Without what Mermaid takes for its own. */
function plain(text: string): string {
  return text.replaceAll(';', ',').replaceAll('#', 'no. ').replaceAll('\n', ' ');
}
