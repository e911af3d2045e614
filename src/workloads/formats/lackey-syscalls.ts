/**
 * The lines about system calls among lackey's, as `--trace-syscalls=yes` prints them on x86-64: which
 * mappings come and go, and into which buffers the kernel wrote.
 */

/** What a call did to memory, in whole pages: [start, start + pages). */
export interface SyscallEffect {
  readonly kind: 'map' | 'unmap' | 'store';
  readonly start: number;
  readonly pages: number;
}

const READ = 0;
const MMAP = 9;
const MUNMAP = 11;
const BRK = 12;
const PREAD = 17;
const MREMAP = 25;
const GETRANDOM = 318;
const CALLS: ReadonlySet<number> = new Set([READ, MMAP, MUNMAP, BRK, PREAD, MREMAP, GETRANDOM]);

const CALL = /SYSCALL\[\d+,(\d+)\]\(\s*(\d+)\)\s*(.*)$/s;
const SUCCESS = /Success\(0x([0-9a-f]+)\)/;
const ARGUMENTS = /^\S+\s*\(([^)]*(?:\([^)]*\)[^)]*)*)\)/;

export class LackeySyscalls {
  readonly #pageSize: number;
  /** Calls whose result is to come, by thread. */
  readonly #pending: Map<number, { readonly nr: number; readonly args: readonly number[] }> =
    new Map();
  /** End of the heap, in bytes; 0 while nobody knows. */
  #brk = 0;
  #lastThread = 0;

  constructor(pageSize: number) {
    this.#pageSize = pageSize;
  }

  /** What a line tells; nothing where the call failed, or its result is to come. */
  read(text: string): SyscallEffect[] {
    const call = CALL.exec(text);
    if (call === null) return this.#late(this.#lastThread, text);
    const thread = Number(call[1]);
    const nr = Number(call[2]);
    const rest = call[3]!;
    this.#lastThread = thread;
    if (rest.startsWith('... [async]')) return this.#late(thread, rest);
    this.#pending.delete(thread);
    if (!CALLS.has(nr)) return [];
    const args = (ARGUMENTS.exec(rest)?.[1] ?? '').split(',').map(numberIn);
    const success = SUCCESS.exec(rest);
    if (success !== null) return this.#effects(nr, args, Number.parseInt(success[1]!, 16));
    if (!rest.includes('Failure(')) this.#pending.set(thread, { nr, args });
    return [];
  }

  #late(thread: number, text: string): SyscallEffect[] {
    const pending = this.#pending.get(thread);
    this.#pending.delete(thread);
    const success = SUCCESS.exec(text);
    if (pending === undefined || success === null) return [];
    return this.#effects(pending.nr, pending.args, Number.parseInt(success[1]!, 16));
  }

  #effects(nr: number, args: readonly number[], result: number): SyscallEffect[] {
    const [first = 0, second = 0, third = 0] = args;
    switch (nr) {
      case MMAP:
        return this.#range('map', result, second);
      case MUNMAP:
        return this.#range('unmap', first, second);
      case MREMAP:
        return [...this.#range('unmap', first, second), ...this.#range('map', result, third)];
      case READ:
      case PREAD:
        return this.#range('store', second, result);
      case GETRANDOM:
        return this.#range('store', first, result);
      default:
        return this.#moveBrk(result);
    }
  }

  #moveBrk(to: number): SyscallEffect[] {
    const from = this.#brk;
    this.#brk = to;
    if (from === 0 || to === from) return [];
    return to > from
      ? this.#range('map', this.#up(from), to - this.#up(from))
      : this.#range('unmap', this.#up(to), this.#up(from) - this.#up(to));
  }

  #up(address: number): number {
    return Math.ceil(address / this.#pageSize) * this.#pageSize;
  }

  #range(kind: SyscallEffect['kind'], address: number, bytes: number): SyscallEffect[] {
    if (!(bytes > 0) || address + bytes > 2 ** 48) return [];
    const start = Math.floor(address / this.#pageSize);
    const pages = Math.ceil((address + bytes) / this.#pageSize) - start;
    return [{ kind, start, pages }];
  }
}

/** "0x4a2b064", "5000", "0x4034bb0(/usr/lib/x.so)". */
function numberIn(text: string): number {
  const found = /0x([0-9a-f]+)|\d+/.exec(text);
  if (found === null) return 0;
  return found[1] === undefined ? Number(found[0]) : Number.parseInt(found[1], 16);
}
