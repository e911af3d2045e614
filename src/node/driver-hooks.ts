/**
 * Runs beside Node's loader while a driver file is loaded: the package's name leads to the very
 * modules that this program runs, wherever the file lies, and a driver is a module even where no
 * package.json says so.
 */
import type { InitializeHook, ResolveHook } from 'node:module';

export interface HookData {
  /** Where the names of this package lead. */
  readonly doors: Readonly<Record<string, string>>;
  /** The module that imports driver files. */
  readonly loader: string;
}

let doors: HookData['doors'] = {};
let loader = '';

export const initialize: InitializeHook<HookData> = (data) => {
  doors = data.doors;
  loader = data.loader;
};

export const resolve: ResolveHook = async (specifier, context, nextResolve) => {
  const url = doors[specifier];
  if (url !== undefined) return { url, format: 'module', shortCircuit: true };
  const found = await nextResolve(specifier, context);
  const isModule = context.parentURL === loader || /\.m?ts(\?|$)/.test(found.url);
  return isModule ? { ...found, format: 'module' } : found;
};
