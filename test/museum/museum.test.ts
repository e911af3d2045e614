// Each exhibit is what its page says: the search finds the bug where it is, within its budget and
// always in the same way, and not where it is mended.
// `npx vitest run test/museum -u` draws the pages anew.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseToken, replay } from '../../src/explore/index.ts';
import { checkLinks } from '../tidy/checks.ts';
import { existsInProject } from '../tidy/project.ts';
import {
  differences,
  drawnLines,
  EXHIBITS,
  type Exhibit,
  found,
  MUSEUM,
  overview,
  pageWith,
  scenarioOf,
  searched,
  textOf,
} from './museum.ts';

const SWITCHES_MAX = 12;
const MORE_SEEDS = [2, 3, 4];
const CLEAN_MIN = 200;
/** More than that nobody reads. */
const PAGE_LINES_MAX = 200;

async function expectPage(path: string, generated: readonly string[]): Promise<void> {
  const file = join(path, 'README.md');
  const page = pageWith(textOf(file), generated);
  expect(page.split('\n').length).toBeLessThanOrEqual(PAGE_LINES_MAX);
  await expect(page).toMatchFileSnapshot(join(MUSEUM, file));
}

describe.each(EXHIBITS)('$folder', (exhibit: Exhibit) => {
  const { folder, kind, schedules } = exhibit;
  const broken = scenarioOf(exhibit, 'broken');

  it('is found, twice alike, and drawn on its page', async () => {
    const first = found(exhibit, broken, 1)!;
    expect(first).not.toBeNull();
    expect(first.failure.kind).toBe(kind);
    expect(found(exhibit, broken, 1)!.token).toBe(first.token);
    const { deviations, lockstep } = first.schedule;
    expect(deviations.length + (lockstep === null ? 0 : 1)).toBeLessThanOrEqual(SWITCHES_MAX);
    const again = replay(broken, parseToken(broken, first.token));
    expect(again.failures.map((failure) => failure.kind)).toContain(kind);
    await expectPage(folder, drawnLines(exhibit, broken, first));
  });

  it.each(MORE_SEEDS)('is found with seed %i', (seed) => {
    expect(searched(broken, exhibit, { seed, schedules })).not.toBeNull();
  });

  it('is mended', () => {
    expect(differences(exhibit).length).toBeGreaterThan(0);
    const budget = Math.max(CLEAN_MIN, 10 * schedules);
    const mended = scenarioOf(exhibit, 'mended');
    expect(searched(mended, exhibit, { seed: 1, schedules: budget })).toBeNull();
  });
});

describe('the museum', () => {
  it('has at least 20 exhibits, and every folder is one', () => {
    const folders = readdirSync(MUSEUM).filter((name) => /^\d\d-/.test(name) && name < '30');
    expect(EXHIBITS.map(({ folder }) => folder)).toEqual(folders);
    expect(folders.length).toBeGreaterThanOrEqual(20);
  });

  it('shows all of them at its entrance', async () => {
    await expectPage('.', overview());
  });

  it('has no link that leads nowhere', () => {
    const names = ['.', ...readdirSync(MUSEUM).filter((name) => /^\d\d-/.test(name))];
    const pages = names.map((name) => ({
      path: join('examples/museum', name, 'README.md'),
      text: textOf(name, 'README.md'),
    }));
    expect(checkLinks(pages, existsInProject)).toEqual([]);
  });
});
