/** Runs measurements, each in a process of its own. */
import { execFileSync, spawn } from 'node:child_process';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { type Figure, makeFigure } from './figure.ts';
import type { Context } from './measure.ts';
import type { ChildAnswer, Measurement } from './types.ts';

export interface Answer {
  readonly figures: readonly Figure[];
  /** The part of its time in which other programs had the processor it was ready for. */
  readonly waited: number;
}

/** `folder` holds the compiled project. Throws if the measurement fails: no figure is better. */
export async function runMeasurement(
  folder: string,
  measurement: Measurement,
  context: Context,
): Promise<Answer> {
  const script = join(folder, 'bench', 'harness', 'child.js');
  const { rounds, quick } = context;
  const args = ['--expose-gc', script, measurement.name, `${rounds}`, quick ? 'quick' : 'full'];
  const pin = measurement.oneCore === true ? pinning() : [];
  const [program, ...rest] = [...pin, process.execPath, ...args];
  const output = await outputOf(program!, rest, measurement.name);
  const { sampled, waited } = JSON.parse(output) as ChildAnswer;
  const byName = new Map(sampled.map((one) => [one.name, one]));
  const figures = measurement.figures.map((spec) => {
    const one = byName.get(spec.name);
    if (one === undefined) throw new Error(`${measurement.name}: nothing about ${spec.name}`);
    return makeFigure(measurement.section, spec, one);
  });
  return { figures, waited };
}

function outputOf(program: string, args: readonly string[], name: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    const stop = (): void => {
      child.kill();
    };
    process.once('exit', stop);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      process.off('exit', stop);
      if (code === 0) resolve(output);
      else reject(new Error(`${name} failed with ${signal ?? code}`));
    });
  });
}

let pinned: string[] | null = null;

/** What to put before a command so that it stays on the last processor; nothing if that fails. */
function pinning(): string[] {
  if (pinned !== null) return pinned;
  const command = ['taskset', '-c', String(cpus().length - 1)];
  try {
    execFileSync(command[0]!, [...command.slice(1), 'true'], { stdio: 'ignore' });
    pinned = command;
  } catch {
    pinned = [];
  }
  return pinned;
}
