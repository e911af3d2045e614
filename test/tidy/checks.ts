// The house rules as functions from files to offences, so that each can be tried on a bad snippet.

import { isBuiltin } from 'node:module';
import { posix } from 'node:path';
import { codeOnly, importsOf, type ModuleImport, type SourceFile } from './source.ts';

/** `path:line: what is wrong`, which editors turn into a link. */
export type Offence = string;

function offence(path: string, line: number, message: string): Offence {
  return `${path}:${line}: ${message}`;
}

function linesOf(text: string): string[] {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

function isUnder(path: string, folder: string): boolean {
  return path.startsWith(`${folder}/`);
}

// --- Import direction -----------------------------------------------------------------------

/** The layers of src from the ground up. Folders of one row stand side by side. */
export const LAYERS: readonly (readonly string[])[] = [
  ['core'],
  ['hw'],
  ['program'],
  ['drivers'],
  ['workloads', 'trace', 'testing', 'explore'],
  ['node'],
  ['cli'],
];

/** What the main door may export. The rest needs Node, or is no part of the library. */
const MAIN_DOOR = 'src/index.ts';
const MAIN_DOOR_LAYERS = ['core', 'hw', 'program', 'drivers', 'trace', 'explore'];

const NODE_LAYERS = ['node', 'cli'];
const CORE_PACKAGES = ['eventemitter3', 'rxjs', 'pure-rand'];
const OWN_PACKAGE = 'hmmlab';

function rankOf(layer: string): number {
  return LAYERS.findIndex((row) => row.includes(layer));
}

/** The folder directly under src, or undefined for a file that lies in src itself. */
function layerOf(path: string): string | undefined {
  const parts = path.split('/');
  return parts[0] === 'src' && parts.length > 2 ? parts[1] : undefined;
}

/** The folder of one driver; files directly in src/drivers belong to all drivers. */
function driverOf(path: string): string | undefined {
  const parts = path.split('/');
  return layerOf(path) === 'drivers' && parts.length > 3 ? parts[2] : undefined;
}

function packageOf(specifier: string): string {
  const parts = specifier.split('/');
  return parts.slice(0, specifier.startsWith('@') ? 2 : 1).join('/');
}

function isRelative(specifier: string): boolean {
  return /^\.{1,2}(\/|$)/.test(specifier);
}

function resolveFrom(path: string, specifier: string): string {
  return posix.join(posix.dirname(path), specifier);
}

/** Imports of src go to the same layer or an earlier one, and packages only where allowed. */
export function checkImportDirection(files: readonly SourceFile[]): Offence[] {
  const found: Offence[] = [];
  for (const file of files) {
    if (!isUnder(file.path, 'src')) continue;
    const layer = layerOf(file.path);
    if (file.path !== MAIN_DOOR && (layer === undefined || rankOf(layer) < 0)) {
      found.push(offence(file.path, 1, 'lies in no known layer of src'));
      continue;
    }
    for (const entry of importsOf(file)) {
      const message = isRelative(entry.specifier)
        ? wrongFile(file.path, layer, resolveFrom(file.path, entry.specifier))
        : wrongPackage(layer, entry.specifier);
      if (message !== undefined) found.push(offence(file.path, entry.line, message));
    }
  }
  return found;
}

function wrongFile(from: string, layer: string | undefined, to: string): string | undefined {
  if (!isUnder(to, 'src')) return `imports ${to}, which lies outside src`;
  const target = layerOf(to);
  if (target === undefined) return `imports ${to}; import the module that defines the name`;
  if (rankOf(target) < 0) return `imports ${to}, which lies in no known layer of src`;
  if (layer === undefined) {
    return MAIN_DOOR_LAYERS.includes(target)
      ? undefined
      : `imports ${to}; the main door may use only ${MAIN_DOOR_LAYERS.join(', ')}`;
  }
  if (layer === target) {
    const own = driverOf(from);
    const other = driverOf(to);
    return own === undefined || other === undefined || own === other
      ? undefined
      : `driver ${own} imports driver ${other}`;
  }
  return rankOf(target) < rankOf(layer) ? undefined : `${layer} may not import ${target} (${to})`;
}

function wrongPackage(layer: string | undefined, specifier: string): string | undefined {
  if (isBuiltin(specifier)) {
    return layer !== undefined && NODE_LAYERS.includes(layer)
      ? undefined
      : `imports ${specifier}; only src/node and src/cli may use what Node brings`;
  }
  const name = packageOf(specifier);
  if (name === OWN_PACKAGE) return `imports ${specifier}; use a relative path inside src`;
  if (layer === 'core' && !CORE_PACKAGES.includes(name)) {
    return `imports ${specifier}; core may use only ${CORE_PACKAGES.join(', ')}`;
  }
  return undefined;
}

// --- Import cycles --------------------------------------------------------------------------

interface Edge {
  readonly to: string;
  readonly line: number;
}

/** Every import in src that is part of a cycle, type imports left out. */
export function checkImportCycles(files: readonly SourceFile[]): Offence[] {
  const graph = new Map<string, Edge[]>();
  for (const file of files) {
    if (isUnder(file.path, 'src')) graph.set(file.path, edgesOf(file));
  }
  const found: Offence[] = [];
  for (const [from, edges] of graph) {
    for (const edge of edges) {
      const back = shortestPath(graph, edge.to, from);
      if (back === undefined) continue;
      found.push(offence(from, edge.line, `import cycle: ${[from, ...back].join(' -> ')}`));
    }
  }
  return found;
}

function edgesOf(file: SourceFile): Edge[] {
  const counts = (entry: ModuleImport): boolean => !entry.typeOnly && isRelative(entry.specifier);
  return importsOf(file)
    .filter(counts)
    .map((entry) => ({ to: resolveFrom(file.path, entry.specifier), line: entry.line }));
}

/** The files from `start` to `goal`, both included, or undefined when no imports lead there. */
function shortestPath(
  graph: ReadonlyMap<string, readonly Edge[]>,
  start: string,
  goal: string,
): string[] | undefined {
  const cameFrom = new Map<string, string | undefined>([[start, undefined]]);
  // A Map hands out keys added during the walk, in order, which makes it the queue as well.
  for (const path of cameFrom.keys()) {
    if (path === goal) {
      const steps: string[] = [];
      for (let at: string | undefined = goal; at !== undefined; at = cameFrom.get(at)) {
        steps.unshift(at);
      }
      return steps;
    }
    for (const edge of graph.get(path) ?? []) {
      if (!cameFrom.has(edge.to)) cameFrom.set(edge.to, path);
    }
  }
  return undefined;
}

// --- Sizes ----------------------------------------------------------------------------------

export const MAX_FILE_LINES = 500;
export const MAX_LINE_CHARS = 110;
const SIZED_FOLDERS = ['src', 'test', 'bench', 'examples'];

export function checkSizes(files: readonly SourceFile[]): Offence[] {
  const found: Offence[] = [];
  for (const file of files) {
    if (!file.path.endsWith('.ts')) continue;
    const lines = linesOf(file.text);
    if (
      lines.length > MAX_FILE_LINES &&
      SIZED_FOLDERS.some((folder) => isUnder(file.path, folder))
    ) {
      const message = `file has ${lines.length} lines, at most ${MAX_FILE_LINES}; split it by concept`;
      found.push(offence(file.path, MAX_FILE_LINES + 1, message));
    }
    if (!isUnder(file.path, 'src')) continue;
    lines.forEach((line, i) => {
      const length = [...line].length;
      if (length <= MAX_LINE_CHARS) return;
      const message = `line has ${length} characters, at most ${MAX_LINE_CHARS}`;
      found.push(offence(file.path, i + 1, message));
    });
  }
  return found;
}

// --- Banned words ---------------------------------------------------------------------------

interface BannedWord {
  readonly word: string;
  readonly pattern: RegExp;
  readonly instead: string;
}

const DETERMINISTIC_FOLDERS = ['src/core', 'src/hw', 'src/program', 'src/drivers'];

/** What would let the host machine influence a run. */
const BANNED_IN_CODE: readonly BannedWord[] = [
  {
    word: 'Math.random',
    pattern: /\bMath\s*\.\s*random\b/g,
    instead: "draw from the machine's seeded generator",
  },
  {
    word: 'Date.now',
    pattern: /\bDate\s*\.\s*now\b/g,
    instead: 'read the virtual clock of the scheduler',
  },
  {
    word: 'performance.now',
    pattern: /\bperformance\s*\.\s*now\b/g,
    instead: 'read the virtual clock of the scheduler; bench/ measures wall time',
  },
  {
    word: 'setTimeout',
    pattern: /\bsetTimeout\b/g,
    instead: 'let a task wait on the virtual clock',
  },
  {
    word: 'setInterval',
    pattern: /\bsetInterval\b/g,
    instead: 'let a task wait on the virtual clock in a loop',
  },
  {
    word: 'process.',
    // A property called process is an emulated process; the bare name is the host's.
    pattern: /(?:(?<![\w$.])|\bglobalThis\s*\??\.\s*)process\s*\??\./g,
    instead: 'take the value as an option; call a variable for an emulated process `proc`',
  },
  {
    word: 'require(',
    pattern: /(?<![\w$.])require\s*\(/g,
    instead: 'write an import declaration',
  },
];

export function checkBannedCode(files: readonly SourceFile[]): Offence[] {
  const found: Offence[] = [];
  for (const file of files) {
    if (!file.path.endsWith('.ts')) continue;
    if (!DETERMINISTIC_FOLDERS.some((folder) => isUnder(file.path, folder))) continue;
    const code = codeOnly(file);
    for (const banned of BANNED_IN_CODE) {
      for (const match of code.matchAll(banned.pattern)) {
        const line = code.slice(0, match.index).split('\n').length;
        found.push(offence(file.path, line, `${banned.word} is banned: ${banned.instead}`));
      }
    }
  }
  return found;
}

/** Puts a word together from its parts, so that this file does not contain the word. */
function word(...parts: string[]): string {
  return parts.join('');
}

const MARKS = [word('TO', 'DO'), word('FIX', 'ME'), word('X', 'XX'), word('HA', 'CK')];
const PRIVATE_FOLDERS = [word('/wo', 'rk/'), word('/ro', 'ot/')];

const BANNED_ANYWHERE: readonly BannedWord[] = [
  ...MARKS.map((mark) => ({
    word: mark,
    pattern: new RegExp(`\\b${mark}\\b`),
    instead: 'finish it, or write down what is missing in docs',
  })),
  ...PRIVATE_FOLDERS.map((folder) => ({
    word: folder,
    // A folder of that name inside the project or a relative path is no concern of ours.
    pattern: new RegExp(`(?<![\\w.])${folder}`),
    instead: 'use a path from the root of the project',
  })),
  {
    word: word('.on', 'ly('),
    pattern: new RegExp(`\\.${word('on', 'ly')}\\(`),
    instead: 'it hides all other tests; remove it',
  },
];

export function checkBannedText(files: readonly SourceFile[]): Offence[] {
  const found: Offence[] = [];
  for (const file of files) {
    linesOf(file.text).forEach((line, i) => {
      for (const banned of BANNED_ANYWHERE) {
        if (!banned.pattern.test(line)) continue;
        found.push(offence(file.path, i + 1, `${banned.word} is banned: ${banned.instead}`));
      }
    });
  }
  return found;
}

// --- Links ----------------------------------------------------------------------------------

const LINK_PATTERNS = [
  // [text](target) and ![text](target "title")
  /\]\(\s*<?([^)\s>]+)/g,
  // [name]: target
  /^\s{0,3}\[[^\]]+\]:\s*<?([^\s>]+)/g,
  // <img src="target">, <a href='target'>
  /\b(?:src|href)\s*=\s*["']([^"']+)["']/g,
];

