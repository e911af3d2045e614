/** Where a command writes: a file, and none that it reads. */
import { statSync } from 'node:fs';
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
  const output = statSync(path, { throwIfNoEntry: false });
  if (output === undefined || !output.isFile()) return;
  for (const name of inputs) {
    const input = name === '-' ? undefined : statSync(name, { throwIfNoEntry: false });
    if (input?.ino !== output.ino || input.dev !== output.dev) continue;
    throw new UsageError(`${flag}: expected another file than the one that is read; found ${path}`);
  }
}
