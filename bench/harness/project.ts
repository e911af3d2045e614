/** Where the project lies, and a compiled copy of it to measure. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of this package, wherever the compiled copy of this file lies. */
export const ROOT: string = findRoot();

function findRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package-lock.json'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error('the bench runs in a checkout of the project');
    folder = parent;
  }
  return folder;
}

/**
 * Compiles `src` and `bench` as the package is compiled, into a new folder from which packages
 * resolve as from here, and returns the folder. What tsx makes of sources is not what users run:
 * it gives every function its name anew wherever it is made.
 */
export function compileProject(): string {
  const cache = join(ROOT, 'node_modules', '.cache');
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'bench-'));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }\n');
  const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  const config = join(ROOT, 'bench', 'tsconfig.json');
  execFileSync(process.execPath, [tsc, '-p', config, '--outDir', folder], { stdio: 'pipe' });
  return folder;
}
