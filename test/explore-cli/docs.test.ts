// docs/explore.md: the search of the page finds what it shows, and the example of the library runs.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { hmmlab, ROOT } from '../program/cli.ts';

const PAGE = readFileSync(join(ROOT, 'docs/explore.md'), 'utf8');

/** The page shows these lines, in order; `…` stands for lines, or for the rest of one. */
function expectShown(shown: string, printed: string): void {
  const lines = printed.split('\n');
  let at = 0;
  for (const line of shown.trimEnd().split('\n')) {
    const [start] = line.trimEnd().split('…');
    if (start!.trim() === '') continue;
    const next = lines.findIndex((one, i) => i >= at && one.startsWith(start!));
    expect(next, `${line}, from line ${at} of\n${printed}`).toBeGreaterThanOrEqual(at);
    at = next + 1;
  }
}

describe('docs/explore.md', () => {
  it('shows what a search prints, and a token that does what it says', () => {
    const [, typed, block] = /^ {4}\$ npx hmmlab (.*)\n((?: {4}.*\n)+)/m.exec(PAGE)!;
    const done = hmmlab(typed!.split(' '));
    expect(done).toMatchObject({ status: 1, stderr: '' });
    expectShown(block!.replace(/^ {4}/gm, ''), done.stdout);
    const [, again] = /again: npx hmmlab (.*)/.exec(block!)!;
    expect(hmmlab(again!.split(' ')).status).toBe(1);
    expect(PAGE).toContain(`\n    ${again!.split(' ').at(-1)}\n`);
  });

  it('tells of every kind of failure, and of every flag', () => {
    const types = readFileSync(join(ROOT, 'src/explore/types.ts'), 'utf8');
    const [, kinds] = /type FailureKind =(.*?);/s.exec(types)!;
    for (const [, kind] of kinds!.matchAll(/'(\w+)'/g)) expect(PAGE).toContain(`| \`${kind}\` |`);
    const flags = [...hmmlab(['explore', '--help']).stdout.matchAll(/^ +--([\w-]+)/gm)];
    expect(flags.length).toBeGreaterThan(10);
    const everywhere = ['program', 'driver', 'era'];
    for (const [, flag] of flags) {
      if (!everywhere.includes(flag!)) expect(PAGE).toContain(`\`--${flag}`);
    }
  });

  it('has an example of the library that runs', () => {
    const [, code, shown] = /```ts\n(.*?)```\n\n```text\n(.*?)```/s.exec(PAGE)!;
    // Inside the project, so that the loader is found and the file counts as a module.
    const folder = mkdtempSync(join(ROOT, 'test', 'explore-docs-'));
    try {
      const file = join(folder, 'example.ts');
      const door = pathToFileURL(join(ROOT, 'src', 'index.ts')).href;
      writeFileSync(file, code!.replace("'hmmlab'", `'${door}'`));
      const options = { cwd: ROOT, encoding: 'utf8' } as const;
      const printed = execFileSync(process.execPath, ['--import', 'tsx', file], options);
      expectShown(shown!, printed);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
