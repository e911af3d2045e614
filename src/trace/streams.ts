/** The events of a running machine, by page, by device and by cause, as RxJS streams. */
import { defer, filter, map, type Observable } from 'rxjs';
import type { Driver } from '../core/driver.ts';
import { eventStream } from '../core/events/stream.ts';
import type { MigrateCause, PageHome, SimEvent } from '../core/events/types.ts';
import type { Machine } from '../core/machine.ts';
import type { Owner } from '../core/pagemap/pagemap.ts';
import type { Process } from '../core/process.ts';
import type { Va } from '../core/units.ts';

/**
 * What happens to the page at `va` of a process: accesses, calls, migrations and invalidations whose
 * range holds it, changes of its owner, and that a page frame it had was freed.
 */
export function pageEvents(machine: Machine, proc: Process, va: Va): Observable<SimEvent> {
  const start = va - (va % machine.pageSize);
  const end = start + machine.pageSize;
  return defer(() => {
    const frames = new Set<number>();
    const frame = machine.pageAt(proc, start);
    if (frame !== null && frame > 0) frames.add(frame);
    return eventStream(machine.events).pipe(
      filter((event) => {
        if (event.kind === 'page_free') return frames.delete(event.page);
        const touched = touches(event, proc.pid, start, end);
        if (touched && event.kind === 'owner_change') frames.add(event.page);
        return touched;
      }),
    );
  });
}

function touches(event: SimEvent, pid: number, start: Va, end: Va): boolean {
  if (!('pid' in event) || event.pid !== pid) return false;
  if ('va' in event) return event.va !== null && event.va >= start && event.va < end;
  return event.start < end && event.end > start;
}

/**
 * What a device does and what happens to its memory: events that name it, calls to it, migrations
 * and invalidations by it, and pages that come to it, leave it or are freed by it.
 */
export function deviceEvents(machine: Machine, device: Driver): Observable<SimEvent> {
  const owners = new Set<unknown>(device.owners ?? [device]);
  return eventStream(machine.events).pipe(filter((event) => concerns(event, device.name, owners)));
}

function concerns(event: SimEvent, name: string, owners: ReadonlySet<unknown>): boolean {
  const has = (home: PageHome | Owner | undefined): boolean => owners.has(home);
  switch (event.kind) {
    case 'call':
      return event.actor === name;
    case 'trespass':
      return event.by === name || has(event.owner);
    case 'migrate':
      return has(event.owner) || has(event.from) || has(event.to);
    case 'invalidate':
      return has(event.owner);
    case 'invalidate_call':
      return event.notifier === name || has(event.owner);
    case 'owner_change':
      return has(event.from) || has(event.to);
    case 'page_free':
      return has(event.owner);
    case 'cpu_fault':
    case 'migrate_phase':
    case 'mapping_change':
      return false;
    default:
      return event.device === name;
  }
}

/** Migrations with this cause, and all that happens in them, to their ends. */
export function causeEvents(machine: Machine, cause: MigrateCause): Observable<SimEvent> {
  return defer(() => {
    const inside = new Set<number>();
    return eventStream(machine.events).pipe(
      map((event) => ({ event, told: isInside(inside, event, cause) })),
      filter(({ told }) => told),
      map(({ event }) => event),
    );
  });
}

/** Keeps track of the spans that are open in migrations of that cause. */
function isInside(inside: Set<number>, event: SimEvent, cause: MigrateCause): boolean {
  if ('phase' in event && event.phase === 'end') return inside.delete(event.begin);
  const told =
    (event.kind === 'migrate' && event.cause === cause) ||
    (event.parent !== null && inside.has(event.parent));
  if (told && 'phase' in event) inside.add(event.id);
  return told;
}
