/** What the command lines of the fuzzers have in common. */

const PROGRESS_MS = 200;
export const EXIT_FOUND = 1;
const EXIT_USAGE = 2;

export class UsageError extends Error {}

export function number(text: string, name: string, min: number, max: number): number {
  const value = Number(text);
  const form = min < 0 ? /^-?\d+$/ : /^\d+$/;
  if (form.test(text) && value >= min && value <= max) return value;
  throw new UsageError(`--${name} ${text}: expected a number from ${min} to ${max}`);
}

export function oneOf<T extends { readonly name: string }>(
  all: readonly T[],
  text: string,
  option: string,
): T {
  const found = all.find(({ name }) => name === text);
  if (found !== undefined) return found;
  const names = all.map(({ name }) => name).join(', ');
  throw new UsageError(`--${option} ${text}: expected one of ${names}`);
}

/** One line on a terminal, rewritten in place. */
export class Progress {
  readonly #shown: boolean = process.stderr.isTTY === true;
  #last = 0;

  update(text: string): void {
    if (!this.#shown || performance.now() - this.#last < PROGRESS_MS) return;
    this.#last = performance.now();
    process.stderr.write(`\r${text}\u001b[K`);
  }

  clear(): void {
    if (this.#shown) process.stderr.write('\r\u001b[K');
  }
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Runs a command and answers its exit code; without settings, help was asked for. */
export function runCommand<Settings>(
  usage: string,
  readSettings: () => Settings | null,
  run: (settings: Settings) => number,
): number {
  try {
    const settings = readSettings();
    if (settings !== null) return run(settings);
    print(usage);
    return 0;
  } catch (error) {
    const isParseArgs = error instanceof TypeError && 'code' in error;
    if (!(error instanceof UsageError) && !isParseArgs) throw error;
    process.stderr.write(`fuzz: ${error.message}\n\n${usage}`);
    return EXIT_USAGE;
  }
}
