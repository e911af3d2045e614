/** Drivers in files of their own, for the command line. */
import { existsSync, statSync } from 'node:fs';
import { register } from 'node:module';
import { extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { DRIVERS, LANGUAGE } from '../drivers/index.ts';
import { Language } from '../program/language.ts';
import type { DriverFactory } from '../program/types.ts';
import type { DriverSpec } from '../testing/index.ts';
import type { HookData } from './driver-hooks.ts';
import { InputError } from './read-text.ts';

/** What a driver file exports. */
export interface DriverFile {
  readonly path: string;
  /** At least one. */
  readonly factories: readonly DriverFactory[];
  /** How the suite reaches the driver; null if the file does not say. */
  readonly spec: DriverSpec | null;
}

const TYPESCRIPT: ReadonlySet<string> = new Set(['.ts', '.mts']);
const JAVASCRIPT: ReadonlySet<string> = new Set(['.js', '.mjs']);

/** This module's own ending, and so that of every module beside it: .ts in the sources. */
const ENDING = extname(import.meta.url);

let isReady = false;

/**
 * Loads a driver from a `.ts`, `.mts`, `.js` or `.mjs` file. In it, `hmmlab` and `hmmlab/testing`
 * are the modules that this program runs. Throws an `InputError` where there is no usable driver.
 */
export async function loadDriver(path: string): Promise<DriverFile> {
  const isTypeScript = TYPESCRIPT.has(extname(path));
  if (!isTypeScript && !JAVASCRIPT.has(extname(path))) {
    throw new InputError(`${path}: expected a driver in a .ts, .mts, .js or .mjs file`);
  }
  if (!existsSync(path)) throw new InputError(`${path}: no such file`);
  if (statSync(path).isDirectory()) {
    throw new InputError(`${path}: expected a file; found a directory`);
  }
  await prepare();
  let exported: Readonly<Record<string, unknown>>;
  try {
    exported = await import(pathToFileURL(resolve(path)).href);
  } catch (error) {
    throw new InputError(`${path}: cannot be loaded: ${reasonOf(error)}`);
  }
  return examine(path, exported);
}

/** The package's language, with the drivers of some files added. Throws an `InputError`. */
export function languageWith(files: readonly DriverFile[]): Language {
  if (files.length === 0) return LANGUAGE;
  const drivers: DriverFactory[] = [...DRIVERS];
  for (const { path, factories } of files) {
    for (const factory of factories) {
      if (drivers.some(({ name }) => name === factory.name)) {
        throw new InputError(`${path}: there is already a driver named ${factory.name}`);
      }
      drivers.push(factory);
    }
    checkOperations(path, drivers);
  }
  return new Language({ drivers, defaultDevices: LANGUAGE.defaultDevices });
}

function checkOperations(path: string, drivers: readonly DriverFactory[]): void {
  try {
    new Language({ drivers, defaultDevices: [] });
  } catch (error) {
    throw new InputError(`${path}: ${reasonOf(error)}`);
  }
}

/** Lets Node load TypeScript, and lets it find this package by name. */
async function prepare(): Promise<void> {
  if (isReady) return;
  isReady = true;
  const tsx = await import('tsx/esm/api');
  tsx.register();
  // The hooks that were added last are asked first.
  register(`./driver-hooks${ENDING}`, {
    parentURL: import.meta.url,
    data: {
      doors: {
        hmmlab: new URL(`../index${ENDING}`, import.meta.url).href,
        'hmmlab/testing': new URL(`../testing/index${ENDING}`, import.meta.url).href,
      },
      loader: import.meta.url,
    } satisfies HookData,
  });
}

function examine(path: string, exported: Readonly<Record<string, unknown>>): DriverFile {
  const values = new Set(Object.values(exported));
  const specs = [...values].filter(isSpec);
  const factories = [...values].filter(isLikeFactory);
  if (factories.length === 0) {
    const names = Object.keys(exported);
    const found = names.length === 0 ? 'no exports' : `the exports ${names.join(', ')}`;
    throw new InputError(
      `${path}: expected an export that is a DriverFactory, an object with name, summary, ` +
        `options, create and operations; found ${found}`,
    );
  }
  if (specs.length > 1) {
    throw new InputError(`${path}: expected one DriverSpec; found ${specs.length}`);
  }
  for (const [name, value] of Object.entries(exported)) {
    const problem = isLikeFactory(value) ? problemOf(value) : null;
    if (problem !== null) throw new InputError(`${path}: the DriverFactory ${name}: ${problem}`);
  }
  return { path, factories: factories as unknown as DriverFactory[], spec: specs[0] ?? null };
}

type Fields = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null;
}

/** An object that makes drivers, and is meant for the program language. */
function isLikeFactory(value: unknown): value is Fields {
  return isObject(value) && 'create' in value && !('toDevice' in value);
}

function isSpec(value: unknown): value is DriverSpec {
  if (!isObject(value)) return false;
  const { create, toDevice } = value;
  return typeof create === 'function' && typeof toDevice === 'function';
}

/** What is wrong with a factory, or null. */
function problemOf(factory: Fields): string | null {
  const { name, summary, options, create, operations } = factory;
  if (typeof name !== 'string' || !/^[a-z][a-z0-9_-]*$/.test(name)) {
    return `expected name: a word of small letters, digits, - and _; found ${shown(name)}`;
  }
  if (typeof summary !== 'string') return `expected summary: a line; found ${shown(summary)}`;
  if (!Array.isArray(options)) return `expected options: a list; found ${shown(options)}`;
  if (typeof create !== 'function') return `expected create: a function; found ${shown(create)}`;
  if (!Array.isArray(operations)) return `expected operations: a list; found ${shown(operations)}`;
  const bad = operations.findIndex((one: unknown) => !isOperation(one));
  if (bad < 0) return null;
  return `expected operations made by operation({ name, summary, args, run }); number ${bad} is none`;
}

function isOperation(value: unknown): boolean {
  if (!isObject(value)) return false;
  const { name, run, args } = value;
  return typeof name === 'string' && typeof run === 'function' && Array.isArray(args);
}

function shown(value: unknown): string {
  return value === undefined ? 'nothing' : (JSON.stringify(value) ?? typeof value);
}

/** One line. Compilers write several, and the first of theirs says only that there are more. */
function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const lines = message.split('\n').filter((line) => line.trim() !== '');
  const [first = 'unknown error', second] = lines;
  return second !== undefined && /^Transform failed/.test(first) ? second : first;
}
