/** Writing for people and for other programs. */

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

  update(text: string): void {
    if (!this.#shown || performance.now() - this.#last < PROGRESS_MS) return;
    this.#last = performance.now();
    const columns = process.stderr.columns ?? 80;
    process.stderr.write(`\r${text.slice(0, columns - 1)}\u001b[K`);
  }

  clear(): void {
    if (this.#shown && this.#last > 0) process.stderr.write('\r\u001b[K');
  }
}
