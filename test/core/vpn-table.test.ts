// The table beside a Map, with few blocks and with more than are found at once.

import { describe, expect, it } from 'vitest';
import { WordPool } from '../../src/core/memory/word-pool.ts';
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

describe('blocks that are runs', () => {
  const BLOCK = 512;

  it('are there as a Map would have them, whatever breaks them', () => {
    const table = new VpnTable();
    const model = new Map<number, number>();
    const below = randomBelow(5);
    for (let round = 0; round < 400; round++) {
      const start = below(6) * BLOCK + (below(3) === 0 ? below(BLOCK) : 0);
      const step = [1, -1, 4, -4, 0][below(5)]!;
      const first = below(2) === 0 ? 2 ** 31 : 2 ** 32 - 10_000 + below(1000);
      for (let i = 0; i < BLOCK; i++) {
        table.set(start + i, first + step * i);
        model.set(start + i, first + step * i);
      }
      for (let n = below(4); n > 0; n--) {
        const vpn = below(7 * BLOCK);
        const kind = below(4);
        if (kind === 0) {
          table.set(vpn, n);
          model.set(vpn, n);
        } else if (kind === 1) {
          const same = model.get(vpn);
          if (same !== undefined) table.set(vpn, same);
        } else if (kind === 2) {
          table.delete(vpn);
          model.delete(vpn);
        } else {
          const from = below(2) === 0 ? vpn : below(6) * BLOCK;
          const end = from + (below(2) === 0 ? BLOCK : below(900));
          table.deleteRange(from, end);
          for (let one = from; one < end; one++) model.delete(one);
        }
      }
      expect(table.size).toBe(model.size);
      for (let vpn = 0; vpn < 8 * BLOCK; vpn++) {
        if (table.get(vpn) !== (model.get(vpn) ?? -1)) expect(vpn).toBe('as in the Map');
      }
      const wanted = [...model].sort(([a], [b]) => a - b);
      if (round % 20 === 0) expect([...table.entries()]).toEqual(wanted);
    }
    table.clear();
    expect([...table.entries()]).toEqual([]);
  });

  it('are whole: one value out of line, and there is none', () => {
    for (const odd of [0, 1, 2, 255, 510, 511]) {
      const table = new VpnTable();
      for (let i = 0; i < BLOCK; i++) table.set(i, i === odd ? 7000 : 100 + i);
      const values = Array.from({ length: BLOCK }, (_, i) => table.get(i));
      expect(values.findIndex((value, i) => value !== 100 + i)).toBe(odd);
      expect(values[odd]).toBe(7000);
    }
  });

  it('are not made again for each page that goes and comes back', () => {
    const pool = new WordPool();
    const table = new VpnTable(pool);
    const fill = (): void => {
      for (let i = 0; i < BLOCK; i++) table.set(i, 100 + i);
    };
    fill();
    const words = pool.take(BLOCK);
    pool.give(words);
    for (let trip = 0; trip < 3; trip++) {
      table.delete(7);
      table.set(7, 107);
      const other = pool.take(BLOCK);
      expect(other).not.toBe(words);
      pool.give(other);
    }
    expect([table.get(6), table.get(7)]).toEqual([106, 107]);
    for (let i = 0; i < BLOCK; i++) table.delete(i);
    fill();
    expect([pool.take(BLOCK), pool.take(BLOCK)]).toContain(words);
    expect([table.size, table.get(511)]).toEqual([BLOCK, 611]);
  });

  it('have no words, and get words that others left dirty', () => {
    const pool = new WordPool();
    const table = new VpnTable(pool);
    const dirty = pool.take(BLOCK);
    pool.give(dirty.fill(7));
    for (let i = 0; i < BLOCK; i++) table.set(i, 100 + i);
    // The table gave its array back.
    const again = pool.take(BLOCK);
    expect(again).toBe(dirty);
    pool.give(again.fill(7));
    table.delete(3);
    expect([table.get(2), table.get(3), table.get(4)]).toEqual([102, -1, 104]);
    expect(pool.take(BLOCK)).not.toBe(dirty);
  });
});
