// What a Chrome trace must say, and what follows from what else it says.

export type Json = Record<string, unknown>;

interface Args extends Json {
  readonly actor?: unknown;
  readonly batch_id?: unknown;
  readonly bytes?: unknown;
  readonly device?: unknown;
  readonly driver?: unknown;
  readonly dst_flags?: unknown;
  readonly event?: unknown;
  readonly from?: unknown;
  readonly migrated?: unknown;
  readonly npages?: unknown;
  readonly owner?: unknown;
  readonly owner_new?: unknown;
  readonly owner_old?: unknown;
  readonly parent?: unknown;
  readonly retry?: unknown;
  readonly src_flags?: unknown;
  readonly step_id?: unknown;
  readonly thread?: unknown;
  readonly to?: unknown;
  readonly va?: unknown;
}

export interface TraceEvent extends Json {
  readonly ph: string;
  readonly name: string;
  readonly pid: number;
  readonly tid?: number;
  readonly ts?: number;
  readonly dur?: number;
  readonly cat?: unknown;
  readonly id?: unknown;
  readonly bp?: unknown;
  readonly s?: unknown;
  readonly args?: Args;
}

interface Slice extends TraceEvent {
  readonly args: Args;
}

/** `ramPages` is how many pages of RAM the machine has. */
export function contentProblems(events: readonly TraceEvent[], ramPages: number): string[] {
  const slices = events.filter((event): event is Slice => {
    return (event.ph === 'X' || event.ph === 'b') && event.args !== undefined;
  });
  return [
    ...slices.filter(({ name }) => name === 'migrate').flatMap(migrationProblems),
    ...retryProblems(slices),
    ...batchProblems(slices),
    ...stepProblems(slices),
    ...driverProblems(slices),
    ...frameProblems(events, ramPages),
    ...bufferProblems(events),
  ];
}

function migrationProblems({ args }: Slice): string[] {
  const problems: string[] = [];
  if (typeof args.owner_old !== 'string' || args.owner_old !== args.from) {
    problems.push(`migrate: owner_old is ${args.owner_old}, from is ${args.from}`);
  }
  if (typeof args.owner_new !== 'string' || args.owner_new !== args.to) {
    problems.push(`migrate: owner_new is ${args.owner_new}, to is ${args.to}`);
  }
  // How it ended is not known of all.
  if (!('migrated' in args)) return problems;
  const src = /^VALID (\d+), WRITE (\d+), of (\d+)$/.exec(String(args.src_flags));
  const dst = /^VALID (\d+)$/.exec(String(args.dst_flags));
  if (src === null || dst === null) return [...problems, 'migrate has no src_flags or dst_flags'];
  const [valid, writable, pages] = src.slice(1).map(Number) as [number, number, number];
  const given = Number(dst[1]);
  if (pages !== args.npages) problems.push(`migrate: flags of ${pages} pages, of ${args.npages}`);
  if (valid > pages || given > pages) problems.push('migrate: more words are VALID than there are');
  if (writable > valid) problems.push('migrate: more words have WRITE than are VALID');
  if ((args.migrated as number) > given) problems.push('migrate: more moved than had a place');
  return problems;
}

/** A fault that is tried again was tried before. */
function retryProblems(slices: readonly Slice[]): string[] {
  const problems: string[] = [];
  const tried = new Set<string>();
  const asked: { readonly on: string; readonly start: number; readonly end: number }[] = [];
  for (const { name, args } of slices) {
    if (name !== 'cpu_fault' && name !== 'device_fault') continue;
    const { retry, va, bytes } = args;
    const on = `${name} ${args.thread}`;
    const start = Number(va);
    // The first one again may be for a part only.
    const isKnown =
      retry === 1
        ? asked.some((one) => one.on === on && one.start <= start && start < one.end)
        : retry === 0 || tried.has(`${on} ${va} ${(retry as number) - 1}`);
    if (!Number.isInteger(retry)) problems.push(`${name} has no retry`);
    else if (!isKnown) problems.push(`${name}: retry ${retry} of what was not tried`);
    tried.add(`${on} ${va} ${retry}`);
    asked.push({ on, start, end: start + (bytes as number) });
  }
  return problems;
}

