// npm run fuzz:mixed: random programs on machines with GPUs, dmirrors and secure guests.

import { parseArgs } from 'node:util';
import { ERAS, type EraName } from '../../../src/core/era.ts';
import { EXIT_FOUND, number, oneOf, Progress, print, runCommand } from '../command-line.ts';
import { fuzzMixed, type MixedFailure } from './fuzz.ts';
import type { MixedStats } from './judge.ts';
import { MIXED_MUTATIONS, type MixedMutation } from './mutations.ts';

const ALL = 'all';
const USAGE = `npm run fuzz:mixed -- [options]

  --programs N   how many programs, over all eras (10000)
  --seed N       the number of the first one (1)
  --ops N        operations of a program, at most (40)
  --era NAME     the kernel's rules: ${ERAS.map(({ name }) => name).join(', ')}, or ${ALL} (${ALL})
  --mutation M   plants a fault first, to see whether it is found:
${MIXED_MUTATIONS.map(({ name, summary }) => `                 ${name.padEnd(10)} ${summary}`).join('\n')}
`;

interface Settings {
  readonly eras: readonly EraName[];
  readonly programs: number;
  readonly seed: number;
  readonly operations: number;
  readonly mutation: MixedMutation | null;
}

function readSettings(): Settings | null {
  const { values } = parseArgs({
    options: {
      programs: { type: 'string', default: '10000' },
      seed: { type: 'string', default: '1' },
      ops: { type: 'string', default: '40' },
      era: { type: 'string', default: ALL },
      mutation: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return null;
  const eras = values.era === ALL ? ERAS : [oneOf(ERAS, values.era, 'era')];
  const { mutation } = values;
  return {
    eras: eras.map(({ name }) => name),
    programs: number(values.programs, 'programs', 1, 100_000_000),
    seed: number(values.seed, 'seed', 0, 0x7fff_ffff),
    operations: number(values.ops, 'ops', 1, 1000),
    mutation: mutation === undefined ? null : oneOf(MIXED_MUTATIONS, mutation, 'mutation'),
  };
}

function runFuzz(settings: Settings): number {
  const { mutation } = settings;
  const undo = mutation?.plant();
  if (mutation !== null) print(`fuzz: with a fault: ${mutation.summary}`);
  try {
    // The programs of an era are its own.
    for (const [i, era] of settings.eras.entries())
      if (!fuzzEra(settings, era, i)) return EXIT_FOUND;
    return 0;
  } finally {
    undo?.();
  }
}

/** False if a program went wrong. */
function fuzzEra(settings: Settings, era: EraName, nth: number): boolean {
  const { eras, operations, mutation } = settings;
  const programs = Math.ceil(settings.programs / eras.length);
  const seed = settings.seed + nth * programs;
  const progress = new Progress();
  const start = performance.now();
  const { stats, failure } = fuzzMixed({
    era,
    programs,
    seed,
    operations,
    progress: (now) => progress.update(`${era}: ${now.programs} of ${programs} programs`),
    ...(mutation?.prepare === undefined ? {} : { prepare: mutation.prepare }),
  });
  progress.clear();
  if (failure !== null) {
    printFailure(failure, era, settings);
    return false;
  }
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  print(
    `fuzz: era ${era}, seeds ${seed} to ${seed + programs - 1}: ${summaryOf(stats)}, ${seconds} s`,
  );
  return true;
}

function summaryOf({ programs, operations, moves, secrets, ends }: MixedStats): string {
  const moved = [...moves.values()].reduce((sum, count) => sum + count, 0);
  const early = [...ends].map(([reason, count]) => `${count} for ${reason}`);
  return [
    `${programs} programs, ${operations} operations, ${moved} moves, ${secrets} secrets`,
    ...(early.length > 0 ? [`ended early: ${early.join(', ')}`] : []),
    '0 findings',
  ].join('; ');
}

function printFailure(
  { seed, program, finding, tries }: MixedFailure,
  era: EraName,
  { operations, mutation }: Settings,
): void {
  const again = [
    'npm run fuzz:mixed --',
    `--programs 1 --seed ${seed} --ops ${operations} --era ${era}`,
    ...(mutation === null ? [] : [`--mutation ${mutation.name}`]),
  ];
  print(`\nfuzz: program ${seed} of era ${era} went wrong; made smaller in ${tries} tries:\n`);
  print(program);
  print(`${finding}\n`);
  print(`again: ${again.join(' ')}`);
}

process.exitCode = runCommand(USAGE, readSettings, runFuzz);
