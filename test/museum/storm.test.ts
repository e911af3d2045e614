// The storm in time: what its script prints, and what that says.
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { storm, stormTable, THREADS } from '../../examples/museum/30-storm/storm.ts';
import { readTiming } from '../../src/node/timing-file.ts';
import { MUSEUM, pageWith, textOf } from './museum.ts';

const PAGE = '30-storm/README.md';

it('the page has the table that the script prints', async () => {
  await expect(pageWith(textOf(PAGE), stormTable())).toMatchFileSnapshot(join(MUSEUM, PAGE));
});

it('more threads wait more, and are no faster', () => {
  const timing = readTiming(join(MUSEUM, '../specs/power-uvmem.json'));
  const rows = THREADS.slice(0, 5).map((threads) => storm(threads, timing, 'one'));
  for (const { threads, timeNs, threadNs, mutexNs } of rows) {
    expect(timeNs).toBeGreaterThan(0.98 * rows[0]!.timeNs);
    expect(Math.abs(mutexNs / threadNs - (threads - 1) / threads)).toBeLessThan(0.01);
  }
});