/** Batches of a device count from 1, and each ends with a replay. */
function batchProblems(slices: readonly Slice[]): string[] {
  const problems: string[] = [];
  const buffered = slices.filter(({ name }) => name === 'gpu_fault' || name === 'fault_replay');
  const batches = new Map(buffered.map(({ args }) => [args.device, 1]));
  for (const { name, args } of slices) {
    if (name !== 'gpu_fault' && name !== 'device_fault' && name !== 'fault_replay') continue;
    // A notifier of "gpu0" may be called "gpu0 snapshot".
    const device = [...batches.keys()].find((one) => `${args.device} `.startsWith(`${one} `));
    const batch = batches.get(device);
    if (args.batch_id !== batch) {
      problems.push(`${name}: batch_id is ${args.batch_id}, not ${batch}`);
    }
    if (name === 'fault_replay') batches.set(args.device, batch! + 1);
  }
  return problems;
}

/** What begins while a line runs says which. */
function stepProblems(slices: readonly Slice[]): string[] {
  const problems: string[] = [];
  let line: number | undefined;
  let end = 0;
  for (const slice of slices) {
    const { ph, name, args, ts } = slice;
    const number = args.actor === 'program' ? /^line (\d+): /.exec(name)?.[1] : undefined;
    if (number !== undefined) {
      line = Number(number);
      end = ph === 'b' ? Number.POSITIVE_INFINITY : ts! + slice.dur!;
    } else if (ts! >= end) line = undefined;
    if (args.step_id !== line) problems.push(`${name}: step_id is ${args.step_id}, not ${line}`);
  }
  return problems;
}

/** What concerns a device says what drives it, where anything does; so do steps of migrations. */
function driverProblems(slices: readonly Slice[]): string[] {
  const problems: string[] = [];
  const drivers = new Map<unknown, unknown>();
  const migrations = new Map<unknown, unknown>();
  for (const { name, args } of slices) {
    if ('driver' in args) drivers.set(args.device ?? args.owner, args.driver);
    if (name === 'migrate') migrations.set(args.event, args.driver);
  }
  for (const { name, args } of slices) {
    const about = args.device ?? args.owner;
    const isStep = about === undefined && migrations.has(args.parent) && 'step' in args;
    const driver = isStep ? migrations.get(args.parent) : drivers.get(about);
    if ((isStep || about !== undefined) && args.driver !== driver) {
      problems.push(`${name}: driver is ${args.driver}, not ${driver}`);
    }
  }
  return problems;
}

/** A page of RAM is mapped or free. */
function frameProblems(events: readonly TraceEvent[], ramPages: number): string[] {
  const problems: string[] = [];
  const kernel = events.find(({ ph, name }) => ph === 'C' && name === 'free frames')?.pid;
  const isTimed = events.some(({ ph }) => ph !== 'M');
  if (kernel === undefined) return isTimed ? ['there are no free frames'] : [];
  const pages = { 'free frames': 0, 'resident pages': 0 };
  events.forEach(({ ph, name, pid, args }, i) => {
    if (ph !== 'C' || pid !== kernel) return;
    if (name in pages) pages[name as keyof typeof pages] = countOf(args);
    if (events[i + 1]?.ph === 'C') return;
    const sum = pages['free frames'] + pages['resident pages'];
    if (sum !== ramPages) problems.push(`${sum} frames are free or mapped, not ${ramPages}`);
  });
  return problems;
}

/** Each fault that is written is an entry, until the replay. */
function bufferProblems(events: readonly TraceEvent[]): string[] {
  const problems: string[] = [];
  const written = new Map<number, number>();
  const shown = new Map<number, number>();
  for (const { ph, name, pid, args } of events) {
    if (ph === 'X' && name === 'gpu_fault') written.set(pid, (written.get(pid) ?? 0) + 1);
    else if (ph === 'X' && name === 'fault_replay') written.set(pid, 0);
    else if (ph === 'C' && name === 'fault buffer entries') {
      shown.set(pid, countOf(args));
      const entries = written.get(pid) ?? 0;
      if (shown.get(pid) !== entries) {
        problems.push(`${shown.get(pid)} fault buffer entries, not ${entries}`);
      }
    }
  }
  for (const [pid, entries] of written) {
    const last = shown.get(pid);
    if (last !== entries) problems.push(`${last} fault buffer entries at last, not ${entries}`);
  }
  return problems;
}

function countOf(args: Args | undefined): number {
  return Number(Object.values(args ?? {})[0]);
}
