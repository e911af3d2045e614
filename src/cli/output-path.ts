/** Where a command writes: a file, and none that it reads. */
import { type Stats, statSync } from 'node:fs';
import { UsageError } from './errors.ts';

/**
 * The value of `flag`.
 *
 * @throws UsageError where it is no file, or one of `inputs`
 */
export function outputPath(flag: string, path: string, inputs: readonly string[]): string {
  if (path === '') throw new UsageError(`${flag}: expected a file to write; found nothing`);
  if (path === '-') throw new UsageError(`${flag}: expected a file to write; found "-"`);
  checkApart(flag, path, inputs);
  return path;
}

/** @throws UsageError where `path` is the same file as one of `inputs`, by whatever name */
export function checkApart(flag: string, path: string, inputs: readonly string[]): void {
  const output = fileAt(path);
  if (output === null) return;
  for (const name of inputs) {
    const input = fileAt(name);
    if (input?.ino !== output.ino || input.dev !== output.dev) continue;
    throw new UsageError(`${flag}: expected another file than the one that is read; found ${path}`);
  }
}

/** Null where there is none; whoever opens it finds out why. */
function fileAt(path: string): Stats | null {
  try {
    const stats = statSync(path);
    return stats.isFile() ? stats : null;
  } catch {
    return null;
  }
}
