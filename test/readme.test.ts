// The library example of the README runs and prints what its comments say.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

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
