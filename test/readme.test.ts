// The library example of the README runs and prints what its comments say.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { hmmlab } from './program/cli.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** What a command prints, and what the README shows of it; `…` stands for lines, or the rest of one. */
it.each(['run', 'compare'])('README.md: shows what %s prints', (command) => {
  const text = readFileSync(join(ROOT, 'README.md'), 'utf8');
  const blocks = [...text.matchAll(/^ {4}\$ npx hmmlab (.*)\n((?: {4}.*\n)+)/gm)];
  const [, typed, shown] = blocks.find(([, line]) => line!.startsWith(command))!;
  const printed = hmmlab(typed!.split(' ')).stdout.split('\n');
  let at = -1;
  let gap = false;
  for (const line of shown!.split('\n').map((one) => one.slice(4).trimEnd())) {
    if (line.trim() === '…' || line === '') gap = true;
    else {
      const [start] = line.split('…');
      const next = printed.findIndex((one, i) => i > at && one.startsWith(start!));
      expect(next, line).toBeGreaterThan(at);
      if (!gap && at >= 0) expect(next, line).toBe(at + 1);
      at = next;
      gap = false;
    }
  }
});

/** Runs the first TypeScript block of a page; returns the lines that it prints. */
function runBlock(page: string): string[] {
  const [, code] = /```ts\n([\s\S]*?)```/.exec(readFileSync(join(ROOT, page), 'utf8')) ?? [];
  expect(code).toBeDefined();
  // Inside the project, so that the loader is found and the file counts as a module.
  const folder = mkdtempSync(join(ROOT, 'test', 'readme-'));
  try {
    const doorOf = (path: string): string => pathToFileURL(join(ROOT, 'src', path)).href;
    const file = join(folder, 'example.ts');
    const mapped = code!
      .replace("'hmmlab'", `'${doorOf('index.ts')}'`)
      .replace("'hmmlab/node'", `'${doorOf('node/index.ts')}'`);
    writeFileSync(file, mapped);
    const output = execFileSync(process.execPath, ['--import', 'tsx', file], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    return output.trim().split('\n');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

it('README.md: the library example runs', () => {
  const toDevice = new Array<string>(8).fill('to the device');
  expect(runBlock('README.md')).toEqual(['system', ...toDevice, 'true', 'system', '42', '[]']);
});

it('docs/workloads.md: the example runs', () => {
  expect(runBlock('docs/workloads.md').join('')).toMatch(/'cpu \d+', 'gpu0 \d+', 'gpu1 \d+'/);
});
