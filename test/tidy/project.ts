// Reads the project's own text files from disk for the tidy checks.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { SourceFile } from './source.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

const SKIPPED_FOLDERS = new Set(['.git', 'node_modules', 'dist', 'coverage']);
// Checksums in the lock file may spell anything.
const SKIPPED_FILES = new Set(['package-lock.json']);
// Files without an extension are text here: LICENSE, .gitignore, .ci/run.
const TEXT_EXTENSIONS = new Set(
  ['', '.ts', '.mts', '.js', '.mjs', '.cjs', '.json', '.md', '.txt', '.yml', '.yaml'].concat([
    '.sh',
    '.html',
    '.css',
    '.svg',
    '.c',
    '.h',
    '.py',
  ]),
);

/** Every text file of the project, in the order of their paths. */
export function readProject(): SourceFile[] {
  return pathsUnder('')
    .sort()
    .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }));
}

export function existsInProject(path: string): boolean {
  return existsSync(join(ROOT, path));
}

function pathsUnder(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
    // Another test makes folders of that name for a moment.
    if (path.startsWith('test/readme-')) return [];
    if (entry.isDirectory()) return SKIPPED_FOLDERS.has(entry.name) ? [] : pathsUnder(path);
    const isText = entry.isFile() && TEXT_EXTENSIONS.has(extname(entry.name));
    return isText && !SKIPPED_FILES.has(entry.name) ? [path] : [];
  });
}
