/** Writing for people and for other programs. */
import { EXIT_HUNG_UP, EXIT_INTERRUPTED, EXIT_TERMINATED } from './errors.ts';

const PROGRESS_MS = 100;

export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

export function printAll(lines: readonly string[]): void {
  if (lines.length > 0) process.stdout.write(`${lines.join('\n')}\n`);
}

export function printError(line: string): void {
  process.stderr.write(`hmmlab: ${line}\n`);
}

/** A fault of ours, or of a driver: the stack tells where. */
export function printUnexpected(error: unknown): void {
  printError(error instanceof Error ? (error.stack ?? error.message) : String(error));
}

/**
 * Runs `leave` when a signal ends the process, and until it is called off. Only while there is
 * something to leave in order: a listener waits for the event loop, and without one a signal ends
 * the process at once, whatever it is doing.
 */
export function onSignal(leave: () => void): () => void {
  const listeners = ENDING.map(([signal, code]) => {
    const listener = (): void => {
      leave();
      process.exit(code);
    };
    process.on(signal, listener);
    return { signal, listener };
  });
  return () => {
    for (const { signal, listener } of listeners) process.off(signal, listener);
  };
}

const ENDING = [
  ['SIGINT', EXIT_INTERRUPTED],
  ['SIGTERM', EXIT_TERMINATED],
  ['SIGHUP', EXIT_HUNG_UP],
] as const;

/** Lets signals and timers in. Long loops await it between their steps. */
export class Breather {
  #last: number = performance.now();

  async breathe(): Promise<void> {
    if (performance.now() - this.#last < PROGRESS_MS / 2) return;
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#last = performance.now();
  }
}

/** A line on the terminal that says how far a command is; nothing where there is no terminal. */
export class Progress {
  readonly #shown: boolean = process.stderr.isTTY === true;
  #last = 0;
  #callOff: (() => void) | null = null;

  update(text: string): void {
    if (!this.#shown || performance.now() - this.#last < PROGRESS_MS) return;
    this.#callOff ??= onSignal(() => this.#erase());
    this.#last = performance.now();
    const columns = process.stderr.columns || 80;
    process.stderr.write(`\r${text.slice(0, columns - 1)}\u001b[K`);
  }

  clear(): void {
    if (this.#callOff === null) return;
    this.#callOff();
    this.#callOff = null;
    this.#erase();
  }

  #erase(): void {
    process.stderr.write('\r\u001b[K');
  }
}
