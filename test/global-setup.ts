// Tests of the command line run what is built: it is built anew if anything changed since.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

export default function setup(): void {
  const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => join('src', path));
  const inputs = [...sources, 'tsconfig.json', 'tsconfig.build.json', 'package.json'];
  // The compiler writes its files in the order of their names; this one is among the last.
  const built = changedAt('dist/trace/words.js');
  if (inputs.every((path) => changedAt(path) < built)) return;
  execFileSync('npm', ['run', 'build'], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
}

/** 0 if there is no such file. */
function changedAt(path: string): number {
  const full = join(ROOT, path);
  return existsSync(full) ? statSync(full).mtimeMs : 0;
}
