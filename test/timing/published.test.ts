// Published numbers: what was found to match must go on to match, and what does not is no secret.

import { describe, expect, it } from 'vitest';
import { publishedRows } from '../../bench/published-rows.ts';

const rows = [...publishedRows(1 / 4)];

describe('beside published numbers', () => {
  it.each([
    'one far fault of a GPU',
    'PCIe 3.0 x16, achieved',
    'PCIe 4.0 x16, achieved',
    'PCIe 5.0 x16, achieved',
    'NVLink 2, achieved',
    'NVLink 3, achieved',
    'NVLink 4, achieved',
    'NVLink-C2C, achieved',
  ])('%s is in range', (claim) => {
    expect(rows.find((row) => row.claim === claim)?.verdict).toBe('in range');
  });

  it.each([
    'prefetched over on demand',
    'managed memory that does not move: streaming',
    'larger fault batches',
    'a faster link for on-demand paging',
    'share of the host kernel in moving pages to the GPU',
    'oversubscription by 125% and 150%',
  ])('%s has the direction that is published', (claim) => {
    expect(rows.find((row) => row.claim === claim)?.verdict).toBe('direction');
  });

  it('can be had of a part of the work, however odd', () => {
    const parts = [...publishedRows(0.003)];
    expect(parts.map(({ claim }) => claim)).toEqual(rows.map(({ claim }) => claim));
    for (const { ours, claim } of parts) expect(ours, claim).not.toMatch(/NaN|Infinity/);
  });

  it('says of every row whose it is and what to think of it', () => {
    expect(rows.length).toBeGreaterThan(20);
    for (const { source, note, published, ours } of rows) {
      for (const text of [source, note, published, ours]) expect(text).not.toBe('');
    }
    const missing = rows.filter(({ verdict }) => verdict === 'not modelled');
    expect(missing.map(({ claim }) => claim)).toContain('access counters');
  });
});
