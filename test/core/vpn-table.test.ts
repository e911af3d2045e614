// The table beside a Map, with few blocks and with more than are found at once.

import { describe, expect, it } from 'vitest';
import { VpnTable } from '../../src/core/mm/vpn-table.ts';

function randomBelow(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 4) % limit;
  };
}

describe.each([
  ['in one block', 512, 1],
  ['in a few blocks', 20_000, 1],
  ['in more blocks than are found at once', 300_000, 1],
  ['far apart', 400, 2 ** 27 + 512],
])('pages %s', (_where, pages, distance) => {
  it('are there as a Map would have them', () => {
    const table = new VpnTable();
    const model = new Map<number, number>();
    const below = randomBelow(pages);
    for (let step = 0; step < 30_000; step++) {
      const vpn = below(pages) * distance;
      const kind = below(100);
      if (kind < 60) {
        const value = below(2) === 0 ? 2 ** 32 - 2 - step : step;
        table.set(vpn, value);
        model.set(vpn, value);
      } else if (kind < 75) {
        table.delete(vpn);
        model.delete(vpn);
      } else if (kind < 76) {
        const end = vpn + below(2000) * distance;
        table.deleteRange(vpn, end);
        for (const one of [...model.keys()]) if (one >= vpn && one < end) model.delete(one);
      } else expect(table.get(vpn)).toBe(model.get(vpn) ?? -1);
    }
    expect(table.size).toBe(model.size);
    expect([...table.entries()]).toEqual([...model].sort(([a], [b]) => a - b));
    table.clear();
    expect([table.size, table.get(0)]).toEqual([0, -1]);
  });
});
