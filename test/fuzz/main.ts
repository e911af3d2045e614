// npm run fuzz: random programs until one goes wrong, or until enough of them went well.

import { parseArgs } from 'node:util';
import { DEFAULT_ERA, ERAS } from '../../src/core/era.ts';
import {
  EXIT_FOUND,
  number,
  oneOf,
  Progress,
  print,
  runCommand,
  UsageError,
} from './command-line.ts';
import { type FuzzFailure, type FuzzOptions, fuzz } from './fuzz.ts';
import { MUTATIONS, type Mutation } from './mutations.ts';

const USAGE = `npm run fuzz -- [options]

  --programs N   how many programs (1000)
  --seed N       what they are made from (1)
  --ops N        operations of a program, at most (60)
  --era NAME     the kernel's rules: ${ERAS.map(({ name }) => name).join(', ')} (${DEFAULT_ERA})
  --path PATH    runs the one program that an earlier run found
  --mutation M   plants a fault first, to see whether it is found:
${MUTATIONS.map(({ name, summary }) => `                 ${name.padEnd(9)} ${summary}`).join('\n')}
`;

interface Settings {
  readonly options: FuzzOptions;
  readonly mutation: Mutation | null;
}

function pathOf(text: string | undefined): string | null {
  if (text === undefined || /^\d+(:\d+)*$/.test(text)) return text ?? null;
  throw new UsageError(`--path ${text}: expected numbers with colons between them`);
}

function readSettings(): Settings | null {
  const { values } = parseArgs({
    options: {
      programs: { type: 'string', default: '1000' },
      seed: { type: 'string', default: '1' },
      ops: { type: 'string', default: '60' },
      era: { type: 'string', default: DEFAULT_ERA },
      path: { type: 'string' },
      mutation: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return null;
  const { mutation: mutated } = values;
  const mutation = mutated === undefined ? null : oneOf(MUTATIONS, mutated, 'mutation');
  const path = pathOf(values.path);
  const options = {
    programs: path === null ? number(values.programs, 'programs', 1, 100_000_000) : 1,
    seed: number(values.seed, 'seed', -0x8000_0000, 0x7fff_ffff),
    operations: number(values.ops, 'ops', 1, 1000),
    era: oneOf(ERAS, values.era, 'era').name,
    ...(path === null ? {} : { path }),
    ...(mutation?.prepare === undefined ? {} : { prepare: mutation.prepare }),
  };
  return { options, mutation };
}

function runFuzz({ options, mutation }: Settings): number {
  const { programs, seed, operations, era } = options;
  const what = options.path === undefined ? `${programs} programs` : `path ${options.path}`;
  const planted = mutation === null ? '' : `, with a fault: ${mutation.summary}`;
  print(`fuzz: seed ${seed}, ${what}, up to ${operations} operations each, era ${era}${planted}`);
  const progress = new Progress();
  const start = performance.now();
  const undo = mutation?.plant();
  const { stats, failure } = fuzz({
    ...options,
    progress: (now) => progress.update(`${now.programs} of ${programs} programs`),
  });
  undo?.();
  progress.clear();
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  if (failure !== null) {
    printFailure(failure, options, mutation);
    return EXIT_FOUND;
  }
  const counts = `${stats.programs} programs, ${stats.operations} operations, ${stats.moves} moves`;
  print(`fuzz: ${counts}, 0 findings, ${seconds} s`);
  return 0;
}

function printFailure(
  failure: FuzzFailure,
  { seed, operations, era }: FuzzOptions,
  mutation: Mutation | null,
): void {
  const { finding, program, programs, shrinks, path } = failure;
  const replay = [
    'npm run fuzz --',
    `--seed ${seed} --ops ${operations} --era ${era} --path ${path}`,
    ...(mutation === null ? [] : [`--mutation ${mutation.name}`]),
  ].join(' ');
  print(`\nfuzz: program ${programs} went wrong; made smaller in ${shrinks} steps:\n`);
  print(program);
  print(`${finding}\n`);
  print(`again: ${replay}`);
}

process.exitCode = runCommand(USAGE, readSettings, runFuzz);
