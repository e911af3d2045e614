#!/usr/bin/env node
/** The command line: finds the command, checks its flags, and turns what goes wrong into one line. */
import { parseArgs, stripVTControlCharacters } from 'node:util';
import {
  type ArgsDef,
  type CommandDef,
  defineCommand,
  renderUsage,
  runCommand,
  type SubCommandsDef,
} from 'citty';
import { SimError } from '../core/errors.ts';
import {
  EXIT_DIFFERENT,
  EXIT_OK,
  EXIT_PIPE,
  EXIT_USAGE,
  isBadInput,
  UsageError,
} from './errors.ts';
import { print, printError, printUnexpected } from './output.ts';
import { packageVersion } from './version.ts';

type Load = () => Promise<unknown>;

/** Each is loaded when it is asked for: none needs all that the others do. */
const COMMANDS: ReadonlyMap<string, Load> = new Map<string, Load>([
  ['run', async () => (await import('./run.ts')).runCommand],
  ['explore', async () => (await import('./explore.ts')).exploreCommand],
  ['conformance', async () => (await import('./conformance.ts')).conformanceCommand],
  ['compare', async () => (await import('./compare.ts')).compareCommand],
  ['report', async () => (await import('./report.ts')).reportCommand],
  ['export', async () => (await import('./export.ts')).exportCommand],
  ['explain', async () => (await import('./explain.ts')).explainCommand],
  ['check-driver', async () => (await import('./check-driver.ts')).checkDriverCommand],
  ['replay', async () => (await import('./replay-trace.ts')).replayCommand],
  ['import', async () => (await import('./import.ts')).importCommand],
  ['demo', async () => (await import('./demo.ts')).demoCommand],
]);

const description = 'An emulator of Linux heterogeneous memory management';

async function main(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined) {
    printError(`expected a command: ${[...COMMANDS.keys()].join(', ')}; see hmmlab --help`);
    return EXIT_USAGE;
  }
  if (name === '--help' || name === '-h' || name === 'help') {
    const subCommands = Object.fromEntries(COMMANDS) as SubCommandsDef;
    await printUsage(defineCommand({ meta: { name: 'hmmlab', description }, subCommands }));
    return EXIT_OK;
  }
  if (name === '--version') {
    print(packageVersion());
    return EXIT_OK;
  }
  const load = COMMANDS.get(name);
  if (load === undefined) {
    const what = name.startsWith('-') ? 'flag' : 'command';
    const names = [...COMMANDS.keys()].join(', ');
    throw new UsageError(`unknown ${what} ${JSON.stringify(name)}; expected one of ${names}`);
  }
  const command = (await load()) as CommandDef;
  if (rest.includes('--help') || rest.includes('-h')) {
    await printUsage(command, defineCommand({ meta: { name: 'hmmlab' } }));
    return EXIT_OK;
  }
  checkFlags(name, command, rest);
  const { result } = await runCommand(command, { rawArgs: [...rest] });
  return typeof result === 'number' ? result : EXIT_OK;
}

async function printUsage(command: CommandDef, parent?: CommandDef): Promise<void> {
  const text = await renderUsage(command, parent);
  print(process.stdout.isTTY === true ? text : stripVTControlCharacters(text));
}

/** citty takes any flag, and a value that is missing for an empty one; we do not. */
function checkFlags(name: string, command: CommandDef, argv: readonly string[]): void {
  const defined = command.args as ArgsDef;
  const flags = Object.entries(defined).filter(([, arg]) => arg.type !== 'positional');
  const positionals = Object.keys(defined).filter((key) => defined[key]!.type === 'positional');
  const options = Object.fromEntries(
    flags.map(([key, arg]) => [
      key,
      { type: arg.type === 'boolean' ? 'boolean' : 'string', ...shortOf(arg) } as const,
    ]),
  );
  let given: string[];
  let twice: string | undefined;
  try {
    const parsed = parseArgs({ args: [...argv], options, allowPositionals: true, tokens: true });
    given = parsed.positionals;
    const valued = parsed.tokens.flatMap((one) =>
      one.kind === 'option' && one.value !== undefined ? [one.name] : [],
    );
    const often = MANY_VALUES.get(name) ?? [];
    twice = valued.find((flag, i) => valued.indexOf(flag) < i && !often.includes(flag));
  } catch (error) {
    const reason =
      error instanceof Error ? error.message.replace(/(\n|\. To specify ).*$/s, '') : '';
    throw new UsageError(`${name}: ${reason.replace(/[.\s]+$/, '')}; see hmmlab ${name} --help`);
  }
  if (twice !== undefined) {
    throw new UsageError(`${name}: expected one --${twice}; found more; see hmmlab ${name} --help`);
  }
  const wanted = positionals.map((key) => key.toUpperCase()).join(' ');
  if (given.length < positionals.length) {
    throw new UsageError(`${name}: expected ${wanted}; see hmmlab ${name} --help`);
  }
  if (given.length > positionals.length && !MANY_FILES.has(name)) {
    const extra = JSON.stringify(given[positionals.length]);
    throw new UsageError(
      `${name}: expected ${wanted === '' ? 'no file' : wanted}; found also ${extra}`,
    );
  }
}

/** The letter that stands for a flag. */
function shortOf(arg: ArgsDef[string]): { readonly short?: string } {
  const letter = 'alias' in arg ? arg.alias : undefined;
  return typeof letter === 'string' ? { short: letter } : {};
}

/** Commands that take as many files as there are. */
const MANY_FILES: ReadonlySet<string> = new Set(['conformance']);

/** Flags that may be given more than once. */
const MANY_VALUES: ReadonlyMap<string, readonly string[]> = new Map([
  ['run', ['driver']],
  ['explore', ['driver']],
  ['compare', ['driver', 'era']],
]);

/** One line on what went wrong, and the exit code. */
function report(error: unknown): number {
  if (isBadInput(error)) {
    printError(error.message);
    return EXIT_USAGE;
  }
  if (error instanceof SimError) printError(error.message);
  else if (isOutOfMemory(error)) {
    printError(`the memory does not suffice (${error.message}); expected a smaller input`);
  } else printUnexpected(error);
  return EXIT_DIFFERENT;
}

/** V8 had no room for an array, a map or a set. */
function isOutOfMemory(error: unknown): error is RangeError {
  return (
    error instanceof RangeError &&
    /allocation failed|maximum size|invalid (array|typed array) (buffer )?length/i.test(
      error.message,
    )
  );
}

for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(EXIT_PIPE);
    printError(`cannot write: ${error.message}`);
    process.exit(EXIT_DIFFERENT);
  });
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.exitCode = report(error);
}