/** Links of Markdown files that should point to a file of the project, and do not. */
export function checkLinks(
  files: readonly SourceFile[],
  exists: (path: string) => boolean,
): Offence[] {
  const found: Offence[] = [];
  for (const file of files) {
    if (!file.path.endsWith('.md')) continue;
    proseLines(file.text).forEach((line, i) => {
      for (const pattern of LINK_PATTERNS) {
        for (const match of line.matchAll(pattern)) {
          const target = fileTarget(match[1]!);
          if (target === undefined) continue;
          const path = resolveFrom(file.path, target);
          if (!path.startsWith('..') && exists(path)) continue;
          found.push(offence(file.path, i + 1, `links to ${target}, which does not exist`));
        }
      }
    });
  }
  return found;
}

/** The lines with code left empty: what looks like a link there is none. */
function proseLines(text: string): string[] {
  let fence: string | undefined;
  return linesOf(text).map((line) => {
    const mark = /^\s*(`{3,}|~{3,})/.exec(line)?.[1];
    if (fence === undefined) {
      fence = mark;
      return mark === undefined ? line.replace(/`[^`]*`/g, '') : '';
    }
    if (mark?.startsWith(fence)) fence = undefined;
    return '';
  });
}

/** The path part of a link, or undefined when the link is an address or stays on its page. */
function fileTarget(link: string): string | undefined {
  if (/^[a-z][a-z0-9+.-]*:/i.test(link) || link.startsWith('//')) return undefined;
  const path = link.replace(/[?#].*$/, '');
  return path === '' ? undefined : decodeURIComponent(path);
}
