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

it('README.md: the library example runs', () => {
  const [, code] = /```ts\n([\s\S]*?)```/.exec(readFileSync(join(ROOT, 'README.md'), 'utf8')) ?? [];
  expect(code).toBeDefined();
  // Inside the project, so that the loader is found and the file counts as a module.
  const folder = mkdtempSync(join(ROOT, 'test', 'readme-'));
  try {
    const door = pathToFileURL(join(ROOT, 'src', 'index.ts')).href;
    const file = join(folder, 'example.ts');
    writeFileSync(file, code!.replace("'hmmlab'", `'${door}'`));
    const output = execFileSync(process.execPath, ['--import', 'tsx', file], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    const toDevice = new Array<string>(8).fill('to the device');
    const lines = ['system', ...toDevice, 'true', 'system', '42', '[]'];
    expect(output.trim().split('\n')).toEqual(lines);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
