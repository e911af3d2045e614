/**
 * The order in which locks are taken, after the kernel's lockdep.
 *
 * Two tasks that take two locks in opposite orders can wait for each other for ever, in some
 * schedule. It need not come to that: whoever wants a lock while holding another adds an edge to a
 * graph, and an edge that closes a cycle is an error, told with both chains.
 *
 * Locks of one kind (the mmap_lock of any process) are one class. Two locks of one class are told
 * apart by their names, so that taking two of them is no error as long as all do so in one order.
 */
import { SimError } from '../errors.ts';
import type { Thread } from './thread.ts';

/** A lock that a thread holds. */
export interface Holding {
  readonly name: string;
  readonly lockClass: string;
}

/** Where an edge of the graph was seen first. */
interface Edge {
  readonly thread: string;
  readonly doing: string;
  readonly held: readonly string[];
  readonly wanted: string;
}

export class LockOrder {
  /** From a held lock's class, or name, to those that were wanted while it was held. */
  readonly #edges: Map<string, Map<string, Edge>> = new Map();
  readonly #classes: Map<string, string> = new Map();

  /** `thread` is about to take a lock that it may have to wait for. Throws `lock-order`. */
  wanted(thread: Thread, name: string): void {
    if (thread.held.length === 0) return;
    const wantedClass = this.#classOf(name);
    for (const held of thread.held) {
      if (held.lockClass !== wantedClass) this.#addEdge(thread, held.lockClass, wantedClass, name);
      else if (held.name !== name) this.#addEdge(thread, held.name, name, name);
    }
  }

  /** `thread` holds the lock now. */
  taken(thread: Thread, name: string): void {
    thread.held.push({ name, lockClass: this.#classOf(name) });
  }

  /** `thread` gives the lock back; locks may be given back in any order. */
  released(thread: Thread, name: string): void {
    const { held } = thread;
    for (let i = held.length - 1; i >= 0; i--) {
      if (held[i]!.name !== name) continue;
      held.splice(i, 1);
      return;
    }
  }

  #classOf(name: string): string {
    let lockClass = this.#classes.get(name);
    if (lockClass === undefined) {
      lockClass = name.replace(/\d+/g, '#');
      this.#classes.set(name, lockClass);
    }
    return lockClass;
  }

  #addEdge(thread: Thread, from: string, to: string, wanted: string): void {
    let edges = this.#edges.get(from);
    if (edges === undefined) {
      edges = new Map();
      this.#edges.set(from, edges);
    }
    if (edges.has(to)) return;
    const held = thread.held.map((one) => one.name);
    const edge = { thread: thread.name, doing: thread.doing, held, wanted };
    edges.set(to, edge);
    const back = this.#path(to, from, new Set());
    if (back !== null) throw cycle(edge, back);
  }

  /** The edges from one node to another, or null where there is no way. */
  #path(from: string, to: string, seen: Set<string>): Edge[] | null {
    seen.add(from);
    for (const [next, edge] of this.#edges.get(from) ?? []) {
      if (next === to) return [edge];
      if (seen.has(next)) continue;
      const rest = this.#path(next, to, seen);
      if (rest !== null) return [edge, ...rest];
    }
    return null;
  }
}

function cycle(edge: Edge, back: readonly Edge[]): SimError {
  const chains = [edge, ...back].map(({ thread, doing, held, wanted }) => {
    const at = doing === '' ? '' : ` (${doing})`;
    return `  ${thread}${at} holds ${held.join(', ')} and wants ${wanted}`;
  });
  return new SimError(
    'lock-order',
    `locks are taken in orders that can wait for each other:\n${chains.join('\n')}`,
    { chains: [edge, ...back] },
  );
}
