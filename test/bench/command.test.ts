import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';
import { documentOf, figure } from './documents.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'bench-test-'));
const before = join(folder, 'before.json');
const after = join(folder, 'after.json');
const failing = join(folder, 'failing.json');
const damaged = join(folder, 'damaged.json');

const targets = [{ bound: 100, on: 'value' }] as const;
writeFileSync(before, JSON.stringify(documentOf(figure({ samples: [100], targets }))));
writeFileSync(after, JSON.stringify(documentOf(figure({ samples: [200], targets }))));
writeFileSync(failing, JSON.stringify(documentOf(figure({ samples: [99], targets }))));
writeFileSync(damaged, '{"version": 1, "node": "v20');

afterAll(() => rmSync(folder, { recursive: true }));

function bench(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const argv = ['--import', 'tsx', 'bench/index.ts', ...args];
  return spawnSync(process.execPath, argv, { cwd: root, encoding: 'utf8' });
}

it('compares two files', () => {
  const { status, stdout, stderr } = bench('--from', after, '--compare', before);
  expect(stderr).toBe('');
  expect(stdout).toContain('1 of 1 hold');
  expect(stdout).toMatch(/faults +2\.00x \*/);
  expect(status).toBe(0);
});

it('answers 1 where a target does not hold', () => {
  const { status, stdout } = bench('--from', failing, '--markdown');
  expect(stdout).toContain('| FAILS |');
  expect(status).toBe(1);
});

it('answers 2 to a damaged file, before it measures anything', () => {
  const { status, stdout, stderr } = bench('--compare', damaged);
  expect(stderr).toMatch(/^bench: .*damaged\.json: expected what bench --json writes.*\n$/);
  expect([status, stdout]).toEqual([2, '']);
});

it('answers 2 to wrong flags', () => {
  for (const args of [
    ['--rounds', 'many'],
    ['--only', 'nothing-of-that-name'],
  ]) {
    const { status, stderr } = bench(...args);
    expect(stderr).toContain(`bench: ${args[0]} ${args[1]}`);
    expect(status).toBe(2);
  }
});
