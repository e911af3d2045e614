/** What is known of processes and buffers at each place of a program, without running it. */
import type { MachineSpec, Scope } from './types.ts';

/** Something that a thread of a block did, and where. */
interface Deed {
  readonly thread: string;
  readonly line: number;
}

/** A block that was begun and not ended. */
interface OpenBlock {
  readonly line: number;
  /** What was known before it. */
  readonly buffers: ReadonlyMap<number, ReadonlySet<number>>;
  readonly exited: ReadonlySet<number>;
  /** What its threads so far add to that. */
  readonly after: Map<number, Set<number>>;
  readonly afterExited: Set<number>;
  /** Threads, and where each begins. */
  readonly threads: Map<string, number>;
  /** Who names a buffer: by "process buffer". */
  readonly named: Map<string, Deed>;
  /** Who forks a process, uses it (one for each thread), ends it. */
  readonly forks: Map<number, Deed>;
  readonly uses: Map<number, Map<string, Deed>>;
  readonly exits: Map<number, Deed>;
  thread: string | null;
}

export class ProgramScope implements Scope {
  readonly machine: MachineSpec;
  process = 0;
  /** The buffers that each process made so far knows. */
  #buffers: Map<number, Set<number>> = new Map([[0, new Set()]]);
  #exited: Set<number> = new Set();
  /** All processes, of whatever thread. */
  readonly #forked: Set<number> = new Set([0]);
  #block: OpenBlock | null = null;

  constructor(machine: MachineSpec) {
    this.machine = machine;
  }

  /** Line of the block that was begun and not ended, or null. */
  get blockLine(): number | null {
    return this.#block?.line ?? null;
  }

  /** The thread that a step stands in, or null. */
  get thread(): string | null {
    return this.#block?.thread ?? null;
  }

  wasForked(process: number): boolean {
    return this.#forked.has(process);
  }

  knowsBuffer(id: number): boolean {
    return this.#buffers.get(this.process)!.has(id);
  }

  hasBuffer(process: number, id: number): boolean {
    return this.#buffers.get(process)?.has(id) ?? false;
  }

  isAlive(process: number): boolean {
    return this.#buffers.has(process) && !this.#exited.has(process);
  }

  /** Why a step may not be of this process: what was found instead; null if it may. */
  whyNot(process: number): string | null {
    const name = `process ${process}`;
    const fork = this.#block?.forks.get(process);
    if (fork !== undefined && fork.thread !== this.thread) {
      return `${name}, which thread ${fork.thread} forks in line ${fork.line}`;
    }
    const exit = this.#block?.exits.get(process);
    if (exit !== undefined && exit.thread !== this.thread) {
      return `${name}, which ends in thread ${exit.thread}, line ${exit.line}`;
    }
    if (!this.#buffers.has(process)) return `${name}, which was never forked`;
    return this.#exited.has(process) ? `${name}, which has exited` : null;
  }

  /** Why a process may not end here: what another thread does with it; null if it may. */
  whyNotExit(process: number): string | null {
    for (const { thread, line } of this.#block?.uses.get(process)?.values() ?? []) {
      if (thread !== this.thread) {
        return `process ${process}, which thread ${thread} uses in line ${line}`;
      }
    }
    return null;
  }

  /** Why a buffer may not be named here: who names it too; null if it may. */
  whyNotName(process: number, id: number): string | null {
    const deed = this.#block?.named.get(`${process} ${id}`);
    if (deed === undefined || deed.thread === this.thread) return null;
    return `buffer ${id}, which thread ${deed.thread} names in line ${deed.line}`;
  }

  /** A step of the process stands in this line. */
  use(process: number, line: number): void {
    const block = this.#block;
    if (block === null) return;
    let uses = block.uses.get(process);
    if (uses === undefined) {
      uses = new Map();
      block.uses.set(process, uses);
    }
    if (!uses.has(block.thread!)) uses.set(block.thread!, { thread: block.thread!, line });
  }

  name(process: number, id: number, line: number): void {
    this.#buffers.get(process)!.add(id);
    this.#block?.named.set(`${process} ${id}`, { thread: this.thread!, line });
  }

  fork(process: number, line: number): void {
    this.#forked.add(process);
    this.#buffers.set(process, new Set(this.#buffers.get(0)));
    this.#block?.forks.set(process, { thread: this.thread!, line });
  }

  exit(process: number, line: number): void {
    this.#exited.add(process);
    this.#block?.exits.set(process, { thread: this.thread!, line });
  }

  beginBlock(line: number): void {
    this.#block = {
      line,
      buffers: this.#buffers,
      exited: this.#exited,
      after: copyOf(this.#buffers),
      afterExited: new Set(this.#exited),
      threads: new Map(),
      named: new Map(),
      forks: new Map(),
      uses: new Map(),
      exits: new Map(),
      thread: null,
    };
  }

  /** Line of the thread of this name in the block, or undefined. */
  threadLine(name: string): number | undefined {
    return this.#block!.threads.get(name);
  }

  get threadCount(): number {
    return this.#block?.threads.size ?? 0;
  }

  beginThread(name: string, line: number): void {
    this.#endThread();
    const block = this.#block!;
    block.threads.set(name, line);
    block.thread = name;
    this.#buffers = copyOf(block.buffers);
    this.#exited = new Set(block.exited);
  }

  endBlock(): void {
    this.#endThread();
    this.#buffers = this.#block!.after;
    this.#exited = this.#block!.afterExited;
    this.#block = null;
  }

  /** What a thread knows at its end is known after the block. */
  #endThread(): void {
    const { thread, after, afterExited } = this.#block!;
    if (thread === null) return;
    for (const [process, known] of this.#buffers) {
      const all = after.get(process);
      if (all === undefined) after.set(process, known);
      else for (const id of known) all.add(id);
    }
    for (const process of this.#exited) afterExited.add(process);
  }
}

function copyOf(buffers: ReadonlyMap<number, ReadonlySet<number>>): Map<number, Set<number>> {
  return new Map([...buffers].map(([process, known]) => [process, new Set(known)]));
}
