// docs/write-a-driver.md: its pieces are the driver, the driver passes the suite, and what the page
// shows is what one sees.

import { readFileSync } from 'node:fs';
import { describe, expect, it, test } from 'vitest';
import { spec } from '../examples/09-your-own-driver/my-driver.ts';
import { driverSuite } from '../src/testing/index.ts';
import { hmmlab } from './program/cli.ts';

const DRIVER = 'examples/09-your-own-driver/my-driver.ts';
const CODE = readFileSync(new URL(`../${DRIVER}`, import.meta.url), 'utf8');
const PAGE = readFileSync(new URL('../docs/write-a-driver.md', import.meta.url), 'utf8');

/** The blocks of one language that begin at the left margin. */
function blocks(language: string): string[] {
  const fences = new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms');
  return [...PAGE.matchAll(fences)].map(([, text]) => text!);
}

describe('docs/write-a-driver.md', () => {
  it('shows the driver in pieces, in order, and nothing else of it', () => {
    expect(blocks('ts').join('\n')).toBe(CODE);
  });

  it('needs less than 120 lines, and no door but two', () => {
    expect(CODE.trimEnd().split('\n').length).toBeLessThan(120);
    const imports = [...CODE.matchAll(/^import .* from '(.*)';$/gm)].map(([, from]) => from);
    expect(imports).toEqual(['hmmlab', 'hmmlab/testing']);
  });

  it('shows the end of what check-driver prints', () => {
    const done = hmmlab(['check-driver', DRIVER]);
    expect(done.stderr).toBe('');
    expect(done.status).toBe(0);
    const [shown] = blocks('text');
    const summary = done.stdout.trimEnd().split('\n').at(-1);
    expect(summary).toMatch(/: \d+ ok, 0 failed, \d+ skipped$/);
    expect(done.stdout.replace(`${summary}\n`, '').endsWith(shown!)).toBe(true);
  });

  it('shows a program that runs', () => {
    const done = hmmlab(['run', '--driver', DRIVER, '--owners', '-'], blocks('hmmlab')[0]);
    expect(done.stderr).toBe('');
    expect(done.status).toBe(0);
    expect(done.stdout).toContain('data 100 101 102 103');
    expect(done.stdout).toContain('process 0  buffer 0  R1RR');
  });
});

describe('the driver of the page', () => {
  for (const one of driverSuite({ ...spec, eras: ['v6.1', 'v6.12'], pageSizes: [4096, 65536] })) {
    test.skipIf(one.skip !== undefined)(one.name, one.run);
  }
});
