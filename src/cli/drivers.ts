/** The flag `--driver FILE`, which may be given more than once. */
import { languageWith, loadDriver } from '../node/load-driver.ts';
import type { Language } from '../program/index.ts';

/** The program language with the drivers that the command line names. */
export async function languageFor(rawArgs: readonly string[]): Promise<Language> {
  const files = [];
  for (const path of driverPaths(rawArgs)) files.push(await loadDriver(path));
  return languageWith(files);
}

/** Of a flag that is given twice citty knows only the last. */
function driverPaths(rawArgs: readonly string[]): string[] {
  const paths: string[] = [];
  for (let i = 0; i < rawArgs.length; i++) {
    const word = rawArgs[i]!;
    if (word === '--') break;
    if (word === '--driver') paths.push(rawArgs[++i]!);
    else if (word.startsWith('--driver=')) paths.push(word.slice('--driver='.length));
  }
  return paths;
}
