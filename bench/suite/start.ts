/** Target 8: how soon the built command answers. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { interleave } from '../harness/measure.ts';
import { ROOT } from '../harness/project.ts';
import type { Measurement } from '../harness/types.ts';

const ROUNDS_MIN = 15;
const COMMAND = commandPath();
/** Nothing shorter runs. */
const PROGRAM = 'program smallest\nmmap 0 1 anon rw\nend\n';

const VERSION = 'hmmlab --version';
const RUN = 'hmmlab run, the smallest program';

function commandPath(): string {
  const text = readFileSync(join(ROOT, 'package.json'), 'utf8');
  return join(ROOT, (JSON.parse(text) as { bin: { hmmlab: string } }).bin.hmmlab);
}

function newestChange(folder: string): number {
  const names = readdirSync(folder, { recursive: true }) as string[];
  return Math.max(...names.map((name) => statSync(join(folder, name)).mtimeMs));
}

/** Builds the command unless it is younger than its sources. */
function build(): void {
  const built = statSync(COMMAND, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (built > newestChange(join(ROOT, 'src'))) return;
  execFileSync('npm', ['run', 'build', '--silent'], { cwd: ROOT, stdio: ['ignore', 2, 2] });
}

/** Milliseconds from the start of a Node process to its end. */
function timeOf(args: readonly string[], expected: RegExp): number {
  const start = performance.now();
  const { status, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  const ms = performance.now() - start;
  if (status !== 0 || !expected.test(stdout)) throw new Error(`${args.join(' ')}: ${stdout}`);
  return ms;
}

const common = { unit: ' ms', better: 'less' } as const;

export const START: Measurement = {
  name: 'start',
  section: '8',
  figures: [
    {
      ...common,
      name: VERSION,
      targets: [{ bound: 1.5, on: 'ratio' }],
      note: 'a process of the built command, start to end, on the clock',
    },
    {
      ...common,
      name: RUN,
      targets: [{ bound: 3, on: 'ratio' }],
      note: 'a program that maps one page',
    },
  ],
  async run({ rounds }) {
    build();
    const folder = mkdtempSync(join(tmpdir(), 'bench-'));
    const empty = join(folder, 'empty.cjs');
    const program = join(folder, 'program.txt');
    writeFileSync(empty, '');
    writeFileSync(program, PROGRAM);
    const got = await interleave(Math.max(rounds, ROUNDS_MIN), {
      empty: () => timeOf([empty], /^$/),
      version: () => timeOf([COMMAND, '--version'], /^\d+\.\d+\.\d+/),
      run: () => timeOf([COMMAND, 'run', program], /mmap/),
    });
    rmSync(folder, { recursive: true });
    const yardstick = { name: 'ms, an empty script', samples: got.empty };
    return [
      { name: VERSION, samples: got.version, yardstick },
      { name: RUN, samples: got.run, yardstick },
    ];
  },
};
