/** Flags that several commands have. */
import { parseArgs } from 'node:util';
import { ERAS, type EraName } from '../core/era.ts';
import { languageWith, loadDriver } from '../node/load-driver.ts';
import type { Language, Program, ProgramText } from '../program/index.ts';
import { UsageError } from './errors.ts';

/** All values of a flag: of one that is given twice citty knows only the last. */
export function valuesOf(flag: string, rawArgs: readonly string[]): string[] {
  const options = { [flag]: { type: 'string', multiple: true } } as const;
  // The others were checked before.
  const { values } = parseArgs({ args: [...rawArgs], options, strict: false });
  return (values[flag] ?? []) as string[];
}

/** The program language with the drivers of `--driver FILE`. */
export async function languageFor(rawArgs: readonly string[]): Promise<Language> {
  const files = [];
  for (const path of valuesOf('driver', rawArgs)) files.push(await loadDriver(path));
  return languageWith(files);
}

/** A value of `--era`. */
export function parseEra(name: string): EraName {
  const era = ERAS.find((one) => one.name === name);
  if (era !== undefined) return era.name;
  const names = ERAS.map((one) => one.name).join(', ');
  throw new UsageError(`--era: expected one of ${names}; found ${JSON.stringify(name)}`);
}

/** The program of a text that `--program` names. */
export function programNamed({ programs }: ProgramText, name: string, file: string): Program {
  const program = programs.find((one) => one.name === name);
  if (program !== undefined) return program;
  const names = programs.map((one) => one.name).join(', ');
  throw new UsageError(
    `--program: expected a program of ${file}: ${names}; found ${JSON.stringify(name)}`,
  );
}
